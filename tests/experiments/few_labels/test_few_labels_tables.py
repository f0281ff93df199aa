"""The tables and the picture show what is in the rows."""

import io

import numpy as np
import pytest
from PIL import Image

from experiments.few_labels import pictures, tables
from experiments.few_labels.classifiers import CLASSIFIERS
from experiments.few_labels.methods import METHODS
from experiments.few_labels.values import (
    MERGED,
    TITLES,
    differences,
    numbers_of,
    values,
)
from experiments.plots import saving
from experiments.readmes import marks

A, C = ("A", "S2_N2"), ("C", "T2")
SPACES = [*METHODS, "chart0", "chart1"]


def made_up(settings=(A, C), seeds=(0, 1), draws=3):
    """Rows of values that are all different; ten classes."""
    rng = np.random.default_rng(0)
    return [
        {
            "scenario": scenario, "setting": setting, "seed": seed, "method": method,
            "width": 4, "classifier": name, "labels": n, "num_labeled": num_labeled,
            "draw": draw, "value": float(rng.uniform(0.2, 0.9)),
        }
        for scenario, setting in settings
        for seed in seeds
        for method in SPACES
        for n, num_labeled in ((1, 10), (3, 30), (None, 4000))
        for name in CLASSIFIERS
        for draw in range(draws if n else 1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return made_up()


def of(rows, **wanted):
    return [r["value"] for r in rows if wanted.items() <= r.items()]


def test_all_labels_stand_at_their_mean_number(rows):
    assert numbers_of(rows) == {1: 1, 3: 3, None: 400}


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_cell_is_the_mean_and_deviation_over_seeds_and_draws(rows, classifier):
    table = tables.accuracies(rows, C, classifier)
    found = of(rows, setting="T2", method="consensus", labels=3, classifier=classifier)
    assert len(found) == 6
    shown = f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"
    assert marks.cell(table, "consensus", "3") == shown
    lines = [line.split(" | ")[0].strip("| ") for line in table.splitlines()]
    assert lines[2:] == list(TITLES.values())


def test_the_best_chart_is_that_of_each_seed_in_hindsight(rows):
    wanted = {"setting": "S2_N2", "labels": 1, "classifier": "ridge"}
    charts = np.array(
        [
            [of(rows, seed=s, method=f"chart{m}", **wanted) for m in (0, 1)]
            for s in (0, 1)
        ]
    )  # seed, chart, draw
    best = [charts[s, charts[s].mean(axis=1).argmax()] for s in (0, 1)]
    found = values(rows, A, "best_chart", 1)
    assert list(found) == [(s, d) for s in (0, 1) for d in range(3)]
    np.testing.assert_allclose([*found.values()], np.ravel(best))
    mean = values(rows, A, "mean_chart", 1)
    np.testing.assert_allclose([*mean.values()], charts.mean(axis=1).ravel())


def test_differences_are_paired_by_seed_and_draw(rows):
    ours, theirs = (values(rows, A, name, 3) for name in ("atlas", "concat"))
    points = 100 * (np.array([*ours.values()]) - np.array([*theirs.values()]))
    np.testing.assert_allclose(differences(ours, theirs), points)
    cell = marks.cell(
        tables.gaps(rows, A), f"{TITLES['atlas']} less {TITLES['concat']}", "3"
    )
    above = (points > 0).sum()
    spread = f"{points.mean():+.1f} ± {points.std(ddof=1):.1f}"
    assert cell == f"{spread}, {above} of 6"


@pytest.mark.parametrize(
    ("row", "names"),
    [("C T2", MERGED), ("C T2, not M D wide", set(MERGED) - set(tables.WIDE))],
)
def test_the_best_merged_space_is_named_with_its_lead(rows, row, names):
    means = {
        name: np.mean(of(rows, setting="T2", method=name, labels=1, classifier="ridge"))
        for name in names
    }
    first, second = sorted(means, key=means.get, reverse=True)[:2]
    ahead = 100 * (means[first] - means[second])
    cell = marks.cell(tables.best(rows), row, "1")
    assert cell == f"{TITLES[first]} ({ahead:+.1f})"
    assert set(MERGED).isdisjoint({"pixels", "end_to_end"})


def test_the_picture_draws_the_means_of_every_space(rows):
    figure = pictures.figure(rows)
    assert [axes.get_title() for axes in figure.axes] == ["A S2_N2", "C T2"]
    for axes, setting in zip(figure.axes, (A, C), strict=True):
        assert axes.get_xscale() == "log"
        drawn = {bars.get_label(): bars.lines[0] for bars in axes.containers}
        assert drawn.keys() == {TITLES[name] for name in pictures.SHOWN}
        for name in pictures.SHOWN:
            x, y = np.array(drawn[TITLES[name]].get_xydata()).T
            wanted = [
                np.mean([*values(rows, setting, name, n).values()])
                for n in (1, 3, None)
            ]
            np.testing.assert_allclose(y, wanted)
            np.testing.assert_allclose(np.log(x / [1, 3, 400]), 0, atol=0.2)
        looks = [(line.get_color(), line.get_marker()) for line in drawn.values()]
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(
    "rows", [made_up((A,), (0,), 1), made_up((A, C, ("B", "P80_20")))]
)
def test_pictures_of_one_setting_or_several_are_saved(rows, tmp_path):
    saving.save(pictures.figure(rows), tmp_path / "a.png")
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image:
        assert image.width == 1200
        assert np.ptp(np.asarray(image.convert("L"))) > 100
