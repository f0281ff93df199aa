"""Embeddings in HDF5 files, with checks that its library omits."""

import mmap
import posixpath
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.arrays.unread import (
    Array,
    most_values,
    unread_arrays,
)
from jatlas.files.formats.faults import package
from jatlas.files.formats.places import Place, Remote, opened
from jatlas.files.formats.rows import (
    USUAL,
    Rows,
    Wanted,
    check_promise,
    is_promised,
    pick,
    pick_ids,
    rows_of,
)

# Texts of any length lie in "global heaps": a head of 16 bytes, with the length of
# the whole, then objects: number (2), references (2), reserved (4), length of the data
# (8), and the data, in steps of 8. Object 0 is what is free, its head included.
# Source: HDF5 File Format Specification 3.0, section III.E.
_HEAP = b"GCOL\x01\x00\x00\x00"
_HEAD = 16
_BLOCK = 2**20


def open_hdf5(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of HDF5 or .h5ad; read on access.

    A name leads into groups, "obsm/X_pca". Of .h5ad the ids are the index of `obs`, and
    the embeddings the only matrix in `obsm`, if they are not named.
    """
    h5py = package("h5py", "HDF5")
    file = h5py.File(opened(path), "r")
    try:
        return _ids_and_rows(path, file, wanted)
    except BaseException:
        # The error's traceback would keep the file open, and no one could write it.
        file.close()
        raise


def _ids_and_rows(path: Place, file: Any, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    arrays, links, groups = _contents(file)
    ids, embeddings = wanted.ids, wanted.embeddings
    among = {key: x for key, x in arrays.items() if key != ids}
    others = links
    of_table = path.suffix.lower() == ".h5ad"
    if of_table:
        ids = _index(arrays) if ids is None else ids
        ids = f"obs/{ids}" if f"obs/{ids}" in arrays else ids
        among = {k: x for k, x in arrays.items() if k.startswith("obsm/")} or among
        # A table or a sparse matrix in `obsm` is a group of arrays.
        others = {
            key: kind
            for key, kind in (links | groups).items()
            if key.startswith("obsm/") and key.count("/") == 1
        }
        if embeddings is not None and f"obsm/{embeddings}" in {**among, **others}:
            embeddings = f"obsm/{embeddings}"
    ids = None if ids is None else ids.strip("/")
    named = pick_ids(list(arrays), ids)
    its_ids = _texts_or_numbers(path, file, named, arrays[named])
    if embeddings is not None:
        embeddings, among = embeddings.strip("/"), arrays
    shapes = {key: x.shape or () for key, x in among.items() if key != named}
    parts = {
        key: Array(shape, _dtype(arrays[key]))
        for key, shape in shapes.items()
        if key == embeddings or not (of_table and key.startswith("obs/"))
    }

    def first(key: str) -> list[Any]:
        return _first_values(path, file, arrays[key])

    def unread(names: Collection[str] | None = None) -> dict[str, str]:
        more = others if names is None else {k: others[k] for k in names if k in others}
        return more | unread_arrays(parts, its_ids, first, names)

    name = pick(shapes, embeddings, USUAL, unread)
    _check_stored(name, arrays[name])
    last = named.rpartition("/")[2]
    rows = rows_of(arrays[name])
    return its_ids, rows._replace(id_name="id" if last == "_index" else last)


def _contents(file: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The arrays in a file, links that lead nowhere, and groups.

    No link to another file is followed.
    """
    h5py = package("h5py", "HDF5")
    arrays, groups, links, there = {}, {}, {}, set()

    def visit(name: str, x: Any) -> None:
        if isinstance(x, h5py.Dataset):
            arrays[name] = x
        else:
            groups[name] = "a group of arrays"

    def visit_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            links[name] = f"a link to another file, {link.filename!r}"
        else:
            there.add(name)
        if isinstance(link, h5py.SoftLink):
            links[name] = link.path

    file.visititems(visit)
    file.visititems_links(visit_link)
    for name in there & set(links):
        target = posixpath.join("/", posixpath.dirname(name), links[name])
        if posixpath.normpath(target).strip("/") in there:
            del links[name]
        else:
            links[name] = f"a link to {links[name]!r}, which is not there"
    return arrays, links, groups


def _dtype(dataset: Any) -> np.dtype | None:
    """Its dtype; None if NumPy has none of its type."""
    try:
        return np.dtype(dataset.dtype)
    except (TypeError, ValueError, KeyError, RuntimeError, OSError):
        return None


def _first_values(path: Place, file: Any, dataset: Any) -> list[Any]:
    """The first values of an array of texts or bytes."""
    width = max(dataset.dtype.itemsize, dataset.nbytes // max(dataset.size, 1))
    count = most_values(dataset.size, width)
    if count == 0 or dataset.is_virtual or dataset.external:
        return []
    if not is_promised(dataset.nbytes, dataset.id.get_storage_size()):
        return []
    if dataset.dtype.kind == "O":
        _check_heaps(path, file)
    return list(dataset[:count])


def _index(arrays: dict[str, Any]) -> str:
    """Where an .h5ad has the names of its observations.

    An attribute of `obs` says it, but the library can crash on one that is damaged. So
    it is "_index", or the only texts in `obs` that are not of a group in it.
    """
    h5py = package("h5py", "HDF5")
    of_obs = {key: x for key, x in arrays.items() if key.startswith("obs/")}
    if "obs/_index" in of_obs:
        return "obs/_index"
    texts = [
        key
        for key, x in of_obs.items()
        if key.count("/") == 1
        and len(x.shape or ()) == 1
        and h5py.check_string_dtype(x.dtype) is not None
    ]
    if len(texts) != 1:
        raise ValueError(
            f"which of {texts or list(of_obs)} are its ids? Name them with ids=... "
            "(--ids)."
        )
    return texts[0]


def _texts_or_numbers(path: Place, file: Any, name: str, ids: Any) -> np.ndarray:
    """The ids in an array of an HDF5 file."""
    h5py = package("h5py", "HDF5")
    _check_stored(name, ids)
    if h5py.check_string_dtype(ids.dtype) is None:
        return np.asarray(ids[:])
    _check_heaps(path, file)
    return names.text_array(ids.asstr()[:].ravel().tolist())


def _check_stored(name: str, dataset: Any) -> None:
    """Raise ValueError if it claims far more than the file holds."""
    if not dataset.shape:
        raise ValueError(f"{name} has no rows: its shape is {dataset.shape}.")
    if dataset.is_virtual or dataset.external:
        raise ValueError(
            f"{name} lies in other files, which are not opened. Write it into one file."
        )
    check_promise(name, dataset.nbytes, dataset.id.get_storage_size())


def _check_heaps(path: Place, file: Any) -> None:
    """Raise ValueError for a text heap with a dangling object.

    The library would go round in it for ever, and no signal stops that.
    """
    if (
        file.id.get_create_plist().get_sizes()[1] != 8
    ):  # of files that other widths were asked for
        return
    if isinstance(path, Remote):
        for start, heap in _remote_heaps(path):
            _check_heap(heap, 0, start)
        return
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        place = data.find(_HEAP)
        while place >= 0:
            if place % 8 == 0:
                _check_heap(data, place)
            place = data.find(_HEAP, place + 1)


def _remote_heaps(path: Remote) -> Iterator[tuple[int, bytes]]:
    """The heaps of a remote file, which is read once."""
    with path.open() as stream, path.open() as other:
        start, block = 0, stream.read(_BLOCK)
        while block:
            place = block.find(_HEAP)
            while place >= 0:
                if (start + place) % 8 == 0:
                    other.seek(start + place)
                    head = other.read(_HEAD)
                    size = min(_number(head, 8, 8), path.size())
                    yield start + place, head + other.read(max(size - _HEAD, 0))
                place = block.find(_HEAP, place + 1)
            kept = block[-_HEAD:] if len(block) > _HEAD else b""
            more = stream.read(_BLOCK)
            start += len(block) - len(kept)
            block = kept + more if more else b""


def _check_heap(data: mmap.mmap | bytes, place: int, start: int = 0) -> None:
    end = min(place + _number(data, place + 8, 8), len(data))
    at = place + _HEAD
    while at + _HEAD <= end:
        size = _number(data, at + 8, 8)
        if _number(data, at, 2) == 0 and size < _HEAD:
            raise ValueError(
                f"it is damaged: what lies at byte {start + at} leads nowhere. Write "
                "the file anew."
            )
        free = _number(data, at, 2) == 0
        at += size if free else _HEAD + -(-size // 8) * 8


def _number(data: mmap.mmap | bytes, place: int, width: int) -> int:
    return int.from_bytes(data[place : place + width], "little")
