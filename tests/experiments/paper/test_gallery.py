"""Every kind of picture of a cell is drawn, by superclass too where there are any."""

import numpy as np
import pages
from PIL import Image
from test_figures import some_arrays

from experiments.paper.plots import figures, gallery
from experiments.plots import saving


def test_all_kinds_are_drawn_and_those_of_superclasses_where_there_are_any(
    tmp_path, monkeypatch
):
    headings = []

    def save(figure, path):
        names = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
        headings.append((path.name, names))

    monkeypatch.setattr(saving, "save", save)
    dataset = pages.dataset()._replace(class_names=tuple("abcd"))
    arrays = figures.with_tsne(some_arrays(40, 4), dataset.class_names)
    files = gallery.draw(tmp_path, "C_T2", arrays, dataset, "x")
    assert list(files) == [kind.title for kind in gallery.KINDS.values()]
    assert [path.name for path in files.values()] == [name for name, _ in headings]
    of = dict(headings)
    for kind in ("spaces", "shared_axes", "tsne"):
        assert of[f"{kind}_C_T2.png"] == list("abcd")
    for kind in ("superclasses", "superclasses_shared_axes", "superclasses_tsne"):
        assert of[f"{kind}_C_T2.png"] == ["even <b>", "odd"]
    bare = dataset._replace(superclasses=None, superclass_names=())
    fewer = gallery.draw(tmp_path, "C_T2", arrays, bare, "x")
    assert list(fewer) == [
        kind.title for kind in gallery.KINDS.values() if not kind.groups
    ]


def test_a_picture_is_a_png_where_it_is_said_to_be(tmp_path, monkeypatch):
    kept = {"distances": gallery.KINDS["distances"]}
    monkeypatch.setattr(gallery, "KINDS", kept)
    files = gallery.draw(tmp_path, "C_T2", some_arrays(40, 4), pages.dataset(), "x")
    assert files == {"distances": tmp_path / "distances_C_T2.png"}
    with Image.open(files["distances"]) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 10
