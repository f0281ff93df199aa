"""No two classes look the same, on paper and on the page, whatever colors one sees."""

import numpy as np
import pytest
from color_vision import ciede2000, contrast, nearest

from experiments.continual import curves
from experiments.paper.plots import accuracies, distances
from experiments.plots.styles import COLORS, look


def test_two_hundred_and_twenty_classes_all_look_different():
    looks = [look(c) for c in range(220)]
    assert len(set(looks)) == 220
    assert len({(a.color, a.symbol) for a in looks}) == 220
    assert look(220) == look(0)


def test_ten_classes_differ_in_colour_and_in_shape_and_a_hollow_one_in_its_face():
    looks = [look(c) for c in range(10)]
    assert len({a.color for a in looks}) == len({a.marker for a in looks}) == 10
    filled, hollow = look(0).style, look(110).style
    assert filled["markerfacecolor"] == filled["color"] == hollow["markeredgecolor"]
    assert hollow["markerfacecolor"] == "white"


# To readers who see colors differently


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_distances_of_colors_are_the_published_ones(one, two, distance):
    """Of the test data of Sharma, Wu and Dalal (2005)."""
    assert ciede2000(np.array(one), np.array(two)) == pytest.approx(distance, abs=1e-4)


PALETTES = {
    "classes": COLORS,
    "protocols": [*accuracies.COLORS.values()],
    "distances": [distances.EDGE, distances.OTHER],
    "tasks": [*{line.color for line in curves.LINES.values()}],
}


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_colors_used_together_differ_to_readers_of_every_color_vision(palette):
    assert min(nearest(palette).values()) >= 15


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_every_color_stands_out_from_white_paper(palette):
    assert min(contrast(color, "#ffffff") for color in palette) >= 3


def test_names_in_the_color_of_their_protocol_are_dark_enough_to_read():
    assert min(contrast(c, "#ffffff") for c in accuracies.COLORS.values()) >= 4.5


def test_lines_of_one_color_differ_in_marker_and_in_dashes():
    lines = curves.LINES.values()
    assert len({(line.color, line.marker) for line in lines}) == len(lines)
    assert len({(line.color, line.dashes) for line in lines}) == len(lines)


def test_of_twenty_classes_two_of_one_color_have_shapes_of_different_kinds():
    kinds = ("^v<>", "PX", "op", "sD")
    for c in range(10):
        one, two = look(c), look(c + 10)
        assert one.color == two.color
        assert one.marker != two.marker
        assert not any({one.marker, two.marker} <= set(kind) for kind in kinds)
