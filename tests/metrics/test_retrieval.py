import re
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas.metrics.neighborhoods.ranking import SIMILARITIES, retrieval

N, D = 40, 6
ALL = np.ones(N, bool)


# ------------------------------------------------- the definition, in NumPy float64


def reference(queries, gallery, k, similarity="cosine"):
    """Mean reciprocal rank, recall at 1 and at k, one query after another."""
    queries, gallery = np.float64(queries), np.float64(gallery)
    if similarity == "cosine":
        gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    ranks = []
    for n, query in enumerate(queries):
        similar = gallery @ query
        near = np.isclose(similar, similar[n], rtol=0, atol=1e-9)
        ranks.append(np.sum(near | (similar > similar[n])))
    ranks = np.array(ranks)
    return [np.mean(1 / ranks), np.mean(ranks <= 1), np.mean(ranks <= k)]


def pair(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    return np.float32(x), np.float32(x + rng.normal(size=(N, D)) * 0.8)


def found(queries, gallery, k=5, **others):
    return [float(value) for value in retrieval(queries, gallery, k, **others)]


# ------------------------------------------------- what it is


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("k", [1, 5])
def test_it_is_its_definition(similarity, k):
    for seed in range(3):
        x, y = pair(seed)
        exact = reference(x, y, k, similarity)
        assert found(x, y, k, similarity=similarity) == pytest.approx(exact, abs=1e-6)
        assert 0.2 < exact[0] < 0.95


def test_a_worked_example():
    # Query 0 finds its own first, query 1 second, query 2 third.
    queries = np.float32([[1, 0], [1, 0.1], [1, 0]])
    gallery = np.float32([[1, 0], [1, 0.3], [0, 1]])
    value = retrieval(queries, gallery, 2)
    assert float(value.mean_reciprocal_rank) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert float(value.recall_at_1) == pytest.approx(1 / 3)
    assert float(value.recall_at_k) == pytest.approx(2 / 3)


def test_a_space_finds_itself_and_is_not_found_shifted_by_a_row():
    x, _ = pair()
    assert found(x, x) == [1, 1, 1]
    shifted = found(x, np.roll(x, 1, axis=0))
    assert shifted[1] == 0
    assert shifted[0] < 0.5


def test_at_chance_the_values_are_those_that_are_said():
    rng = np.random.default_rng(0)
    values = [found(*rng.normal(size=(2, N, D)).astype(np.float32)) for _ in range(50)]
    chance = [np.sum(1 / np.arange(1, N + 1)) / N, 1 / N, 5 / N]
    error = np.std(values, axis=0) / np.sqrt(50)
    assert np.all(np.abs(np.mean(values, axis=0) - chance) < 3.5 * error)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.floats(-18, 18), st.floats(-18, 18))
def test_turns_and_lengths_change_nothing(seed, exponent, other):
    x, y = pair(seed)
    before = found(x, y)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]
    turned = [np.float32(s @ turn * 10**e) for s, e in ((x, exponent), (y, other))]
    # A right row that is as near as another but for rounding may change places.
    assert found(*turned) == pytest.approx(before, abs=0.03)
    lengths = np.float32(np.random.default_rng(seed).uniform(0.1, 10, (N, 1)))
    assert found(x * lengths, y * lengths) == pytest.approx(before, abs=0.03)


def test_the_lengths_of_the_gallery_count_by_inner_product_only():
    x, y = pair()
    lengths = np.float32(np.random.default_rng(1).uniform(0.1, 10, (N, 1)))
    before = found(x, y, similarity="inner")
    assert found(x * lengths, y, similarity="inner") == before
    assert found(x, y * lengths, similarity="inner")[0] < before[0] - 0.02


# ------------------------------------------------- ties


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("value", [1.0, 0.1, 0.0])
def test_a_constant_space_scores_the_least_there_is(similarity, value):
    row = value * np.random.default_rng(0).uniform(0.5, 1, D)
    constant = np.tile(np.float32(row), (N, 1))
    for queries in (constant, np.float32(constant + np.arange(N)[:, None])):
        got = found(queries, constant, similarity=similarity)
        assert got == pytest.approx([1 / N, 0, 0], abs=1e-7)


