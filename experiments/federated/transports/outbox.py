"""The outbox of the server, in which clients look for heads.

With a secret, what the server did not seal is as good as not there, so that nobody who
can only add files to the outbox ends a client.
"""

import json
import re
from pathlib import Path

from experiments.data import storage
from experiments.federated import messages
from experiments.federated.messages import Head, Refused
from experiments.federated.transports import seals
from experiments.federated.transports.rounds import Places, empty, read

_CLOSED = 128  # bytes of the file that says so, with its seal, at most


def newest(
    place: Places, known: int = -1, seal: tuple[bytes | None, int] = (None, 0)
) -> Head | None:
    """The newest head, None if known; `seal` as in `read_map`.

    Raises:
        Refused: if it is no head. With a secret, files with a wrong seal are skipped.
        OSError: if it cannot be read, without a secret.
    """
    secret, number = seal
    for version in sorted(_versions(place), reverse=True):
        if version <= known:
            break
        try:
            content = read(_head(place, version), messages.MOST_ANSWERED)
            content = seals.opened(secret, seals.of_head(number, version), content)
        except (Refused, OSError):
            if secret is None:
                raise
            continue
        return messages.unpack_head(content)
    return None


def _versions(place: Places) -> list[int]:
    """The versions of the heads that are there."""
    names = (file.name for file in place.outbox.glob("head_*.npz"))
    matches = (re.fullmatch(r"head_(0|[1-9][0-9]*)\.npz", name) for name in names)
    return [int(match[1]) for match in matches if match]


def _head(place: Places, version: int) -> Path:
    return place.outbox / f"head_{version}.npz"


def send_head(place: Places, version: int, content: bytes) -> int:
    """Put a head there; its bytes."""
    return send(_head(place, version), content)


def send(file: Path, content: bytes) -> int:
    """Put a message there; its bytes."""
    storage.write(file, lambda stream: stream.write(content))
    return len(content)


def close(place: Places, version: int, seal: tuple[bytes | None, int]) -> None:
    """Say that this version is the last; `seal` as in `read_map`."""
    secret, number = seal
    content = json.dumps(version).encode()
    content = seals.sealed(secret, seals.of_closed(number), content)
    send(place.outbox / "closed.json", content)


def closed(
    place: Places, version: int, seal: tuple[bytes | None, int] = (None, 0)
) -> bool:
    """Whether the server has said that this version is the last."""
    secret, number = seal
    try:
        content = read(place.outbox / "closed.json", _CLOSED)
        content = seals.opened(secret, seals.of_closed(number), content)
        return bool(json.loads(content) == version)
    except (OSError, ValueError):
        return False


def clear(place: Places) -> None:
    """Delete what an earlier server sent: its heads are stale."""
    empty(place.outbox)
    empty(place.reports)
