"""Reading ahead, hashing beside, and how often a merge reads its files."""

import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.feather as feather
import pytest

from jatlas.files import overlap
from jatlas.files.formats import places
from jatlas.files.formats import rows as formats_rows
from jatlas.files.formats.sources import Source, batches
from jatlas.files.kinds import linked_rows, planning
from jatlas.files.merging import merge_files
from jatlas.files.readers import open_embeddings
from jatlas.files.sums import add_rows, empty_running


def test_items_come_in_order_and_few_are_made_ahead():
    made: list[int] = []

    def items() -> Iterator[int]:
        for n in range(50):
            made.append(n)
            yield n

    for n in overlap.ahead(items(), 2):
        time.sleep(0.001)
        # Two wait, one is held by the thread that waits to hand it over.
        assert n + 1 <= len(made) <= n + 4
    assert made == list(range(50))


def test_the_next_is_made_while_one_is_worked_with():
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        begun.set()
        yield 1

    for _ in overlap.ahead(items()):
        assert begun.wait(10)


def test_an_error_comes_where_the_item_would_and_ends_the_thread():
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("row 2 is bad")

    before = threading.active_count()
    got: list[int] = []
    with pytest.raises(ValueError, match="row 2 is bad"):
        got.extend(overlap.ahead(items()))
    assert threading.active_count() == before


def test_who_stops_looking_leaves_no_thread_and_closes_the_file():
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    before = threading.active_count()
    looked_at = overlap.ahead(items())
    assert next(looked_at) == 0
    looked_at.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert threading.active_count() == before


def test_an_error_beside_comes_before_one_inside_and_a_stop_gives_it_up():
    def fails(given_up: Callable[[], bool]) -> str:
        time.sleep(0.05)
        raise ValueError("the same byte for byte")

    with (
        pytest.raises(ValueError, match="byte for byte"),
        overlap.beside(fails),
    ):
        raise ValueError("both are of one encoder")
    ended: list[bool] = []

    def waits(given_up: Callable[[], bool]) -> None:
        while not given_up():
            time.sleep(0.001)
        ended.append(True)

    result: Future[None]
    with pytest.raises(KeyboardInterrupt), overlap.beside(waits) as result:
        raise KeyboardInterrupt
    assert ended == [True]
    assert result.done()


def counting(path: Path, rows: np.ndarray, ids: np.ndarray) -> tuple[Source, list[int]]:
    """A file, open, and how many rows were asked for in each of its readings."""
    np.savez(path, id=ids, x=rows)
    source, readings = open_embeddings(path), list[int]()

    def batches_of(size: int) -> Iterator[np.ndarray]:
        readings.append(0)
        for x in source.rows.batches(size):
            readings[-1] += len(x)
            yield x

    return source._replace(rows=source.rows._replace(batches=batches_of)), readings


@pytest.mark.parametrize(
    "options", [{}, {"whiten": True}, {"center": True, "coordinates": "nystroem"}]
)
def test_a_score_and_a_fit_take_one_reading(tmp_path, options):
    rng = np.random.default_rng(0)
    ids, hidden = np.arange(400), rng.normal(size=(400, 8))
    opened = [
        counting(tmp_path / f"{k}.npz", hidden + rng.normal(size=(400, 8)) / 9, ids)
        for k in range(2)
    ]
    said: list[str] = []
    counts: list[tuple[int, int]] = []
    scored = merge_files(
        [source for source, _ in opened],
        anchors="shared:20",
        batch_size=64,
        say=said.append,
        progress=lambda done, total: counts.append((done, total)),
        **options,
    )
    assert any("held out" in text for text in said)
    assert [readings for _, readings in opened] == [[400, 400]] * 2
    assert counts[-1] == (1600, 1600)
    # It is what a merge gives that fits from a reading of its own.
    files = [tmp_path / f"{k}.npz" for k in range(2)]
    alone = merge_files(files, anchors="shared:20", batch_size=64, **options)
    np.testing.assert_array_equal(scored.merged, alone.merged)
    for x, y in zip(scored.recipe.transforms, alone.recipe.transforms, strict=True):
        np.testing.assert_array_equal(np.asarray(x.scale), np.asarray(y.scale))


def test_rows_of_one_chart_and_of_several_add_up_to_the_bit():
    rng = np.random.default_rng(1)
    fast, plain = empty_running(50, 3), empty_running(50, 3)
    for _ in range(4):
        here = rng.permutation(50)[:30]
        rows = rng.normal(size=(30, 3)).astype(np.float32)
        rows[0] = -0.0
        add_rows(fast, here, rows)
        plain.count[here] += 1
        step = rows - plain.merged[here]
        plain.merged[here] += step / plain.count[here, None].astype(np.float32)
        residual = rows - plain.merged[here]
        plain.squares[here] += np.einsum("na,na->n", step, residual, dtype=np.float64)
    for x, y in zip(fast, plain, strict=True):
        assert x.tobytes() == y.tobytes()


def mapped_bytes(path: Path) -> int:
    """How much of a mapped file is in this process's memory."""
    maps = Path("/proc/self/smaps").read_text()
    sizes = re.findall(rf"{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps)
    return 1024 * sum(map(int, sizes))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.arrow"])
def test_little_of_a_mapped_file_stays_in_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(formats_rows, "_MAPPED", 2**20)
    path, rows = tmp_path / name, np.ones((8192, 512), np.float32)
    if name == "a.npy":
        np.save(path, rows)
        np.save(tmp_path / "a.id.npy", np.arange(len(rows)))
    elif name == "a.arrow":
        flat = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.reshape(-1)), 512)
        table = arrow.table({"id": np.arange(len(rows)), "x": flat})
        feather.write_feather(table, path, "uncompressed", chunksize=1024)
    else:
        np.savez(path, id=np.arange(len(rows)), x=rows)
    source = open_embeddings(path)
    most = 0
    for _, x in batches(source, 512):
        assert x[0, 0] == 1
        most = max(most, mapped_bytes(path))
    assert 0 < most <= rows.nbytes // 2
    assert mapped_bytes(path) <= 2**21


def test_what_two_threads_cannot_read_at_once_is_hashed_before(tmp_path):
    def shared(path):
        return planning._is_shared(Source(path, np.arange(2), None))

    assert shared(tmp_path / "a.npz")
    assert not shared(places.place("memory://a.npz"))
    order = []
    with overlap.before(lambda given_up: order.append("hashed") or "x") as result:
        order.append("read")
    assert order == ["hashed", "read"]
    assert result.result() == "x"


def test_no_room_on_the_disk_for_linked_rows_is_an_error(monkeypatch):
    """Writing to a mapped file that the disk has no room for ends the process."""

    def full(handle, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=f"No space left.*{tempfile.gettempdir()}"):
        linked_rows._room((4, 4), np.float32, 63)
    assert linked_rows._room((4, 4), np.float32, 64).shape == (4, 4)


def test_heads_are_parsed_by_one_thread_at_a_time(tmp_path, monkeypatch):
    """Python 3.11 raises SystemError where two threads parse literals at once."""
    at_work, most = [], []
    parse = np.lib.format.read_array_header_1_0

    def slow(stream):
        at_work.append(stream)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.remove(stream)
        return parse(stream)

    np.savez(tmp_path / "x.npz", id=np.arange(3), x=np.ones((3, 2), np.float32))
    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", slow)
    threads = [
        threading.Thread(target=open_embeddings, args=(tmp_path / "x.npz",))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
