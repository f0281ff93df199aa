"""The messages of clients and server: arrays and JSON, no code.

A client sends one thing, a `contribution`: its number, the round, the digest of the
recipe, and over the P public samples the sums (P, A) of its relative coordinates and
their counts (P,), each one or zero: a client has one chart. No image, no label of a
private sample and no weight goes anywhere. The server sends the `Recipe` (ids and
labels of public samples, which of them are anchors) and the `Head`; in consensus
coordinates also each client's own map, see `consensus.py`.
"""

import hashlib
import io
import json
import math
import zipfile
from typing import IO, Any, NamedTuple

import numpy as np

import jatlas
from experiments.data import storage
from jatlas import Probe
from jatlas.running.atlas import AtlasState

# What a file has beside its numbers: names, shapes, the table of contents.
_OVERHEAD = 1 << 14
_SHOWN = 300  # characters of what others wrote
MOST_ANSWERED = 1 << 30  # bytes of the numbers of a head or a map


class Refused(ValueError):
    """An invalid message; nothing of it is used."""


class Recipe(NamedTuple):
    """What the server asks of all clients.

    Attributes:
        round: its number.
        ids: P, the public samples.
        labels: P, their classes.
        anchors: A, places of the anchors among the public samples.
        num_classes: C.
        num_clients: M; clients are numbered from 1.
        coordinates: "plain", "white-nystroem" or "consensus"; see `coordinates.py`.
    """

    round: int
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    anchors: tuple[int, ...]
    num_classes: int
    num_clients: int
    coordinates: str

    @property
    def shape(self) -> tuple[int, int]:
        """P and A."""
        return len(self.ids), len(self.anchors)


class Head(NamedTuple):
    """What the server sends back.

    Attributes:
        version: counted from 0; a newer one has more clients.
        clients: the numbers of those whose rows are in the atlas.
        probe: the classifier trained on the atlas of the public samples.
        common: (P,), the public samples of which each of these clients sent a row.
        centre: (A,), the mean of the atlas over them, for the shift; NaN for none.
        scale: (A, A), what rows are multiplied by before the probe sees them; None if
            they are left as they are.
    """

    version: int
    clients: tuple[int, ...]
    probe: Probe
    common: np.ndarray
    centre: np.ndarray
    scale: np.ndarray | None


def pack_recipe(recipe: Recipe) -> bytes:
    """The recipe as it is sent, JSON."""
    return json.dumps(recipe._asdict()).encode()


def unpack_recipe(content: bytes) -> Recipe:
    """What `pack_recipe` gave.

    Raises:
        Refused: if it is something else.
    """
    try:
        fields = dict(json.loads(content))
        lists = {name: tuple(fields[name]) for name in ("ids", "labels", "anchors")}
        recipe = Recipe(**fields | lists)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(f"it is no recipe: {error}") from None
    counts = (recipe.round, recipe.num_classes, recipe.num_clients)
    numbers = (*counts, *recipe.labels, *recipe.anchors)
    whole = all(type(number) is int and 0 <= number < 2**31 for number in numbers)
    texts = (*recipe.ids, recipe.coordinates)
    if not whole or not all(isinstance(text, str) for text in texts):
        raise Refused("it is no recipe: its numbers or its texts are none")
    inside = all(place < len(recipe.ids) for place in recipe.anchors)
    if len(recipe.labels) != len(recipe.ids) or not inside:
        raise Refused("it is no recipe: its samples, labels and anchors do not fit")
    return recipe


def contribution(
    client: int, recipe: Recipe, relative: np.ndarray, presence: np.ndarray
) -> bytes:
    """A client's part of the atlas as it is sent, an .npz.

    Args:
        client: its number.
        recipe: of the round.
        relative: (P, A), its relative coordinates of the public samples.
        presence: (P,), those of which it sends a row.
    """
    state = jatlas.running.atlas.add(
        jatlas.running.atlas.empty(*recipe.shape), relative, presence
    )
    return pack_arrays(
        {
            "client": np.int32(client),
            "round": np.int32(recipe.round),
            "recipe": _digest(recipe),
            "total": np.asarray(state.total),
            "count": np.asarray(state.count),
        }
    )


