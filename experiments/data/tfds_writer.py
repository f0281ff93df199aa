"""TFDS data sets written once as array_record, whole or not.

TFDS writes into a folder beside and renames it when all is there, so that a killed
preparation leaves nothing that is read later; a lock lets one process prepare while
others wait for its result. Of downloads and unpacked archives nothing is kept.

The builders of TFDS need TensorFlow to prepare. It works in a process of its own
(`python -m experiments.data.tfds_writer`), which ends with the one that started it: its
threads and its memory never meet those of JAX, and it sees no accelerator.
"""

import contextlib
import fcntl
import importlib.util
import io
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from experiments.data.archives import gather, missing

_UNFINISHED = "incomplete."  # as TFDS has it


class Wanted(NamedTuple):
    """A data set and how it is made.

    Attributes:
        name: of the builder, as TFDS has it.
        make_builder: called with `data_dir` and `file_format`, gives the builder.
        folder: the `data_dir`.
        manual: a folder with files of the source that need not be downloaded.
        tensorflow: whether preparing needs TensorFlow.
    """

    name: str
    make_builder: Callable[..., Any]
    folder: Path
    manual: Path | None = None
    tensorflow: bool = False

    def make(self) -> Any:
        """The builder, over the folder."""
        return self.make_builder(data_dir=self.folder, file_format="array_record")


def prepare(wanted: Wanted, make: Callable[[], Any]) -> None:
    """Prepare a data set, unless another process has done so meanwhile.

    Args:
        wanted: the data set.
        make: gives its builder, over what is then in the folder.

    Raises:
        ValueError: if TensorFlow is needed and not installed, or the source is not to
            be had, or it is not what the builder expects.
        OSError: if the folder cannot be written.
    """
    name, folder = wanted.name, wanted.folder
    if wanted.tensorflow and importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{name} is not in the cache {folder}, and the builders of TensorFlow "
            "Datasets need TensorFlow to prepare one (not to read it later). Install "
            "the extra `prepare` (pip install -e '.[prepare]'), which brings "
            "tensorflow-cpu."
        )
    with _lock(folder) as lock:
        builder = make()
        if builder.data_path.exists():
            return
        # Under the lock, what is unfinished has been left by a killed preparation.
        for place in (folder, Path(builder.data_path).parent):
            for unfinished in place.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(unfinished)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as scratch:
            manual = gather(builder, wanted.manual, Path(scratch))
            if wanted.tensorflow:
                _write_elsewhere(wanted, Path(scratch), manual, lock)
            else:
                _write(builder, Path(scratch), manual)


def _write(builder: Any, scratch: Path, manual: Path) -> None:
    """Let TFDS write the data set silently; needs the lock."""
    import tensorflow_datasets as tfds

    # An archive is unpacked into a folder of its name, and sets share names of files:
    # hence a place for this set alone.
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    tfds.display_progress_bar(False)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_dir=scratch / "downloads", download_config=config
            )
    finally:
        tfds.display_progress_bar(True)


def _write_elsewhere(
    wanted: Wanted, scratch: Path, manual: Path, lock: IO[str]
) -> None:
    """`_write` in a process of its own, with TensorFlow."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with (
        (scratch / "messages").open("w+b") as messages,
        subprocess.Popen(
            [sys.executable, "-m", "experiments.data.tfds_writer"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            # It holds the lock too: nobody else prepares while one of the two lives.
            pass_fds=(lock.fileno(),),
        ) as process,
    ):
        try:
            with contextlib.suppress(BrokenPipeError):  # it died; its answer says so
                process.stdin.write(pickle.dumps((wanted, scratch, manual)))
                process.stdin.flush()
            # Its input stays open as long as this process lives, and it watches that.
            answer = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        code = process.wait()
        messages.seek(0)
        last_words = messages.read()[-2000:].decode(errors="replace")
    _raise(wanted, answer, code, last_words)


def _raise(wanted: Wanted, answer: bytes, code: int, last_words: str) -> None:
    """Raise what the other process could not do, if anything."""
    if not answer:
        raise ValueError(
            f"preparing {wanted.name} ended with exit status {code} and no answer "
            f"(-9: the system ran out of memory). Its last words: {last_words}"
        )
    kind, message = json.loads(answer)
    if kind == "download":
        raise ValueError(missing(wanted.make(), wanted.manual, message))
    if kind == "os":
        raise OSError(f"{wanted.name} could not be prepared: {message}.")
    if kind == "other":
        raise ValueError(
            f"{wanted.name} could not be prepared: {message}. Nothing of it is kept."
        )


def main() -> None:
    """Prepare what is asked for on standard input; answer on standard output."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    wanted, scratch, manual = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    import tensorflow

    tensorflow.config.set_visible_devices([], "GPU")
    with answer:
        json.dump(_attempt(wanted, scratch, manual), answer)


def _attempt(wanted: Wanted, scratch: Path, manual: Path) -> tuple[str, str]:
    """Prepare; what kind of failure there was, if any, and its message."""
    import requests
    import tensorflow_datasets as tfds

    download = (requests.RequestException, tfds.download.DownloadError)
    try:
        _write(wanted.make(), scratch, manual)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        if isinstance(
            error, download
        ):  # one kind of them is an OSError, so it is first
            return "download", message
        return ("os" if isinstance(error, OSError) else "other"), message
    return "done", ""


def _end_with_the_parent() -> None:
    """End this process when its standard input is closed."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held at the end
        pass
    os._exit(1)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder's lock; the system frees a dead process's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise OSError(
            f"the cache folder {folder} cannot be written ({error}). Make it writable, "
            "or give another cache_dir."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep absl, through which TFDS speaks, at errors."""
    import tensorflow_datasets  # noqa: F401  (absl must set up its own logger first)

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


if __name__ == "__main__":
    main()
