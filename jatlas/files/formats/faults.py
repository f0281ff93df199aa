"""Errors about a file or a missing package, in one line."""

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_WHAT_TO_DO = "Write the file anew, or fetch it again."


class BadFile(ValueError):
    """An invalid file; the message begins with its name."""


class NoRows(ValueError):
    """A file without rows; a part of a chart may be one."""


class Missing(ImportError):
    """A package that a file's format takes, and that is not installed."""


@contextmanager
def faults_of(path: object) -> Iterator[None]:
    """What goes wrong inside is a `BadFile` that names the file.

    Whatever it is: what a damaged file meets inside of NumPy, HDF5 or Arrow can be any
    exception. That the system does not give it (it is not there, may not be read) stays
    OSError, and that a package is missing stays `Missing`.
    """
    try:
        yield
    except (BadFile, Missing):
        raise
    except ValueError as error:
        raise BadFile(f"{path}: {error or type(error).__name__}") from error
    except OSError as error:
        # To seek where a damaged file says is invalid too, and names no file.
        if error.errno is not None and error.errno != errno.EINVAL:
            raise
        raise BadFile(f"{path}: {error} {_WHAT_TO_DO}") from error  # HDF5's
    except KeyError as error:
        raise BadFile(f"{path}: {error} is missing. {_WHAT_TO_DO}") from error
    except MemoryError as error:
        raise BadFile(
            f"{path}: there is not enough memory for it, or it is damaged. {error}"
        ) from error
    except Exception as error:
        text = f"it is damaged ({type(error).__name__}: {error}). {_WHAT_TO_DO}"
        raise BadFile(f"{path}: {text}") from error


def package(module: str, of: str, *, extra: str = "files") -> ModuleType:
    """A module of a package that not everyone needs.

    Raises:
        Missing: if it is not installed, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(
            f"{of} takes the package {module.split('.')[0]}, which is not installed: "
            f"pip install 'jatlas[{extra}]'."
        ) from error
