"""An experiment: a name, options, a measurement, and a report.

An experiment is one record, and the runner does everything else:

    EXPERIMENT = Experiment(
        name="anchors",
        about="Measure the atlas with other numbers and choices of anchors.",
        options=AnchorOptions(settings=("S4_N2", "T2")),  # a subclass, or `Options`
        unused=("num_held_out",),  # flags that it has no use for: not in its --help
        measure=measure,  # measure(bench, setting, seed, report) -> rows of one unit
        report=table,  # table(results) -> Markdown, of results.json and nothing else
    )
    runner.command(EXPERIMENT)  # the whole of its `__main__`

A unit is what is measured at once and kept: a setting and a seed, unless `units` says
otherwise. Its rows are the file `parts/UNIT.json`; once that is there, the unit is
done. What `measure` itself writes to `bench.folder` under the name of the unit and a
"_" is deleted then; other files stay. `measure` gives rows, or a dict with "rows" and
more: "lines" to be printed, and "complete", which is False where the unit is to be
measured again by the next command. All that is not rows stands in results.json under
"units".

`measure`, `read`, `units` and `prepare` lie in modules of their own, apart from what
draws and prints: a run is gone on with if no module has changed that these import.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs import benches, deals, provenance
from experiments.runs.deals import Unit
from experiments.runs.options import Options
from experiments.runs.rows import Rows
from experiments.runs.terminal import Report


class Experiment(NamedTuple):
    """An experiment.

    Attributes:
        name: results are written to results/NAME/DATASET.
        about: the first words of --help: what it does, and how long it takes.
        options: the defaults; the class says which flags of its own there are.
        measure: (bench, what the unit is of, report) to the unit's rows.
        report: results.json, as read back, to table.md.
        unused: flags that it has no use for.
        draw: writes pictures and pages: (run, results).
        show: results.json to what the terminal shows; the text of table.md if None.
        brief: a unit's rows to lines that the terminal shows when it is done.
        check: raises ValueError for options that cannot be, before data are read.
        resolve: options to those of the run, such as a preset's.
        read: (options, report) to the data.
        units: (options, data) to the units; raises ValueError if one cannot be.
        prepare: (options, data, folder of parts, report) to the bench that units share.
        facts: (options, data) to more "options", "versions" and "notes" of the results.
        notes: sentences that who reads the results must know.
        cells: options that say which units there are, and not what one is: to a folder
            more of these may be added.
        subfolder: options to the last part of results/NAME/DATASET.
    """

    name: str
    about: str
    options: Options
    measure: Callable[..., Any]
    report: Callable[[dict[str, Any]], str]
    unused: tuple[str, ...] = ()
    draw: Callable[["Run", dict[str, Any]], None] | None = None
    show: Callable[[dict[str, Any]], Any] | None = None
    brief: Callable[[Rows], Sequence[str]] = lambda rows: ()
    check: Callable[[Any], None] = lambda options: None
    resolve: Callable[[Any], Any] = lambda options: options
    read: Callable[[Any, Report], Any] = benches.read
    units: Callable[[Any, Any], list[Unit]] = deals.units
    prepare: Callable[[Any, Any, Path, Report], Any] = benches.prepare
    facts: Callable[[Any, Any], dict[str, Any]] = provenance.of_dataset
    notes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ("scenario", "settings", "seeds")
    subfolder: Callable[[Any], str] = lambda options: options.name

    @property
    def makers(self) -> tuple[Callable, ...]:
        """All that the numbers depend on."""
        return self.measure, self.read, self.units, self.prepare


class Run(NamedTuple):
    """A run that can be made: everything about it has been checked.

    Attributes:
        experiment: whose run it is.
        options: of the run.
        folder: where the results go.
        settings: that stand beside the results.
        bench: what all units share.
        units: to be measured.
    """

    experiment: Experiment
    options: Any
    folder: Path
    settings: dict[str, Any]
    bench: Any
    units: list[Unit]
