"""What the federated run can be told."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.runs import config, settings


@dataclass(frozen=True)
class Options:
    """Clients with private data, each with a chart of its own, and one atlas.

    Each client sends sums and counts over public samples, the server merges them,
    trains a head on the atlas, and sends it back; every client puts it on its own
    encoder. Writes results.json, and table.md made from it. If it is interrupted, the
    same command goes on where it was; a client that dropped out joins late by it.
    """

    transport: Literal["files", "processes"] = "files"
    """files: a process a client, a file a message; a client may be late or lost.
    processes: all over jax.distributed, of which none may be lost."""
    dataset: str = "fashion_mnist_7k"
    """As of `python -m experiments`."""
    setting: str = "S4_N2"
    """Whose tasks the clients have: S4_N2, 4 classes of all and 2 more of each; T2, two
    clients without a common class; or others of scenarios A and C."""
    charts: Annotated[str, tyro.conf.arg(metavar="KIND,...")] = "cnn"
    """Kinds of charts, by commas: clients take turns, and they need not be alike."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed is a round: it draws tasks, public samples, anchors and charts anew."""
    num_public: int = 400
    """P: training samples, as many of each class, that no client trains on."""
    num_anchors: int = 128
    """A: how many of the public samples are anchors."""
    sends: Literal["all", "own"] = "all"
    """Which public samples a client sends rows of: all, or those of its own classes."""
    coordinates: Literal["plain", "white-nystroem"] = "plain"
    """plain: heads see cosines to the anchors, as in the paper. white-nystroem: a
    client whitens its chart by its private samples first, and the server sends, with
    the head, a matrix that takes merged cosines to orthonormal coordinates."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained."""
    probe_epochs: int = 100
    """The most epochs of a head."""
    probe_patience: int = 10
    """A head stops when its validation loss has not fallen for so many epochs."""
    wait: int = 3600
    """After so many seconds the head is made without those who have not sent, who join
    later; after twice as many they are given up. Of processes: for so long they wait
    for the others at the start."""
    timeout: int = 60
    """A process of jax.distributed that is silent for so many seconds is lost."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/federated/DATASET_TRANSPORT if left out."""

    @property
    def folder(self) -> Path:
        """Where the results go."""
        if self.out is not None:
            return self.out
        return Path("results") / "federated" / f"{self.dataset}_{self.transport}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of charts."""
        return tuple(self.charts.split(","))

    def kind(self, client: int) -> str:
        """The kind of a client's chart; clients are numbered from 1."""
        return self.kinds[(client - 1) % len(self.kinds)]


def check(options: Options) -> None:
    """Raise ValueError for options that no run can be made of."""
    counts = ("num_public", "num_anchors", "probe_epochs", "probe_patience")
    for name in (*counts, "wait", "timeout"):
        value = getattr(options, name)
        if value < 1:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} must be 1 or more, got {value}.")
    if options.num_anchors > options.num_public:
        raise ValueError(
            f"--num-anchors {options.num_anchors} is more than --num-public "
            f"{options.num_public}: anchors are public samples."
        )
    if settings.parse(options.setting).scenario == "B":
        raise ValueError(
            f"--setting {options.setting} gives every client every class; choose one "
            "with classes that a client never sees, such as S4_N2 or T2."
        )
    config.check(of_run(options, options.folder, options.charts))


def of_run(options: Options, folder: Path, charts: str) -> config.Options:
    """The options of the charts' training, which is the main job's."""
    setting = settings.parse(options.setting)
    return config.Options(
        dataset=options.dataset,
        scenario=(setting.scenario,),
        settings=(setting.name,),
        charts=charts,
        seeds=options.seeds,
        num_anchors=options.num_anchors,
        num_held_out=options.num_public,
        max_epochs=options.max_epochs,
        probe_epochs=options.probe_epochs,
        probe_patience=options.probe_patience,
        data_dir=options.data_dir,
        manual_dir=options.manual_dir,
        out=folder,
    )


def to_json(options: Options) -> dict[str, Any]:
    """The options as a process is told them."""
    paths = {name: value and str(value) for name, value in _paths(options).items()}
    return asdict(options) | paths


def from_json(found: dict[str, Any]) -> Options:
    """The options that `to_json` gave."""
    options = Options(**found | {"seeds": tuple(found["seeds"])})
    paths = {name: value and Path(value) for name, value in _paths(options).items()}
    return Options(**asdict(options) | paths)


def _paths(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("data_dir", "manual_dir", "out")}
