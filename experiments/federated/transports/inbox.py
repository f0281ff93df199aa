"""The inbox of the server, into which anybody may write anything.

The server asks for the files of its clients by their names, of each a limited number,
so that what it does and keeps does not grow with what lies there.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from experiments.data import storage
from experiments.federated.messages import Refused
from experiments.federated.transports.rounds import Places

MOST = 64  # messages of a client in a round that are looked at
STRANGERS = 8  # files with other names that are mentioned
_LISTED = 1024  # entries of the inbox among which these are looked for


def name(client: int, number: int) -> str:
    """The file of a client's message with this number, from 1."""
    return f"client_{client}_{number}.npz"


def post(place: Places, client: int, content: bytes) -> None:
    """Put a message into the inbox, beside the client's earlier ones.

    Raises:
        Refused: if there are as many as the server looks at.
    """
    files = (place.inbox / name(client, number) for number in range(1, MOST + 1))
    free = next((file for file in files if not os.path.lexists(file)), None)
    if free is None:
        raise Refused(f"client {client} has sent {MOST} messages, of which none is due")
    storage.write(free, lambda stream: stream.write(content))


def arrived(place: Places, num_clients: int) -> Iterator[tuple[int, Path]]:
    """The clients' messages that are there: who, and the file."""
    for client in range(1, num_clients + 1):
        for number in range(1, MOST + 1):
            file = place.inbox / name(client, number)
            if os.path.lexists(file):
                yield client, file


def strangers(place: Places, num_clients: int) -> list[str]:
    """Names of files that are no client's message, a few."""
    with os.scandir(place.inbox) as entries:
        names = [entry.name for entry in itertools.islice(entries, _LISTED)]
    others = sorted(n for n in names if n[0] != "." and not _is_known(n, num_clients))
    return others[:STRANGERS]


def _is_known(text: str, num_clients: int) -> bool:
    """Whether a client's message can have this name.

    One beyond the last that is looked at can.
    """
    words = text.removesuffix(".npz").split("_")
    if len(words) != 3 or not all(w.isascii() and w.isdigit() for w in words[1:]):
        return False
    client, number = (int(word) for word in words[1:])
    return text == name(client, number) and 1 <= client <= num_clients and number > 0
