"""Commands on files: merge, evaluate, add, project, translate, view and more.

    python -m jatlas merge a.npz b.parquet c.safetensors --ids id --out atlas.parquet
    python -m jatlas merge a.npz b.parquet --out atlas/ --workers 2
    python -m jatlas evaluate a.npz b.parquet c.safetensors
    python -m jatlas add atlas.parquet d.npz --out grown.parquet
    python -m jatlas add atlas.parquet next_week.npz --chart c --out more.parquet
    python -m jatlas project atlas.parquet new.npz --chart 2 --out new.parquet
    python -m jatlas translate old.npz --to new.npz --out old_in_new.parquet
    python -m jatlas neighbors atlas.parquet doc0042
    python -m jatlas compare a.npz b.parquet c.h5 --picture alike.png
    python -m jatlas view atlas.parquet

A wrong file or option gives one line, and exit code 2; nothing is
then written.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.cli import comparing, translation, viewing
from jatlas.cli.interrupts import STOPPED, STOPPED_CODE
from jatlas.cli.parser import parser
from jatlas.cli.printing import (
    near_name,
    say,
    say_disagreement,
    say_neighbors,
    say_spread,
    say_warning,
    say_written,
    saying_warnings,
)
from jatlas.cli.progress import line, row_size
from jatlas.files import storage
from jatlas.files.adding import grown_atlas
from jatlas.files.folders.layout import is_folder
from jatlas.files.folders.merging import merge_to_folder
from jatlas.files.folders.tables import table_source
from jatlas.files.formats.atlas_table import RewrittenTable
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.columns.keep import beside_of, check_keep
from jatlas.files.formats.sources import Source
from jatlas.files.formats.whole import write_whole
from jatlas.files.kinds.doubts import DoubtfulMerge
from jatlas.files.kinds.evaluating import check_json, evaluate_files
from jatlas.files.kinds.nearest import nearest_samples
from jatlas.files.kinds.options import checked
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.readers import Reading, open_all, open_embeddings
from jatlas.files.recipe import AtlasFile


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RewrittenTable)
            warnings.simplefilter("always", DoubtfulMerge)
            doubts = saying_warnings(DoubtfulMerge)
            code = _COMMANDS[options.command](options)
        for doubt in doubts:  # said before, and the last line too
            say_warning(doubt)
        return code
    except (ValueError, OverflowError, OSError, ImportError, MemoryError) as error:
        text = (str(error) or type(error).__name__) + near_name(error)
        if isinstance(error, UnicodeEncodeError):  # of a name, in Arrow
            text = f"the name of a file is not in UTF-8; set PYTHONUTF8=1 ({text})"
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return STOPPED_CODE


def _merge(options: argparse.Namespace) -> int:
    storage.check_output(options.out, options.files)
    _check_keep(options)
    checked(**_coordinates(options))
    sources = open_all(options.files, **_reading(options))
    if is_folder(options.out):
        return _merge_to_folder(options, sources)
    if options.workers is not None or options.scheduler is not None:
        raise ValueError(
            "--workers and --scheduler write an atlas in parts: let --out be a folder, "
            "atlas/ say."
        )
    check_keep(sources, options.keep, say)
    with line("rows", row_size(sources)) as show:
        atlas = merge_files(
            sources,
            seed=options.seed,
            batch_size=options.batch_size,
            say=say,
            progress=show,
            **_coordinates(options),
            **_reading(options),
        )
    say_disagreement(atlas)
    beside = _beside(options, atlas, sources, options.keep)
    return say_written(storage.save(options.out, atlas, beside=beside))


def _merge_to_folder(options: argparse.Namespace, sources: Sequence[Source]) -> int:
    with line("rows", row_size(sources)) as show:
        merged = merge_to_folder(
            options.out,
            sources,
            keep=options.keep,
            workers=options.workers,
            scheduler=options.scheduler,
            seed=options.seed,
            batch_size=options.batch_size,
            say=say,
            progress=show,
            **_coordinates(options),
            **_reading(options),
        )
    say_spread(merged.several, merged.disagreement, merged.most)
    return say_written(merged.files)


def _add(options: argparse.Namespace) -> int:
    storage.check_output(options.out, [options.atlas, options.file])
    atlas = storage.load(options.atlas)
    # Its recipe can have another name, or be that of several atlases.
    storage.check_output(options.out, [storage.recipe_file(Path(options.atlas))])
    source = open_embeddings(options.file, **_reading(options))
    stays = _is_table(options.out) and _is_table(options.atlas)
    before = table_source(Path(options.atlas), atlas) if stays else None
    with line("rows", row_size([source])) as show:
        grown = grown_atlas(
            atlas,
            source,
            options.chart,
            options.batch_size,
            say,
            show,
            in_place=True,
        )
    say_disagreement(grown)
    if before is None:
        beside = _beside(options, grown, [source])
    else:  # the atlas's columns stay, with those of the file
        table, kept = before
        beside = beside_of([table, source], grown.ids, kept)
    return say_written(storage.save(options.out, grown, beside=beside))


def _evaluate(options: argparse.Namespace) -> int:
    if options.out is not None:
        check_json(options.out, options.files)
    checked(**_coordinates(options))
    sources = open_all(options.files, **_reading(options))
    with line("rows", row_size(sources)) as show:
        evaluation = evaluate_files(
            sources,
            seed=options.seed,
            batch_size=options.batch_size,
            say=say,
            progress=show,
            **_coordinates(options),
            **_reading(options),
        )
    say(evaluation.text())
    if options.out is None:
        return 0
    path = Path(options.out)
    text = json.dumps(evaluation.numbers(), indent=1) + "\n"
    write_whole({path: lambda stream: stream.write(text.encode())})
    return say_written([path])


def _neighbors(options: argparse.Namespace) -> int:
    atlas = storage.load(options.atlas)
    nearest = nearest_samples(atlas, options.id, options.k)
    columns = {}
    if nearest and _is_table(options.atlas):
        table, kept = table_source(Path(options.atlas), atlas)
        ids = np.array([one.id for one in nearest], atlas.ids.dtype)
        beside = beside_of([table], ids, kept)
        columns = {name: x.to_pylist() for name, x in beside.columns.items()}
    say_neighbors(options.id, nearest, columns)
    return 0


def _project(options: argparse.Namespace) -> int:
    storage.check_output(options.out, [options.recipe, options.file])
    _check_keep(options)
    recipe = storage.load_recipe(options.recipe)
    source = open_embeddings(options.file, **_reading(options))
    check_keep([source], options.keep, say)
    with line("rows", row_size([source])) as show:
        atlas = project_file(
            recipe,
            source,
            chart=options.chart,
            batch_size=options.batch_size,
            say=say,
            progress=show,
            **_reading(options),
        )
    # Of a chart that is known the recipe has not changed: it is not written again.
    same = None if options.chart is None else options.recipe
    beside = _beside(options, atlas, [source], options.keep)
    return say_written(storage.save(options.out, atlas, recipe=same, beside=beside))


def _translate(options: argparse.Namespace) -> int:
    return translation.run(options, **_reading(options))


def _compare(options: argparse.Namespace) -> int:
    return comparing.compare(options, _reading(options))


def _view(options: argparse.Namespace) -> int:
    if options.export is None:
        if options.out is not None:
            raise ValueError("--out takes --export, whose files are then written.")
        viewer = options.viewer or viewing.installed_viewer()
        return viewing.view(storage.load(options.atlas), viewer)
    if options.viewer is not None:
        raise ValueError("--with opens a viewer, --export only writes: give one.")
    if options.out is None or (
        Path(options.out).exists() and not Path(options.out).is_dir()
    ):
        raise ValueError("--export takes --out, a folder, which is made if need be.")
    atlas = storage.load(options.atlas)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    return say_written(
        viewing.export(atlas, options.export, options.out, [options.atlas])
    )


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """The options on how files are read, as the functions take them."""
    reading = Reading(options.id_type, options.drop_invalid)
    names = {name: _names(getattr(options, name)) for name in ("ids", "embeddings")}
    return {**names, "reading": reading}


def _names(given: str | Sequence[str] | None) -> str | list[str | None] | None:
    """Names as the functions take them; "-" is a usual one."""
    if given is None or isinstance(given, str):
        return None if given == "-" else given
    return [None if name == "-" else name for name in given]


def _is_table(path: str) -> bool:
    return is_folder(path) or Path(path).suffix.lower() == ".parquet"


def _check_keep(options: argparse.Namespace) -> None:
    if options.keep and not _is_table(options.out):
        raise ValueError("--keep takes an --out that ends in .parquet, or a folder.")


def _beside(
    options: argparse.Namespace,
    atlas: AtlasFile,
    sources: Sequence[Source],
    keep: Sequence[str] = (),
) -> Beside | None:
    """Columns for a table beside the atlas, and the ids' name."""
    if not _is_table(options.out):
        return None
    return beside_of(sources, atlas.ids, keep)


def _coordinates(options: argparse.Namespace) -> dict[str, Any]:
    """The options on coordinates, as the functions take them."""
    names = ("coordinates", "anchors", "similarity", "center", "whiten", "shrinkage")
    return {name: getattr(options, name) for name in (*names, *_OF_CONSENSUS)}


_OF_CONSENSUS = ("ridge", "power", "features")

_COMMANDS = {
    "merge": _merge,
    "evaluate": _evaluate,
    "add": _add,
    "project": _project,
    "translate": _translate,
    "neighbors": _neighbors,
    "compare": _compare,
    "view": _view,
}

if __name__ == "__main__":
    sys.exit(main())
