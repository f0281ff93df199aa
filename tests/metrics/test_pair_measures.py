"""RSA, CKNNA, and the other measures of neighbours: their definitions."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, pearsonr, spearmanr

from jatlas.metrics import (
    cka,
    cknna,
    cycle_neighbors,
    dissimilarity,
    jaccard_neighbors,
    mutual_neighbors,
    rank_biased_neighbors,
    rsa,
)


@pytest.fixture(scope="module")
def notebook():
    """The data of Kornblith et al.'s Demo.ipynb, as it is and with unit rows."""
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    raw = x, rng.randn(100, 10) + x
    unit = [s / np.linalg.norm(s, axis=1, keepdims=True) for s in raw]
    return [np.float32(s) for s in raw], [np.float32(s) for s in unit]


def pair(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 6))
    return np.float32(x), np.float32(x[:, :4] + rng.normal(size=(40, 4)))


# ------------------------------------------------- the definitions, in NumPy float64


def nearest(x, k):
    inner = np.float64(x) @ np.float64(x).T
    np.fill_diagonal(inner, -np.inf)
    return np.argsort(-inner, axis=1, kind="stable")[:, :k]


def jaccard_reference(x, y, k):
    sets = [[set(row) for row in nearest(s, k)] for s in (x, y)]
    return np.mean([len(a & b) / len(a | b) for a, b in zip(*sets, strict=True)])


def cycle_reference(x, y, k):
    near_x, near_y = nearest(x, k), nearest(y, k)
    return np.mean([n in near_x[near_y[n]] for n in range(len(x))])


def cknna_reference(x, y, k):
    grams = [np.float64(s) @ np.float64(s).T for s in (x, y)]
    masks = [np.zeros_like(gram) for gram in grams]
    for mask, space in zip(masks, (x, y), strict=True):
        np.put_along_axis(mask, nearest(space, k), 1, axis=1)

    def hsic(i, j):
        n, mask = len(x), masks[i] * masks[j]
        k, l = mask * grams[i], mask * grams[j]  # noqa: E741
        value = np.sum(k * l.T) + k.sum() * l.sum() / ((n - 1) * (n - 2))
        return value - 2 / (n - 2) * np.sum(k @ l)

    return hsic(0, 1) / np.sqrt(hsic(0, 0) * hsic(1, 1))


def rsa_reference(x, y, kind, method):
    known = {"pearson": pearsonr, "spearman": spearmanr, "kendall": kendalltau}
    correlate = known[method]
    return correlate(*(pdist(np.float64(s), kind) for s in (x, y)))[0]


def rank_biased_reference(x, y, k, p):
    """Equation 32 of Webber et al., list by list."""
    total = 0
    for a, b in zip(nearest(x, k), nearest(y, k), strict=True):
        common = [len({*a[:d]} & {*b[:d]}) for d in range(1, k + 1)]
        terms = sum(n / d * p**d for d, n in enumerate(common, start=1))
        total += common[-1] / k * p**k + (1 - p) / p * terms
    return total / len(x)


# ------------------------------------------------- neighbours


def test_neighbors_of_published_data(notebook):
    raw, unit = notebook
    assert round(float(cknna(*raw, 10)), 5) == 0.30593
    assert round(float(cknna(*raw, 10, similarity="cosine")), 5) == 0.31115
    assert round(float(cknna(*unit, 10)), 5) == 0.31115
    assert float(cycle_neighbors(*raw, 10)) == pytest.approx(0.89, abs=1e-6)
    assert float(cycle_neighbors(*unit, 10)) == pytest.approx(0.95, abs=1e-6)
    for function in (cycle_neighbors, mutual_neighbors, jaccard_neighbors):
        cosine, inner = function(*raw, 10, similarity="cosine"), function(*unit, 10)
        assert float(cosine) == pytest.approx(float(inner), abs=1e-6)


def test_neighbors_are_their_definitions():
    x, y = pair()
    value = jaccard_neighbors(x, y, 5, similarity="inner")
    assert float(value) == pytest.approx(jaccard_reference(x, y, 5), abs=1e-6)
    assert float(jaccard_neighbors(x, 2 * x, 5)) == 1
    inner = partial(rank_biased_neighbors, similarity="inner")
    value = inner(x, y, 5, p=0.7)
    assert float(value) == pytest.approx(rank_biased_reference(x, y, 5, 0.7), abs=1e-6)
    assert float(inner(x, 2 * x, 5)) == pytest.approx(1, abs=1e-6)
    value = cycle_neighbors(x, y, 5)
    assert float(value) == pytest.approx(cycle_reference(x, y, 5), abs=1e-6)
    value = cknna(x, y, 5)
    assert float(value) == pytest.approx(cknna_reference(x, y, 5), abs=5e-6)
    whole = float(cka(x, y, debiased=True))
    assert float(cknna(x, y, 39)) == pytest.approx(whole, abs=5e-6)


