"""Pairs among unpaired samples, found from a few known ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Number, Where
from jatlas._src.singular import rotation, singular
from jatlas.merging.transforms import apply_transform, fit_whiten

FOLDS = 4  # of the known pairs; each is left out once
STEPS = 60
COLDEST = 20.0  # inverse temperature at the end, in standard deviations of the scores
SINKHORN = 15  # scalings of rows and columns a step


class GrownAnchors(NamedTuple):
    """Partners of unpaired samples, and whether they help.

    Attributes:
        partners: (N1,), for each source row the target row that goes with it best; -1
            if it is masked out.
        mutual: (N1,), whether it is that target row's best as well.
        before: mean reciprocal rank, in (0, 1], at which known pairs that are left out
            find each other by the other known ones alone.
        after: the same, by the grown ones too. Below `before` they do harm.
    """

    partners: Int[Array, " N1"]
    mutual: Bool[Array, " N1"]
    before: Float[Array, ""]
    after: Float[Array, ""]


@border.jit()
@layout.automatic()
def grow_anchors(
    source: Float[Array, "N1 D1"],
    target: Float[Array, "N2 D2"],
    source_anchors: Float[Array, "A D1"],
    target_anchors: Float[Array, "A D2"],
    *,
    source_where: Bool[Array, " N1"] | None = None,
    target_where: Bool[Array, " N2"] | None = None,
    shrinkage: Number = 0.8,
) -> GrownAnchors:
    """Find partners among unpaired rows, from a few paired anchors.

    With X and Y the rows of both spaces, whitened with `shrinkage` and of length one,
    and C = A' B of the known anchors, the soft pairing P (its rows sum to 1, its
    columns to one number) is sought that makes

        |C + X' P Y|^2

    greatest: the linear CKA of the paired kernels, but for a constant. It is entropic
    Gromov-Wasserstein transport with some pairs given. P follows the scores X (C + X' P
    Y) Y' by Sinkhorn's scalings, while the temperature falls. A row's partner is then
    the one that is nearest after the rotation of C + X' P Y. Whitening lets the spaces'
    smaller directions tell samples apart; without it a few large ones decide, and far
    fewer pairs are right.

    It works best if both sides are the same samples in an unknown order. If they are
    others of one kind, a partner is like its row, not the same; much less is gained.
    `before` and `after` say what is, from known pairs that are left out, a quarter at a
    time.

    A partner is of use as an anchor or as a pair of `fit_translation`:
    `fit_translation(source, target[partners], where=mutual)`.

    Time and memory are those of some arrays (A + N1, A + N2): a few thousand rows of
    each side are enough, and what is fitted on them goes for all others.

    Args:
        source: (N1, D1), floating point, rows of one space.
        target: (N2, D2), rows of another space, in any order.
        source_anchors: (A, D1), at least 2 known anchors in the first space.
        target_anchors: (A, D2), row by row the same samples in the second space.
        source_where: (N1,), the source rows that count; all if None.
        target_where: (N2,), the target rows that count; all if None.
        shrinkage: of `fit_whiten`, in [0, 1]. Less helps spaces that agree in their
            smaller directions too; more helps where rows are few for their width.

    Returns:
        `GrownAnchors`. If a row that counts is not finite, or the shrinkage not in
        range, partners are -1, none is mutual, and before and after are NaN. There is
        no gradient: it is zero.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> one = jax.random.normal(jax.random.key(0), (64, 12))
        >>> turn = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (12, 12)))[0]
        >>> noise = 0.3 * jax.random.normal(jax.random.key(3), (64, 12))
        >>> other = 3 * (one + noise) @ turn + 5
        >>> order = jax.random.permutation(jax.random.key(2), 56)
        >>> grown = grow_anchors(one[8:], other[8:][order], one[:8], other[:8])
        >>> right = order[grown.partners] == jnp.arange(56)
        >>> right.mean(), grown.before.round(1), grown.after
        (Array(1., dtype=float32), Array(0.8, dtype=float32), Array(1., dtype=float32))

    Source: Cannistraci et al., "Bootstrapping parallel anchors for relative
    representations" (2023), for the aim; Peyré et al., "Gromov-Wasserstein averaging of
    kernel and distance matrices" (2016), for the method; Fishkind et al., "Seeded graph
    matching" (2019), for given pairs.
    """
    _check(source, target, source_anchors, target_anchors)
    arrays.check_mask("source_where", source_where, source.shape[:1], "(N1,)")
    arrays.check_mask("target_where", target_where, target.shape[:1], "(N2,)")
    num_known = len(source_anchors)
    one = _side(source_anchors, source, source_where, shrinkage)
    other = _side(target_anchors, target, target_where, shrinkage)
    place = jnp.arange(num_known)
    folds = min(FOLDS, num_known)
    left_out = place % folds == jnp.arange(folds)[:, None]
    known = jnp.concatenate([jnp.ones((1, num_known), bool), ~left_out])
    each = jax.lax.map(lambda some: _grown(one, other, some), known)
    there = one.there[num_known:] & jnp.isfinite(each.after[1])
    return GrownAnchors(
        jnp.where(there, each.partners[0], -1),
        there & each.mutual[0],
        jnp.sum(each.before[1:]) / num_known,
        jnp.sum(each.after[1:]) / num_known,
    )


class _Side(NamedTuple):
    """Whitened rows of a space, anchors first, and which count."""

    rows: Float[Array, "AN D"]
    there: Bool[Array, " AN"]


def _side(anchors: Array, rows: Array, where: Where, shrinkage: Number) -> _Side:
    x = jax.lax.stop_gradient(jnp.concatenate([anchors, rows.astype(anchors.dtype)]))
    there = arrays.all_rows(rows, where)
    there = jnp.concatenate([jnp.ones(len(anchors), bool), there])
    centered, _ = arrays.center(arrays.widen(x), there)
    units = arrays.unit(centered)
    white = apply_transform(fit_whiten(units, where=there, shrinkage=shrinkage), units)
    return _Side(arrays.keep(arrays.unit(white), there), there)


def _grown(one: _Side, other: _Side, known: Bool[Array, " A"]) -> GrownAnchors:
    """Partners by some known pairs, and ranks of the others."""
    num_known = len(known)
    rows, columns = (
        side.there & ~jnp.pad(known, (0, len(side.there) - num_known))
        for side in (one, other)
    )
    a, b = (arrays.keep(side.rows[:num_known], known) for side in (one, other))
    x, y = arrays.keep(one.rows, rows), arrays.keep(other.rows, columns)
    given = arrays.matmul(a.T, b)
    pool = _Pool(x, y, rows, columns)

    def step(number: Array, plan: Array) -> Array:
        inverse = COLDEST ** (number / (STEPS - 1))
        return _paired(_scores(pool, given + _across(pool, plan)) * inverse, pool)

    start = jnp.zeros((len(x), len(y)), given.dtype)
    start = layout.varying(start, given, pool)
    plan = jax.lax.fori_loop(0, STEPS, step, start)
    first, last = (
        _scores(pool, rotation(across, singular(across)))
        for across in (given, given + _across(pool, plan))
    )
    reached = jnp.where(rows[:, None] & columns, last, -jnp.inf)
    partners = jnp.argmax(reached, axis=1)
    back = jnp.argmax(reached, axis=0)
    mutual = (back[partners] == jnp.arange(len(x))) & columns[partners]
    return GrownAnchors(
        (partners[num_known:] - num_known).astype(jnp.int32),
        mutual[num_known:],
        _reciprocal_ranks(first, pool, ~known),
        _reciprocal_ranks(last, pool, ~known),
    )


class _Pool(NamedTuple):
    """Rows that are to be paired; the others are zero."""

    x: Float[Array, "AN1 D1"]
    y: Float[Array, "AN2 D2"]
    rows: Bool[Array, " AN1"]
    columns: Bool[Array, " AN2"]


def _across(pool: _Pool, plan: Array) -> Float[Array, "D1 D2"]:
    """X' P Y, the narrower side first."""
    x, y = pool.x, pool.y
    if x.shape[1] < y.shape[1]:
        return arrays.matmul(arrays.matmul(x.T, plan), y)
    return arrays.matmul(x.T, arrays.matmul(plan, y))


