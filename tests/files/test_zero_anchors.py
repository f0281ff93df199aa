"""Samples that are zero in a file are not drawn as anchors, and that is said."""

import numpy as np
import pytest

from jatlas.files.merging import merge_files
from jatlas.merging.anchors import choose_anchors

N, A = 40, 16


@pytest.fixture
def files(tmp_path):
    """Two charts of 40 samples; in the second, as its encoder failed, ten are zero."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(N, 5)), rng.normal(size=(N, 4))
    zero = rng.permutation(N)[:10]
    second[zero] = 0
    for name, x in (("a", first), ("b", second)):
        np.savez(tmp_path / f"{name}.npz", id=np.arange(N), x=np.float32(x))
    return [tmp_path / "a.npz", tmp_path / "b.npz"], np.isin(np.arange(N), zero)


def test_zero_vectors_are_no_anchors(files):
    paths, zero = files
    said = []
    atlas = merge_files(paths, anchors=f"shared:{A}", seed=3, say=said.append)
    for x in atlas.recipe.anchors:
        assert x.any(axis=1).all()
    wanted = choose_anchors(3, ~zero, A)
    np.testing.assert_array_equal(atlas.recipe.anchor_ids, wanted)
    assert any("10 samples that every file has are zero in one" in s for s in said)
    with pytest.raises(ValueError, match="cannot choose 31 anchors from a pool of 30"):
        merge_files(paths, anchors="shared:31")


def test_zero_anchors_that_are_named_are_taken_and_that_is_said(files, tmp_path):
    paths, zero = files
    named = np.flatnonzero(zero)[:2].tolist() + np.flatnonzero(~zero)[:6].tolist()
    np.save(tmp_path / "ids.npy", np.array(named))
    said = []
    atlas = merge_files(paths, anchors=str(tmp_path / "ids.npy"), say=said.append)
    assert atlas.recipe.anchor_ids.tolist() == named
    assert any("2 anchors are zero in a chart" in s for s in said)
