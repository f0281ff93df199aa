"""What the main job can be told."""

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

import jatlas
from experiments.data.dataset import Dataset
from experiments.encoders.chart_kinds import KINDS
from experiments.encoders.pretrained import weights_file
from experiments.runs import settings
from experiments.runs.settings import SCENARIOS, Scenario, Setting

PROTOCOLS = ("oracle", "blind")
# Where those of the kind of chart are too few: digits has a third of the images, and so
# of the steps; the paper's own sets have many classes.
EPOCHS = {"digits": 20, "cifar100": 20, "tiny_imagenet": 20}


@dataclass(frozen=True)
class Options:
    """Train charts that each know part of the data, merge their spaces, and measure.

    Three scenarios of "From Charts to Atlas" (Crisostomi et al., 2023), for each seed:
    tasks, charts, anchors, relative spaces, the atlas, and what is left of the
    end-to-end space in it. Writes results.json, table.md and pictures. If it is
    interrupted, the same command goes on where it was.
    """

    dataset: str = "fashion_mnist_7k"
    """Which images: fashion_mnist_7k, digits, tiny_imagenet, or any set of images with
    class labels by its name in TensorFlow Datasets (cifar100, fashion_mnist, ...)."""
    num_training: int | None = None
    """Only so many of the training images, the first; all if unset."""
    scenario: tuple[Scenario, ...] = SCENARIOS
    """A: part of the classes shared. B: same classes, disjoint samples. C: disjoint."""
    settings: tuple[str, ...] = ()
    """Cells of the scenarios, such as S4_N2 (A: 4 classes shared, 2 novel a task),
    P80_20 (B: percentages), T5 (C: 5 tasks); if unset, those of the data set."""
    charts: Annotated[str, tyro.conf.arg(metavar="KIND,...")] = "cnn"
    """Kinds of charts, by commas: cnn, resnet, efficientnet-lite0, -lite1, -lite2. Of
    several, the first is also the end-to-end chart's, and the tasks' charts take turns.
    """
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    num_anchors: int = 128
    """A, the width of the atlas."""
    num_held_out: int | None = None
    """In B and C, training samples kept from every task, to be anchors; A if unset."""
    anchor_choice: Literal["uniform", "balanced", "farthest", "kmeans"] = "uniform"
    """How anchors are chosen among those that may be: at random, as many of each class,
    far apart, or near the centres of clusters, in the first chart's space."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained; if unset, 6 (resnet 30, efficientnet
    20), and 20 at least on digits, cifar100 and tiny_imagenet."""
    patience: int = 2
    """A chart stops when its validation loss has not fallen for so many epochs."""
    probe_epochs: int = 100
    """The most epochs of a probe."""
    probe_patience: int = 10
    """A probe stops when its validation loss has not fallen for so many epochs."""
    feature_size: int = 64
    """Pixels on a side that a frozen encoder is shown; the paper's is 224."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/DATASET if left out."""

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out if self.out is not None else Path("results") / self.dataset

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of charts."""
        return tuple(self.charts.split(","))

    def epochs(self, kind: str) -> int:
        """The most epochs that a chart of a kind is trained."""
        if self.max_epochs is not None:
            return self.max_epochs
        return max(EPOCHS.get(self.dataset, 0), KINDS[kind].epochs)

    @property
    def held_out(self) -> int:
        """How many training samples are kept from every task in B and C."""
        return self.num_anchors if self.num_held_out is None else self.num_held_out


def check(options: Options) -> None:
    """Raise ValueError for options that no run can be made of."""
    for name in ("scenario", "seeds"):
        values = getattr(options, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"--{name} takes one or more, all different; got {values}."
            )
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"--charts has the unknown {unknown}; known are {', '.join(KINDS)}."
        )
    if min(options.seeds) < 0:
        raise ValueError(f"--seeds must be 0 or more, got {options.seeds}.")
    counts = (
        "num_training",
        "num_anchors",
        "max_epochs",
        "patience",
        "probe_epochs",
        "probe_patience",
    )
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


def chosen(options: Options, num_classes: int) -> list[Setting]:
    """The settings of a run.

    Raises:
        ValueError: if one is unknown, or of a scenario that is not chosen, or there
            are none.
    """
    names = options.settings or tuple(
        name
        for scenario in SCENARIOS
        if scenario in options.scenario
        for name in settings.grid(options.dataset, num_classes, scenario)
    )
    if len(set(names)) < len(names):
        raise ValueError(f"--settings must all be different, got {names}.")
    found = [settings.parse(name) for name in names]
    left = [s.name for s in found if s.scenario not in options.scenario]
    if not found:
        raise ValueError(
            f"of {num_classes} classes there is no setting of scenario "
            f"{' '.join(options.scenario)}: in A some classes are shared and each task "
            "has one more at least, which takes four."
        )
    if left:
        raise ValueError(
            f"--scenario {' '.join(options.scenario)} leaves nothing of the settings "
            f"{left}; name those of its own."
        )
    return found


def describe(options: Options, dataset: Dataset) -> dict[str, Any]:
    """What stands beside the results: options, versions, device, notes on the data.

    Among the versions the hashes of the code and of the data: a run is not gone on with
    once either has changed.
    """
    num_classes = len(dataset.class_names)
    said = asdict(options) | {
        "settings": [s.name for s in chosen(options, num_classes)],
        "num_held_out": options.held_out,
        "max_epochs": {kind: options.epochs(kind) for kind in options.kinds},
    }
    for name in ("out", "data_dir", "manual_dir"):  # folders may be moved
        del said[name]
    packages = ("jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
    return {
        "options": {
            key: list(v) if isinstance(v, tuple) else v for key, v in said.items()
        },
        "versions": versions(packages)
        | {
            "code": hash_of_code(),
            "data": _hash([dataset.images.tobytes(), dataset.labels.tobytes()]),
            **_weights(options),
        },
        "device": device(),
        "notes": list(dataset.notes),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of the packages, and of Python."""
    found = {name: metadata.version(name) for name in packages}
    return found | {"python": platform.python_version()}


def device() -> str:
    """What it is computed on."""
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind} ({platform.machine()})"


def of_cells(described: dict[str, Any]) -> dict[str, Any]:
    """Of what `describe` gives, that on which what is measured of a cell depends.

    Not on which cells there are: to a folder more settings and seeds may be added.
    """
    which = ("scenario", "settings", "seeds")
    options = {k: v for k, v in described["options"].items() if k not in which}
    return described | {"options": options}


def _weights(options: Options) -> dict[str, str]:
    """Hashes of the frozen encoders' weights, by kind of chart."""
    variants = {kind: KINDS[kind].variant for kind in options.kinds}
    return {
        f"weights of {kind}": _hash([weights_file(variant).read_bytes()])
        for kind, variant in variants.items()
        if variant is not None
    }


def hash_of_code() -> str:
    """Of the modules of jatlas and of the experiments, in the order of their paths."""
    folders = [Path(jatlas.__file__).parent, Path(__file__).parents[1]]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return _hash(file.read_bytes() for file in files)


def _hash(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]
