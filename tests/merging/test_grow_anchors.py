"""Pairs found among unpaired rows, against a reference written from the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas.merging import grow_anchors
from jatlas.merging.translation import growing, pairing

A, N = 8, 40
WIDTHS = 13, 12


def spaces(seed=0, noise=0.05):
    """Rows and known anchors of two spaces, and the order of one."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(A + N, 12)) * np.geomspace(3, 0.7, 12)
    turns = [np.linalg.qr(rng.normal(size=(width, width)))[0][:12] for width in WIDTHS]
    one, other = (
        hidden @ turn + noise * rng.normal(size=(A + N, width)) + shift
        for turn, width, shift in zip(turns, WIDTHS, (4, -3), strict=True)
    )
    order = rng.permutation(N)
    return one[A:], other[A:][order], one[:A], other[:A], order


def whitened(x, shrinkage):
    x = x - x.mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x = x - x.mean(axis=0)
    covariance = x.T @ x / len(x)
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * target)
    x = x @ (vectors / np.sqrt(values)) @ vectors.T
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def turn(matrix):
    """The rotation in it; directions that it lacks are dropped."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    known = values > 1e-12 * values[0]
    return left[:, known] @ right[known]


def reference(source, target, anchors, their_anchors, shrinkage=0.8):
    """Partners, whether mutual, and reciprocal ranks of left-out pairs."""
    known = len(anchors)
    x = whitened(np.concatenate([anchors, source]), shrinkage)
    y = whitened(np.concatenate([their_anchors, target]), shrinkage)

    def scores(pool, middle):
        raw = x[pool[0]] @ middle @ y[pool[1]].T
        raw = raw - raw.mean(axis=0) - raw.mean(axis=1)[:, None] + raw.mean()
        return raw / raw.std()

    def grown(kept):
        left = [n for n in range(known) if n not in kept]
        pool = [np.r_[left, known : len(z)].astype(int) for z in (x, y)]
        given = x[kept].T @ y[kept]
        plan = np.zeros([len(z) for z in pool])
        for step in range(pairing.STEPS):
            middle = given + x[pool[0]].T @ plan @ y[pool[1]]
            cold = pairing.COLDEST ** (step / (pairing.STEPS - 1))
            kernel = np.exp(cold * scores(pool, middle))
            columns = np.ones(len(pool[1]))
            kernel /= kernel.max(axis=1, keepdims=True)
            kernel /= kernel.max(axis=0)
            for _ in range(pairing.SINKHORN):
                rows = 1 / (kernel @ columns)
                columns = len(pool[0]) / len(pool[1]) / (rows @ kernel)
            plan = rows[:, None] * kernel * columns
        middle = given + x[pool[0]].T @ plan @ y[pool[1]]
        return *(scores(pool, turn(m)) for m in (given, middle)), len(left)

    def ranks(table, count):
        right = np.diag(table)[:count]
        across = (table[:count] >= right[:, None]).sum(axis=1)
        return (1 / across + 1 / (table[:, :count] >= right).sum(axis=0)) / 2

    _, last, _ = grown(list(range(known)))
    partners = last.argmax(axis=1)
    mutual = last.argmax(axis=0)[partners] == np.arange(len(partners))
    before, after = [], []
    folds = min(growing.FOLDS, known)
    for fold in range(folds):
        kept = [n for n in range(known) if n % folds != fold]
        first, last, left = grown(kept)
        before += ranks(first, left).tolist()
        after += ranks(last, left).tolist()
    gains = np.subtract(after, before)
    error = np.sqrt(gains.var(ddof=1) / known)
    return partners, mutual, np.mean(before), np.mean(after), error


@pytest.mark.parametrize(
    ("noise", "known", "rows"), [(0.05, A, N), (0.6, A, N), (0.3, 3, 25), (0.3, 5, N)]
)
def test_it_is_the_reference_in_float64(noise, known, rows):
    source, target, anchors, theirs, _ = spaces(noise=noise)
    arrays = source[:rows], target, anchors[:known], theirs[:known]
    partners, mutual, *numbers = reference(*arrays)
    with jax.enable_x64(True):
        grown = grow_anchors(*map(jnp.asarray, arrays))
        np.testing.assert_array_equal(grown.partners, partners)
        np.testing.assert_array_equal(grown.mutual, mutual)
        np.testing.assert_allclose(grown[2:], numbers, rtol=1e-9, atol=1e-12)


def in_float32(*arrays, **options):
    return grow_anchors(*(jnp.asarray(x, jnp.float32) for x in arrays), **options)


def test_a_turned_copy_is_paired_whole():
    *arrays, order = spaces(noise=0.5)
    grown = in_float32(*arrays)
    np.testing.assert_array_equal(order[grown.partners], np.arange(N))
    assert grown.mutual.all()
    assert 0 < grown.before < 1
    np.testing.assert_allclose(grown.after, 1, rtol=1e-6)


def test_spaces_that_have_nothing_in_common_are_no_better_for_it():
    source, _, anchors, *_ = spaces()
    _, target, _, their_anchors, order = spaces(seed=1)
    grown = in_float32(source, target, anchors, their_anchors)
    assert (order[grown.partners] == np.arange(N)).mean() < 0.2
    assert grown.after - grown.before < 2 * grown.error
    assert not grown.mutual.all()


def test_neither_side_may_be_moved_turned_or_scaled_to_another_result():
    source, target, anchors, theirs, _ = spaces(noise=0.3)
    grown = in_float32(source, target, anchors, theirs)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(13, 13)))[0]
    moved = in_float32(
        7 * source @ turn + 2, target / 9 - 1, 7 * anchors @ turn + 2, theirs / 9 - 1
    )
    np.testing.assert_array_equal(moved.partners, grown.partners)
    stretched = np.where(np.arange(13) < 6, 30.0, 1.0)
    other = in_float32(source * stretched, target, anchors * stretched, theirs)
    assert (other.partners != grown.partners).any()


def test_the_order_of_the_target_is_that_of_the_partners():
    source, target, anchors, theirs, _ = spaces(noise=0.3)
    grown = in_float32(source, target, anchors, theirs)
    order = np.random.default_rng(3).permutation(N)
    again = in_float32(source, target[order], anchors, theirs)
    np.testing.assert_array_equal(order[again.partners], grown.partners)


def test_masked_is_dropped():
    source, target, anchors, theirs, _ = spaces(noise=0.3)
    masks = np.arange(N) < 30, np.arange(N) >= 4
    dropped = in_float32(source[masks[0]], target[masks[1]], anchors, theirs)
    source[~masks[0]], target[~masks[1]] = np.nan, np.nan
    masked = in_float32(
        source, target, anchors, theirs, source_where=masks[0], target_where=masks[1]
    )
    np.testing.assert_array_equal(masked.partners[:30], dropped.partners + 4)
    np.testing.assert_array_equal(masked.partners[30:], -1)
    np.testing.assert_array_equal(masked.mutual[:30], dropped.mutual)
    assert not masked.mutual[30:].any()
    np.testing.assert_allclose(masked[2:], dropped[2:], rtol=1e-6)


def test_where_all_rows_are_alike_none_is_mutual():
    source, target, anchors, theirs, _ = spaces()
    grown = in_float32(np.ones_like(source), target, np.ones_like(anchors), theirs)
    assert not grown.mutual.any()


@pytest.mark.parametrize("side", ["source_where", "target_where"])
def test_where_no_row_counts_there_are_no_partners(side):
    *arrays, _ = spaces()
    grown = in_float32(*arrays, **{side: np.zeros(N, bool)})
    np.testing.assert_array_equal(grown.partners, -1)
    assert not grown.mutual.any()


def test_float32_stays_so_beside_float64_and_narrow_anchors_round_nothing_else():
    source, target, anchors, theirs, _ = spaces(noise=0.3)
    with jax.enable_x64(True):
        grown = in_float32(source, target, anchors, theirs)
        assert grown.after.dtype == jnp.float32
    narrow = [jnp.asarray(x, jnp.float16) for x in (anchors, theirs)]
    wide = [np.float32(x) for x in (source, target)]
    wide[0][0, 0] = 1e5  # beyond float16
    assert np.isfinite(grow_anchors(*wide, *narrow).after)


@pytest.mark.parametrize("fault", ["a row", "the shrinkage"])
def test_what_is_no_number_gives_none(fault):
    source, target, anchors, theirs, _ = spaces()
    shrinkage = 1.5 if fault == "the shrinkage" else 0.8
    if fault == "a row":
        target[3, 1] = np.nan
    grown = in_float32(source, target, anchors, theirs, shrinkage=shrinkage)
    np.testing.assert_array_equal(grown.partners, -1)
    assert not grown.mutual.any()
    assert np.isnan(grown[2:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_anchors": np.ones((7, 12))}, "number of anchors A of source and"),
        ({"source_anchors": np.ones((8, 4))}, "dimension of source and of its anchors"),
        ({"source": np.ones(3)}, "source must be"),
        ({"source_where": np.ones(3, bool)}, "source_where"),
        (
            {"source_anchors": np.ones((1, 13)), "target_anchors": np.ones((1, 12))},
            "number of known anchors must be a whole number of 2 or more",
        ),
    ],
)
def test_what_does_not_fit_is_refused(unchecked, change, message):
    named = ("source", "target", "source_anchors", "target_anchors")
    given = dict(zip(named, spaces()[:4], strict=True)) | change
    with pytest.raises(ValueError, match=message):
        grow_anchors(**given)
