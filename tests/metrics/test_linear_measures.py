"""Procrustes, canonical correlations, HSIC and predictivity: their definitions."""

from functools import partial

import jax
import numpy as np
import pytest

from jatlas.metrics import (
    cka,
    hsic,
    mean_squared_cca,
    minibatch_cka,
    predictivity,
    procrustes_distance,
    procrustes_similarity,
    pwcca,
    svcca,
)


@pytest.fixture(scope="module")
def notebook():
    """The data of Kornblith et al.'s Demo.ipynb (representation_similarity)."""
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    return x, rng.randn(100, 10) + x


def pair(n=30, widths=(5, 4), seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, widths[0])) * np.linspace(1, 3, widths[0])
    mix = rng.normal(size=(widths[0], widths[1]))
    return x + 2, x @ mix / 2 + rng.normal(size=(n, widths[1])) - 3


# ------------------------------------------------- the definitions, in NumPy float64


def partly_whitened(x, alpha):
    x = x - x.mean(0)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    kept = s > 1e-9 * s[0]
    u, s, v = u[:, kept], s[kept], v[kept]
    return (u * (alpha * s + 1 - alpha)) @ v


def procrustes_reference(x, y, alpha=1.0):
    x, y = partly_whitened(x, alpha), partly_whitened(y, alpha)
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    cosine = nuclear / np.linalg.norm(x) / np.linalg.norm(y)
    square = np.sum(x**2) + np.sum(y**2) - 2 * nuclear
    return np.arccos(cosine), np.sqrt(square), cosine


def components(x, variance=1.0):
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    shares = np.cumsum(s**2) / np.sum(s**2)
    rank = np.sum(s > 1e-9 * s[0])
    return u[:, : min(rank, np.searchsorted(shares, variance) + 1)]


def correlations(x, y, variance=1.0):
    u, v = components(x, variance), components(y, variance)
    return u, np.linalg.svd(u.T @ v)


def pwcca_reference(x, y):
    u, (left, rho, _) = correlations(x, y)
    variates = (u @ left)[:, : len(rho)]
    weights = np.abs(variates.T @ (x - x.mean(0))).sum(1)
    return np.sum(weights * rho) / np.sum(weights)


def ridge_cca_reference(x, y, ridge):
    def whitened(x):
        x = x - x.mean(0)
        scatter = x.T @ x
        values, vectors = np.linalg.eigh(
            scatter + ridge * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
        )
        return x @ (vectors * values**-0.5)

    return np.sum((whitened(x).T @ whitened(y)) ** 2) / min(x.shape[1], y.shape[1])


def hsic_reference(k, l, debiased):  # noqa: E741
    n, ones = len(k), np.ones(len(k))
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ l @ h) / (n - 1) ** 2
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    square = k.sum() * l.sum() / ((n - 1) * (n - 2))
    value = np.sum(k * l) + square - 2 / (n - 2) * (ones @ k @ l @ ones)
    return value / (n * (n - 3))


def gaussian(x, middle):
    squares = np.sum((x[:, None] - x) ** 2, axis=-1)
    return np.exp(-squares / (2 * middle(squares)))


def predictivity_reference(x, y, folds, ridge):
    wrong = total = 0
    for k in range(folds):
        test = np.arange(len(x)) % folds == k
        mean_x, mean_y = x[~test].mean(0), y[~test].mean(0)
        inner = x[~test] - mean_x
        scatter = inner.T @ inner
        added = ridge * np.trace(scatter) / x.shape[1] * np.eye(x.shape[1])
        weights = np.linalg.solve(scatter + added, inner.T @ (y[~test] - mean_y))
        wrong += np.sum((y[test] - mean_y - (x[test] - mean_x) @ weights) ** 2)
        total += np.sum((y[test] - mean_y) ** 2)
    return 1 - wrong / total


# ------------------------------------------------- values of others


def test_procrustes_of_published_data(notebook):
    # alpha: the angle, as by netrep's LinearMetric, which whitens by the plain X'X.
    published = {1.0: 0.7432765, 0.5: 0.7429661, 0.0: 0.7509896}
    with jax.enable_x64(True):
        for alpha, angle in published.items():
            value = procrustes_distance(*notebook, alpha=alpha)
            assert round(float(value), 7) == angle
        value = procrustes_distance(*notebook, form="euclidean")
        assert float(value) == pytest.approx(30.0832723, abs=1e-7)


def test_unbiased_hsic_of_published_data():
    # A Gaussian kernel whose width is the median over all pairs, each row with itself.
    x = np.arange(50.0).reshape(10, 5)
    y = np.sin(2 * np.pi * x / 50)
    value = hsic(x, y, kernel="rbf", median="middle_all", debiased=True)
    assert float(value) == pytest.approx(0.0922665, abs=1e-7)
    exact = hsic_reference(
        gaussian(x, lambda _: 0.5), gaussian(y, lambda _: 4.0), False
    )
    value = hsic(x, y, kernel="rbf", sigma=(0.5**0.5, 2.0))
    assert float(value) == pytest.approx(exact, abs=1e-6)


