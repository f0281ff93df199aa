"""Three figures that show what is in the rows, of one seed or of several."""

import io

import numpy as np
import pytest
from blind_cells import WIDTH, D, made_up
from PIL import Image

from experiments.blind.methods import CURVES, METHODS
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.report import figures as pictures
from experiments.blind.trust import COVERAGE, DOUBTS
from experiments.plots import saving

DRAW = {
    "width": pictures.width_figure,
    "present": pictures.present_figure,
    "risk": pictures.risk_figure,
}
SETTINGS = (("A", "S1_N1"), ("C", "T2"))


@pytest.fixture(scope="module")
def rows():
    return made_up(SETTINGS)


def lines(figure, panel=0):
    """By label, what is drawn in a panel, (K, 2)."""
    return {
        line.get_label(): np.array(line.get_xydata())
        for line in figure.axes[panel].lines
    }


def mean(rows, **wanted):
    found = [r["value"] for r in rows if wanted.items() <= r.items()]
    assert found
    return np.mean(found)


def test_a_panel_a_setting_with_one_legend(rows):
    for draw in DRAW.values():
        figure = draw(rows)
        assert [axes.get_title() for axes in figure.axes] == ["A S1_N1", "C T2"]
        (legend,) = figure.legends
        shown = [text.get_text() for text in legend.get_texts()]
        assert len(set(shown)) == len(shown)
        # Dashed lines are named by the full ones of their color, and by the axis.
        assert {name.removesuffix(" (charts drawn)") for name in lines(figure)} <= set(
            shown
        )
        assert figure.get_supylabel()


def test_accuracy_against_width_is_the_mean_over_seeds_on_the_test_split(rows):
    figure = pictures.width_figure(rows)
    for panel, (scenario, full) in enumerate((("A", 3 * D), ("C", 2 * D))):
        about = {"scenario": scenario, "probe": "probe", "part": "test"}
        drawn = lines(figure, panel)
        assert drawn.keys() == {
            METHODS[m].title for m in (*CURVES, "mean", "concat", "gcca", "procrustes")
        }
        for name in ("atlas", "evidence"):
            curve = drawn[METHODS[name].title]
            widths = sorted({4, WIDTH, full})
            expected = [mean(rows, method=name, width=w, **about) for w in widths]
            if full > WIDTH:  # else the two are of one width, and one is drawn
                np.testing.assert_allclose(curve, np.stack([widths, expected], axis=1))
        (cross,) = drawn[METHODS["concat"].title]
        assert cross == pytest.approx([full, mean(rows, method="concat", **about)])
        band = [
            r["value"]
            for r in rows
            if (about | {"method": "end_to_end"}).items() <= r.items()
        ]
        box = figure.axes[panel].patches[0].get_bbox()
        spread = np.std(band, ddof=1)
        expected = [np.mean(band) - spread, np.mean(band) + spread]
        np.testing.assert_allclose([box.y0, box.y1], expected)


def test_accuracy_against_charts_is_of_both_probes_and_every_number(rows):
    drawn = lines(pictures.present_figure(rows), panel=0)
    assert len(drawn) == 2 * len(PRESENT)
    for method, title in PRESENT.items():
        for label, learned in ((title, "all"), (f"{title} (charts drawn)", "some")):
            about = {"scenario": "A", "of": "present", "method": method}
            sets = [[[0], [1], [2]], [[0, 1], [0, 2], [1, 2]], [[0, 1, 2]]]
            expected = [
                np.mean(
                    [mean(rows, charts=s, learnt_from=learned, **about) for s in of]
                )
                for of in sets
            ]
            np.testing.assert_array_equal(drawn[label][:, 0], [1, 2, 3])
            np.testing.assert_allclose(drawn[label][:, 1], expected)


def test_risk_is_drawn_at_every_coverage_by_every_doubt(rows):
    drawn = lines(pictures.risk_figure(rows), panel=1)
    mine = [r for r in rows if r["of"] == "trust" and r["scenario"] == "C"]
    assert drawn.keys() == {f"least doubt by {doubt}" for doubt in DOUBTS}
    for doubt in DOUBTS:
        curve = drawn[f"least doubt by {doubt}"]
        expected = np.mean([r["risk"][doubt] for r in mine], axis=0)
        np.testing.assert_allclose(curve, np.stack([COVERAGE, expected], axis=1))


@pytest.mark.parametrize("name", DRAW)
def test_lines_of_a_panel_look_different(rows, name):
    for axes in DRAW[name](rows).axes:
        looks = [
            (line.get_color(), line.get_marker(), line.get_linestyle())
            for line in axes.lines
        ]
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_pictures_of_one_seed_or_several_are_saved(name, seeds, tmp_path):
    three = (*SETTINGS, ("B", "P80_20")) if len(seeds) == 1 else SETTINGS[:1]
    figure = DRAW[name](made_up(three, seeds))
    saving.save(figure, tmp_path / "a.png")
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image:
        assert image.width == 1200
        assert np.ptp(np.asarray(image.convert("L"))) > 100
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == len(three)
