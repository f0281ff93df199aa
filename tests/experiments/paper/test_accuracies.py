import numpy as np
import pytest
from matplotlib.colors import to_rgba

from experiments.paper.plots.accuracies import accuracy_figure

TITLES = {("A", "S4_N2"): "4 classes shared", ("C", "T2"): "2 disjoint tasks"}
MEANS = {
    ("oracle", "original_abs"): 0.86,
    ("blind", "original_abs"): 0.86,
    ("oracle", "original_rel"): 0.84,
    ("blind", "original_rel"): 0.84,
    ("oracle", "jumble_abs"): 0.93,
    ("oracle", "merged"): 0.95,
    ("oracle", "original_abs_task"): 0.96,
    ("blind", "mean_abs"): 0.845,
    ("blind", "concat_abs"): 0.85,
    ("blind", "merged"): 0.82,
}
# From top to bottom; a heading has no value.
ORDER = [
    ("end-to-end", 86.0),
    ("end-to-end, relative", 84.0),
    ("oracle (task known)", None),
    ("naive merge", 93.0),
    ("atlas", 95.0),
    ("end-to-end + task known", 96.0),
    ("blind (task not known)", None),
    ("mean of embeddings", 84.5),
    ("concatenation", 85.0),
    ("atlas", 82.0),
]


def some_rows(seeds=(0, 1, 2), titles=TITLES) -> list[dict]:
    """Rows whose means over three seeds are MEANS, and rows of another metric."""
    return [
        {
            "scenario": scenario,
            "setting": setting,
            "protocol": protocol,
            "space": space,
            "metric": metric,
            "seed": seed,
            "value": mean + 0.01 * (seed - 1) if metric == "accuracy" else 0.1,
        }
        for scenario, setting in titles
        for (protocol, space), mean in MEANS.items()
        for seed in seeds
        for metric in ("accuracy", "cka")
    ]


def names_beside(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def bars(axes) -> dict[float, tuple[float, float]]:
    """By the line they stand on: where bars start and where they end."""
    boxes = [patch.get_bbox() for container in axes.containers for patch in container]
    return {box.y0 + 0.35: (box.x0, box.x1) for box in boxes}


def dots(axes) -> dict[float, list[float]]:
    """By the line they stand on: where dots stand."""
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    return {float(line.get_ydata()[0]): sorted(line.get_xdata()) for line in lines}


def numbers(axes) -> dict[float, str]:
    return {text.xy[1]: text.get_text() for text in axes.texts}


def test_bars_go_from_end_to_end_to_the_mean_over_seeds():
    figure = accuracy_figure(some_rows(), TITLES)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        found = bars(axes)
        assert sorted(found) == pytest.approx([0, 1, 3, 4, 5, 7, 8, 9])
        for y, (_, mean) in enumerate(ORDER):
            if mean is not None:
                box = found[min(found, key=lambda place: abs(place - y))]
                np.testing.assert_allclose(sorted(box), sorted((86.0, mean)), atol=1e-9)


def test_each_seed_is_a_dot():
    axes = accuracy_figure(some_rows(), TITLES).axes[0]
    expected = {
        float(y): pytest.approx([mean - 1, mean, mean + 1])
        for y, (_, mean) in enumerate(ORDER)
        if mean is not None
    }
    assert dots(axes) == expected


def test_lines_are_named_for_people_and_protocols_stand_apart():
    axes = accuracy_figure(some_rows(), TITLES).axes[0]
    assert names_beside(axes) == [name for name, _ in ORDER]
    first, last = axes.get_ylim()
    assert first > last  # the first line is on top
    hatches, colors = [], []
    for container in axes.containers:
        (patch,) = container
        hatches.append(patch.get_hatch() or "")
        colors.append(patch.get_facecolor()[:3])
    assert hatches == [""] * 5 + ["////"] * 3
    assert colors[2:5] == [to_rgba("#0072B2")[:3]] * 3
    assert colors[5:] == [to_rgba("#B34700")[:3]] * 3


def test_numbers_are_points_from_end_to_end_which_has_its_own_accuracy():
    axes = accuracy_figure(some_rows(), TITLES).axes[0]
    assert numbers(axes) == {
        0: "86.0 %",
        1: "−2.0",  # noqa: RUF001  (a minus sign)
        3: "+7.0",
        4: "+9.0",
        5: "+10.0",
        7: "−1.5",  # noqa: RUF001
        8: "−1.0",  # noqa: RUF001
        9: "−4.0",  # noqa: RUF001
    }


def test_the_axis_says_where_it_starts_and_holds_every_dot_and_bar():
    figure = accuracy_figure(some_rows(), TITLES)
    low, high = figure.axes[0].get_xlim()
    assert f"the axis starts at {low:.0f})" in figure.get_supxlabel()
    assert low < 81
    assert high > 97
    assert all(axes.get_xlim() == (low, high) for axes in figure.axes)
    assert max(figure.axes[0].get_xticks()) <= 100


def test_panels_are_the_settings_that_have_rows_in_the_order_of_the_titles():
    titles = {("C", "T2"): "cut in 2", ("B", "P80_20"): "dealt", **TITLES}
    figure = accuracy_figure(some_rows(), titles)
    found = [axes.get_title(loc="left") for axes in figure.axes]
    assert found == ["C: 2 disjoint tasks", "A: 4 classes shared"]


def test_five_settings_are_drawn_on_two_rows_of_panels():
    titles = {("A", f"S{i}"): f"{i} shared" for i in range(5)}
    figure = accuracy_figure(some_rows(titles=titles), titles)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == [
        f"A: {i} shared" for i in range(5)
    ]
    assert len({axes.get_subplotspec().rowspan.start for axes in shown}) == 2


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_row_without_a_value_is_left_out(nothing):
    rows = some_rows()
    for r in rows:
        if r["space"] == "jumble_abs" and r["seed"] > 0:
            r["value"] = nothing
        if r["space"] == "concat_abs":
            r["value"] = nothing
    axes = accuracy_figure(rows, TITLES).axes[0]
    assert "concatenation" not in names_beside(axes)
    assert dots(axes)[3] == pytest.approx([92.0])
    assert numbers(axes)[3] == "+6.0"


def test_without_end_to_end_the_numbers_are_accuracies_and_there_are_no_bars():
    rows = [r for r in some_rows() if r["space"] == "merged"]
    axes = accuracy_figure(rows, TITLES).axes[0]
    assert bars(axes) == {}
    assert numbers(axes) == {1: "95.0 %", 3: "82.0 %"}


def test_a_space_without_a_name_for_people_keeps_its_own():
    rows = [*some_rows(), some_rows()[-2] | {"space": "nystroem"}]
    axes = accuracy_figure(rows, TITLES).axes[0]
    assert names_beside(axes)[-1] == "nystroem"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [r for r in some_rows() if r["metric"] == "cka"],
        [r | {"value": None} for r in some_rows()],
        some_rows(titles={("B", "P80_20"): ""}),
    ],
    ids=["no rows", "other metric", "no value", "other setting"],
)
def test_no_accuracy_to_draw_is_said(rows):
    with pytest.raises(ValueError, match="there is no accuracy to draw: of"):
        accuracy_figure(rows, TITLES)
