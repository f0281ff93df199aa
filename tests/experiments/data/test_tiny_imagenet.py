"""On archives of the original layout: 200 classes, but few images of each."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from experiments.data import catalog
from experiments.data.tiny_imagenet import TinyImagenet

WNIDS = [f"n{10000000 + 37 * i % 7411:08d}" for i in range(200)]
ROOT = "tiny-imagenet-200"


def jpeg(seed: int) -> bytes:
    """A smooth picture; each seventh is grey."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((64, 64), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.convert("L" if seed % 7 == 0 else "RGB").save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """A folder with the archive's top folder: two images a class, one to validate."""
    folder = tmp_path_factory.mktemp("unpacked")
    top = folder / ROOT
    annotations = []
    for label, wnid in enumerate(WNIDS):
        images = top / "train" / wnid / "images"
        images.mkdir(parents=True)
        names = [f"{wnid}_{i}.JPEG" for i in range(2)]
        for i, name in enumerate(names):
            (images / name).write_bytes(jpeg(3 * label + i))
        boxes = "".join(f"{name}\t0\t10\t63\t58\n" for name in names)
        (images.parent / f"{wnid}_boxes.txt").write_text(boxes)
        annotations.append(f"val_{199 - label}.JPEG\t{wnid}\t0\t32\t44\t62\n")
        val = top / "val/images" / f"val_{199 - label}.JPEG"
        val.parent.mkdir(parents=True, exist_ok=True)
        val.write_bytes(jpeg(3 * label + 2))
    (top / "val/val_annotations.txt").write_text("".join(reversed(annotations)))
    (top / "test/images").mkdir(parents=True)
    (top / "test/images/test_0.JPEG").write_bytes(jpeg(1))
    (top / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    # As in the archive: in another order, with classes that are not used, and twice
    # the same first word.
    words = [(wnid, f"thing {i}, Res {i}") for i, wnid in enumerate(WNIDS)]
    words[5:7] = [(WNIDS[5], "crane, a bird"), (WNIDS[6], "crane, a machine")]
    words = [("n00001740", "entity"), *reversed(words)]
    (top / "words.txt").write_text("".join(f"{w}\t{name}\n" for w, name in words))
    return folder


@pytest.fixture(scope="module")
def packed(unpacked, tmp_path_factory) -> Path:
    """A folder with the archive as it is downloaded."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.make_archive(str(folder / ROOT), "zip", unpacked, ROOT)
    return folder


@pytest.fixture(scope="module")
def cache(packed, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    catalog.load("tiny_imagenet", cache_dir=folder, manual_dir=packed)
    return folder


def test_the_archives_images_and_classes_are_read(cache, unpacked):
    dataset = catalog.load("tiny_imagenet", cache_dir=cache)
    assert dataset.images.shape == (600, 64, 64, 3)
    assert dataset.images.dtype == np.uint8
    assert dataset.test.tolist() == [False] * 400 + [True] * 200
    assert dataset.class_names[4:8] == (
        "thing 4",
        "crane, a bird",
        "crane, a machine",
        "thing 7",
    )
    assert dataset.superclasses is None
    for image, label, name in zip(
        dataset.images, dataset.labels, dataset.ids, strict=True
    ):
        split, stem = name.split("/")
        if split == "train":
            wnid, folder = stem.split("_")[0], f"train/{stem.split('_')[0]}/images"
        else:
            assert split == "validation"
            wnid, folder = WNIDS[199 - int(stem.split("_")[1])], "val/images"
        assert WNIDS[label] == wnid
        with Image.open(unpacked / ROOT / folder / f"{stem}.JPEG") as file:
            np.testing.assert_array_equal(image, np.asarray(file.convert("RGB")))
    (note,) = dataset.notes
    assert "its split 'validation' is the test split" in note


def test_the_archives_files_are_kept_byte_for_byte(cache, unpacked):
    builder = TinyImagenet(data_dir=cache, file_format="array_record")
    raw = {"image": tfds.decode.SkipDecoding()}
    records = builder.as_data_source("train", decoders=raw)
    assert len(records) == 400
    for record in records:
        stem = record["id"].decode()
        file = unpacked / ROOT / "train" / stem.split("_")[0] / f"images/{stem}.JPEG"
        assert record["image"] == file.read_bytes()


def test_the_unpacked_archive_gives_the_same(cache, unpacked, tmp_path):
    first = catalog.load("tiny_imagenet", cache_dir=cache)
    second = catalog.load(
        "tiny_imagenet", cache_dir=tmp_path, manual_dir=unpacked / ROOT
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_the_archive_the_message_says_what_to_get(tmp_path):
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    (other / "file").touch()
    url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    for manual, found in (
        (None, "none was given"),
        (empty, "empty is empty"),
        (other, "other has neither tiny-imagenet-200.zip nor the unpacked folder"),
    ):
        with pytest.raises(ValueError, match=f"{found}.*{url}"):
            catalog.load("tiny_imagenet", cache_dir=tmp_path / "c", manual_dir=manual)
        assert not list((tmp_path / "c").rglob("*.array_record*"))


def lose_an_image(top: Path) -> None:
    (top / f"train/{WNIDS[3]}/images/{WNIDS[3]}_1.JPEG").unlink()


def lose_a_validation_image(top: Path) -> None:
    (top / "val/images/val_7.JPEG").unlink()


def lose_a_class(top: Path) -> None:
    shutil.rmtree(top / "train" / WNIDS[9])


def cut_an_image(top: Path) -> None:
    file = top / "val/images/val_8.JPEG"
    file.write_bytes(file.read_bytes()[:-100])


def grow_an_image(top: Path) -> None:
    Image.new("RGB", (64, 65)).save(top / "val/images/val_8.JPEG")


def lose_the_words(top: Path) -> None:
    (top / "words.txt").unlink()


def lose_a_word(top: Path) -> None:
    (top / "words.txt").write_text("n00001740\tentity\n")


def cut_the_classes(top: Path) -> None:
    (top / "wnids.txt").write_text("\n".join(WNIDS[:100]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_an_image, r"1 images are missing, train/n\d+/images/n\d+_1.JPEG"),
        (lose_a_validation_image, "1 images are missing, val/images/val_7.JPEG"),
        (lose_a_class, "1 of its classes have no images, and 0 are unknown, in train"),
        (
            cut_an_image,
            r"val/images/val_8.JPEG cannot be read \(OSError: image file is truncated",
        ),
        (grow_an_image, r"val/images/val_8.JPEG has \(65, 64\) pixels, not \(64, 64\)"),
        (lose_the_words, "it has no file words.txt"),
        (lose_a_word, "words.txt has no names of"),
        (cut_the_classes, "wnids.txt has 100 classes, not 200"),
    ],
)
def test_a_damaged_folder_is_refused_and_leaves_nothing(
    unpacked, tmp_path, damage, message
):
    shutil.copytree(unpacked, tmp_path / "copy")
    damage(tmp_path / "copy" / ROOT)
    with pytest.raises(
        ValueError,
        match=f"{ROOT} is not the whole of Tiny ImageNet: {message}.*Get it anew from",
    ):
        catalog.load(
            "tiny_imagenet", cache_dir=tmp_path / "c", manual_dir=tmp_path / "copy"
        )
    assert not list((tmp_path / "c").rglob("*.array_record*"))


def cut_the_zip(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2])


def flip_a_byte_of_an_image(content: bytearray) -> bytes:
    start = content.index(b"\xff\xda") + 40  # in the pixels of the first JPEG
    content[start] ^= 0xFF
    return bytes(content)


def spoil_the_list_of_classes(content: bytearray) -> bytes:
    start = content.index(b"wnids.txt") + len(b"wnids.txt") + 20
    content[start] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (spoil_the_list_of_classes, "wnids.txt cannot be read"),
        (cut_the_zip, "BadZipFile: File is not a zip file"),
        (flip_a_byte_of_an_image, r"JPEG cannot be read \(BadZipFile: Bad CRC-32"),
    ],
)
def test_a_damaged_zip_is_refused_and_leaves_nothing(packed, tmp_path, damage, message):
    name = f"{ROOT}.zip"
    content = bytearray((packed / name).read_bytes())
    (tmp_path / name).write_bytes(damage(content))
    folders = {"cache_dir": tmp_path / "c", "manual_dir": tmp_path}
    with pytest.raises(ValueError, match=f"{name} is not the whole .*{message}"):
        catalog.load("tiny_imagenet", **folders)
    shutil.copy(packed / name, tmp_path / name)
    assert len(catalog.load("tiny_imagenet", **folders).images) == 600
