import io
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from experiments.data import catalog, tfds_reader

ROOT = Path(__file__).parents[3]

# A process of its own that loads digits from a folder and says what it did.
LOAD = """
import sys
from experiments.data import catalog
assert not {"tensorflow_datasets", "sklearn", "jax"} & set(sys.modules)
from experiments.data.digits import Digits
prepared = []
write = Digits.download_and_prepare
Digits.download_and_prepare = lambda *a, **k: (prepared.append(1), write(*a, **k))
print("ready", flush=True)
sys.stdin.readline()
digits = catalog.load("digits", cache_dir=sys.argv[1])
assert "tensorflow" not in sys.modules
print(len(prepared), len(digits.images), int(digits.images.sum()), flush=True)
"""

# A process that stops in the middle of its preparation, and waits to be killed.
HANG = """
import sys, time
from experiments.data import catalog
from experiments.data.digits import Digits
examples = Digits._generate_examples
def some(self, *args):
    for count, example in enumerate(examples(self, *args)):
        if count == 100:
            print("in the middle", flush=True, file=sys.stderr)
            time.sleep(600)
        yield example
Digits._generate_examples = some
catalog.load("digits", cache_dir=sys.argv[1])
"""


def start(code: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Tinted(tfds.core.GeneratorBasedBuilder):
    """Twelve color images of three classes; no id, a second label, a third split."""

    VERSION = tfds.core.Version("2.1.0")
    SUPERVISED = ("picture", "kind")
    SIZES = ((4, 6),) * 12
    IDS = False
    DTYPE = np.uint8
    COARSE, GROUPS = "coarse", (0,) * 12
    SPLITS = ("train", "test", "extra")

    def _info(self):
        features = {
            "picture": tfds.features.Image(
                shape=(None, None, 3), dtype=self.DTYPE, encoding_format="png"
            ),
            "kind": tfds.features.ClassLabel(names=["red", "green", "blue"]),
            self.COARSE: tfds.features.ClassLabel(names=["warm", "cold"]),
        }
        if self.IDS:
            features["id"] = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=self.SUPERVISED,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples() for split in self.SPLITS}

    def _generate_examples(self):
        for i, size in enumerate(self.SIZES):
            pixels = np.zeros((*size, 3), np.uint8)
            pixels[..., i % 3] = 100 + i
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            example = {"picture": png.getvalue(), "kind": i % 3}
            example[self.COARSE] = self.GROUPS[i]
            yield i, example | ({"id": f"{11 - i:02d}"} if self.IDS else {})


class Named(Tinted):
    """The same, with ids in the opposite order."""

    IDS = True


class Mixed(Tinted):
    """One image of another size."""

    SIZES = ((4, 6),) * 11 + ((5, 6),)


class Unlabelled(Tinted):
    """No image with a label."""

    SUPERVISED = None


class Untested(Tinted):
    """No test split."""

    SPLITS = ("train", "extra")


class Validated(Tinted):
    """No test split, but one for validation."""

    SPLITS = ("train", "validation", "extra")


class Deep(Tinted):
    """Images of 16 bits."""

    DTYPE = np.uint16


class Grouped(Tinted):
    """Superclasses: red is warm, the others are cold."""

    COARSE = "coarse_label"
    GROUPS = (0, 1, 1) * 4


class Torn(Grouped):
    """One blue image is warm."""

    GROUPS = (0, 1, 1) * 3 + (0, 1, 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A folder in which digits is prepared; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("cache")
    catalog.load("digits", cache_dir=folder)
    return folder


def test_what_is_prepared_is_read_and_not_prepared_again(cache, monkeypatch):
    from experiments.data.digits import Digits

    def refuse(self, *args):
        raise AssertionError("prepared again")

    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*.array_record*")}
    assert len(before) == 2
    monkeypatch.setattr(Digits, "_split_generators", refuse)
    assert len(catalog.load("digits", cache_dir=str(cache)).images) == 1797
    after = {file: file.stat().st_mtime_ns for file in cache.rglob("*.array_record*")}
    assert after == before


@pytest.mark.slow
def test_of_processes_at_once_one_prepares_and_all_read_the_same(tmp_path):
    processes = [start(LOAD, tmp_path) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=120) for process in processes]
    total = int(np.rint(load_digits().images * (255 / 16)).sum())
    # And none of them says a word of its own, on either stream.
    assert [stderr for _, stderr in ends] == [""] * 3
    said = sorted(stdout for stdout, _ in ends)
    assert said == [f"{n} 1797 {total}\n" for n in (0, 0, 1)]


@pytest.mark.slow
def test_a_killed_preparation_leaves_nothing_that_is_read_later(tmp_path):
    process = start(HANG, tmp_path)
    try:
        assert process.stderr.readline() == "in the middle\n"
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert not (tmp_path / "digits/1.0.0").exists()
    assert list(tmp_path.glob("digits/incomplete.*"))
    assert len(catalog.load("digits", cache_dir=tmp_path).images) == 1797
    assert not list(tmp_path.glob("digits/incomplete.*"))


def flip_a_byte(folder: Path) -> None:
    file = folder / "digits-train.array_record-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)


def truncate(folder: Path) -> None:
    file = folder / "digits-test.array_record-00000-of-00001"
    file.write_bytes(file.read_bytes()[:70000])


def lose_a_file(folder: Path) -> None:
    (folder / "digits-test.array_record-00000-of-00001").unlink()


def break_the_info(folder: Path) -> None:
    (folder / "dataset_info.json").write_text('{"name": "dig')


def lose_the_info(folder: Path) -> None:
    (folder / "dataset_info.json").unlink()


