"""Source files of TFDS data sets: located, checked, or reported missing.

All this comes before anything is prepared, so that who has neither the files nor a
network learns at once which files to get and where to put them.
"""

import hashlib
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# When the original files were packed, by gzip's header. Copies that hold the same bytes
# under another header (Debian's) have other checksums until this one is put back.
GZIP_TIMES = {"fashion_mnist": (1504176606, 1504176627)}

HINTS = {
    "fashion_mnist": "Debian's package dataset-fashion-mnist has the same files: "
    "install it and give /usr/share/datasets/fashion-mnist as it is.",
}

_SECONDS = 10


def gather(builder: Any, manual: Path | None, scratch: Path) -> Path:
    """A `manual_dir` for TFDS in which all files are the expected ones.

    Args:
        builder: of the data set.
        manual: the user's folder, if any. It is only read.
        scratch: a folder for what is made here.

    Returns:
        The user's folder where the builder has instructions of its own for it, else a
        folder of links into it, and of files repaired from it.

    Raises:
        ValueError: if a file in the user's folder has the name but not the checksum of
            one that the builder asks for, or if files are missing and no host that has
            them answers.
    """
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        if manual is None or not any(manual.iterdir()):
            raise ValueError(_by_hand(builder, manual))
        return manual
    links = scratch / "manual"
    links.mkdir()
    lacking = []
    for url, info in (builder.url_infos or {}).items():
        file = manual / info.filename if manual and info.filename else None
        if file is None or not file.exists():
            lacking.append(url)
        elif _matches(file, info):
            (links / info.filename).symlink_to(file.absolute())
        elif not _repair(builder.name, file, info, links):
            raise ValueError(_other_file(builder.name, file, url, info))
    # The files of one config are enough for it; which are whose, only TFDS knows.
    if lacking and not (builder.BUILDER_CONFIGS and any(links.iterdir())):
        reason = _unreachable(lacking)
        if reason:
            raise ValueError(missing(builder, manual, reason))
    return links


def missing(builder: Any, manual: Path | None, reason: str) -> str:
    """What to download for a data set, and where to put it."""
    files = "".join(
        f"\n  {info.filename or 'a file'} ({info.size}) from {url}"
        for url, info in (builder.url_infos or {}).items()
    )
    hint = HINTS.get(builder.name)
    where = f"{manual} lacks some of them" if manual else "no manual_dir was given"
    return (
        f"{builder.name} has not been prepared yet, its files cannot be downloaded "
        f"({reason}), and {where}. Put them into a folder and give it as manual_dir "
        f"(--manual-dir):{files}" + (f"\n{hint}" if hint else "")
    )


def _by_hand(builder: Any, manual: Path | None) -> str:
    instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    state = "none was given" if manual is None else f"{manual} is empty"
    return (
        f"{builder.name} has not been prepared yet, and its files are not downloaded "
        f"by themselves: a manual_dir (--manual-dir) must have them, and {state}. "
        f"{instructions}"
    )


def _other_file(name: str, file: Path, url: str, info: Any) -> str:
    return (
        f"{file} is not the file that {name} is made from: it has "
        f"{file.stat().st_size} bytes, expected are {int(info.size)} with the SHA-256 "
        f"{info.checksum}. It is damaged, or of another data set that names its files "
        f"alike. Get it anew from {url}, or take it out of the manual_dir."
    )


def _matches(file: Path, info: Any) -> bool:
    """Whether the file has the size and the SHA-256 that TFDS expects."""
    if file.stat().st_size != int(info.size):
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == info.checksum


def _repair(name: str, file: Path, info: Any, folder: Path) -> bool:
    """Restore the gzip header in a copy; return whether it matches.

    A header without a name, as `gzip -n` writes it, has ten bytes; flag 8 says that a
    name follows, ended by a zero byte (RFC 1952).
    """
    name_length = len(Path(info.filename).stem) + 1
    if name not in GZIP_TIMES or file.stat().st_size + name_length != int(info.size):
        return False
    content = file.read_bytes()
    if content[:4] != b"\x1f\x8b\x08\x00":
        return False
    repaired = folder / info.filename
    named = Path(info.filename).stem.encode() + b"\0"
    for time in GZIP_TIMES[name]:
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + content[8:10]
        repaired.write_bytes(header + named + content[10:])
        if _matches(repaired, info):
            return True
    repaired.unlink()
    return False


def _unreachable(urls: list[str]) -> str:
    """Why no host answers; empty if one does."""
    import requests

    reason = ""
    for url in {urlsplit(url).netloc: url for url in urls}.values():
        if not url.startswith("http"):
            return ""
        try:
            requests.head(url, timeout=_SECONDS)
        except requests.RequestException as error:
            reason = f"{type(error).__name__} at {urlsplit(url).netloc}"
        else:
            return ""
    return reason
