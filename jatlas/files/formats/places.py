"""Where files lie: on this machine, or at an address."""

import io
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jatlas.files.formats.faults import BadFile, Missing, package

# s3://bucket/x, gs://..., memory://x, also chained: filecache::s3://bucket/x.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")


class Remote:
    """A file at an address of fsspec, used like a `Path`."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") or address
        fsspec = package("fsspec", f"the address {address}", extra="remote")
        try:
            self.system, self.inner = fsspec.core.url_to_fs(self.address)
        except ImportError as error:  # of the store's package, which it names
            raise Missing(f"{address}: {error}.") from error
        except ValueError as error:
            raise BadFile(f"{address}: {error}") from error
        self._path = PurePosixPath(re.sub(_ADDRESS, "", self.address))

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """What the name ends in, with its dot."""
        return self._path.suffix

    @property
    def parent(self) -> "Remote":
        """The folder that it is in."""
        return Remote(self.address.rpartition("/")[0])

    def __truediv__(self, name: str) -> "Remote":
        """A file in this folder."""
        return Remote(f"{self.address}/{name}")

    def __str__(self) -> str:
        """The address."""
        return self.address

    def __eq__(self, other: object) -> bool:
        """Whether it is the same address."""
        return isinstance(other, Remote) and self.address == other.address

    def __hash__(self) -> int:
        """By the address."""
        return hash(self.address)

    def resolve(self) -> "Remote":
        """Itself."""
        return self

    def open(self, mode: str = "rb") -> Any:
        """A stream of its bytes, which are fetched block by block."""
        stream = self.system.open(self.inner, mode)
        if mode == "rb" and isinstance(stream, io.BytesIO):
            # Of fsspec's files in memory all who open one have the same stream, and so
            # the same place in it; a file is read and hashed at the same time.
            return io.BytesIO(stream.getvalue())
        return stream

    def read_text(self, encoding: str = "utf-8") -> str:
        """Its text."""
        with self.open() as stream:
            return str(stream.read().decode(encoding))

    def size(self) -> int:
        """How many bytes it has."""
        return int(self.system.size(self.inner))

    def exists(self) -> bool:
        """Whether something is there."""
        return bool(self.system.exists(self.inner))

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self.system.isdir(self.inner))

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self.system.isfile(self.inner))

    def glob(self, pattern: str) -> list["Remote"]:
        """The files below it that fit a pattern."""
        return self._all(f"{self.inner.rstrip('/')}/{pattern}")

    def fitting(self) -> list["Remote"]:
        """The files that fit it, if it is a pattern itself."""
        return self._all(self.inner)

    def _all(self, pattern: str) -> list["Remote"]:
        return [Remote(self.system.unstrip_protocol(x)) for x in self._paths(pattern)]

    def _paths(self, pattern: str) -> list[str]:
        return [str(x) for x in self.system.glob(pattern)]


Place = Path | Remote


def place(path: str | Path | Remote) -> Place:
    """A path on this machine, or an address such as s3://bucket/file.parquet."""
    if isinstance(path, Path | Remote):
        return path
    if not path:  # which would be the folder that one is in
        raise ValueError(
            "the path of a file is empty: name one. Was a variable of the shell empty?"
        )
    return Remote(path) if _ADDRESS.match(path) else Path(path)


def check_local(path: str | Path) -> None:
    """Raise ValueError for an address: atlases lie on this machine."""
    if isinstance(path, str) and _ADDRESS.match(path):
        raise ValueError(
            f"{path}: an atlas and its scores lie on this machine, not at an address; "
            "give the path of a file, and copy it."
        )


def is_pattern(path: Place) -> bool:
    """Whether it has wildcards, and no file has that name."""
    return bool(_WILD.search(str(path))) and not path.exists()


def fitting(path: Place) -> list[Place]:
    """The files that a pattern fits."""
    if isinstance(path, Remote):
        return list(path.fitting())
    root = Path(path.anchor) if path.anchor else Path()
    pattern = str(path)[len(path.anchor) :]
    return list(root.glob(pattern))


def fits(path: Path, pattern: Path) -> bool:
    """Whether a pattern fits a path, which need not exist."""
    parts = pattern.absolute().parts
    fixed = next(k for k, part in enumerate(parts) if _WILD.search(part))
    folder = Path(*parts[:fixed]).resolve()
    return _fit(path.parts, (*folder.parts, *parts[fixed:]))


def _fit(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    first, *others = patterns
    if first == "**":
        return any(_fit(parts[k:], tuple(others)) for k in range(len(parts) + 1))
    same = bool(parts) and fnmatchcase(parts[0], first)
    return same and _fit(parts[1:], tuple(others))


def opened(path: Place) -> Any:
    """A path as it is; of an address a stream."""
    return path.open("rb") if isinstance(path, Remote) else path


def file_size(path: Place) -> int:
    """How many bytes a file has."""
    return path.size() if isinstance(path, Remote) else path.stat().st_size


def ending(path: Place) -> str:
    """The suffix, with that before .gz."""
    name = path.name.lower()
    return ".vec.gz" if name.endswith(".vec.gz") else path.suffix.lower()


def last_name(path: Place) -> str:
    """The last part of a path; of "." the folder's name."""
    return path.resolve().name if path.name in ("", "..") else path.name


def chart_name(path: Place, known: Collection[str]) -> str:
    """The short name of a chart, from its file, folder or pattern.

    What it ends in is cut off if it is one of the known endings of files.
    """
    name, end = last_name(path), ending(path)
    name = name[: -len(end)] if end in known else name
    if not _WILD.search(name):
        return name or str(path)
    name = re.sub(r"\[[^\]]*\]|[*?]", "", name).strip("-_. ")
    folder = path.parent
    while _WILD.search(folder.name):
        folder = folder.parent
    return name or last_name(folder) or str(path)


class Streamed:
    """An array in a remote file, fetched as it is sliced."""

    def __init__(
        self, path: Remote, dtype: np.dtype, offset: int, shape: tuple[int, ...]
    ) -> None:
        self.path, self.dtype, self.offset, self.shape = path, dtype, offset, shape

    def __len__(self) -> int:
        """How many rows it has."""
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        """Some rows."""
        start, stop, _ = rows.indices(self.shape[0])
        count = max(stop - start, 0)
        width = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        with self.path.open() as stream:
            stream.seek(self.offset + start * width)
            data = stream.read(count * width)
        if len(data) < count * width:
            raise ValueError("it is cut off. Write the file anew, or fetch it again.")
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows."""
        return np.array(self[:], dtype)
