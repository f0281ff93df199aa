import hashlib
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from experiments.data import catalog

ROOT = Path(__file__).parents[3]


def a_dataset(**changes) -> catalog.Dataset:
    """Four samples of two classes, two a split."""
    good = catalog.Dataset(
        name="four",
        images=np.zeros((4, 2, 2, 1), np.uint8),
        labels=np.array([0, 1, 1, 0], np.int32),
        ids=np.array(["train/0", "train/1", "test/0", "test/1"]),
        test=np.array([False, False, True, True]),
        class_names=("a", "b"),
    )
    return good._replace(**changes)


def groups(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A folder in which digits is prepared; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("cache")
    catalog.load("digits", cache_dir=folder)
    return folder


@pytest.fixture(scope="module")
def fashion() -> catalog.Dataset:
    return catalog.load("fashion_mnist_7k")


def test_fashion_mnist_7k_is_400_training_and_300_test_images_a_class(fashion):
    assert fashion.name == "fashion_mnist_7k"
    assert fashion.images.shape == (7000, 28, 28, 1)
    assert fashion.images.dtype == np.uint8
    assert fashion.labels.dtype == np.int32
    assert len(fashion.class_names) == 10
    assert np.bincount(fashion.labels[:4000]).tolist() == [400] * 10
    assert np.bincount(fashion.labels[4000:]).tolist() == [300] * 10
    assert fashion.test.tolist() == [False] * 4000 + [True] * 3000


def test_fashion_mnist_7k_names_each_sample_by_its_row_in_the_full_set(fashion):
    # The first row of the full training set is an ankle boot, the second a T-shirt.
    assert fashion.ids[:3].tolist() == ["train/0", "train/1", "train/2"]
    assert fashion.class_names[fashion.labels[0]] == "Ankle boot"
    assert fashion.class_names[fashion.labels[1]] == "T-shirt/top"
    assert fashion.ids[[4000, -1]].tolist() == ["test/0", "test/3216"]
    assert len(set(fashion.ids.tolist())) == 7000


def test_fashion_mnist_7k_is_the_file_that_was_published():
    folder = resources.files("experiments.data") / "fashion_mnist_7k"
    digest = hashlib.sha256((folder / "fashion_mnist_7k.npz").read_bytes()).hexdigest()
    assert digest == "a4be353cb39039c92c9fb7a7aef23a5ec399e31da364c925f3109f6d7af48856"
    assert "Zalando SE" in (folder / "LICENSE").read_text(encoding="utf8")


def test_a_split_is_its_samples_without_a_copy(fashion):
    for name, size in (("train", 4000), ("test", 3000)):
        images, labels, class_names, ids = fashion.split(name)
        rows = fashion.test == (name == "test")
        assert len(images) == size
        np.testing.assert_array_equal(images, fashion.images[rows])
        np.testing.assert_array_equal(labels, fashion.labels[rows])
        np.testing.assert_array_equal(ids, fashion.ids[rows])
        assert all(i.startswith(f"{name}/") for i in ids)
        assert class_names == fashion.class_names
        assert np.shares_memory(images, fashion.images)
    with pytest.raises(
        ValueError, match=r"unknown split 'validation'.*'train' and 'te"
    ):
        fashion.split("validation")


def test_digits_through_tfds_are_those_of_scikit_learn(cache):
    digits, source = catalog.load("digits", cache_dir=cache), load_digits()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.dtype == np.uint8
    assert digits.class_names == tuple("0123456789")
    rows = np.array([int(i.split("/")[1]) for i in digits.ids])
    assert sorted(rows) == list(range(1797))
    np.testing.assert_array_equal(digits.labels, source.target[rows])
    counts = np.rint(digits.images[..., 0] * (16 / 255))
    np.testing.assert_array_equal(counts, source.images[rows])
    assert digits.images.min() == 0
    assert digits.images.max() == 255


def test_digits_train_on_the_first_two_thirds_of_each_class(cache):
    digits = catalog.load("digits", cache_dir=cache)
    assert (~digits.test).sum() == 1195
    for split in ("train", "test"):
        assert all(i.startswith(split) for i in digits.split(split).ids)
    rows = np.array([int(i.split("/")[1]) for i in digits.ids])
    for label, size in enumerate(np.bincount(digits.labels)):
        train = rows[(digits.labels == label) & ~digits.test]
        test = rows[(digits.labels == label) & digits.test]
        assert len(train) == 2 * size // 3
        assert max(train) < min(test)
        assert train.tolist() == sorted(train)


def test_the_default_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    catalog.load("digits")
    (prepared,) = tmp_path.rglob("dataset_info.json")
    assert "jatlas/datasets/digits" in prepared.as_posix()


def test_an_unknown_name_names_the_known_ones_and_those_like_it():
    with pytest.raises(
        ValueError,
        match=r"'fashion_mnits'; known are 'digits', 'fashion_mnist_7k', 'tiny_image"
        r"net', and .* TensorFlow Datasets .*Did you mean 'fashion_mnist'",
    ):
        catalog.load("fashion_mnits")
    with pytest.raises(
        ValueError, match=r"unknown data set 'nope'; .* FOLDER/MINE\.npz\.$"
    ):
        catalog.load("nope")


def test_a_manual_dir_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"manual_dir .*nowhere is not a folder"):
        catalog.load("digits", cache_dir=tmp_path, manual_dir=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_a_set_of_tfds_that_has_no_class_labels_is_refused_before_it_is_prepared(
    tmp_path,
):
    with pytest.raises(ValueError, match=r"div2k is not a set of images with class"):
        catalog.load("div2k", cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_ships_with_the_code_is_loaded_without_tfds():
    code = (
        "import sys; from experiments.data import catalog; "
        "catalog.load('fashion_mnist_7k'); "
        "assert not {'tensorflow_datasets', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_data_set_is_one_function_and_one_line(monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "four", lambda folders: a_dataset())
    assert catalog.load("four").class_names == ("a", "b")
    repeated = a_dataset(ids=np.array(["train/0"] * 4))
    monkeypatch.setitem(catalog.DATASETS, "four", lambda folders: repeated)
    with pytest.raises(ValueError, match="ids must be unique"):
        catalog.load("four")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 2, 2, 1))}, r"must be uint8 .*float64 \(4, 2, 2, 1\)"),
        ({"images": np.zeros((4, 2, 2), np.uint8)}, r"got uint8 \(4, 2, 2\)"),
        ({"labels": np.array([0, 1, 1])}, r"differ in length: \[4, 3, 4, 4\]"),
        ({"test": np.array([False, True, False, True])}, "training samples must stand"),
        ({"ids": np.array(["x", "x", "y", "z"])}, r"1 of 3 are repeated, \['x'\]"),
        (
            {"labels": np.array([0, 1, 2, 0])},
            r"lie in 0\.\.1, .* 2 class names; got \[2",
        ),
        ({"labels": np.array([0, 1, -1, 0])}, r"lie in 0\.\.1.*got \[-1\]"),
        (
            {"labels": np.array([0, 1, 1, 1])},
            r"classes \[0\] have none of the 2 .*test",
        ),
        ({"labels": np.array([1, 1, 1, 0])}, r"classes \[0\] .* of the training split"),
        ({"class_names": ("a", "b", "c")}, r"classes \[2\] have none .* training"),
        ({"superclass_names": ("x",)}, "1 superclass names, but no superclasses"),
        ({"superclasses": groups(0)}, r"int32 \(2,\), one a class; got int32 \(1,\)"),
        ({"superclasses": np.zeros(2)}, r"int32 \(2,\).*got float64"),
        (
            {"superclasses": groups(0, 2), "superclass_names": ("x", "y")},
            r"all of 0\.\.1, .* 2 superclass names; got \[0, 2\]",
        ),
        (
            {"superclasses": groups(0, 0), "superclass_names": ("x", "y")},
            r"all of 0\.\.1, .* got \[0\]",
        ),
    ],
)
def test_a_data_set_that_breaks_a_promise_is_refused(changes, message):
    catalog.check(a_dataset())
    catalog.check(a_dataset(superclasses=groups(0, 0), superclass_names=("x",)))
    with pytest.raises(ValueError, match=f"four: .*{message}"):
        catalog.check(a_dataset(**changes))


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_is_imagenets_mean_and_standard_deviation(channels):
    images = np.arange(4 * 8 * 8 * channels, dtype=np.uint8).reshape(4, 8, 8, channels)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    if channels == 1:
        mean, std = np.mean(mean), np.mean(std)
        np.testing.assert_allclose([mean, std], [0.449, 0.226], atol=5e-4)
    normal = catalog.normalize(images)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal, (images / 255.0 - mean) / std, atol=2e-6)
    on_device = jax.jit(catalog.normalize)(images)
    assert on_device.dtype == np.float32
    np.testing.assert_allclose(on_device, normal, atol=2e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((4, 8, 8, 2), np.uint8),
            r"1 or 3 channels; got uint8 \(4, 8, 8, 2\)",
        ),
        (np.zeros((4, 8, 8, 3), np.float32), "got float32"),
        (np.zeros((4, 8, 8), np.uint8), r"got uint8 \(4, 8, 8\)"),
    ],
)
def test_normalise_refuses_other_arrays(images, message):
    with pytest.raises(ValueError, match=message):
        catalog.normalize(images)
