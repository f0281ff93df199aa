"""Tiny ImageNet as a TFDS builder: 200 classes, 64x64x3.

It reads the original archive. Imported only when the set is asked for, since TFDS takes
its time to import. TFDS has no such set. The archive is read where it lies, packed or
unpacked, and its JPEGs are written as they are; grey ones become color when they are
read.

Split. The archive's test images have no labels; its validation split is the test split.

Source: http://cs231n.stanford.edu/tiny-imagenet-200.zip (Stanford's CS231n; ImageNet's
terms: for research that is not commercial).
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"
NUM_CLASSES = 200
SIZE = (64, 64)
# What is raised where the bytes of the archive, or of an image in it, are not whole.
UNREADABLE = (OSError, SyntaxError, EOFError, zipfile.BadZipFile, zlib.error)


class Archive(NamedTuple):
    """The files of the archive, packed or not.

    Attributes:
        place: of the archive, for messages.
        names: of its files, relative to its top folder, with slashes.
        read: gives the bytes of a file.
    """

    place: Path
    names: frozenset[str]
    read: Callable[[str], bytes]

    def text(self, name: str) -> str:
        """The text of a file that must be there."""
        if name not in self.names:
            raise ValueError(self.damaged(f"it has no file {name}"))
        try:
            return self.read(name).decode("utf8")
        except (*UNREADABLE, UnicodeDecodeError) as error:
            raise ValueError(
                self.damaged(f"{name} cannot be read ({error})")
            ) from error

    def damaged(self, reason: str) -> str:
        """The error message for a wrong or damaged archive."""
        return (
            f"{self.place} is not the whole of Tiny ImageNet: {reason}. Get "
            f"it anew from {URL}."
        )


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """Tiny ImageNet as records of image, label and id, the file's name."""

    # Raise it when anything below changes what is written: a cache of an older version
    # is then no longer read.
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download {URL} (237 MB) into that folder, as {ROOT}.zip or unpacked."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(*SIZE, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
            "id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="200 classes of ImageNet at 64x64; validation is the test set.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="http://cs231n.stanford.edu",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        archive = open_archive(Path(dl_manager.manual_dir))
        wnids = archive.text("wnids.txt").split()
        if len(set(wnids)) != NUM_CLASSES or len(wnids) != NUM_CLASSES:
            raise ValueError(
                archive.damaged(f"wnids.txt has {len(wnids)} classes, not 200")
            )
        self.info.features["label"].names = class_names(archive, wnids)
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        return {
            "train": self._generate_examples(archive, labels, train_files(archive)),
            "validation": self._generate_examples(archive, labels, val_files(archive)),
        }

    def _generate_examples(
        self, archive: Archive, labels: dict[str, int], files: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if set(files.values()) != set(labels):
            raise ValueError(
                archive.damaged(
                    f"{len(labels.keys() - files.values())} of its classes have no "
                    f"images, and {len(files.values() - labels.keys())} are unknown, "
                    f"in {next(iter(files), 'a split').split('/')[0]}"
                )
            )
        for name in sorted(files):
            example = {"image": jpeg(archive, name), "label": labels[files[name]]}
            yield name, example | {"id": Path(name).stem}


def open_archive(folder: Path) -> Archive:
    """The archive in this folder: zipped, unpacked, or the folder itself.

    Raises:
        ValueError: if there is none, or the zip is damaged.
    """
    for top in (folder / ROOT, folder):
        if (top / "wnids.txt").exists():
            files = (path for path in top.rglob("*") if path.is_file())
            names = frozenset(path.relative_to(top).as_posix() for path in files)
            return Archive(top, names, lambda name, top=top: (top / name).read_bytes())
    place = folder / f"{ROOT}.zip"
    if not place.exists():
        raise ValueError(
            f"{folder} has neither {ROOT}.zip nor the unpacked folder {ROOT}. "
            f"{TinyImagenet.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    try:
        packed = zipfile.ZipFile(place)
    except zipfile.BadZipFile as error:
        whole = Archive(place, frozenset(), bytes)
        raise ValueError(whole.damaged(f"BadZipFile: {error}")) from error
    inside = (n for n in packed.namelist() if n.startswith(f"{ROOT}/"))
    names = frozenset(n.removeprefix(f"{ROOT}/") for n in inside)
    return Archive(place, names, lambda name: packed.read(f"{ROOT}/{name}"))


def class_names(archive: Archive, wnids: list[str]) -> list[str]:
    """Class names from words.txt: the first word, or all if ambiguous."""
    lines = (line.split("\t", 1) for line in archive.text("words.txt").splitlines())
    words = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    lost = [wnid for wnid in wnids if wnid not in words]
    if lost:
        raise ValueError(archive.damaged(f"words.txt has no names of {lost[:5]}"))
    first = {wnid: words[wnid].split(",")[0] for wnid in wnids}
    shared = list(first.values())
    return [
        words[wnid] if shared.count(first[wnid]) > 1 else first[wnid] for wnid in wnids
    ]


def train_files(archive: Archive) -> dict[str, str]:
    """The class of each training image, by the image's name.

    A class's folder has a list of its images; each of them must be there.
    """
    files, lists = {}, []
    for name in archive.names:
        if match := re.fullmatch(r"train/(\w+)/images/[^/]+\.JPEG", name):
            files[name] = match[1]
        elif re.fullmatch(r"train/\w+/\w+_boxes\.txt", name):
            lists.append(name)
    for name in lists:
        folder = f"{name.rpartition('/')[0]}/images"
        listed = [line.split()[0] for line in archive.text(name).splitlines() if line]
        _all_there(archive, [f"{folder}/{file}" for file in listed])
    return files


def val_files(archive: Archive) -> dict[str, str]:
    """The class of each validation image, by the image's name."""
    lines = archive.text("val/val_annotations.txt").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise ValueError(archive.damaged("val_annotations.txt has lines of one word"))
    files = {f"val/images/{row[0]}": row[1] for row in rows}
    _all_there(archive, list(files))
    return files


def jpeg(archive: Archive, name: str) -> bytes | Image.Image:
    """The file of an image, checked to be whole and 64x64.

    One neither grey nor in color by three channels is made the latter.
    """
    try:
        content = archive.read(name)
        image = Image.open(io.BytesIO(content))
        pixels = np.asarray(image)
    except UNREADABLE as error:
        raise ValueError(
            archive.damaged(f"{name} cannot be read ({type(error).__name__}: {error})")
        ) from error
    if pixels.shape[:2] != SIZE:
        raise ValueError(
            archive.damaged(f"{name} has {pixels.shape[:2]} pixels, not {SIZE}")
        )
    return content if image.mode in ("L", "RGB") else image.convert("RGB")


def _all_there(archive: Archive, names: list[str]) -> None:
    lost = [name for name in names if name not in archive.names]
    if lost:
        raise ValueError(
            archive.damaged(f"{len(lost)} images are missing, {lost[0]} among them")
        )