def test_neighbors_masked_equal_dropped():
    x, y = pair()
    kept = np.arange(40) % 3 != 0
    expected = {
        partial(jaccard_neighbors, similarity="inner"): jaccard_reference,
        cycle_neighbors: cycle_reference,
        partial(rank_biased_neighbors, similarity="inner", p=0.9): partial(
            rank_biased_reference, p=0.9
        ),
        cknna: cknna_reference,
    }
    masked = [np.where(kept[:, None], s, np.float32(np.nan)) for s in (x, y)]
    for function, reference in expected.items():
        value = function(*masked, 5, where=kept)
        exact = reference(x[kept], y[kept], 5)
        assert float(value) == pytest.approx(exact, abs=5e-6)


def test_gradient_of_cknna_is_that_of_differences():
    with jax.enable_x64(True):
        x, y = map(np.float64, pair())
        way = np.random.default_rng(1).normal(size=x.shape)
        grad = jax.grad(partial(cknna, k=5))(x, y)
        ahead, behind = (float(cknna(x + h * way, y, 5)) for h in (1e-7, -1e-7))
        assert np.vdot(grad, way) == pytest.approx((ahead - behind) / 2e-7, rel=1e-5)


# ------------------------------------------------- dissimilarities


CASES = [(kind, "pearson") for kind in dissimilarity.DISSIMILARITIES]


CASES += [("correlation", method) for method in ("spearman", "kendall")]


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_rsa_is_its_definition(kind, method):
    x, y = pair()
    kept = np.arange(40) % 3 != 0
    masked = [np.where(kept[:, None], s, np.float32(np.nan)) for s in (x, y)]
    form = partial(rsa, dissimilarity=kind, method=method)
    exact = rsa_reference(x, y, kind, method)
    value = form(x, y, where=np.ones(40, bool))
    assert float(value) == pytest.approx(exact, abs=2e-6)
    exact = rsa_reference(x[kept], y[kept], kind, method)
    assert float(form(*masked, where=kept)) == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
@pytest.mark.parametrize("kind", ["correlation", "cosine"])
@pytest.mark.parametrize("num", [12, 40])
def test_what_has_no_direction_is_at_a_right_angle_to_all(kind, method, num):
    x, y = (s[:num].copy() for s in pair())
    flat = 0.1 if kind == "correlation" else 0.0
    x[3] = x[7] = flat

    def unlike(rows):
        if kind == "correlation":
            rows = rows - rows.mean(axis=1, keepdims=True)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        units = np.where(length > 1e-6, rows / np.where(length > 0, length, 1), 0)
        return 1 - units @ units.T

    one, other = unlike(np.float64(x)), unlike(np.float64(y))
    one[3, 7] = one[7, 3] = 0  # equal to each other
    above = np.triu_indices(num, 1)
    correlation = {"pearson": pearsonr, "spearman": spearmanr, "kendall": kendalltau}
    exact = correlation[method](one[above], other[above])[0]
    value = rsa(x, y, dissimilarity=kind, method=method)
    # What differs by rounding is tied, which moves some ranks.
    assert float(value) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_equal_dissimilarities_share_their_rank(method):
    x, y = (np.round(s[:, :2]) for s in pair())
    exact = rsa_reference(x, y, "euclidean", method)
    value = rsa(x, y, dissimilarity="euclidean", method=method)
    assert float(value) == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_kendall_meets_every_pair_of_few_samples_once(n):
    x, y = (s[:n] for s in pair(3))
    value = float(rsa(x, y, dissimilarity="euclidean", method="kendall"))
    if n < 3:
        assert np.isnan(value)
    else:
        exact = rsa_reference(x, y, "euclidean", "kendall")
        assert value == pytest.approx(exact, abs=2e-6)


@pytest.mark.slow
def test_kendall_of_the_most_samples_is_exact_and_more_are_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(dissimilarity.MOST_SAMPLES + 1, 5))
    y = np.float32(x[:, :3] + rng.normal(size=(len(x), 3)))
    x = np.float32(x)
    form = partial(rsa, dissimilarity="euclidean", method="kendall")
    exact = rsa_reference(x[1:], y[1:], "euclidean", "kendall")
    assert float(form(x[1:], y[1:])) == pytest.approx(exact, abs=2e-6)
    with pytest.raises(ValueError, match="of 2048 samples at most; got 2049"):
        form(x, y)