# ------------------------------------------------- the definitions


# More features than samples, too, where the smaller side is made.
SHAPES = [(30, (5, 4)), (12, (16, 14))]


@pytest.mark.parametrize(("n", "widths"), SHAPES)
def test_procrustes_and_cca_are_their_definitions(n, widths):
    x, y = pair(n, widths)
    with jax.enable_x64(True):
        angle, _, cosine = procrustes_reference(x, y)
        assert float(procrustes_distance(x, y)) == pytest.approx(angle, rel=1e-9)
        distance = procrustes_reference(x, y, 0.3)[1]
        value = procrustes_distance(x, y, alpha=0.3, form="euclidean")
        assert float(value) == pytest.approx(distance, rel=1e-9)
        assert float(procrustes_similarity(x, y)) == pytest.approx(cosine, rel=1e-9)
        rho = correlations(x, y)[1][1]
        value = mean_squared_cca(x, y)
        assert float(value) == pytest.approx(np.mean(rho**2), rel=1e-9)
        for variance in (0.9, 1.0):
            kept = correlations(x, y, variance)[1][1]
            value = svcca(x, y, variance=variance)
            assert float(value) == pytest.approx(np.mean(kept), rel=1e-9)
    if n > sum(widths):
        exact = pwcca_reference(x, y)
        assert float(pwcca(x, y)) == pytest.approx(exact, abs=2e-6)
        exact = pwcca_reference(y, x)
        assert float(pwcca(y, x)) == pytest.approx(exact, abs=2e-6)
        exact = ridge_cca_reference(x, y, 0.2)
        value = mean_squared_cca(x, y, ridge=0.2)
        assert float(value) == pytest.approx(exact, abs=2e-6)


def test_canonical_correlations_of_nearly_dependent_features_keep_their_digits():
    # The smallest direction has 1e-5 of the length of the largest: the eigenvalues of
    # X'X, 1e-10 apart, are lost in float32; features of unlike units make it worse.
    x, y = pair()
    x[:, 1] = x[:, 0] + 1e-4 * x[:, 1]
    x, y = np.float32(x * [1, 1, 1e9, 1, 1e-9]), np.float32(y)
    rho = correlations(np.float64(x) * [1, 1, 1e-9, 1, 1e9], np.float64(y))[1][1]
    assert float(mean_squared_cca(x, y)) == pytest.approx(np.mean(rho**2), abs=1e-3)
    # A feature twice is one direction.
    twice = np.concatenate([x, x[:, :1]], axis=1)
    rank = float(mean_squared_cca(twice[:, [0, 5]], y[:, :1]))
    assert rank == pytest.approx(float(mean_squared_cca(x[:, :1], y[:, :1])), abs=1e-5)


@pytest.mark.parametrize(("n", "widths"), SHAPES)
@pytest.mark.parametrize("debiased", [False, True])
def test_hsic_is_its_definition(n, widths, debiased):
    x, y = pair(n, widths)
    exact = hsic_reference(x @ x.T, y @ y.T, debiased)
    assert float(hsic(x, y, debiased=debiased)) == pytest.approx(exact, rel=1e-5)


def test_minibatch_cka_is_its_definition_and_a_training_loss():
    x, y = pair()
    starts = range(0, 30, 8)  # the last batch has six rows
    parts = [[(s @ s.T)[i : i + 8, i : i + 8] for i in starts] for s in (x, y)]

    def total(a, b):
        return sum(hsic_reference(*both, True) for both in zip(a, b, strict=True))

    one, other = parts
    exact = total(one, other) / np.sqrt(total(one, one) * total(other, other))
    assert float(minibatch_cka(x, y, 8)) == pytest.approx(exact, abs=2e-6)
    whole = float(cka(x, y, debiased=True))
    assert float(minibatch_cka(x, y, 100)) == pytest.approx(whole, abs=2e-6)
    slope = jax.jit(jax.grad(lambda x: 1 - minibatch_cka(x, y, 8)))
    before, x = x, np.float32(x)
    for _ in range(20):
        x = x - 2 * slope(x)
    assert float(minibatch_cka(x, y, 8)) > float(minibatch_cka(before, y, 8)) + 0.05


def test_predictivity_is_its_definition_either_way():
    x, y = pair()
    for one, other in ((x, y), (y, x)):
        for ridge in (0.0, 0.3):
            exact = predictivity_reference(one, other, 3, ridge)
            value = predictivity(one, other, folds=3, ridge=ridge)
            assert float(value) == pytest.approx(exact, abs=1e-5)
    x, y = pair(12, (16, 14))
    exact = predictivity_reference(x, y, 3, 0.3)
    value = predictivity(x, y, folds=3, ridge=0.3)
    assert float(value) == pytest.approx(exact, abs=1e-5)
    unrelated = np.random.default_rng(1).normal(size=(12, 3))
    assert float(predictivity(x, unrelated, folds=3)) < 0.2


