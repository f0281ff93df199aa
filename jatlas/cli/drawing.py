"""Matrices of measures as a heatmap, and as a page to open."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

from jatlas.files.formats.faults import package

PICTURES = (".png", ".svg", ".pdf")

Matrices = Mapping[str, Float[np.ndarray, "M M"]]

# From white to blue, at 0 and at 1.
_WHITE, _BLUE = np.array([255, 255, 255]), np.array([8, 69, 148])
_LIGHT = 0.179  # the luminance at which white text and black text stand out alike
_INCHES = 0.62  # a cell of the picture

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>How alike the spaces are</title>
<style>
:root {{ color-scheme: light dark; --ground: #fff; --ink: #222; --line: #767676 }}
@media (prefers-color-scheme: dark) {{
:root {{ --ground: #181a1b; --ink: #e8e6e3; --line: #8a9094 }}
}}
@media print {{ :root {{ color-scheme: light; --ground: #fff; --ink: #000 }} }}
body {{ font: 15px/1.4 sans-serif; margin: 1rem auto; padding: 0 1rem; max-width: 76rem;
  color: var(--ink); background: var(--ground); overflow-wrap: break-word }}
p {{ max-width: 48rem }}
.scroll {{ overflow-x: auto; margin: .5em 0 2em }}
.scroll:focus-visible {{ outline: 2px solid var(--line); outline-offset: 2px }}
table {{ border-collapse: collapse }}
th {{ font-weight: normal; text-align: right; padding: .3em .6em;
  overflow-wrap: anywhere }}
thead th {{ min-width: 4.5rem; vertical-align: bottom }}
tbody th {{ position: sticky; left: 0; min-width: min(14rem, 32vw); max-width: 40vw;
  background: var(--ground) }}
td {{ text-align: center; padding: .5em .7em; border: 1px solid var(--ground) }}
.figures td {{ border-color: var(--line) }}
@media print {{
.scroll {{ overflow: visible }}
td {{ print-color-adjust: exact; -webkit-print-color-adjust: exact }}
}}
</style>
</head>
<body>
<main>
<h1>How alike the spaces are</h1>
{notes}
{tables}
</main>
</body>
</html>
"""
_FIGURES = ("value", "by chance", "p", "95 %")  # a pair's, as many as it has


def check_drawing() -> None:
    """Raise ImportError if pictures cannot be made."""
    package("matplotlib.figure", "--picture", extra="plots")


def picture(matrices: Matrices, names: Sequence[str], order: Sequence[int]) -> Any:
    """A figure of Matplotlib: a heatmap a measure, with numbers."""
    figures = package("matplotlib.figure", "--picture", extra="plots")
    size = 1.4 + _INCHES * len(order) + 0.07 * max(map(len, names))
    figure = figures.Figure(
        figsize=(size * len(matrices), size), layout="constrained", dpi=150
    )
    shown = [names[m] for m in order]
    for number, (measure, values) in enumerate(matrices.items(), start=1):
        axes = figure.add_subplot(1, len(matrices), number)
        ordered = values[np.ix_(order, order)]
        colors = [[_color(value) for value in row] for row in ordered]
        axes.imshow(np.array(colors) / 255)
        for i, j in np.ndindex(ordered.shape):
            value = float(ordered[i, j])
            text = {"color": _ink(value), "fontsize": 9, "ha": "center", "va": "center"}
            axes.text(j, i, f"{value:.2f}", **text)
        axes.set_xticks(range(len(shown)), shown, rotation=45, ha="right")
        axes.set_yticks(range(len(shown)), shown)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(measure)
    return figure


def page(
    matrices: Matrices,
    names: Sequence[str],
    order: Sequence[int],
    details: Mapping[tuple[str, int, int], Sequence[str]],
    notes: Sequence[str],
) -> str:
    """A page of HTML: a colored table a measure, and its figures.

    `details` are the figures of each pair, by measure and numbers of files: value, by
    chance, p, and the interval if there is one. They also stand where the mouse rests.
    """
    parts = []
    for name, values in matrices.items():
        pairs = {k[1:]: cells for k, cells in details.items() if k[0] == name}
        parts.append(f"<h2>{escape(name)}</h2>")
        parts.append(_table(name, values, names, order, pairs))
        if pairs:
            parts.append(_figures(name, names, pairs))
    lines = [f"<p>{escape(note)}</p>" for note in notes]
    return _PAGE.format(notes="\n".join(lines), tables="\n".join(parts))


Pairs = Mapping[tuple[int, int], Sequence[str]]


def _table(
    measure: str,
    values: Float[np.ndarray, "M M"],
    names: Sequence[str],
    order: Sequence[int],
    pairs: Pairs,
) -> str:
    """The matrix, each cell in its color."""
    body = []
    for i in order:
        cells = [_heading(names[i], "row")]
        for k in order:
            red, green, blue = _color(values[i, k])
            style = f"background: rgb({red}, {green}, {blue}); color: "
            figures = pairs.get((min(i, k), max(i, k)), ())
            more = ", ".join(map(" ".join, zip(_FIGURES, figures, strict=False)))
            cells.append(
                f'<td style="{style}{_ink(values[i, k])}" title="{escape(more)}">'
                f"{values[i, k]:.3f}</td>"
            )
        body.append(cells)
    return _scrolling(f"{measure} of all pairs", ["", *(names[k] for k in order)], body)


def _figures(measure: str, names: Sequence[str], pairs: Pairs) -> str:
    """What a matrix has no room for, a pair a row."""
    width = max(map(len, pairs.values()))
    body = [
        [
            _heading(" and ".join(names[k] for k in pair), "row"),
            *(f"<td>{escape(cell)}</td>" for cell in cells),
        ]
        for pair, cells in pairs.items()
    ]
    table = _scrolling(
        f"Figures of {measure}", ["files", *_FIGURES[:width]], body, "figures"
    )
    title = f"By chance and p, {escape(measure)}"
    return f"<details><summary>{title}</summary>\n{table}\n</details>"


def _scrolling(
    name: str, head: Sequence[str], body: Sequence[Sequence[str]], kind: str = "matrix"
) -> str:
    """A table that scrolls in its box, by keyboard too."""
    first, *columns = head
    corner = _heading(first, "col") if first else "<td></td>"
    heads = "".join(_heading(column, "col") for column in columns)
    rows = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in body)
    name = escape(name)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">\n'
        f'<table class="{kind}" aria-label="{name}">\n'
        f"<thead><tr>{corner}{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table>\n</div>"
    )


def _heading(name: str, scope: str) -> str:
    return f'<th scope="{scope}">{escape(name)}</th>'


def _color(value: float) -> list[int]:
    """Red, green and blue of a value; of NaN a light gray."""
    if np.isnan(value):
        return [221, 221, 221]
    share = min(max(value, 0.0), 1.0)
    return np.round(_WHITE + share * (_BLUE - _WHITE)).astype(int).tolist()


def _ink(value: float) -> str:
    """The color of a cell's text that stands out more."""
    c = np.array(_color(value)) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ [0.2126, 0.7152, 0.0722] > _LIGHT else "white"