def test_ranks_among_the_pairs_of_some_samples_are_near_the_exact_ones(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    y = np.float32(x[:, :3] + rng.normal(size=(300, 3)))
    x[0] *= 1000  # one far row leaves few digits to bins of equal width
    x = np.float32(x)
    monkeypatch.setattr(dissimilarity, "SORTED", 200)
    value = rsa(x, y, dissimilarity="euclidean", method="spearman")
    exact = rsa_reference(x, y, "euclidean", "spearman")
    assert float(value) == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("kind", ["correlation", "cosine"])
def test_rsa_by_features_is_that_by_pairs_with_its_gradient(kind, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)) + 100 * rng.normal(size=6)
    x[:20] = x[0] + 1e-2 * x[:20]
    y = np.float32(x[:, :4] + rng.normal(size=(120, 4)))
    x, kept = np.float32(x), np.arange(120) % 3 != 0
    exact = rsa_reference(x[kept], y[kept], kind, "pearson")
    both = [jax.value_and_grad(partial(rsa, dissimilarity=kind, where=kept))(x, y)]
    never = jax.numpy.zeros(3), jax.numpy.zeros((), bool)
    monkeypatch.setattr(dissimilarity.by_features, "covariances", lambda *_: never)
    rsa.clear_cache()
    both.append(jax.value_and_grad(partial(rsa, dissimilarity=kind, where=kept))(x, y))
    rsa.clear_cache()
    for value, _ in both:
        assert float(value) == pytest.approx(exact, abs=2e-6)
    scale = np.abs(both[1][1]).max()
    np.testing.assert_allclose(both[0][1], both[1][1], rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("n", [20, 200])
def test_rsa_of_nearly_equidistant_rows_keeps_its_digits(n):
    rng = np.random.default_rng(1)
    near = np.eye(n) + 0.01 * rng.normal(size=(n, n))
    # More rows than twice the features, of which those that count are fewer.
    x = np.float32(np.concatenate([near, rng.normal(size=(2 * n, n))]))
    y = np.float32(x + 0.01 * rng.normal(size=x.shape))
    where = np.arange(3 * n) < n
    exact = rsa_reference(x[:n], y[:n], "cosine", "pearson")
    value = rsa(x, y, dissimilarity="cosine", where=where)
    assert float(value) == pytest.approx(exact, abs=2e-6)


def test_rsa_of_more_rows_than_features_takes_no_pairs(largest_array):
    x, y = (np.tile(s, (60, 1)) for s in pair())
    form = partial(
        dissimilarity.by_features.covariances, rows=jax.numpy.ones(2400, bool)
    )
    assert largest_array(lambda x, y: form([x, y]), x, y) == x.size


def test_rsa_is_nan_where_nothing_varies_and_gradients_are_finite():
    x, y = pair()
    alike, n = np.full_like(x, 0.1), np.arange(40)
    form = jax.jit(
        jax.value_and_grad(
            lambda x, y, w: rsa(x, y, where=w, dissimilarity="euclidean")
        )
    )
    for a, where in ((alike, n >= 0), (x, n < 2), (x, n < 0)):
        value, grad = form(a, y, where)
        assert np.isnan(value)
        assert np.all(np.isfinite(grad))


def test_what_cannot_be_is_refused():
    x, y = pair()
    with pytest.raises(ValueError, match=r"unknown dissimilarity 'l1'.*euclidean"):
        rsa(x, y, dissimilarity="l1")
    with pytest.raises(ValueError, match=r"unknown method 'median'.*spearman"):
        rsa(x, y, method="median")
    with pytest.raises(ValueError, match=r"p must lie between 0 and 1, got 1\.0"):
        rank_biased_neighbors(x, y, 5, p=1.0)
    with pytest.raises(ValueError, match=r"k must be .* 2 or more, got 1"):
        cknna(x, y, 1)
    with pytest.raises(ValueError, match=r"unknown similarity 'euclidean'.*cosine"):
        cknna(x, y, 5, similarity="euclidean")


def test_pairs_form_no_n_by_n_array(largest_array):
    x, y = (np.tile(s, (60, 1)) for s in pair())
    for function in (partial(cknna, k=5), partial(cycle_neighbors, k=5), rsa):
        assert largest_array(function, x, y) < 2400**2 / 4
