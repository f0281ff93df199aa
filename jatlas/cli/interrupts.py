"""Ctrl-C while `python -m jatlas` still imports its packages, which takes seconds.

The process ends without a traceback, whatever is being imported. To import this module
is enough; in any process that is not `python -m jatlas` or `jatlas` it changes nothing.
"""

import os
import signal
import sys
from pathlib import PurePath
from typing import Any

STOPPED = "stopped; nothing was written"
STOPPED_CODE = 130


def restore() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_command(arguments: list[str], original: list[str]) -> bool:
    """Whether `python -m jatlas`, or `jatlas`, is running its imports.

    Python names a module "-m" until it has found it. An installed command is a script.
    """
    if arguments[:1] == original[1:2] and PurePath(*original[1:2]).name == "jatlas":
        return True
    places = [k for k, word in enumerate(original) if word == "-m"]
    module = original[places[0] + 1 : places[0] + 2] if places else []
    return arguments[:1] == ["-m"] and module == ["jatlas"]


def _end(number: int, frame: Any) -> None:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(STOPPED_CODE)


if _is_command(sys.argv, sys.orig_argv):
    signal.signal(signal.SIGINT, _end)
