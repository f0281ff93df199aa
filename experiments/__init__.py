"""The experiments that prove jatlas."""

import importlib.util
import io
import os
import sys
import time

BEGAN = time.perf_counter()  # before the imports, which take seconds
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

# What every command imports before it can say anything.
_NEEDED = ("tyro", "rich", "platformdirs", "PIL", "sklearn", "matplotlib")


def _begin(arguments: list[str]) -> None:
    """Of a command `python -m experiments...`: its extra and its output.

    It ends where packages are missing. Letters that the terminal does not have are
    shown by their numbers.
    """
    after = arguments[arguments.index("-m") + 1 :] if "-m" in arguments else []
    if not after or after[0].split(".")[0] != "experiments":
        return
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"error: python -m {after[0]} takes packages that are not installed "
            f"({', '.join(missing)}): pip install -e '.[experiments]'",
            file=sys.stderr,
        )
        raise SystemExit(2)


_begin(sys.orig_argv)
