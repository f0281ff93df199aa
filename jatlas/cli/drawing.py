"""Matrices of measures as a heatmap, and as a page to open."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

from jatlas.files.formats.faults import package

PICTURES = (".png", ".svg", ".pdf")

Matrices = Mapping[str, Float[np.ndarray, "M M"]]

# From white to blue, at 0 and at 1; and where a cell is dark enough for white text.
_WHITE, _BLUE, _DARK = np.array([255, 255, 255]), np.array([8, 69, 148]), 0.6
_INCHES = 0.62  # a cell of the picture

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>How alike the spaces are</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; color: #222 }}
table {{ border-collapse: collapse; margin: .5em 0 2em }}
th {{ font-weight: normal; text-align: right; padding: .3em .6em }}
td {{ text-align: center; padding: .5em .7em; border: 1px solid #fff }}
</style>
<h1>How alike the spaces are</h1>
{notes}
{tables}
</html>
"""


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
    details: Mapping[tuple[str, int, int], str],
    notes: Sequence[str],
) -> str:
    """A page of HTML: a table in color a measure.

    `details` is shown where the mouse rests on a pair, by measure and numbers of files.
    """
    tables = [
        f"<h2>{escape(name)}</h2>\n{_table(name, values, names, order, details)}"
        for name, values in matrices.items()
    ]
    lines = [f"<p>{escape(note)}</p>" for note in notes]
    return _PAGE.format(notes="\n".join(lines), tables="\n".join(tables))


def _table(
    measure: str,
    values: Float[np.ndarray, "M M"],
    names: Sequence[str],
    order: Sequence[int],
    details: Mapping[tuple[str, int, int], str],
) -> str:
    head = "".join(f"<th>{escape(names[k])}</th>" for k in order)
    rows = [f"<tr><th></th>{head}</tr>"]
    for i in order:
        cells = [f"<th>{escape(names[i])}</th>"]
        for k in order:
            red, green, blue = _color(values[i, k])
            style = f"background: rgb({red}, {green}, {blue}); color: "
            more = escape(details.get((measure, min(i, k), max(i, k)), ""))
            cells.append(
                f'<td style="{style}{_ink(values[i, k])}" title="{more}">'
                f"{values[i, k]:.3f}</td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _color(value: float) -> list[int]:
    """Red, green and blue of a value; of NaN a light gray."""
    if np.isnan(value):
        return [221, 221, 221]
    share = min(max(value, 0.0), 1.0)
    return np.round(_WHITE + share * (_BLUE - _WHITE)).astype(int).tolist()


def _ink(value: float) -> str:
    """The color of the text on a cell."""
    return "white" if value > _DARK else "black"
