"""The flags that the experiments share, each with one name everywhere.

An experiment subclasses `Options` for flags of its own, gives its defaults by an
instance, and names in `Experiment.unused` the flags that it has no use for.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from experiments.encoders import chart_kinds, plugins
from experiments.runs import settings
from experiments.runs.settings import SCENARIOS, Scenario
from jatlas.merging.relative import SIMILARITIES, Similarity

# Where the epochs of the kind of chart are too few: digits has a third of the images,
# and so of the steps; the paper's own sets have many classes.
EPOCHS = {"digits": 20, "cifar100": 20, "tiny_imagenet": 20}
# Of no matter to what is measured: folders may be moved.
ELSEWHERE = ("data_dir", "manual_dir", "out", "force", "secret_file")
COUNTS = (
    "num_training",
    "num_anchors",
    "max_epochs",
    "patience",
    "probe_epochs",
    "probe_patience",
    "feature_size",
)


Letter = Annotated[
    Scenario,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="{A,B,C}",
        instance_from_str=lambda words: words[0].upper(),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]
Kinds = Annotated[tuple[str, ...], tyro.conf.arg(metavar="KIND [KIND ...]")]
Given = TypeVar("Given", bound="Options")
Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True)
class Options:
    """The flags that runs share. Lists are values separated by spaces."""

    dataset: str = "fashion_mnist_7k"
    """Which images: fashion_mnist_7k, digits, tiny_imagenet, any set of images with
    class labels by its name in TensorFlow Datasets (cifar100, fashion_mnist, ...), or
    a file of your own, FOLDER/MINE.npz, with the arrays images (uint8), labels and, if
    you have a split, test (boolean)."""
    num_training: int | None = None
    """Only so many of the training images, the first; all if unset."""
    scenario: tuple[Letter, ...] = SCENARIOS
    """A: part of the classes shared. B: same classes, disjoint samples. C: disjoint."""
    settings: tuple[str, ...] = ()
    """Cells of the scenarios, such as S4_N2 (A: 4 classes shared, 2 novel a task),
    P80_20 (B: percentages), T5 (C: 5 tasks); if unset, those of the data set."""
    charts: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KIND [KIND ...]")] = (
        "cnn",
    )
    """Kinds of charts: cnn, resnet, efficientnet-lite0, -lite1, -lite2, or your own,
    MODULE:FUNCTION, a function of an image's shape and the number of classes that
    returns a jatlas.charts.Chart, or a Chart with its optimizer, epochs and batch size
    (experiments.encoders.plugins.Trainable). Your chart gets float32 images that are
    normalised already, (x / 255 - mean) / std of ImageNet; a chart of
    jatlas.charts.with_preprocessing gets the bytes, uint8. Of several, the first is
    also the end-to-end chart's, and the tasks' charts take turns."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    num_anchors: int = 128
    """A, the width of the atlas."""
    num_held_out: int | None = None
    """In B and C, training samples kept from every task, to be anchors; A if unset."""
    similarity: str = "cosine"
    """Of an embedding to an anchor: cosine, angular, inner, euclidean, rbf, or your
    own, MODULE:FUNCTION, a function of embeddings (N, D) and anchors (A, D) that
    returns (N, A), written with jax.numpy."""
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
    data_dir: Folder = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Folder = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Folder = None
    """Where the results go; results/EXPERIMENT/DATASET if unset."""
    force: bool = False
    """Go on in a folder whose parts were made by other code. The results say so."""

    @property
    def name(self) -> str:
        """Of the data set: its own, or that of its file."""
        is_file = self.dataset.endswith(".npz")
        return Path(self.dataset).stem if is_file else self.dataset

    @property
    def most_anchors(self) -> int:
        """A; where there are several numbers of anchors, the largest."""
        return max(_values(self.num_anchors))

    @property
    def held_out(self) -> int:
        """The number of training samples held out in B and C."""
        return self.most_anchors if self.num_held_out is None else self.num_held_out

    @property
    def comparison(self) -> Similarity:
        """What `similarity` names, for `jatlas.merge` and `jatlas.relativize`."""
        known = self.similarity in SIMILARITIES
        return self.similarity if known else plugins.function(self.similarity)

    def epochs(self, kind: str, asked: int | None = None) -> int:
        """The most epochs that a chart of a kind is trained.

        Args:
            kind: its name.
            asked: what a chart of one's own says of it, if anything.
        """
        if self.max_epochs is not None:
            return self.max_epochs
        return asked or max(EPOCHS.get(self.dataset, 0), chart_kinds.kind(kind).epochs)


def check(options: Options) -> None:
    """Raise ValueError for options that no run can be made of."""
    for name in ("scenario", "seeds"):
        values = getattr(options, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"--{name} takes one or more, all different; got {values}."
            )
    if not set(options.scenario) <= set(SCENARIOS):
        raise ValueError(f"--scenario takes 'A', 'B' and 'C'; got {options.scenario}.")
    if min(options.seeds) < 0:
        raise ValueError(f"--seeds must be 0 or more, got {options.seeds}.")
    if options.settings:
        no_data = 0  # where names are given, the number of classes is of no matter
        settings.chosen(options.settings, options.scenario, options.dataset, no_data)
    check_charts(options.charts)
    plugins.check_similarity(options.similarity)
    for name in COUNTS:
        for value in _values(getattr(options, name)):
            if value < 1:
                raise ValueError(f"{flag(name)} must be 1 or more, got {value}.")
    if not _values(options.num_anchors):
        raise ValueError("--num-anchors takes one or more numbers.")
    if options.held_out < options.most_anchors:
        raise ValueError(
            f"--num-held-out {options.held_out} leaves too few samples for "
            f"--num-anchors {options.most_anchors}; hold out as many or more."
        )


def check_charts(charts: tuple[str, ...]) -> None:
    """Raise ValueError unless every chart kind is known or importable."""
    if not charts:
        raise ValueError("--charts takes one or more kinds of charts.")
    imported = [kind for kind in charts if plugins.is_plugin(kind)]
    known = chart_kinds.KINDS
    unknown = [kind for kind in charts if kind not in known and kind not in imported]
    if unknown:
        raise ValueError(
            f"--charts has the unknown {unknown}; known are {', '.join(known)}, and "
            "your own by MODULE:FUNCTION."
        )
    for kind in imported:
        plugins.function(kind, "--charts")


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def described(options: Options, unused: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options as JSON, without folders and unused ones."""
    left_out = {*ELSEWHERE, *unused}
    values = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in left_out
    }
    if "dataset" in values:
        values["dataset"] = options.name
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def to_json(options: Options) -> dict[str, Any]:
    """All options, as JSON can have them."""
    values = asdict(options)
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def from_json(kind: type[Given], values: dict[str, Any]) -> Given:
    """The options of this class, from `to_json`'s JSON."""
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    paths = {k: Path(values[k]) for k in ELSEWHERE if isinstance(values.get(k), str)}
    return kind(**values | lists | paths)


def _values(value: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """The numbers of an option that is one number, several, or unset."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
