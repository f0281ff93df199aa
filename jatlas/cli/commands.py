"""Commands on files of embeddings: merge, add, project, compare, view.

    python -m jatlas merge a.npz b.parquet c.safetensors --ids id --out atlas.parquet
    python -m jatlas add atlas.parquet d.npz --out grown.parquet
    python -m jatlas project atlas.parquet new.npz --chart 2 --out new.parquet
    python -m jatlas compare a.npz b.parquet
    python -m jatlas view atlas.parquet

What is wrong with a file or an option is said in a line, with exit code 2; nothing is
then written.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jatlas.cli import viewing
from jatlas.files import tables
from jatlas.files.adding import add_file
from jatlas.files.columns import table
from jatlas.files.comparing import MEASURES, compare_files
from jatlas.files.merging import merge_files
from jatlas.files.progress import line
from jatlas.files.projecting import project_file
from jatlas.files.recipe import AtlasFile
from jatlas.merging.relative import SIMILARITIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130


def _merge(options: argparse.Namespace) -> int:
    tables.check_output(options.out, options.files)
    with line("rows") as show:
        atlas = merge_files(
            options.files,
            anchors=options.anchors,
            similarity=options.similarity,
            whiten=options.whiten,
            nystroem=options.nystroem,
            seed=options.seed,
            batch_size=options.batch_size,
            say=_say,
            progress=show,
            **_reading(options),
        )
    _say_disagreement(atlas)
    return _written(tables.write_atlas(options.out, atlas))


def _add(options: argparse.Namespace) -> int:
    tables.check_output(options.out, [options.atlas, options.file])
    atlas = tables.read_atlas(options.atlas)
    with line("rows") as show:
        atlas = add_file(
            atlas,
            options.file,
            batch_size=options.batch_size,
            say=_say,
            progress=show,
            **_reading(options),
        )
    _say_disagreement(atlas)
    return _written(tables.write_atlas(options.out, atlas))


def _project(options: argparse.Namespace) -> int:
    tables.check_output(options.out, [options.recipe, options.file])
    recipe = tables.read_recipe(options.recipe)
    with line("rows") as show:
        atlas = project_file(
            recipe,
            options.file,
            chart=options.chart,
            batch_size=options.batch_size,
            say=_say,
            progress=show,
            **_reading(options),
        )
    return _written(tables.write_atlas(options.out, atlas))


def _compare(options: argparse.Namespace) -> int:
    with line("measures") as show:
        found = compare_files(
            *options.files,
            measures=options.measures,
            neighbors=options.neighbors,
            samples=options.samples,
            permutations=options.permutations,
            seed=options.seed,
            progress=show,
            **_reading(options),
        )
    _say(f"{found.common} samples in common, {found.compared} of them compared")
    head = ["measure", "value", "by chance", "p"]
    rows = [
        [one.measure, f"{one.value:.3f}", f"{one.chance:.3f}", f"{one.p_value:.3f}"]
        for one in found.likenesses
    ]
    _say(table([head, *rows], 0))
    for reason in found.reasons:
        _say(reason)
    _say(f"p: a permutation test of {options.permutations} random pairings")
    return 0


def _view(options: argparse.Namespace) -> int:
    if options.export is None:
        if options.out is not None:
            raise ValueError("--out takes --export, whose files are then written.")
        viewer = options.viewer or viewing.installed_viewer()
        return viewing.view(tables.read_atlas(options.atlas), viewer)
    if options.viewer is not None:
        raise ValueError("--with opens a viewer, --export only writes: give one.")
    if options.out is None or not Path(options.out).is_dir():
        raise ValueError("--export takes --out, a folder that is there.")
    atlas = tables.read_atlas(options.atlas)
    return _written(viewing.export(atlas, options.export, options.out))


def _say_disagreement(atlas: AtlasFile) -> None:
    several = atlas.disagreement[atlas.count > 1]
    if several.size:
        _say(
            f"{several.size} samples are in several charts, which disagree by "
            f"{several.mean():.3g} on average, by {several.max():.3g} at most"
        )


def _say(text: str) -> None:
    print(text, flush=True)


def _written(files: Sequence[Path]) -> int:
    _say("wrote " + ", ".join(map(str, files)))
    return 0


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """The options on how files are read, as the functions take them."""
    return {name: getattr(options, name) for name in ("ids", "embeddings", "id_type")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jatlas",
        description="Merge embeddings of any encoders into one space, and look at it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    merge = _command(commands, "merge", _merge, "merge files into an atlas")
    merge.add_argument("files", nargs="+", metavar="FILE", help="one a chart")
    _output(merge)
    merge.add_argument(
        "--anchors",
        default="shared:256",
        help="shared:NUMBER, drawn among the samples in every file, or a file of ids",
    )
    merge.add_argument("--similarity", default="cosine", choices=list(SIMILARITIES))
    merge.add_argument("--whiten", action="store_true", help="whiten each chart first")
    merge.add_argument(
        "--nystroem", action="store_true", help="make the coordinates orthonormal"
    )
    add = _command(commands, "add", _add, "join a new chart to an atlas")
    add.add_argument("atlas", metavar="ATLAS")
    add.add_argument("file", metavar="FILE", help="the chart, which has the anchors")
    _output(add)
    project = _command(commands, "project", _project, "put more samples into an atlas")
    project.add_argument("recipe", metavar="ATLAS", help="the atlas or its recipe")
    project.add_argument("file", metavar="FILE", help="the new samples")
    project.add_argument(
        "--chart", help="the chart's number or name; of a new chart leave it out"
    )
    _output(project)
    compare = _command(commands, "compare", _compare, "tell how alike two spaces are")
    compare.add_argument("files", nargs=2, metavar="FILE")
    known = list(MEASURES)
    compare.add_argument(
        "--measures",
        nargs="+",
        default=known,
        choices=known,
        metavar="MEASURE",
        help="some of " + ", ".join(known),
    )
    for name, number, text in (
        ("neighbors", 10, "neighbours of a sample that are looked at"),
        ("samples", 1000, "common samples that are drawn, at most"),
        ("permutations", 199, "random pairings that chance is known by"),
    ):
        compare.add_argument(f"--{name}", type=int, default=number, help=text)
    for command in (merge, add, project, compare):
        _input(command)
    for command in (merge, compare):
        command.add_argument("--seed", type=int, default=0, help="of what is drawn")
    view = _command(commands, "view", _view, "look at an atlas in a viewer")
    view.add_argument("atlas", metavar="ATLAS")
    viewers = list(viewing.EXPORTS)
    view.add_argument("--with", dest="viewer", choices=viewers, help="which viewer")
    view.add_argument("--export", choices=viewers, help="only write its files")
    view.add_argument("--out", help="the folder that they are written to")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    own = commands.add_parser(
        name,
        help=text,
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    own.set_defaults(command=command)
    return own


def _input(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ids", help="the name of the ids in the files")
    command.add_argument("--embeddings", help="the name of the embeddings")
    command.add_argument(
        "--id-type", choices=["text", "integers"], help="convert all ids"
    )


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", required=True, help="x.parquet or x.safetensors")
    command.add_argument(
        "--batch-size", type=int, default=1024, help="rows in memory at once"
    )


if __name__ == "__main__":
    sys.exit(main())