def _scores(pool: _Pool, across: Float[Array, "D1 D2"]) -> Float[Array, "AN1 AN2"]:
    """How well rows go together, with mean 0 and deviation 1."""
    x, y = pool.x, pool.y
    if x.shape[1] < y.shape[1]:
        scores = arrays.matmul(x, arrays.matmul(across, y.T))
    else:
        scores = arrays.matmul(arrays.matmul(x, across), y.T)
    count_rows, count_columns = jnp.sum(pool.rows), jnp.sum(pool.columns)
    # Rows that do not count are zero, so that sums are over those that do.
    of_rows = arrays.safe_divide(jnp.sum(scores, 1, keepdims=True), count_columns, 0.0)
    of_columns = arrays.safe_divide(jnp.sum(scores, 0), count_rows, 0.0)
    mean = arrays.safe_divide(jnp.sum(of_rows), count_rows, 0.0)
    counted = pool.rows[:, None] & pool.columns
    scores = jnp.where(counted, scores - of_rows - of_columns + mean, 0)
    square = arrays.safe_divide(jnp.sum(scores**2), count_rows * count_columns, 0.0)
    return arrays.safe_divide(scores, arrays.safe_sqrt(square), 0.0)


def _paired(logits: Array, pool: _Pool) -> Float[Array, "AN1 AN2"]:
    """Sinkhorn: rows of exp(logits) sum to 1, columns to N1 / N2."""
    counted = pool.rows[:, None] & pool.columns
    logits = jnp.where(counted, logits, -jnp.inf)
    # Every row and every column gets an entry of exp(0): nothing is lost to underflow.
    for axis in (1, 0):
        largest = jnp.max(logits, axis=axis, keepdims=True)
        logits = logits - jnp.where(jnp.isneginf(largest), 0, largest)
    kernel = jnp.exp(logits)
    share = arrays.safe_divide(jnp.sum(pool.rows), jnp.sum(pool.columns), 0.0)

    def of_rows(columns: Array) -> Array:
        sums = arrays.matmul(kernel, columns)
        return arrays.safe_divide(jnp.ones_like(sums), sums, 0.0)

    def of_columns(rows: Array) -> Array:
        return arrays.safe_divide(share, arrays.matmul(rows, kernel), 0.0)

    start = layout.varying(jnp.ones_like(kernel[0]), kernel)
    columns = jax.lax.fori_loop(
        0, SINKHORN - 1, lambda _, columns: of_columns(of_rows(columns)), start
    )
    return of_rows(columns)[:, None] * kernel * columns


