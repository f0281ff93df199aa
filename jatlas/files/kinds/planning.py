"""What a merge of files needs before any row is merged."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jatlas.files.formats.places import Remote
from jatlas.files.formats.sources import Source
from jatlas.files.kinds.choosing import candidates, choose, is_read_again, is_scored
from jatlas.files.kinds.doubts import same_model, warn
from jatlas.files.kinds.fitting import fitted_recipe
from jatlas.files.kinds.options import NYSTROEM, Kind
from jatlas.files.overlap import before, beside
from jatlas.files.readers import file_hash
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Advance, Progress, Say, counted, quiet
from jatlas.files.survey import Survey, say_survey, survey


class Plan(NamedTuple):
    """Samples of files and the recipe for them.

    Attributes:
        samples: of the files, with the anchors if the coordinates take any.
        recipe: without Nystroem's map, which takes the anchors' merged rows.
        nystroem: whether that map is wanted.
        advance: gets how many more rows are done.
    """

    samples: Survey
    recipe: Recipe
    nystroem: bool
    advance: Advance


def plan_merge(
    sources: Sequence[Source],
    kind: Kind,
    anchors: str | Path | None,
    *,
    id_type: str | None,
    seed: int,
    batch_size: int,
    say: Say | None,
    progress: Progress | None,
    passes: int = 1,
) -> Plan:
    """Choose the coordinates of files, and fit their recipe.

    Args:
        sources: open files.
        kind: that is wanted, perhaps `AUTO`.
        anchors: as in `merge_files`.
        id_type: to which the ids were converted.
        seed: of all draws.
        batch_size: rows that are read at once.
        say: as in `merge_files`.
        progress: as in `merge_files`.
        passes: how often each row is looked at afterwards, for the progress.
    """
    lined_up = survey(sources)
    given = candidates(lined_up, kind, anchors, id_type=id_type, seed=seed)
    scored = is_scored(lined_up, kind, say is not None)
    again = scored and is_read_again(given)
    advance = counted(progress, (1 + passes + again) * int(lined_up.presence.sum()))
    lines: list[str] = []  # said behind the table, once all rows were looked at
    hashing = beside if all(map(_is_shared, lined_up.sources)) else before
    with hashing(partial(_hashes, lined_up.sources)) as hashes:
        chosen, looks = choose(
            given,
            kind,
            scored,
            seed=seed,
            batch_size=batch_size,
            advance=advance,
            say=lines.append,
        )
        samples = given.samples
        if chosen.is_linked:
            samples = samples._replace(anchors=samples.anchors[:0])
        recipe = fitted_recipe(
            samples,
            kind=chosen,
            batch_size=batch_size,
            advance=advance if again or not scored else lambda _: None,
            say=lines.append,
            looks=looks,
        )
        recipe = recipe._replace(hashes=hashes.result())
    for chart in range(1, len(recipe.anchors)):
        shared = (samples.presence[:chart] & samples.presence[chart]).sum(axis=1)
        warn(same_model(recipe, chart, shared.tolist()), lines.append)
    say = say or quiet
    say_survey(samples, say)
    for text in lines:
        say(text)
    return Plan(samples, recipe, chosen.coordinates == NYSTROEM, advance)


def _is_shared(source: Source) -> bool:
    """Whether two threads can read a file at once.

    Of an address they may share one connection, or one place in a file; systems of
    fsspec that are made for several tasks do not.
    """
    path = source.path
    return not isinstance(path, Remote) or bool(path.system.async_impl)


def _hashes(sources: Sequence[Source], given_up: Callable[[], bool]) -> tuple[str, ...]:
    """Of each file; ValueError if two, by whatever names, are the same."""
    hashes: dict[str, Source] = {}
    for source in sources:
        digest = file_hash(source.path, given_up)
        if digest in hashes:
            raise ValueError(
                f"{hashes[digest].path} and {source.path} are the same byte for byte; "
                "a chart joins once. Leave one out."
            )
        hashes[digest] = source
    return tuple(hashes)
