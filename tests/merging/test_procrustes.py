"""Generalized Procrustes against SciPy, a loop in NumPy, and its running state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jatlas.merging.consensus import apply_consensus, merge_consensus
from jatlas.merging.translation.generalized import fit_procrustes
from jatlas.running import consensus as running

M, N, D = 3, 30, 4
WIDTHS = {"stacked": (D, D, D), "of differing widths": (2, 4, 3)}
# What is stacked takes the same way; each compiles for seconds.
each_width = pytest.mark.parametrize(
    "widths",
    [
        pytest.param(widths, id=name, marks=[pytest.mark.slow] * (name == "stacked"))
        for name, widths in WIDTHS.items()
    ],
)


def draw(widths=(D,) * M, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(N, D)) * [2, 1.5, 1, 0.6]
    charts = []
    for width in widths:
        turn = np.linalg.qr(rng.normal(size=(D, D)))[0][:, :width]
        rows = hidden @ turn * rng.uniform(0.5, 3) + rng.normal(size=width)
        charts.append(rows + noise * rng.normal(size=rows.shape))
    return np.stack(charts) if len(set(widths)) == 1 else charts


def some(seed=1):
    presence = np.random.default_rng(seed).random((M, N)) < 0.7
    presence[0, :-4] = True
    return presence


def fitted(charts, presence, **options):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, fit_procrustes(charts, presence, **options))


def rows_of(fit, charts):
    with jax.enable_x64(True):
        return [np.asarray(apply_consensus(fit, m, x)) for m, x in enumerate(charts)]


def loss(rows, presence):
    """The squared distance of linked rows to their mean."""
    linked = presence & (presence.sum(axis=0) > 1)
    x = np.where(linked[..., None], np.stack(rows), 0)
    mean = x.sum(axis=0) / np.maximum(linked.sum(axis=0), 1)[:, None]
    return np.sum(np.where(linked[..., None], x - mean, 0) ** 2)


def alternated(charts, presence, rounds, starts):
    """The least loss of a loop over samples, charts and starts, in NumPy."""
    linked = presence & (presence.sum(axis=0) > 1)
    prepared = []
    for x, mine in zip(charts, linked, strict=True):
        x = x - x[mine].mean(axis=0)
        x = x / np.sqrt(np.mean(np.sum(x[mine] ** 2, axis=1)))
        x = np.pad(x, ((0, 0), (0, D - x.shape[1])))
        prepared.append(np.where(mine[:, None], x, 0))
    best = np.inf
    for seed in range(starts):
        rng = np.random.default_rng(seed)
        rows = [x @ np.linalg.qr(rng.normal(size=(D, D)))[0] for x in prepared]
        for _ in range(rounds):
            for m, x in enumerate(prepared):
                others = sum(rows) - rows[m]
                share = 1 / np.maximum(linked.sum(axis=0), 1)[:, None]
                left, _, right = np.linalg.svd(x.T @ (share * others))
                rows[m] = x @ left @ right
        best = min(best, loss(rows, presence))
    return best


@each_width
def test_no_loop_over_rotations_comes_nearer(widths):
    charts, presence = draw(widths), some()
    fit = fitted(charts, presence, sweeps=60)
    for weights in fit.weights:
        np.testing.assert_allclose(weights @ weights.T, np.eye(len(weights)), atol=1e-9)
    got = loss(rows_of(fit, charts), presence)
    assert got == pytest.approx(alternated(charts, presence, 200, 5), rel=1e-6)
    few = loss(rows_of(fitted(charts, presence), charts), presence)
    assert got * (1 - 1e-9) < few < 1.02 * got


def test_two_charts_are_turned_as_by_a_rotation_of_one():
    charts = draw((D, D))
    fit = fitted(charts, np.ones((2, N), bool), sweeps=1)
    x, y = (
        (rows - rows.mean(axis=0)) / np.linalg.norm(rows - rows.mean(axis=0))
        for rows in charts
    )
    left, _, right = np.linalg.svd(x.T @ y)
    turn = fit.weights[0] @ fit.weights[1].T
    np.testing.assert_allclose(turn, left @ right, atol=1e-9)


def test_rotated_copies_are_one_space_and_noise_is_not():
    both = np.ones((M, N), bool)
    fit = fitted(draw(noise=0.0), both)
    one, *others = rows_of(fit, draw(noise=0.0))
    for other in others:
        np.testing.assert_allclose(other, one, atol=1e-9)
    np.testing.assert_allclose(fit.agreement, 1)
    noisy = fitted(draw(noise=1.0), both).agreement
    assert noisy.max() < 0.98
    assert noisy.min() < 0.7


@pytest.mark.slow
@each_width
def test_rows_in_parts_give_the_same_rotations(widths):
    charts, presence = draw(widths), some()
    whole = fitted(charts, presence, num_features=2)
    with jax.enable_x64(True):
        state = running.empty(widths, dtype=np.float64)
        for part in (slice(0, 9), slice(9, N)):
            rows = jax.tree.map(lambda x, part=part: x[..., part, :], charts)
            state = running.add(state, rows, presence[:, part])
        parts = running.rotated(state, num_features=2)
    for one, other in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_absent_rows_are_not_looked_at_and_the_mean_is_of_those_present():
    charts, presence = draw(), some()
    bad = np.where(presence[..., None], charts, np.nan)
    fit, clean = fitted(bad, presence), fitted(charts, presence)
    np.testing.assert_array_equal(fit.mean, clean.mean)
    np.testing.assert_array_equal(fit.weights[0], clean.weights[0])
    with jax.enable_x64(True):
        merged = np.asarray(merge_consensus(fit, bad, presence))
    rows = np.where(presence[..., None], np.stack(rows_of(fit, charts)), 0).sum(axis=0)
    np.testing.assert_allclose(merged, rows / presence.sum(axis=0)[:, None], atol=1e-9)


@pytest.mark.slow
def test_gradients_are_those_of_differences():
    charts, presence = draw(), some()
    weights = np.random.default_rng(3).normal(size=(N, 2))

    def value(charts):
        # Converged: where it begins is a constant to the gradient.
        fit = fit_procrustes(charts, presence, num_features=2, sweeps=60)
        return jnp.sum(jnp.abs(apply_consensus(fit, 0, charts[0])) * weights)

    with jax.enable_x64(True):
        check_grads(value, (charts,), order=1, modes=["rev"], rtol=1e-4)


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused():
    charts, presence = draw(), np.ones((M, N), bool)
    for options, text in (
        ({"num_features": 5}, "num_features must be from 1 to 4, the widest"),
        ({"sweeps": 0}, "sweeps must be a whole number of 1 or more"),
    ):
        with pytest.raises(ValueError, match=text):
            fit_procrustes(charts, presence, **options)
    presence[0] = np.arange(N) < 9
    presence[1:, :9] = False
    with pytest.raises(ValueError, match="1 of 3 charts have fewer than 2 linked"):
        fit_procrustes(charts, presence)