def _reciprocal_ranks(
    scores: Array, pool: _Pool, held_out: Bool[Array, " A"]
) -> Float[Array, ""]:
    """Of left-out pairs, either way, summed; ties count against them."""
    num_known = len(held_out)
    right = jnp.diagonal(scores)[:num_known]
    ahead = scores[:num_known] >= right[:, None]
    across = jnp.sum(ahead & pool.columns, axis=1)
    ahead = scores[:, :num_known] >= right
    back = jnp.sum(ahead & pool.rows[:, None], axis=0)
    both = (1 / jnp.maximum(across, 1) + 1 / jnp.maximum(back, 1)) / 2
    # NaN fails every comparison, and would come out as the first of all.
    both = jnp.where(jnp.isnan(right), jnp.nan, both.astype(scores.dtype))
    return jnp.sum(both, where=held_out)


def _check(
    source: Array, target: Array, source_anchors: Array, target_anchors: Array
) -> None:
    """Raise ValueError unless widths and numbers of anchors agree."""
    named = {
        "source": source,
        "target": target,
        "source_anchors": source_anchors,
        "target_anchors": target_anchors,
    }
    for name, x in named.items():
        arrays.check_rows(name, x)
    for name, x, anchors in (
        ("source", source, source_anchors),
        ("target", target, target_anchors),
    ):
        arrays.check_equal(
            f"the dimension of {name} and of its anchors",
            [x.shape[1], anchors.shape[1]],
            "Take both from one space.",
        )
    arrays.check_equal(
        "the number of anchors A of source and target",
        [len(source_anchors), len(target_anchors)],
        "Row a must be the same sample in both spaces.",
    )
    arrays.check_count("the number of known anchors", len(source_anchors), 2)
