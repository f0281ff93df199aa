"""The command that compares files, and what it prints and writes."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.cli.drawing import PICTURES, check_drawing, page, picture
from jatlas.cli.printing import say, say_written
from jatlas.cli.progress import line
from jatlas.files.comparison.comparing import compare_files
from jatlas.files.comparison.results import Comparison, Likeness, short_names
from jatlas.files.formats.places import check_local
from jatlas.files.formats.whole import Fill, check_folder, check_inputs, write_whole
from jatlas.files.reports import table

_ENDINGS = {"out": (".json",), "picture": PICTURES, "page": (".html",)}


def compare(options: argparse.Namespace, reading: dict[str, Any]) -> int:
    """Compare the files, print the measures and write them; the exit code."""
    _check_written(options)
    with line("measures") as show:
        comparison = compare_files(
            options.files,
            measures=options.measures,
            neighbors=options.neighbors,
            samples=options.samples,
            permutations=options.permutations,
            bootstrap=options.bootstrap,
            seed=options.seed,
            say=say,
            progress=show,
            **reading,
        )
    files = range(len(comparison.files))
    order = comparison.order() if options.cluster else list(files)
    samples = _samples(comparison)
    say(samples)
    if len(files) > 2:
        for measure in comparison.measures:
            say(_matrix(comparison, measure, order))
    if len(files) == 2 or options.bootstrap:
        say(_pairs(comparison))
    for reason in comparison.reasons:
        say(reason)
    notes = _notes(comparison, options)
    for note in notes:
        say(note)
    written = _written(options, comparison, order, [samples, *notes])
    write_whole(written)
    return say_written(list(written)) if written else 0


def _check_written(options: argparse.Namespace) -> None:
    """Raise an error if a file cannot be written."""
    for name, endings in _ENDINGS.items():
        given = getattr(options, name)
        if given is None:
            continue
        check_local(given)
        path = Path(given)
        if path.suffix.lower() not in endings:
            raise ValueError(f"--{name} {path} must end in {' or '.join(endings)}.")
        check_inputs([path], options.files)
        check_folder(path)
    if options.picture is not None:
        check_drawing()


def _samples(comparison: Comparison) -> str:
    """How many samples there are, and were compared."""
    many = len(comparison.files)
    if many == 2:
        return (
            f"{comparison.common} samples in common, {comparison.compared} of them "
            "compared"
        )
    return (
        f"{comparison.common} samples in all {many} files, {comparison.compared} of "
        "them compared, the same for all pairs"
    )


def _matrix(comparison: Comparison, measure: str, order: Sequence[int]) -> str:
    """The values of a measure, files by files."""
    names = short_names(comparison.files)
    values = comparison.matrix(measure)
    rows = [[measure, *(names[k] for k in order)]]
    rows += [[names[i], *(f"{values[i, k]:.3f}" for k in order)] for i in order]
    return table(rows, 0)


def _pairs(comparison: Comparison) -> str:
    """All figures of the measures, a pair a row."""
    names = short_names(comparison.files)
    two, likenesses = len(names) == 2, comparison.likenesses
    head = ["measure", *([] if two else ["files"]), "value", "by chance", "p"]
    if likenesses[0].interval is not None:
        head.append("95 %")
    rows = [head]
    for one in likenesses:
        pair = [] if two else [" ".join(names[k] for k in one.files)]
        rows.append([one.measure, *pair, *_figures(one)])
    return table(rows, 0)


def _figures(one: Likeness) -> list[str]:
    """The value, by chance, p, and the interval if there is one."""
    cells = [f"{x:.3f}" for x in (one.value, one.chance, one.p_value)]
    if one.interval is not None:
        cells.append("{:.3f} to {:.3f}".format(*one.interval))
    return cells


def _notes(comparison: Comparison, options: argparse.Namespace) -> list[str]:
    """What p and the intervals are."""
    notes = [f"p: a permutation test of {options.permutations} random pairings"]
    if len(comparison.files) > 2:
        largest = max(comparison.likenesses, key=lambda one: np.nan_to_num(one.p_value))
        names = short_names(comparison.files)
        pair = " and ".join(names[k] for k in largest.files)
        notes[0] += (
            f", of each pair; the largest is {largest.p_value:.3f}, {largest.measure} "
            f"of {pair}"
        )
    if options.bootstrap:
        notes.append(f"95 %: intervals from {options.bootstrap} random halves")
    return notes


def _written(
    options: argparse.Namespace,
    comparison: Comparison,
    order: Sequence[int],
    notes: Sequence[str],
) -> dict[Path, Fill]:
    """What fills the files that were asked for, by their paths."""
    names = short_names(comparison.files)
    matrices = {name: comparison.matrix(name) for name in comparison.measures}
    written: dict[Path, Fill] = {}
    if options.out is not None:
        draws = ("seed", "permutations", "bootstrap", "neighbors")
        numbers = comparison.numbers() | {"order": list(order)}
        numbers |= {name: getattr(options, name) for name in draws}
        text = json.dumps(numbers, indent=1) + "\n"
        written[Path(options.out)] = lambda stream: stream.write(text.encode())
    if options.picture is not None:
        kind = Path(options.picture).suffix[1:].lower()
        drawn = picture(matrices, names, order)
        written[Path(options.picture)] = lambda stream: drawn.savefig(
            stream, format=kind, bbox_inches="tight"
        )
    if options.page is not None:
        details = {
            (one.measure, *one.files): _figures(one) for one in comparison.likenesses
        }
        html = page(matrices, names, order, details, [*comparison.reasons, *notes])
        written[Path(options.page)] = lambda stream: stream.write(html.encode())
    return written
