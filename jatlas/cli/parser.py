"""What can be written after `python -m jatlas`."""

import argparse
from typing import Literal

from jatlas.cli import translation, viewing
from jatlas.cli.suggesting import SuggestingParser
from jatlas.files.comparison.measures import MEASURES, USUAL
from jatlas.files.kinds.options import ANCHORS, AUTO, KINDS
from jatlas.files.maps import SHRINKAGE
from jatlas.merging.relative import SIMILARITIES


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `command` holds the command's name."""
    top = SuggestingParser(
        prog="python -m jatlas",
        description="Merge embeddings of any encoders into one space, and look at it.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    merge = _command(commands, "merge", "merge files into an atlas")
    merge.add_argument("files", nargs="+", metavar="FILE", help="one a chart")
    _output(merge)
    _keep(merge)
    merge.add_argument(
        "--workers", type=int, help="processes on this machine, for a folder as --out"
    )
    merge.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster, tcp://HOST:8786, for a folder as --out",
    )
    _coordinates(merge)
    evaluate = _command(
        commands, "evaluate", "score kinds of coordinates, and merge nothing"
    )
    evaluate.add_argument("files", nargs="+", metavar="FILE", help="one a chart")
    evaluate.add_argument("--out", help="x.json, for the scores of all pairs of files")
    _batch_size(evaluate)
    _coordinates(evaluate)
    add = _command(commands, "add", "join a new chart, or more samples, to an atlas")
    add.add_argument("atlas", metavar="ATLAS")
    add.add_argument("file", metavar="FILE", help="the new chart, or the samples")
    add.add_argument(
        "--chart", help="the chart that the samples are of; none for a new chart"
    )
    _output(add)
    project = _command(commands, "project", "put samples into an atlas's coordinates")
    project.add_argument("recipe", metavar="ATLAS", help="the atlas or its recipe")
    project.add_argument("file", metavar="FILE", help="the new samples")
    project.add_argument(
        "--chart", help="the chart's number or name; of a new chart leave it out"
    )
    _output(project)
    _keep(project)
    neighbors = _command(commands, "neighbors", "show the nearest of a sample")
    neighbors.add_argument("atlas", metavar="ATLAS", help="that merge wrote")
    neighbors.add_argument("id", metavar="ID", help="of the sample")
    neighbors.add_argument("-k", type=int, default=10, help="how many")
    translate = _command(
        commands, "translate", "put one model's rows into another model's space"
    )
    translation.add_arguments(translate)
    _batch_size(translate)
    compare = _command(commands, "compare", "tell how alike two spaces or more are")
    _comparison(compare)
    for command in (merge, evaluate, translate, compare):
        _input(command, "+", ": one for all, or one a file, - for the usual")
    for command in (add, project):
        _input(command, None, " in the file")
    for command in (merge, evaluate, translate, compare):
        command.add_argument("--seed", type=int, default=0, help="of what is drawn")
    view = _command(commands, "view", "look at an atlas in a viewer")
    view.add_argument("atlas", metavar="ATLAS")
    viewers = list(viewing.EXPORTS)
    view.add_argument("--with", dest="viewer", choices=viewers, help="which viewer")
    view.add_argument("--export", choices=viewers, help="only write its files")
    view.add_argument(
        "--out", help="the folder that they are written to; made if needed"
    )
    return top


def _command(
    commands: "argparse._SubParsersAction[SuggestingParser]",
    name: str,
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=text,
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(command=name)
    return command


def _coordinates(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--coordinates",
        default=AUTO,
        choices=KINDS,
        help="auto takes those that find held-out samples best",
    )
    command.add_argument(
        "--anchors",
        help="shared:NUMBER, drawn among the samples in every file, or a file of ids; "
        f"{ANCHORS} if not given",
    )
    command.add_argument("--similarity", default="cosine", choices=list(SIMILARITIES))
    command.add_argument(
        "--center", action="store_true", help="take each chart's mean off first"
    )
    command.add_argument(
        "--whiten", action="store_true", help="whiten each chart first"
    )
    command.add_argument(
        "--shrinkage",
        type=float,
        help=f"of the covariances of --whiten, 0 to 1; {SHRINKAGE} if not given",
    )
    for name, kind, text in (
        ("ridge", float, "above 0; of 0.3, 1 and 3 held-out samples choose"),
        ("power", float, "of the agreement, not below 0; of 0.5, 1, 2 and 3 likewise"),
        ("features", int, "how many coordinates; the widest chart's if not given"),
    ):
        command.add_argument(f"--{name}", type=kind, help=f"of consensus: {text}")


def _comparison(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="+", metavar="FILE", help="two or more")
    known = list(MEASURES)
    command.add_argument(
        "--measures",
        nargs="+",
        default=known[:USUAL],
        choices=known,
        metavar="MEASURE",
        help="some of " + ", ".join(known),
    )
    for name, number, text in (
        ("neighbors", 10, "neighbours of a sample that are looked at"),
        ("samples", 1000, "common samples that are drawn, at most"),
        ("permutations", 199, "random pairings that chance is known by"),
        ("bootstrap", 0, "random halves that give intervals of 95 %%; 0 for none"),
    ):
        command.add_argument(f"--{name}", type=int, default=number, help=text)
    command.add_argument("--out", help="x.json, for all figures")
    command.add_argument("--picture", help="x.png, .svg or .pdf, for a heatmap")
    command.add_argument("--page", help="x.html, for tables in color")
    command.add_argument(
        "--cluster", action="store_true", help="put files that are alike together"
    )


def _input(
    command: argparse.ArgumentParser, count: Literal["+"] | None, which: str
) -> None:
    for name in ("ids", "embeddings"):
        command.add_argument(
            f"--{name}",
            nargs=count,
            metavar="NAME",
            help=f"the name of the {name}{which}",
        )
    command.add_argument(
        "--drop-invalid",
        action="store_true",
        help="leave out rows that are null, empty, NaN, infinite or zero",
    )
    command.add_argument(
        "--id-type",
        choices=["text", "integers"],
        help="convert all ids, also whole floats",
    )


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out",
        required=True,
        help="x.parquet, x.safetensors, or x/, a folder of Parquet parts",
    )
    _batch_size(command)


def _keep(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of tables and arrays of .npz that stand in the Parquet file too",
    )


def _batch_size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch-size", type=int, default=1024, help="rows in memory at once"
    )
