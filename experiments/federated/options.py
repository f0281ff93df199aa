"""The options of the federated run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.federated.transports import seals
from experiments.runs import settings
from experiments.runs.options import Options, flag

SecretFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True)
class FederatedOptions(Options):
    """The options of clients with private data and one atlas."""

    transport: Literal["files", "processes"] = "files"
    """files: a process a client, a file a message; a client may be late or lost.
    processes: all over jax.distributed, of which none may be lost."""
    num_public: int = 400
    """P: training samples, as many of each class, that no client trains on."""
    sends: Literal["all", "own"] = "all"
    """Which public samples a client sends rows of: all, or those of its own classes."""
    coordinates: Literal["plain", "white-nystroem", "consensus"] = "plain"
    """plain: heads see cosines to the anchors, as in the paper. white-nystroem: a
    client whitens its chart by its private samples first, and the server sends, with
    the head, a matrix that takes merged cosines to orthonormal coordinates. consensus:
    the server fits a consensus of the cosines, and sends each client its map."""
    wait: int = 3600
    """After so many seconds the head is made without those who have not sent, who join
    later; after twice as many they are given up. Of processes: for so long they wait
    for the others at the start."""
    timeout: int = 60
    """A process of jax.distributed that is silent for so many seconds is lost."""
    secret_file: SecretFile = None
    """A file with a secret of 16 bytes or more, the same for all. Messages are then
    sealed with it, and those that were made without it are refused."""

    def kind(self, client: int) -> str:
        """The kind of a client's chart; clients are numbered from 1."""
        return self.charts[(client - 1) % len(self.charts)]


def check(options: FederatedOptions) -> None:
    """Raise ValueError for options that no run can be made of."""
    for name in ("num_public", "wait", "timeout"):
        value = getattr(options, name)
        if value < 1:
            raise ValueError(f"{flag(name)} must be 1 or more, got {value}.")
    seals.read_secret(options.secret_file)
    if options.num_anchors > options.num_public:
        raise ValueError(
            f"--num-anchors {options.num_anchors} is more than --num-public "
            f"{options.num_public}: anchors are public samples."
        )
    if len(options.settings) != 1:
        raise ValueError(
            f"--settings takes one, whose tasks the clients have; {options.settings}."
        )
    scenario = settings.parse(options.settings[0]).scenario
    if scenario == "B":
        raise ValueError(
            f"--settings {options.settings[0]} gives every client every class; choose "
            "one with classes that a client never sees, such as S4_N2 or T2."
        )
    joined = scenario == "A" or options.sends == "all"
    if options.coordinates == "consensus" and not joined:
        raise ValueError(
            "--coordinates consensus joins clients by public samples that two or more "
            f"send; with --sends own and --settings {options.settings[0]} there are "
            "none. Choose --sends all, or a setting with shared classes, such as S4_N2."
        )


def of_kind(options: FederatedOptions, kind: str) -> FederatedOptions:
    """The options for charts of one kind."""
    return replace(options, charts=(kind,))