def test_of_many_features_too_what_differs_by_rounding_is_tied():
    rng = np.random.default_rng(0)
    constant = np.tile(np.float32(rng.normal(size=1000)), (N, 1))
    noise = np.float32(rng.normal(size=(N, 1000)))
    assert found(noise, constant) == pytest.approx([1 / N, 0, 0], abs=1e-7)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_ties_go_against_the_query(similarity):
    x, y = (np.float32(np.sign(s)) for s in pair())  # lengths alike, many cosines equal
    exact = reference(x, y, 5, similarity)
    assert found(x, y, similarity=similarity) == pytest.approx(exact, abs=1e-6)
    copies = np.repeat(x[:20], 2, axis=0)
    assert found(copies, copies, similarity=similarity)[1] == 0
    orders = [np.random.default_rng(s).permutation(N) for s in range(3)]
    for order in orders:
        other = found(x[order], y[order], similarity=similarity)
        assert other == pytest.approx(exact, abs=1e-6)


def test_a_zero_row_comes_last():
    x = np.eye(4, dtype=np.float32)
    x[2] = 0
    assert found(x, x, 2) == pytest.approx([(3 + 1 / 4) / 4, 3 / 4, 3 / 4])


# ------------------------------------------------- masks, NaN, dtypes


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_masked_equals_dropped(similarity):
    x, y = pair()
    kept = np.arange(N) % 3 != 0
    exact = reference(x[kept], y[kept], 5, similarity)
    for garbage in (np.nan, np.inf, 0.0):
        masked = [np.where(kept[:, None], s, np.float32(garbage)) for s in (x, y)]
        got = found(*masked, where=kept, similarity=similarity)
        assert got == pytest.approx(exact, abs=1e-6)


def test_of_nan_or_of_nobody_it_is_nan_and_of_one_it_is_found():
    x, y = pair()
    assert np.isnan(found(x, y, where=np.zeros(N, bool))).all()
    assert found(x, y, where=np.arange(N) == 3) == [1, 1, 1]
    for bad in (np.nan, np.inf):
        for side in (0, 1):
            spaces = [s.copy() for s in pair()]
            spaces[side][3, 2] = bad
            assert np.isnan(found(*spaces, where=ALL)).all()
            assert np.isfinite(found(*spaces, where=np.arange(N) != 3)).all()


def test_the_gradient_is_zero():
    gradients = jax.grad(lambda *s: retrieval(*s, 5)[0], (0, 1))(*pair())
    assert not any(np.any(gradient) for gradient in gradients)


# ------------------------------------------------- many rows


def test_no_n_by_n_array_is_formed(largest_array):
    x, y = (np.tile(s, (25, 1)) for s in pair())
    assert largest_array(partial(retrieval, k=5), x, y) < 1000**2 / 2
    assert largest_array(partial(retrieval, k=5), x[:997], y[:997]) < 1000**2 / 2


def test_more_queries_than_are_looked_at_at_once_change_nothing():
    rng = np.random.default_rng(0)
    x, kept = np.float32(rng.normal(size=(307, D))), rng.random(307) < 0.9
    y = np.float32(x + rng.normal(size=x.shape))
    exact = reference(x[kept], y[kept], 4)
    got = found(x, y, 4, where=kept)
    assert got == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    "kind", [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit]
)
def test_of_sharded_rows_the_values_are_those_of_one_device(kind):
    x, y = np.random.default_rng(0).normal(size=(2, 512, D)).astype(np.float32)
    y += x
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    placed = jax.device_put((x, y), NamedSharding(mesh, PartitionSpec("samples")))
    assert found(*placed) == pytest.approx(reference(x, y, 5), abs=1e-5)


# ------------------------------------------------- errors


def test_what_cannot_be_is_refused():
    x, y = pair()
    with pytest.raises(ValueError, match=r"k must be .* 1 or more, got 0"):
        retrieval(x, y, 0)
    with pytest.raises(ValueError, match=r"got k=41 and 40 samples"):
        retrieval(x, y, 41)
    with pytest.raises(ValueError, match=r"unknown similarity 'euclidean'.*inner"):
        retrieval(x, y, 5, similarity="euclidean")


@pytest.mark.usefixtures("unchecked")
def test_spaces_that_are_no_pair_are_refused():
    x, y = pair()
    with pytest.raises(ValueError, match=r"number of samples N.*\[40, 30\]"):
        retrieval(x, y[:30], 5)
    with pytest.raises(ValueError, match=re.compile(r"dimension D.*\[6, 4\].*merge")):
        retrieval(x, y[:, :4], 5)
    with pytest.raises(ValueError, match="gallery must be floating point"):
        retrieval(x, y.astype(np.int32), 5)
    with pytest.raises(ValueError, match="queries must be a matrix"):
        retrieval(x[0], y, 5)
    with pytest.raises(ValueError, match=r"where must have the axes \(N,\)"):
        retrieval(x, y, 5, where=ALL[:30])
