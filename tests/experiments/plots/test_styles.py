"""No two classes look the same, on paper and on the page."""

from experiments.plots.styles import look


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
