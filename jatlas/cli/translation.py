"""The command `python -m jatlas translate`."""

import argparse
from pathlib import Path
from typing import Any

from jatlas.cli.printing import say, say_written
from jatlas.cli.progress import line, row_size
from jatlas.files.formats.columns.keep import beside_of, check_keep
from jatlas.files.readers import Reading, open_all
from jatlas.files.translation.translating import AUTO, translate_file
from jatlas.files.translation.writing import TAKEN, check_rows_output, write_rows
from jatlas.merging.translation.fitting import METHODS


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes beside the names in its files."""
    command.add_argument("file", metavar="OLD", help="the rows to be translated")
    command.add_argument(
        "--to", required=True, metavar="NEW", help="rows of the space that they go to"
    )
    command.add_argument("--out", required=True, help="x.parquet, or x.npz")
    command.add_argument(
        "--method",
        default=AUTO,
        choices=[AUTO, *METHODS],
        help="auto takes the one that finds held-out samples best",
    )
    command.add_argument(
        "--real-rows",
        action="store_true",
        help="of samples that NEW has too take its rows, and do not translate them",
    )
    command.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of OLD, a table or .npz, that stand in the Parquet file too",
    )


def run(
    options: argparse.Namespace,
    *,
    ids: Any,
    embeddings: Any,
    reading: Reading,
) -> int:
    """Translate a file, and write its rows; the exit code."""
    paths = [options.file, options.to]
    check_rows_output(options.out, paths)
    if options.keep and Path(options.out).suffix.lower() != ".parquet":
        raise ValueError("--keep takes an --out that ends in .parquet.")
    sources = open_all(paths, ids, embeddings, reading)
    old = sources[:1]  # whose rows are written: the columns are of it
    check_keep(old, options.keep, say, taken=TAKEN)
    with line("rows", row_size(sources)) as show:
        result = translate_file(
            sources[0],
            to=sources[1],
            method=options.method,
            real_rows=options.real_rows,
            reading=reading,
            seed=options.seed,
            batch_size=options.batch_size,
            say=say,
            progress=show,
        )
    beside = beside_of(old, result.ids, options.keep, TAKEN)
    rows = (result.ids, result.embeddings, result.transform)
    return say_written(write_rows(options.out, *rows, beside))
