"""Held-out scores of translations, beside that of a merge."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jatlas._src.consensus import held_out
from jatlas.files.kinds.held_out_score import Sample, score_kinds
from jatlas.files.kinds.options import CONSENSUS, Kind
from jatlas.files.kinds.score_table import label
from jatlas.files.reports import table
from jatlas.merging import scoring
from jatlas.merging.scoring import MergeScore
from jatlas.merging.transforms import Transform
from jatlas.merging.translation.fitting import fit_translation

# Queries by the new file look for rows of the old one.
ASKED = (1, 0)
_MEASURES = ("mean_reciprocal_rank", "recall_at_1", "recall_at_10")


class Scored(NamedTuple):
    """A translation or a merge, and how well it finds samples."""

    name: str
    score: MergeScore

    def asked(self, measure: str = "mean_reciprocal_rank") -> float:
        """A measure of the new file's queries for old rows."""
        return float(getattr(self.score, measure)[ASKED])


def fitted(
    source: Float[np.ndarray, "N D"],
    target: Float[np.ndarray, "N K"],
    method: str,
    where: Bool[np.ndarray, " N"],
) -> Transform:
    """`jatlas.fit_translation` in float64, whatever the caller's setting."""
    with jax.enable_x64(True):
        pair = (np.asarray(rows, np.float64) for rows in (source, target))
        result = fit_translation(*pair, where=where, method=method)
        return jax.tree.map(np.array, result)


def moved(transform: Transform, rows: Float[np.ndarray, "n D"]) -> np.ndarray:
    """Rows through a translation, in float64."""
    mean, scale, offset = (np.asarray(part) for part in transform)
    return (rows - mean) @ scale + offset


def score_translations(sample: Sample, methods: Sequence[str]) -> list[Scored]:
    """Score translations from the first of two files to the second.

    The translated rows lie in one index with the second file's, which has a sample by
    the second file's row where there is one.
    """
    linked = np.flatnonzero(sample.presence.all(axis=0))
    source, target = (rows[linked] for rows in sample.rows)
    results = []
    for method in methods:
        totals = []
        for fold in sample.folds:
            transform = fitted(source, target, method, fold.learned_from[linked])
            places, size = fold.places, fold.held_out.size
            rows = [moved(transform, sample.rows[0][places]), sample.rows[1][places]]
            have = sample.presence[:, places]
            index = np.where(have[1, size:, None], rows[1][size:], rows[0][size:])
            both, others = have[:, :size], have[:, size:]
            # Beside a mean that is far from zero cosines differ by little.
            with jax.enable_x64(True):
                asked = [jnp.asarray(x[:size], jnp.float64) for x in rows]
                gallery = jnp.asarray(index, jnp.float64)
                totals.append(held_out.scored(asked, both, gallery, others))
        results.append(Scored(method, scoring.score_of(totals)))
    return results


def score_merging(sample: Sample, paths: Sequence[str]) -> list[Scored]:
    """The score of the files' best consensus; empty if none fits."""
    scored, _ = score_kinds(sample, [Kind(CONSENSUS)], paths)
    return [Scored(f"merged: {label(one.kind)}", one.score) for one in scored]


def score_text(sample: Sample, charts: Sequence[str], scored: Sequence[Scored]) -> str:
    """How well the second file finds the first's rows, in a table."""
    queries = int(scored[0].score.queries[ASKED])
    others = max(fold.others.size for fold in sample.folds)
    head = ["", "mean reciprocal rank", "recall at 1", "at 10"]
    rows = [
        [one.name, *(f"{one.asked(measure):.3f}" for measure in _MEASURES)]
        for one in scored
    ]
    shares = (scored[0].asked("chance"), *(min(k / (others + 1), 1) for k in (1, 10)))
    rows.append(["by chance", *(f"{share:.3f}" for share in shares)])
    return (
        f"held out: {queries} searches for a translated row of {charts[0]} by the row "
        f"of its sample in {charts[1]}, among {others} others\n"
        f"{table([head, *rows], 0)}"
    )
