"""What is wrong with a file, or not installed, in one line that names it."""

import importlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_DAMAGES = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
)


class BadFile(ValueError):
    """A file that is not what it should be; the message begins with its name."""


class Missing(ImportError):
    """A package that a file's format takes, and that is not installed."""


@contextmanager
def faults_of(path: str | Path) -> Iterator[None]:
    """What goes wrong inside is a `BadFile` that names the file.

    That the system does not give it (it is not there, may not be read) stays OSError.
    """
    try:
        yield
    except BadFile:
        raise
    except _DAMAGES as error:
        missing = isinstance(error, KeyError)
        text = f"{error} is missing" if missing else str(error) or type(error).__name__
        raise BadFile(f"{path}: {text}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadFile(f"{path}: {error}") from error  # HDF5's, of a damaged file


def package(module: str, of: str) -> ModuleType:
    """A module of a package that not everyone needs.

    Raises:
        Missing: if it is not installed, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(
            f"{of} takes the package {module.split('.')[0]}, which is not installed: "
            "pip install 'jatlas[files]'."
        ) from error
