"""Merged spaces blind: `python -m experiments.blind`.

The question of the paper without its oracle: every chart embeds every sample, and of a
test sample nothing is known. Spaces of one width, whatever the number of charts, are
measured against the end-to-end chart's, the mean, the concatenation and others. On the
embedded data and 2 cores about a minute a setting and seed. What was tried and what
came of it is in BLIND.md.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import sys
from functools import partial

import tyro
from rich.console import Console

from experiments.blind import pictures, tables
from experiments.blind.job import Blind, check, options, part, unit
from experiments.encoders.chart_kinds import KINDS
from experiments.paper.plots import figures
from experiments.runs import runner, storage, terminal


def main(blind: Blind) -> None:
    """The whole run, as the command makes it."""
    widths = (blind.width, *blind.widths)
    if min(widths) < 2 or len(set(widths)) < len(widths):
        sys.exit(f"error: --width and --widths must be different, 2 or more: {widths}")
    if blind.charts not in KINDS:
        sys.exit(f"error: --charts is one of {', '.join(KINDS)}; got {blind.charts}")
    if blind.num_held_out < max(widths):
        sys.exit(
            f"error: --num-held-out {blind.num_held_out} leaves too few samples for a "
            f"space {max(widths)} wide; hold out as many or more"
        )
    told = options(blind)
    console = Console(highlight=False, soft_wrap=True)
    runner.keep_compiled()
    with terminal.endings(console):
        plan = runner.planned(
            told, console, check=partial(check, blind), widths=list(widths)
        )
        rows = runner.rows_of(plan, console, part, partial(unit, blind))
        file = told.folder / "blind.json"
        storage.write_json(file, {"settings": plan.settings, "rows": rows})
        written = storage.read_json(file)
        text = tables.text(written["settings"], written["rows"])
        storage.write_text(told.folder / "blind.md", text)
        drawn = {
            "width": pictures.width_figure,
            "present": pictures.present_figure,
            "risk": pictures.risk_figure,
        }
        for name, figure in drawn.items():
            figures.save(figure(written["rows"]), told.folder / f"{name}.png")
    console.print(text, markup=False)


if __name__ == "__main__":
    main(tyro.cli(Blind, prog="python -m experiments.blind"))
