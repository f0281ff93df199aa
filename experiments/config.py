"""What the main job can be told, and the settings of the three scenarios."""

import hashlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import tyro

import jatlas
from experiments.data import Dataset
from jatlas import tasks
from jatlas.tasks import Tasks

PROTOCOLS = ("oracle", "blind")
# Where 6 are too few: digits has a third of the images, and so of the steps.
EPOCHS = {"digits": 20}
Scenario = Literal["A", "B", "C"]


@dataclass(frozen=True)
class Options:
    """Train charts that each know part of the data, merge their spaces, and measure.

    Three scenarios of "From Charts to Atlas" (Crisostomi et al., 2023), for each seed:
    tasks, charts, anchors, relative spaces, the atlas, and what is left of the
    end-to-end space in it. Writes results.json, table.md and pictures. If it is
    interrupted, the same command goes on where it was.
    """

    dataset: str = "fashion_mnist_7k"
    """Which images: fashion_mnist_7k, or digits."""
    scenario: tuple[Scenario, ...] = ("A", "B", "C")
    """A: part of the classes shared. B: same classes, disjoint samples. C: disjoint."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    num_anchors: int = 128
    """A, the width of the atlas."""
    num_held_out: int | None = None
    """In B and C, training samples kept from every task, to be anchors; A if unset."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained; if unset, 6, and 20 on digits."""
    patience: int = 2
    """A chart stops when its validation loss has not fallen for so many epochs."""
    probe_epochs: int = 100
    """The most epochs of a probe."""
    probe_patience: int = 10
    """A probe stops when its validation loss has not fallen for so many epochs."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/DATASET if left out."""

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out if self.out is not None else Path("results") / self.dataset

    @property
    def epochs(self) -> int:
        """The most epochs that a chart is trained."""
        return (
            EPOCHS.get(self.dataset, 6) if self.max_epochs is None else self.max_epochs
        )

    @property
    def held_out(self) -> int:
        """How many training samples are kept from every task in B and C."""
        return self.num_anchors if self.num_held_out is None else self.num_held_out


class Setting(NamedTuple):
    """One cell of a scenario's grid.

    Attributes:
        scenario: its letter.
        name: as in the results.
        title: as a reader would say it.
        rule: who may be an anchor, as in `jatlas.anchor_pool`.
        on_test: whether probes learn from rows of the test split, as in the paper's A.
        make: (key, labels, test, number held out) to `Tasks`.
    """

    scenario: Scenario
    name: str
    title: str
    rule: Literal["shared", "unseen"]
    on_test: bool
    make: Callable[[int, np.ndarray, np.ndarray, int], Tasks]


def _shared(num_shared: int, num_novel: int) -> Setting:
    return Setting(
        "A",
        f"S{num_shared}_N{num_novel}",
        f"{num_shared} classes shared, {num_novel} novel a task",
        "shared",
        True,
        lambda key, labels, test, _: tasks.part_shared_part_novel(
            key, labels, num_shared=num_shared, num_novel=num_novel, test=test
        ),
    )


def _disjoint(first: int) -> Setting:
    rest = 100 - first
    return Setting(
        "B",
        f"P{first}_{rest}",
        f"same classes, samples dealt {first} / {rest}",
        "unseen",
        False,
        lambda key, labels, test, held_out: tasks.same_classes_disjoint_samples(
            key,
            labels,
            percentages=((first, rest), (rest, first)),
            num_held_out=held_out,
            test=test,
        ),
    )


def _total(num_tasks: int) -> Setting:
    return Setting(
        "C",
        f"T{num_tasks}",
        f"classes cut into {num_tasks} disjoint tasks",
        "unseen",
        False,
        lambda key, labels, test, held_out: tasks.totally_disjoint(
            key, labels, num_tasks=num_tasks, num_held_out=held_out, test=test
        ),
    )


# A scenario is a function in jatlas.tasks, a line above, and a line here.
SETTINGS = (_shared(4, 2), _shared(2, 2), _disjoint(80), _total(2))


def check(options: Options) -> None:
    """Raise ValueError for options that no run can be made of."""
    for name in ("scenario", "seeds"):
        values = getattr(options, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"--{name} takes one or more, all different; got {values}."
            )
    if min(options.seeds) < 0:
        raise ValueError(f"--seeds must be 0 or more, got {options.seeds}.")
    counts = ("num_anchors", "max_epochs", "patience", "probe_epochs", "probe_patience")
    for name in counts:
        value = getattr(options, name)
        if value is not None and value < 1:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} must be 1 or more, got {value}.")
    if options.held_out < options.num_anchors:
        raise ValueError(
            f"--num-held-out {options.held_out} leaves too few samples for "
            f"--num-anchors {options.num_anchors}; hold out as many or more."
        )


def describe(options: Options, dataset: Dataset) -> dict[str, Any]:
    """What stands beside the results: options, versions, device.

    Among the versions the hashes of the code and of the data: a run is not gone on with
    once either has changed.
    """
    chosen = asdict(options) | {
        "num_held_out": options.held_out,
        "max_epochs": options.epochs,
    }
    del chosen["out"]  # the folder may be moved
    packages = ("jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
    device = jax.devices()[0]
    return {
        "options": {
            key: list(v) if isinstance(v, tuple) else v for key, v in chosen.items()
        },
        "versions": {name: metadata.version(name) for name in packages}
        | {
            "python": platform.python_version(),
            "code": hash_of_code(),
            "data": _hash([dataset.images.tobytes(), dataset.labels.tobytes()]),
        },
        "device": f"{device.platform}: {device.device_kind} ({platform.machine()})",
    }


def hash_of_code() -> str:
    """Of the modules of jatlas and of the experiments, in the order of their paths."""
    folders = [Path(jatlas.__file__).parent, Path(__file__).parent]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return _hash(file.read_bytes() for file in files)


def _hash(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]