def read_contribution(content: bytes, sender: int, recipe: Recipe) -> AtlasState:
    """A client's part of the atlas, with every number checked.

    Args:
        content: as from `contribution`, or anything at all.
        sender: the client from whom it came.
        recipe: of this round.

    Raises:
        Refused: with the reason, if it is not to be merged.
    """
    num_public, num_anchors = recipe.shape
    arrays = unpack_arrays(content, _most_numbers(recipe))
    wanted = {"client", "round", "recipe", "total", "count"}
    if set(arrays) != wanted:
        raise Refused(f"it holds {sorted(arrays)}, expected {sorted(wanted)}")
    if not 1 <= sender <= recipe.num_clients:
        raise Refused(f"the clients are 1 to {recipe.num_clients}")
    for name, value in (("client", sender), ("round", recipe.round)):
        if not np.array_equal(arrays[name], value):
            raise Refused(f"it is of {name} {arrays[name]}, expected {value}")
    total, count = arrays["total"], arrays["count"]
    if total.ndim == 2 and total.shape[1] != num_anchors:
        raise Refused(f"it has {total.shape[1]} anchors, expected {num_anchors}")
    for name, shape in (("total", (num_public, num_anchors)), ("count", (num_public,))):
        x = arrays[name]
        if x.shape != shape or x.dtype != np.float32:
            raise Refused(f"{name} is {x.dtype}{x.shape}, expected float32{shape}")
    if not np.array_equal(arrays["recipe"], _digest(recipe)):
        raise Refused(
            "it was made with other public samples, other anchors or other coordinates"
        )
    _check_numbers(total, count, recipe)
    return AtlasState(total, count)


def most_bytes(recipe: Recipe) -> int:
    """The size of a contribution beyond which none is worth being read."""
    return _most_numbers(recipe) + 2 * _OVERHEAD


def pack_head(head: Head) -> bytes:
    """The head as it is sent, an .npz."""
    about = {"version": np.int32(head.version), "clients": np.int32(head.clients)}
    arrays = {name: np.asarray(leaf) for name, leaf in head.probe._asdict().items()}
    arrays |= {"common": head.common, "centre": head.centre}
    if head.scale is not None:
        arrays["scale"] = head.scale
    return pack_arrays(about | arrays)


def unpack_head(content: bytes) -> Head:
    """What `pack_head` gave.

    Raises:
        Refused: if it is something else.
    """
    arrays = unpack_arrays(content, MOST_ANSWERED)
    try:
        probe = Probe(**{name: arrays[name] for name in Probe._fields})
        clients = tuple(arrays["clients"].tolist())
        version, scale = int(arrays["version"]), arrays.get("scale")
        return Head(version, clients, probe, arrays["common"], arrays["centre"], scale)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refused(f"it is no head: {error}") from None


def pack_arrays(arrays: dict[str, Any]) -> bytes:
    """An .npz of these, without pickles."""
    stream = io.BytesIO()
    storage.write_npz(stream, arrays)
    return stream.getvalue()


def unpack_arrays(content: bytes, most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz of limited size, without pickles.

    What it promises is held against what is there before any memory is taken.

    Raises:
        Refused: if it is something else, or has more than about `most` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > most + _OVERHEAD:
                raise Refused(f"it is of {size} bytes, expected {most} at most")
            if size > len(content):  # `pack_arrays` compresses nothing
                raise Refused(f"it unpacks to {size} bytes, from {len(content)}")
            for entry in entries:
                with archive.open(entry) as stream:
                    _check_length(stream, entry)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except Refused:
        raise
    except Exception as error:  # what a wrong byte meets inside of NumPy is anything
        raise Refused(f"it cannot be read ({error})") from None


def plain(text: object) -> str:
    """What others wrote, as a line of 300 characters at most.

    >>> plain(f"two{chr(10)} lines{chr(27)}[2J")
    'two lines?[2J'
    """
    line = " ".join(str(text)[:_SHOWN].split())
    return "".join(c if c.isprintable() else "?" for c in line)


def _check_numbers(total: np.ndarray, count: np.ndarray, recipe: Recipe) -> None:
    """Raise Refused unless each row is one of cosines, or none.

    Nobody may count for more than one chart: the atlas would be theirs.
    """
    faults = (
        (~np.isfinite(total).all(axis=1), "NaN or infinity"),
        (~np.isin(count, (0, 1)), "a count that is not 0 or 1"),
        (
            (np.abs(total) > count[:, None] * (1 + 1e-3)).any(axis=1),
            "what is no sum of cosines",
        ),
    )
    for bad, what in faults:
        if bad.any():
            first = recipe.ids[int(np.argmax(bad))]
            raise Refused(
                f"{what} in {bad.sum()} of {bad.size} rows, the first of {first}"
            )
    if not count.any():
        raise Refused("it has a row of no public sample")


def _most_numbers(recipe: Recipe) -> int:
    """Bytes of the numbers of a contribution, if they were float64."""
    num_public, num_anchors = recipe.shape
    return 8 * num_public * (num_anchors + 1)


def _digest(recipe: Recipe) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(pack_recipe(recipe)).digest(), np.uint8)


def _check_length(stream: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Raise Refused unless an array has the numbers that its head promises."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        return  # that is refused where it is read
    size = math.prod(shape) * dtype.itemsize
    if size != entry.file_size - stream.tell():
        raise Refused(f"{entry.filename} is of another size than its head says")
