"""Files that an installed package carries; none of its code is run."""

from importlib import util
from pathlib import Path


def find(package: str, pattern: str) -> list[Path]:
    """The files of a package that match a pattern; none if it is not installed.

    Args:
        package: its name, as pip or as Python has it.
        pattern: of the path in its folder, as in `pathlib.Path.glob`.

    Example:
        >>> [file.name for file in find("numpy", "linalg/__init__.py")]
        ['__init__.py']
        >>> find("no-such-package", "*")
        []
    """
    spec = util.find_spec(package.replace("-", "_"))
    folders = [] if spec is None else spec.submodule_search_locations or []
    return [file for folder in folders for file in sorted(Path(folder).glob(pattern))]
