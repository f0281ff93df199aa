"""What is left of a round, whichever way the messages went."""

from pathlib import Path
from typing import Any, NamedTuple

from experiments.data import storage
from experiments.federated import consensus
from experiments.federated.consensus import Map


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


def write_report(place: Places, client: int, version: int, scores: Any) -> None:
    """What a client measured with the head of this version."""
    file = place.reports / f"client_{client}.json"
    storage.write_json(file, {"version": version, "scores": scores})


def read_map(place: Places, client: int, version: int) -> Map | None:
    """The client's map beside this head; None without one."""
    file = place.map(client, version)
    return consensus.unpack(file.read_bytes()) if file.exists() else None


def read_reports(place: Places, num_clients: int, version: int) -> dict[int, Any]:
    """Clients' scores with the head of this version, by number."""
    scores = {}
    for client in range(1, num_clients + 1):
        file = place.reports / f"client_{client}.json"
        if file.exists() and (content := storage.read_json(file))["version"] == version:
            scores[client] = content["scores"]
    return scores
