"""Score a merge of files in each kind of coordinates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jatlas._src import arrays, border
from jatlas.files.formats.places import check_local
from jatlas.files.formats.whole import check_folder, check_inputs
from jatlas.files.kinds.choosing import candidates, scores
from jatlas.files.kinds.held_out_score import (
    FEWEST,
    Sample,
    Scored,
    can_be_held_out,
)
from jatlas.files.kinds.options import AUTO, checked
from jatlas.files.kinds.score_table import advice, label, score_table
from jatlas.files.readers import File, Names, Reading, open_all
from jatlas.files.reports import Progress, Say, counted, quiet, table
from jatlas.files.survey import Survey, say_survey, survey
from jatlas.merging.scoring import MergeScore


class Evaluation(NamedTuple):
    """How well files find each other's samples in each kind of coordinates.

    Attributes:
        charts: M names.
        linked: how many samples two files or more have.
        kinds: the names of the kinds, as the command spells them.
        scores: a `jatlas.merging.MergeScore` a kind, over all pairs of charts.
        advice: which kind to take, in a sentence.
        reasons: why other kinds have no score.
        summary: all kinds in a table, over all pairs.
    """

    charts: tuple[str, ...]
    linked: int
    kinds: tuple[str, ...]
    scores: tuple[MergeScore, ...]
    advice: str
    reasons: tuple[str, ...]
    summary: str

    def text(self) -> str:
        """The summary, two tables of all pairs, and the advice."""
        ranks = [score.mean_reciprocal_rank for score in self.scores]
        recalls = [score.recall_at_10 for score in self.scores]
        head = ["mean reciprocal rank", *self.kinds, "by chance"]
        lines = [
            self.summary,
            self._pairs(head, [*ranks, self.scores[0].chance]),
            self._pairs(["recall at 10", *self.kinds], recalls),
        ]
        lines += [f"not scored: {reason}" for reason in self.reasons]
        return "\n".join([*lines, self.advice])

    def _pairs(self, head: list[str], values: list[Float[np.ndarray, "M M"]]) -> str:
        """A table of these values, a pair of charts a line."""
        rows = [head]
        for i, j in np.argwhere(self.scores[0].queries > 0):
            cells = [f"{x[i, j]:.3f}" for x in values]
            rows.append([f"{self.charts[i]} finds {self.charts[j]}", *cells])
        return table(rows, 0)

    def numbers(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            "charts": list(self.charts),
            "linked": self.linked,
            "advice": self.advice,
            "not_scored": list(self.reasons),
            "kinds": [
                {"coordinates": name, "pairs": self._numbers(score)}
                for name, score in zip(self.kinds, self.scores, strict=True)
            ],
        }

    def _numbers(self, score: MergeScore) -> list[dict[str, Any]]:
        return [
            {
                "query": self.charts[i],
                "answer": self.charts[j],
                "queries": int(score.queries[i, j]),
            }
            | {name: float(getattr(score, name)[i, j]) for name in score._fields[:-1]}
            for i, j in np.argwhere(score.queries > 0)
        ]


@border.promoting
def evaluate_files(
    paths: Sequence[File],
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    coordinates: str = AUTO,
    anchors: str | Path | None = None,
    similarity: str = "cosine",
    center: bool = False,
    whiten: bool = False,
    shrinkage: float | None = None,
    ridge: float | None = None,
    power: float | None = None,
    features: int | None = None,
    seed: int = 0,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a merge of files in each kind of coordinates.

    Samples that two files have are held out: the coordinates are learned without them,
    and then each file's rows of them are looked for by another file's rows, by cosine,
    among samples of all files. Of linked samples and of others 5,000 at most are drawn;
    three times a third of the linked ones is held out, and 200 of these are looked for.
    No atlas is made.

    Args:
        paths: of two files or more, as in `merge_files`; so are all options.
        ids: the name of the ids in the files: one for all, or one a file.
        embeddings: that of the embeddings, in the same way.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        coordinates: one kind, or "auto" for all.
        anchors: as in `merge_files`.
        similarity: the name of one of `relativize`.
        center: whether each chart's mean is taken off first.
        whiten: whether each chart is whitened first.
        shrinkage: of the whitening.
        ridge: of consensus coordinates; the best of three if None.
        power: of the agreement there; the best of four if None.
        features: how many consensus coordinates.
        seed: of all draws.
        batch_size: rows that are read at once.
        say: gets in a table what is in the files, and warnings.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: as `merge_files`, and if fewer than 100 samples are in two files.
        OSError: if a file cannot be read.

    Example:
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(150, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/a.npz", id=np.arange(150), x=x)
        ...     np.savez(folder + "/b.npz", id=np.arange(150), x=x[:, ::-1] + 1)
        ...     files = [folder + "/a.npz", folder + "/b.npz"]
        ...     result = evaluate_files(files, coordinates="consensus", power=1.0)
        >>> result.kinds, bool(result.scores[0].mean_reciprocal_rank[0, 1] > 0.9)
        (('consensus --ridge 0.3 --power 1',), True)
    """
    kind = checked(
        coordinates,
        anchors,
        similarity,
        center,
        whiten,
        shrinkage,
        ridge,
        power,
        features,
    )
    arrays.check_count("batch_size", batch_size, 1)
    samples = survey(open_all(paths, ids, embeddings, reading))
    if len(samples.sources) < 2:
        raise ValueError("one file has no other to be found by; give two at least.")
    id_type = (reading or Reading()).id_type
    given = candidates(samples, kind, anchors, id_type=id_type, seed=seed)
    if not can_be_held_out(samples):
        raise ValueError(
            f"{samples.num_linked} samples are in two files or more, and {2 * FEWEST} "
            "are needed for half of them to be held out: nothing can be scored."
        )
    advance = counted(progress, int(samples.presence.sum()))
    sample, scored, reasons = scores(
        given, seed=seed, batch_size=batch_size, advance=advance
    )
    if not scored:
        raise ValueError("; ".join(reasons))
    say_survey(given.samples, say or quiet)
    return _evaluation(samples, sample, scored, reasons)


def _evaluation(
    samples: Survey,
    sample: Sample,
    scored: Sequence[Scored],
    reasons: Sequence[str],
) -> Evaluation:
    return Evaluation(
        samples.charts,
        samples.num_linked,
        tuple(label(one.kind) for one in scored),
        tuple(one.score for one in scored),
        advice(scored, samples.charts),
        tuple(reasons),
        score_table(sample, samples.charts, scored),
    )


def check_json(path: str | Path, inputs: Sequence[str | Path]) -> None:
    """Raise ValueError or OSError if JSON cannot be written there."""
    check_local(path)
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"{path} must end in .json.")
    check_inputs([path], inputs)
    check_folder(path)