@pytest.mark.parametrize(
    "damage", [flip_a_byte, truncate, lose_a_file, break_the_info, lose_the_info]
)
def test_a_damaged_cache_names_the_folder_to_delete(cache, tmp_path, damage):
    copy = tmp_path / "cache"
    shutil.copytree(cache, copy)
    damage(copy / "digits/1.0.0")
    with pytest.raises(
        ValueError, match=r"cannot be read back .* Delete that"
    ) as error:
        catalog.load("digits", cache_dir=copy)
    named = Path(str(error.value).split("cached in ")[1].split(" cannot be read")[0])
    assert copy / "digits" in (named, named.parent)
    shutil.rmtree(named)
    assert len(catalog.load("digits", cache_dir=copy).images) == 1797


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file cannot be written .* another cache_dir"):
        catalog.load("digits", cache_dir=tmp_path / "file")


def test_any_builder_with_images_and_class_labels_is_read(tmp_path):
    dataset = tfds_reader.read("tinted", Tinted, tmp_path)
    catalog.check(dataset)
    assert dataset.test.tolist() == [False] * 12 + [True] * 12
    assert dataset.class_names == ("red", "green", "blue")
    assert (dataset.superclasses, dataset.superclass_names) == (None, ())
    assert dataset.notes == ()
    again = tfds_reader.read("tinted", Tinted, tmp_path / "again")
    for split in ("train", "test"):
        images, labels, _, ids = dataset.split(split)
        assert images.shape == (12, 4, 6, 3)
        assert ids.tolist() == [f"{split}/{i}" for i in range(12)]
        for image, label in zip(images, labels, strict=True):
            assert (image[0, 0] > 0).tolist() == [label == c for c in range(3)]
        # Without ids, the order is that of the records: the same whenever made.
        np.testing.assert_array_equal(again.split(split).images, images)


def test_ids_of_the_builder_give_the_order(tmp_path):
    dataset = tfds_reader.read("named", Named, tmp_path)
    for split in ("train", "test"):
        images, labels, _, ids = dataset.split(split)
        assert ids.tolist() == [f"{split}/{i:02d}" for i in range(12)]
        assert images[:, 0, 0].max(axis=-1).tolist() == list(range(111, 99, -1))
        assert labels.tolist() == [2, 1, 0] * 4


def test_a_validation_split_stands_in_for_a_test_split_and_says_so(tmp_path):
    dataset = tfds_reader.read("validated", Validated, tmp_path)
    catalog.check(dataset)
    assert dataset.test.sum() == 12
    assert dataset.ids[[0, -1]].tolist() == ["train/0", "validation/11"]
    (note,) = dataset.notes
    assert "validated has no split 'test'; its split 'validation' is the test" in note


@pytest.mark.parametrize("source", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_images_of_any_kind_get_the_channels_of_the_set(source, mode):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(5, 4, 3), dtype=np.uint8)
    image, stream = Image.fromarray(pixels).convert(source), io.BytesIO()
    image.save(stream, "PNG")
    got = tfds_reader._pixels(stream.getvalue(), mode)
    assert got.shape == (5, 4, len(mode))
    np.testing.assert_array_equal(got.squeeze(), np.asarray(image.convert(mode)))


def test_superclasses_come_along(tmp_path):
    dataset = tfds_reader.read("grouped", Grouped, tmp_path)
    catalog.check(dataset)
    assert dataset.superclass_names == ("warm", "cold")
    assert dataset.superclasses.tolist() == [0, 1, 1]
    assert dataset.superclasses.dtype == np.int32


@pytest.mark.parametrize("seed", range(20))
def test_rows_change_places_without_a_copy(seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, size=(seed, 3), dtype=np.uint8)
    order = rng.permutation(seed)
    expected, kept = rows[order], order.copy()
    tfds_reader._permute(rows, order)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(order, kept)


def test_reading_holds_little_more_than_the_set(monkeypatch):
    sizes = {"train": 1500, "test": 500}

    def examples(builder, split, image_key):
        for i in reversed(range(sizes[split])):
            image = np.full((64, 64, 3), i % 251, np.uint8)
            yield {"image": image, "label": i % 7, "id": f"{i:04d}".encode()}

    monkeypatch.setattr(tfds_reader, "_examples", examples)
    splits = {name: SimpleNamespace(num_examples=size) for name, size in sizes.items()}
    builder = SimpleNamespace(info=SimpleNamespace(splits=splits))
    keys = tfds_reader._Keys("image", "label", None)
    tracemalloc.start()
    try:
        rows = tfds_reader._read("wide", builder, ("train", "test"), keys)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    numbers = np.concatenate([np.arange(1500), np.arange(500)])
    np.testing.assert_array_equal(rows["images"][:, 5, 7, 1], numbers % 251)
    np.testing.assert_array_equal(rows["labels"], numbers % 7)
    assert rows["images"].dtype == np.uint8
    assert peak < 1.1 * rows["images"].nbytes


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (Mixed, r"one size; .*\((4|5), 6, 3\), number \d+ is \((4|5), 6, 3\)"),
        (Unlabelled, r"not a set of images .* None, its features \['coarse', 'kind'"),
        (Untested, r"no split \['test'\]; it has \['extra', 'train'\]"),
        (
            Deep,
            r"must be uint8, of 1, 3 or 4 channels; they are uint16 \(None, None, 3",
        ),
        (Torn, r"each class must lie in one superclass; \['blue'\] lie in several"),
    ],
)
def test_a_builder_that_cannot_be_used_is_refused(tmp_path, builder, message):
    with pytest.raises(ValueError, match=message):
        tfds_reader.read(builder.__name__.lower(), builder, tmp_path)
