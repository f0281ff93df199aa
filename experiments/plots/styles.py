"""A class's color and shape in every picture.

Grey print will do. The same classes look the same on paper (matplotlib) and on the page
(Plotly).

A search found the colors. No two are nearer than 15 by CIEDE2000, as all cones see them
and as Machado et al. (2009) simulate protanopia, deuteranopia and tritanopia at full
severity. Each has at least 3:1 of contrast with white, as WCAG 2.2 asks of graphics.
"""

from typing import Any, NamedTuple

# The farthest from all before it comes next, so that a few differ most. Their number
# and that of the shapes have no common divisor, so that 110 classes differ in one or
# the other; 110 more are hollow.
COLORS = (
    "#0000DD", "#BB8855", "#000000", "#009999", "#226655",
    "#8866FF", "#334411", "#770066", "#EE3388", "#886611",
)  # fmt: skip
# Classes that are ten apart share a color and have neighboring shapes: none are alike.
_SHAPES = {
    "o": "circle",
    "^": "triangle-up",
    "P": "cross",
    "s": "square",
    "v": "triangle-down",
    "X": "x",
    "D": "diamond",
    "<": "triangle-left",
    "p": "pentagon",
    ">": "triangle-right",
    "*": "star",
}  # matplotlib's names, Plotly's


class Look(NamedTuple):
    """A class's look.

    Attributes:
        color: as "#rrggbb".
        marker: its shape, by matplotlib's name.
        hollow: whether only the outline is drawn.
    """

    color: str
    marker: str
    hollow: bool

    @property
    def symbol(self) -> str:
        """Its shape, by Plotly's name."""
        return _SHAPES[self.marker] + ("-open" if self.hollow else "")

    @property
    def style(self) -> dict[str, Any]:
        """Matplotlib options to draw it, with an outline around it."""
        return {
            "color": self.color,
            "marker": self.marker,
            "markerfacecolor": "white" if self.hollow else self.color,
            "markeredgecolor": self.color if self.hollow else "white",
            "markeredgewidth": 0.7,
        }


def look(number: int) -> Look:
    """The look of a class number; the first 220 differ.

    Example:
        >>> look(0), look(110)
        (Look(color='#0000DD', marker='o', hollow=False),
         Look(color='#0000DD', marker='o', hollow=True))
    """
    pairs = len(COLORS) * len(_SHAPES)
    return Look(
        COLORS[number % len(COLORS)],
        tuple(_SHAPES)[number % len(_SHAPES)],
        number // pairs % 2 == 1,
    )
