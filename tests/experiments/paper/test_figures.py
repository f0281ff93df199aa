from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from experiments.paper.plots import figures
from experiments.plots import saving

CLASS_NAMES = tuple(f"class {c}" for c in range(10))


def some_arrays(num_samples=200, num_classes=10, num_anchors=16) -> dict:
    """Three spaces of classes that lie apart, and labels in no order."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_samples) % num_classes
    rng.shuffle(labels)
    arrays = {"labels": labels}
    for name in ("both/original_rel", "oracle/merged", "blind/merged"):
        means = rng.normal(size=(num_classes, num_anchors))
        noise = 0.1 * rng.normal(size=(num_samples, num_anchors))
        arrays[name] = (means[labels] + noise).astype(np.float32)
    return arrays


def test_spaces_are_three_panels_with_one_legend_of_all_classes():
    figure = figures.spaces_figure(some_arrays(), CLASS_NAMES, "digits, A")
    assert figure.get_suptitle() == "digits, A"
    assert [axes.get_title() for axes in figure.axes] == [
        "end-to-end, relative",
        "atlas, oracle (task known)",
        "atlas, blind (task not known)",
    ]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(CLASS_NAMES)
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_a_panel_holds_every_sample_and_the_class_means_on_its_principal_axes():
    arrays = some_arrays()
    labels = arrays["labels"]
    axes = figures.spaces_figure(arrays, CLASS_NAMES, "").axes[1]
    x = arrays["oracle/merged"].astype(np.float64)
    x -= x.mean(axis=0)
    _, singular, loadings = np.linalg.svd(x, full_matrices=False)
    loadings = loadings[:2]
    turned = np.sign([row[np.abs(row).argmax()] for row in loadings])
    points = x @ (loadings * turned[:, None]).T
    small = [line for line in axes.lines if line.get_markersize() < 5]
    large = [line for line in axes.lines if line.get_markersize() > 5]
    drawn = np.concatenate([line.get_xydata() for line in small])
    np.testing.assert_allclose(
        drawn[np.lexsort(drawn.T)], points[np.lexsort(points.T)], atol=1e-8
    )
    for c, line in enumerate(large):
        np.testing.assert_allclose(
            line.get_xydata()[0], points[labels == c].mean(axis=0), atol=1e-8
        )
    assert len(large) == 10
    shares = np.square(singular) / np.square(singular).sum()
    assert axes.get_xlabel() == f"PC 1 ({shares[0]:.0%} of variance)"
    assert axes.get_ylabel() == f"PC 2 ({shares[1]:.0%} of variance)"


def test_a_class_looks_alike_in_panels_and_legend_and_no_two_do():
    figure = figures.spaces_figure(some_arrays(), CLASS_NAMES, "")
    (legend,) = figure.legends

    def look(line) -> tuple:
        return line.get_color(), line.get_marker()

    in_legend = [look(line) for line in legend.legend_handles]
    assert len({color for color, _ in in_legend}) == 10
    assert len({marker for _, marker in in_legend}) == 10
    for axes in figure.axes:
        means = [line for line in axes.lines if line.get_markersize() > 5]
        assert [look(line) for line in means] == in_legend


def test_a_hundred_classes_all_look_different():
    names = [f"class {c}" for c in range(100)]
    figure = figures.spaces_figure(some_arrays(300, 100), names, "")
    handles = figure.legends[0].legend_handles
    assert len({(h.get_color(), h.get_marker()) for h in handles}) == 100


def test_the_legend_fits_into_the_picture_however_many_classes():
    for names in (CLASS_NAMES, [f"a class of number {c}" for c in range(100)]):
        arrays = some_arrays(300, len(names))
        figure = figures.spaces_figure(arrays, names, "")
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0


def test_many_samples_are_thinned_out():
    arrays = some_arrays(num_samples=3500)
    axes = figures.spaces_figure(arrays, CLASS_NAMES, "").axes[0]
    small = [line for line in axes.lines if line.get_markersize() < 5]
    assert sum(len(line.get_xdata()) for line in small) == 3000


def test_shared_axes_are_those_of_all_rows_with_the_same_limits():
    arrays = some_arrays()
    figure = figures.spaces_figure(arrays, CLASS_NAMES, "digits", "shared")
    assert figure.get_suptitle() == "digits\nPCA, on axes shared by all"
    rows = np.concatenate([arrays[name] for name in figures.DRAWN]).astype(np.float64)
    centre = rows.mean(axis=0)
    _, _, loadings = np.linalg.svd(rows - centre, full_matrices=False)
    for axes, name in zip(figure.axes, figures.DRAWN, strict=True):
        small = [line for line in axes.lines if line.get_markersize() < 5]
        drawn = np.concatenate([line.get_xydata() for line in small])
        points = (arrays[name] - centre) @ loadings[:2].T
        np.testing.assert_allclose(
            np.sort(np.abs(drawn), axis=0), np.sort(np.abs(points), axis=0), atol=1e-5
        )
        assert axes.get_xlim() == figure.axes[0].get_xlim()
        assert axes.get_ylim() == figure.axes[0].get_ylim()


def test_tsne_is_of_some_of_each_class_and_is_not_made_twice(monkeypatch):
    monkeypatch.setattr(figures, "MOST_TSNE", 60)
    arrays = figures.with_tsne(some_arrays(), CLASS_NAMES)
    for name in figures.DRAWN:
        there = np.isfinite(arrays[f"tsne/{name}"]).all(axis=1)
        assert np.bincount(arrays["labels"][there]).tolist() == [8] * 10
    monkeypatch.setattr(figures, "with_tsne", None)
    figure = figures.spaces_figure(arrays, CLASS_NAMES, "digits", "tsne")
    assert figure.get_suptitle() == "digits\nt-SNE of 80 of 200 samples"
    for axes, name in zip(figure.axes, figures.DRAWN, strict=True):
        small = [line for line in axes.lines if line.get_markersize() < 5]
        drawn = np.concatenate([line.get_xydata() for line in small])
        points = arrays[f"tsne/{name}"][there]
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))


def test_self_similarity_is_of_cosines_sorted_by_class_on_one_scale():
    arrays = some_arrays()
    figure = figures.self_similarity_figure(arrays, CLASS_NAMES, "digits, A")
    assert figure.get_suptitle() == "digits, A"
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == [
        "end-to-end, relative",
        "atlas, oracle (task known)",
        "atlas, blind (task not known)",
    ]
    assert bar.get_ylabel() == "cosine of two samples"
    order = np.argsort(arrays["labels"], kind="stable")
    lowest = []
    for axes, name in zip(panels, figures.DRAWN, strict=True):
        rows = arrays[name][order].astype(np.float64)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        shown = np.asarray(axes.images[0].get_array())
        np.testing.assert_allclose(shown, unit @ unit.T, atol=1e-5)
        lowest.append(shown.min())
    for axes in panels:
        assert axes.images[0].get_clim() == (pytest.approx(min(lowest)), 1.0)


def test_class_names_stand_at_the_middle_of_their_blocks():
    axes = figures.self_similarity_figure(some_arrays(), CLASS_NAMES, "").axes[0]
    np.testing.assert_allclose(axes.get_xticks(), 9.5 + 20 * np.arange(10))
    np.testing.assert_allclose(axes.get_yticks(), axes.get_xticks())
    assert [t.get_text() for t in axes.get_xticklabels()] == list(CLASS_NAMES)


def test_a_self_similarity_map_has_300_evenly_spaced_rows_and_20_names_at_most():
    names = [f"class {c}" for c in range(100)]
    axes = figures.self_similarity_figure(some_arrays(1000, 100), names, "").axes[0]
    assert axes.images[0].get_array().shape == (300, 300)
    shown = [t.get_text() for t in axes.get_xticklabels()]
    assert shown == [f"class {c}" for c in range(0, 100, 5)]
    np.testing.assert_allclose(axes.get_xticks(), 1 + 15 * np.arange(20), atol=1)


def test_a_class_without_samples_has_no_block():
    arrays = some_arrays(num_classes=9)
    axes = figures.self_similarity_figure(arrays, CLASS_NAMES, "").axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == list(CLASS_NAMES[:9])


def test_a_row_of_zeros_has_cosine_zero():
    arrays = some_arrays()
    first = np.flatnonzero(arrays["labels"] == 0)[0]
    arrays["blind/merged"][first] = 0
    axes = figures.self_similarity_figure(arrays, CLASS_NAMES, "").axes[2]
    assert not np.asarray(axes.images[0].get_array())[0].any()


@pytest.mark.parametrize(
    "draw", [figures.spaces_figure, figures.self_similarity_figure]
)
def test_samples_without_coordinates_are_left_out_of_all_panels_and_counted(draw):
    holed, dropped = some_arrays(), some_arrays()
    holed["oracle/merged"][3] = np.nan
    holed["blind/merged"][7, 0] = np.inf
    kept = ~np.isin(np.arange(200), [3, 7])
    dropped = {name: array[kept] for name, array in dropped.items()}
    with_holes = draw(holed, CLASS_NAMES, "digits")
    without = draw(dropped, CLASS_NAMES, "digits")
    assert with_holes.get_suptitle() == (
        "digits\n(2 of 200 samples left out: no coordinates)"
    )
    for a, b in zip(with_holes.axes, without.axes, strict=True):
        for one, other in zip(a.lines, b.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())
        for one, other in zip(a.images, b.images, strict=True):
            np.testing.assert_array_equal(one.get_array(), other.get_array())


@pytest.mark.parametrize(
    "draw", [figures.spaces_figure, figures.self_similarity_figure]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("blind/merged"), r"arrays lack \['blind/merged'\]"),
        (
            lambda a: a.update(labels=a["labels"][:5]),
            r"same samples; got .*'labels': 5",
        ),
        (lambda a: a.update(labels=a["labels"] + 1), r"in 0\.\.9, .* got 1 to 10"),
        (lambda a: a["oracle/merged"].fill(np.nan), "no sample to draw: of 200, none"),
        (
            lambda a: a.update({k: v[:0] for k, v in a.items()}),
            "no sample to draw: of 0, none",
        ),
    ],
    ids=["missing", "lengths", "labels", "all NaN", "empty"],
)
def test_arrays_that_cannot_be_drawn_are_refused(draw, change, message):
    arrays = some_arrays()
    change(arrays)
    with pytest.raises(ValueError, match=message):
        draw(arrays, CLASS_NAMES, "")


def all_figures() -> list:
    return [
        figures.spaces_figure(some_arrays(), CLASS_NAMES, "digits"),
        figures.self_similarity_figure(some_arrays(), CLASS_NAMES, "digits"),
    ]


@pytest.mark.slow
def test_saved_pictures_are_the_same_bytes_every_time_in_threads_too(tmp_path):
    once = all_figures()
    for number, figure in enumerate(once):
        saving.save(figure, tmp_path / f"once_{number}.png")
        saving.save(figure, tmp_path / f"again_{number}.png")
    with ThreadPoolExecutor(3) as pool:
        paths = [tmp_path / f"threads_{number}.png" for number in range(2)]
        list(pool.map(saving.save, all_figures(), paths))
    for number in range(2):
        data = (tmp_path / f"once_{number}.png").read_bytes()
        assert (tmp_path / f"again_{number}.png").read_bytes() == data
        assert (tmp_path / f"threads_{number}.png").read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 6  # nothing half written is left


def test_a_saved_picture_is_a_png_of_1200_pixels_that_does_not_say_who_made_it(
    tmp_path,
):
    path = tmp_path / "folder" / "accuracy.png"
    saving.save(all_figures()[0], path)
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == 1200
        assert set(image.info) == {"dpi"}
        low, high = image.convert("L").getextrema()
    assert low < 50 < 250 < high


def test_nothing_is_left_in_pyplot(tmp_path):
    from matplotlib import pyplot

    saving.save(all_figures()[0], tmp_path / "accuracy.png")
    assert pyplot.get_fignums() == []
