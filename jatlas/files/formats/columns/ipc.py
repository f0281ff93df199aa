"""Record batches of Arrow's IPC files and streams, and of Feather."""

import contextlib
import mmap
from collections.abc import Generator
from typing import Any

from jatlas.files.formats.faults import package
from jatlas.files.formats.places import Place, Remote
from jatlas.files.formats.rows import release

_FILE, _OLD = b"ARROW1", b"FEA1"


def ipc_batches(path: Place, start: int = 0, stop: int | None = None) -> Generator[Any]:
    """The batches of a file, checked, one at a time.

    The file is mapped if it is on this machine. Of rows from `start` to `stop` only, if
    these are given.

    Raises:
        ValueError: if it is of Feather's first version, or is damaged.
    """
    arrow, ipc = package("pyarrow", "Arrow"), package("pyarrow.ipc", "Arrow")
    with path.open("rb") as stream:
        mark = stream.read(6)
    if mark[:4] == _OLD:
        raise ValueError(
            "it is Feather of version 1, which is no longer written; read it with "
            "pandas and write it anew (`to_feather`)."
        )
    with contextlib.ExitStack() as stack:
        mapped = None
        if isinstance(path, Remote):
            source = stack.enter_context(path.open("rb"))
        else:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            source = arrow.BufferReader(arrow.py_buffer(mapped))
        if mark == _FILE:
            file = ipc.open_file(source)
            batches = (file.get_batch(k) for k in range(file.num_record_batches))
        else:
            batches = iter(ipc.open_stream(source))
        first = 0
        for batch in batches:
            size = batch.num_rows
            a, b = max(start - first, 0), size if stop is None else stop - first
            first += size
            if stop is not None and first - size >= stop:
                return
            if stop is not None and a >= size:
                continue
            # Arrow takes on trust what is mapped; a wrong offset would end the process.
            batch.validate(full=True)
            release(mapped)  # of which all was looked at, and some is asked for
            if size:
                yield batch.slice(a, min(b, size) - a)
                release(mapped)
