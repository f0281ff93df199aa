"""The pictures of distances show the distances, and class means where they are."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from test_figures import CLASS_NAMES, some_arrays

from experiments.paper.plots import distances, figures

TITLES = list(figures.DRAWN.values())


def test_histograms_are_of_all_pairs_on_the_same_axes():
    arrays = some_arrays()
    labels = arrays["labels"]
    figure = distances.distances_figure(arrays, CLASS_NAMES, "digits")
    assert figure.get_suptitle() == "digits\nDistances of pairs of samples"
    assert [axes.get_title() for axes in figure.axes] == TITLES
    first, second = np.triu_indices(labels.size, 1)
    same = labels[first] == labels[second]
    highest = max(pdist(arrays[name]).max() for name in figures.DRAWN)
    for axes, name in zip(figure.axes, figures.DRAWN, strict=True):
        found = pdist(arrays[name].astype(np.float64))
        for chosen, heights in ((same, surface(axes)), (~same, line(axes))):
            expected, _ = np.histogram(found[chosen], 60, (0, highest), density=True)
            # A distance may fall on the other side of an edge, by rounding.
            np.testing.assert_allclose(heights, expected, atol=0.02 * expected.max())
        assert axes.get_xlim() == figure.axes[0].get_xlim()
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "two samples of one class",
        "samples of two classes",
    ]


def surface(axes):
    return [p.get_height() for p in axes.patches if hasattr(p, "get_height")]


def line(axes):
    (outline,) = (p for p in axes.patches if not hasattr(p, "get_height"))
    return outline.get_xy()[1:-1:2, 1]


def test_class_means_are_on_shared_axes_with_a_line_from_end_to_end():
    arrays = some_arrays()
    figure = distances.class_means_figure(arrays, CLASS_NAMES, "digits")
    assert [axes.get_title() for axes in figure.axes] == TITLES
    means = {
        name: np.stack(
            [arrays[name][arrays["labels"] == c].mean(axis=0) for c in range(10)]
        )
        for name in figures.DRAWN
    }
    lines = {axes.get_title(): axes.lines for axes in figure.axes}
    rows = np.concatenate(list(means.values())).astype(np.float64)
    centre = rows.mean(axis=0)
    _, _, loadings = np.linalg.svd(rows - centre, full_matrices=False)
    flat = {n: np.abs((m - centre) @ loadings[:2].T) for n, m in means.items()}
    for title, name in zip(TITLES, figures.DRAWN, strict=True):
        points = np.array([p.get_xydata()[0] for p in lines[title][1::2]])
        ways = np.array([p.get_xydata() for p in lines[title][::2]])
        np.testing.assert_allclose(np.abs(points), flat[name], atol=1e-5)
        np.testing.assert_allclose(ways[:, 1], points)
        np.testing.assert_allclose(
            np.abs(ways[:, 0]), flat["both/original_rel"], atol=1e-5
        )
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(CLASS_NAMES)


@pytest.mark.parametrize(
    "draw", [distances.distances_figure, distances.class_means_figure]
)
def test_a_space_that_is_missing_is_refused(draw):
    arrays = some_arrays()
    del arrays["blind/merged"]
    with pytest.raises(ValueError, match=r"arrays lack \['blind/merged'\]"):
        draw(arrays, CLASS_NAMES, "")


def test_one_class_or_one_sample_of_each_can_be_drawn():
    one, each = some_arrays(20, 1), some_arrays(10, 10)
    for arrays in (one, each):
        figure = distances.distances_figure(arrays, CLASS_NAMES, "")
        assert len(figure.axes) == 3
