"""A data set of one's own, from an .npz."""

import numpy as np
import pytest

from experiments.data import catalog

N, C = 40, 4
ARRAYS = {
    "images": np.random.default_rng(0).integers(0, 256, (N, 9, 8)).astype(np.uint8),
    "labels": np.arange(N) % C,
}
TEST = np.arange(N) % 3 == 0


def load(tmp_path, **arrays):
    np.savez(tmp_path / "mine.npz", **arrays)
    return catalog.load(str(tmp_path / "mine.npz"))


def test_images_and_labels_are_enough(tmp_path):
    found = load(tmp_path, **ARRAYS)
    assert found.name == "mine"
    assert found.images.shape == (N, 9, 8, 1)
    assert found.class_names == ("0", "1", "2", "3")
    assert np.bincount(found.labels[found.test]).tolist() == [2] * C  # a fifth
    assert "a fifth of each class" in found.notes[0]
    again = load(tmp_path, **ARRAYS)
    np.testing.assert_array_equal(found.ids, again.ids)
    rows = [int(name.split("/")[1]) for name in found.ids]
    assert sorted(rows) == list(range(N))
    np.testing.assert_array_equal(found.images[..., 0], ARRAYS["images"][rows])
    np.testing.assert_array_equal(found.labels, ARRAYS["labels"][rows])


def test_its_own_split_and_names_are_kept(tmp_path):
    names = np.array(["a", "b", "c", "d"])
    found = load(tmp_path, **ARRAYS, test=TEST, class_names=names)
    assert found.class_names == ("a", "b", "c", "d")
    assert found.notes == ()
    assert found.test.tolist() == sorted(TEST.tolist())
    rows = np.array([int(name.split("/")[1]) for name in found.ids])
    np.testing.assert_array_equal(TEST[rows], found.test)
    assert {name.split("/")[0] for name in found.ids[found.test]} == {"test"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ARRAYS["images"] / 255}, r"images must be uint8 .* got float64"),
        ({"images": ARRAYS["images"][0]}, r"images must be uint8 .* \(9, 8\)"),
        ({"labels": ARRAYS["labels"][1:]}, r"labels must be integers \(40,\), one for"),
        ({"labels": ARRAYS["labels"] / 2}, r"labels must be integers .* got float64"),
        ({"labels": ARRAYS["labels"] - 1}, r"labels must be 0 or more; got -1"),
        (
            {"labels": ARRAYS["labels"] + 1},
            r"0 does not occur\. .* 4 different .* 1 to 4: number them 0\.\.3\. Sub",
        ),
        (
            {"labels": np.where(ARRAYS["labels"] == 2, 10**12, ARRAYS["labels"])},
            r"gaps; 2 does not occur.* 0 to 1000000000000: number them 0\.\.3\.$",
        ),
        ({"test": TEST.astype(int)}, r"test must be boolean \(40,\), .* got int64"),
        ({"test": ~np.zeros(N, bool)}, r"have none of the 0 samples of the training"),
        ({"class_names": np.array(["a"])}, r"labels must lie in 0\.\.0"),
        ({"labels": None}, r"mine\.npz is no \.npz of plain arrays"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **ARRAYS | changes)


def test_an_array_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.npz lacks labels; it has images, x"):
        load(tmp_path, images=ARRAYS["images"], x=TEST)


@pytest.mark.parametrize("content", [None, b"", b"not an archive"])
def test_a_file_that_is_not_there_or_is_no_archive_is_named(tmp_path, content):
    file = tmp_path / "mine.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.npz"):
        catalog.load(str(file))
