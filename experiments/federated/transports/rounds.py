"""What is left of a round, whichever way the messages went."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, NamedTuple

from experiments.data import storage
from experiments.federated import consensus, messages
from experiments.federated.consensus import Map
from experiments.federated.messages import Refused
from experiments.federated.report import GROUPS
from experiments.federated.transports import seals

_MOST_REPORTED = 1 << 20  # bytes of what a client measured
_METHODS = {"own", "own_public", "atlas", "atlas_shift"}  # that a client measures
_GROUPS = set(GROUPS)


class Round(NamedTuple):
    """What a round came to.

    Attributes:
        lines: what happened, in order.
        accepted: the numbers of the clients whose rows are in the atlas.
        sent: bytes that each client sent, refused ones too, by its number.
        received: bytes of the recipe and of one head, which each client was sent.
        reports: what each client measured, by its number, method and group.
    """

    lines: list[str]
    accepted: list[int]
    sent: dict[int, int]
    received: dict[str, int]
    reports: dict[int, dict[str, dict[str, float]]]


class Places(NamedTuple):
    """The folders of a round.

    Attributes:
        inbox: what clients send.
        outbox: what the server sends.
        reports: what clients measured, for the table.
        private: with a folder for each client, that no other looks into.
    """

    inbox: Path
    outbox: Path
    reports: Path
    private: Path

    @property
    def round(self) -> int:
        """The number of the round, as `places` was given it."""
        return int(self.outbox.parent.name.removeprefix("round"))

    def map(self, client: int, version: int) -> Path:
        """The file of a client's map to the coordinates of this head."""
        return self.outbox / f"map_{version}_client_{client}.npz"


def places(folder: Path, seed: int) -> Places:
    """The folders of a round, made if need be."""
    round_folder = folder / f"round{seed}"
    folders = Places(*(round_folder / name for name in Places._fields))
    for each in folders:
        each.mkdir(parents=True, exist_ok=True)
    return folders


def empty(folder: Path) -> None:
    """Delete what is in a folder, folders too; no link is followed."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def write_report(place: Places, client: int, version: int, scores: Any) -> None:
    """What a client measured with the head of this version."""
    file = place.reports / f"client_{client}.json"
    storage.write_json(file, {"version": version, "scores": scores})


def read_map(
    place: Places, client: int, version: int, seal: tuple[bytes | None, int] = (None, 0)
) -> Map | None:
    """The client's map beside this head; None without one.

    Args:
        place: of the round.
        client: its number.
        version: of the head.
        seal: the secret, and the number of the round.
    """
    file = place.map(client, version)
    if not file.exists():
        return None
    secret, number = seal
    about = seals.of_map(number, version, client)
    content = read(file, messages.MOST_ANSWERED)
    return consensus.unpack(seals.opened(secret, about, content))


def read_reports(place: Places, num_clients: int, version: int) -> dict[int, Any]:
    """Clients' scores with the head of this version, by number.

    What is no report is as good as none.
    """
    scores = {}
    for client in range(1, num_clients + 1):
        try:
            content = read(place.reports / f"client_{client}.json", _MOST_REPORTED)
            report = json.loads(content)
        except (OSError, ValueError, RecursionError):
            continue
        if _is_report(report) and report["version"] == version:
            scores[client] = report["scores"]
    return scores


def read(file: Path, most: int) -> bytes:
    """The bytes of a file that anybody may have put there.

    Neither a link nor a pipe is followed, and a file that grows is not read on.

    Raises:
        Refused: if it is no file, or has more bytes.
        OSError: if it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if file.is_symlink():
        raise Refused("it is a link, not read")
    handle = os.open(file, flags)
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise Refused("it is no file, not read")
        if about.st_size > most:
            raise Refused(
                f"it is of {about.st_size} bytes, not read; expected {most} at most"
            )
        with os.fdopen(os.dup(handle), "rb") as stream:
            content = stream.read(most + 1)
    finally:
        os.close(handle)
    if len(content) > most:
        raise Refused(f"it grew beyond {most} bytes while it was read")
    return content


def _is_report(report: Any) -> bool:
    """Whether these are accuracies by known method and group of classes."""
    if not isinstance(report, dict) or set(report) != {"version", "scores"}:
        return False
    scores = report["scores"]
    if not isinstance(scores, dict) or not set(scores) <= _METHODS:
        return False
    return all(
        isinstance(group, dict)
        and set(group) <= _GROUPS
        and all(value is None or _is_accuracy(value) for value in group.values())
        for group in scores.values()
    )


def _is_accuracy(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1
