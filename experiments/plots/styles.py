"""A class's color and shape in every picture.

Grey print will do. The same classes look the same on paper (matplotlib) and on the page
(Plotly).
"""

from typing import Any, NamedTuple

# Tol's muted colors and black, which people who do not see colors alike can tell
# apart. Their number and that of the shapes have no common divisor, so that 110 classes
# differ in one or the other; 110 more are hollow.
_COLOURS = (
    "#999933", "#CC6677", "#117733", "#88CCEE", "#882255",
    "#332288", "#000000", "#44AA99", "#AA4499", "#DDCC77",
)  # fmt: skip
_SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
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
        (Look(color='#999933', marker='o', hollow=False),
         Look(color='#999933', marker='o', hollow=True))
    """
    pairs = len(_COLOURS) * len(_SHAPES)
    return Look(
        _COLOURS[number % len(_COLOURS)],
        tuple(_SHAPES)[number % len(_SHAPES)],
        number // pairs % 2 == 1,
    )