@pytest.mark.parametrize("noise", [1e-3, 0.1, 0.5, 0.6, 5.0])
def test_procrustes_keeps_its_digits_near_and_far(noise):
    # A small angle is not the difference of large numbers.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 12)).astype("f")
    turned = x @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    y = (turned + noise * rng.normal(size=turned.shape)).astype("f")
    angle, distance, _ = procrustes_reference(x.astype("d"), y.astype("d"))
    assert float(procrustes_distance(x, y)) == pytest.approx(angle, rel=2e-5)
    value = procrustes_distance(x, y, form="euclidean")
    assert float(value) == pytest.approx(distance, rel=2e-5)
    with jax.enable_x64(True):
        x, y = x.astype("d"), y.astype("d")
        slope = jax.jit(jax.grad(procrustes_distance))(x, y)
        way = rng.normal(size=x.shape)
        ahead, behind = (procrustes_reference(x + h * way, y)[0] for h in (1e-6, -1e-6))
        difference = (ahead - behind) / 2e-6
        assert np.vdot(slope, way) == pytest.approx(difference, rel=1e-5)


def test_predictivity_of_many_folds_and_of_one_row_each():
    # Few moments are kept of few folds; of many they are taken anew for each.
    x, y = pair(24, (5, 3))
    there = np.arange(24) % 3 > 0
    for folds, where in ((7, None), (7, there), (24, None), (16, there)):
        some = slice(None) if where is None else where
        exact = predictivity_reference(x[some], y[some], folds, 0.1)
        value = predictivity(x, y, folds=folds, ridge=0.1, where=where)
        assert float(value) == pytest.approx(exact, abs=1e-5), folds


@pytest.mark.parametrize("folds", [3, 40])
def test_predictivity_of_folds_that_a_far_row_is_not_in(folds):
    # Taken from sums of all rows, the others' products would drown in its rounding.
    x, y = (np.round(space, 3) for space in pair(40, (4, 2)))
    y[:, 0] += x[:, 0]
    x[7, 1] = 3e3
    exact = predictivity_reference(x, y, folds, 1e-4)
    value = predictivity(x.astype("f"), y.astype("f"), folds=folds, ridge=1e-4)
    assert float(value) == pytest.approx(exact, rel=1e-3)


# ------------------------------------------------- promises that all of them make

FORMS = {
    "angular": procrustes_distance,
    "partial": partial(procrustes_distance, alpha=0.5, form="euclidean"),
    "mean_squared_cca": mean_squared_cca,
    "svcca": partial(svcca, variance=0.9),
    "pwcca": pwcca,
    "hsic": partial(hsic, debiased=True),
    "minibatch_cka": partial(minibatch_cka, batch_size=8),
    "predictivity": partial(predictivity, folds=3),
}


@pytest.mark.parametrize("name", FORMS)
def test_gradients_are_those_of_differences(name):
    with jax.enable_x64(True):
        x, y = pair()
        ways = np.random.default_rng(3).normal(size=x.shape), np.ones(y.shape) * y**2
        grads = jax.jit(jax.grad(FORMS[name], (0, 1)))(x, y)
        slope = sum(np.vdot(g, way) for g, way in zip(grads, ways, strict=True))
        ahead, behind = (
            float(FORMS[name](x + h * ways[0], y + h * ways[1])) for h in (1e-6, -1e-6)
        )
        assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_masked_equals_dropped_and_nothing_that_varies_is_nan(name):
    x, y = map(np.float32, pair())
    kept = np.arange(30) < 24
    form = jax.jit(lambda x, y, where: FORMS[name](x, y, where=where))
    exact = float(FORMS[name](x[kept], y[kept]))
    x[~kept] = np.nan
    assert float(form(x, y, kept)) == pytest.approx(exact, rel=2e-5)
    assert np.isnan(form(x, y, np.zeros(30, bool)))
    if name not in ("partial", "hsic"):
        assert np.isnan(form(x, np.ones_like(y), kept))


def test_what_cannot_be_is_refused():
    x, y = pair()
    with pytest.raises(ValueError, match=r"unknown form 'chordal'.*euclidean"):
        procrustes_distance(x, y, form="chordal")
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 1.5"):
        procrustes_distance(x, y, alpha=1.5)
    with pytest.raises(ValueError, match="ridge must be 0 or more, got -1"):
        mean_squared_cca(x, y, ridge=-1.0)
    with pytest.raises(ValueError, match=r"variance must lie in \(0, 1\], got 0"):
        svcca(x, y, variance=0.0)
    with pytest.raises(ValueError, match=r"batch_size must be .* 4 or more, got 3"):
        minibatch_cka(x, y, 3)
    with pytest.raises(ValueError, match=r"folds must be .* 2 or more, got 1"):
        predictivity(x, y, folds=1)
    assert np.isnan(predictivity(x, y, ridge=-1.0))
