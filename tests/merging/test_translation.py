"""Translations against NumPy in float64, and what each method must recover."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jatlas.merging.relative import relativize
from jatlas.merging.transforms import apply_transform
from jatlas.merging.translation.fitting import (
    METHODS,
    RIDGES,
    fit_inverse_relative,
    fit_translation,
)

N, D, K = 24, 6, 4
each_method = pytest.mark.parametrize("method", METHODS)
# Each compiles for a second; the others do the same.
one_quick = pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[pytest.mark.slow] * (method in METHODS[1:]))
        for method in METHODS
    ],
)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def turn(seed=1, width=D):
    return np.linalg.qr(draw(width, width, seed=seed))[0]


def paired(noise=0.3, width=K):
    """Source and target, a noisy linear map apart, far from zero."""
    source = draw(N, D) * np.linspace(0.5, 2, D) + 3
    target = source @ draw(D, width, seed=1) + noise * draw(N, width, seed=2) - 2
    return source, target


def fitted(source, target, **options):
    # Masked or not, it is one program.
    options.setdefault("where", np.ones(len(source), bool))
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, fit_translation(source, target, **options))


def translated(source, target, rows=None, **options):
    """Rows of the source, or others, through what was fitted in float64."""
    transform = fitted(source, target, **options)
    with jax.enable_x64(True):
        return np.asarray(apply_transform(transform, source if rows is None else rows))


def least_squares(source, target, ridge):
    """The ridge map as the solution of more equations, in NumPy."""
    x, y = source - source.mean(axis=0), target - target.mean(axis=0)
    penalty = np.sqrt(ridge * np.mean(np.sum(x**2, axis=1)) * 1.0)
    # `ridge` is a share of the mean, the sum of squares is over all rows.
    more = np.vstack([x, penalty * np.eye(x.shape[1])])
    return np.linalg.lstsq(more, np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]))[0]


def left_out(source, target, ridge):
    """The squared error about each row of the map fitted without it."""
    unit = np.mean(np.sum((source - source.mean(axis=0)) ** 2, axis=1))
    total = 0.0
    for n in range(len(source)):
        x, y = np.delete(source, n, axis=0), np.delete(target, n, axis=0)
        centered = x - x.mean(axis=0)
        squares = centered.T @ centered + ridge * unit * np.eye(x.shape[1])
        weights = np.linalg.solve(squares, centered.T @ (y - y.mean(axis=0)))
        predicted = (source[n] - x.mean(axis=0)) @ weights + y.mean(axis=0)
        total += np.sum((predicted - target[n]) ** 2)
    return total


# Against references


@pytest.mark.parametrize(("noise", "width"), [(0.3, K), (3.0, K), (30.0, K)])
def test_ridge_is_the_one_with_the_least_error_about_rows_left_out(noise, width):
    source, target = paired(noise, width)
    errors = [left_out(source, target, ridge) for ridge in RIDGES]
    best = RIDGES[int(np.argmin(errors))]
    got = fitted(source, target)
    expected = least_squares(source, target, best)
    np.testing.assert_allclose(got.scale, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(got.mean, source.mean(axis=0))
    np.testing.assert_allclose(got.offset, target.mean(axis=0))


def test_the_best_ridge_depends_on_the_noise():
    best = []
    for noise in (0.3, 30.0):
        errors = [left_out(*paired(noise), ridge) for ridge in RIDGES]
        best.append(int(np.argmin(errors)))
    assert 0 < best[0] < best[1]


def test_ridge_is_chosen_where_features_outnumber_rows():
    source, target = (x[:5] for x in paired())
    errors = [left_out(source, target, ridge) for ridge in RIDGES]
    expected = least_squares(source, target, RIDGES[int(np.argmin(errors))])
    np.testing.assert_allclose(fitted(source, target).scale, expected, atol=1e-9)


def test_a_given_ridge_is_taken():
    source, target = paired()
    got = fitted(source, target, ridges=(0.5,))
    np.testing.assert_allclose(got.scale, least_squares(source, target, 0.5))
    assert np.isnan(fitted(source, target, ridges=(-0.5,)).scale).all()


@pytest.mark.parametrize("num_rows", [N, 4])
def test_affine_is_the_least_squares_map_of_minimum_norm(num_rows):
    source, target = (x[:num_rows] for x in paired())
    x = source - source.mean(axis=0)
    expected = np.linalg.pinv(x, rcond=1e-12) @ (target - target.mean(axis=0))
    got = fitted(source, target, method="affine")
    np.testing.assert_allclose(got.scale, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("width", [K, D, 8])
def test_orthogonal_is_procrustes_of_padded_spaces(width):
    source, target = paired(width=width)
    wide = max(D, width)
    x, y = (
        np.pad(space - space.mean(axis=0), ((0, 0), (0, wide - space.shape[1])))
        for space in (source, target)
    )
    left, _, right = np.linalg.svd(x.T @ y)
    expected = (left @ right)[:D, :width]
    got = fitted(source, target, method="orthogonal", rescale=False)
    if width != K:  # from wider to narrower what is padded takes part of the turn
        np.testing.assert_allclose(got.scale, expected, atol=1e-10)
    residual = target - target.mean(axis=0)
    moved = x[:, :D] @ got.scale
    factor = np.sum(moved * residual) / np.sum(moved**2)
    scaled = fitted(source, target, method="orthogonal").scale
    np.testing.assert_allclose(scaled, factor * got.scale, atol=1e-10)


def test_relative_is_the_inverse_of_relative_coordinates():
    source, target = paired()
    new = draw(7, D, seed=5)
    a, b = (space - space.mean(axis=0) for space in (source, target))
    a, b, x = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (a, b, new - source.mean(axis=0))
    )
    expected = x @ a.T @ np.linalg.pinv(b.T)
    got = translated(source, target, new, method="relative") - target.mean(axis=0)
    lengths = np.linalg.norm(new - source.mean(axis=0), axis=1, keepdims=True)
    spread = [
        np.sqrt(np.mean(np.sum((s - s.mean(axis=0)) ** 2, axis=1)))
        for s in (source, target)
    ]
    wanted = expected * lengths * spread[1] / spread[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)


def test_each_side_translates_by_its_anchors_alone():
    source, target = paired()
    new = draw(7, D, seed=5)
    centered = [rows - source.mean(axis=0) for rows in (new, source)]
    with jax.enable_x64(True):
        relative = relativize(*centered)
        inverse = fit_inverse_relative(target)
        there = np.asarray(apply_transform(inverse, relative))
    both = [
        rows - target.mean(axis=0)
        for rows in (there, translated(source, target, new, method="relative"))
    ]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in both)
    np.testing.assert_allclose(one, other, atol=1e-10)


# What must be recovered, and what not


RECOVERED = {
    "rotation": lambda x: x @ turn() + 7,
    "scaled": lambda x: 4 * x @ turn() - 2,
    "affine": lambda x: x @ draw(D, D, seed=3) + 1,
    "curved": lambda x: np.tanh(x) @ turn(),
}
WITHIN = {
    ("orthogonal", "rotation"): True,
    ("orthogonal", "scaled"): True,
    ("orthogonal", "affine"): False,
    ("orthogonal", "curved"): False,
    ("affine", "rotation"): True,
    ("affine", "scaled"): True,
    ("affine", "affine"): True,
    ("affine", "curved"): False,
    ("ridge", "rotation"): True,
    ("ridge", "scaled"): True,
    ("ridge", "affine"): True,
    ("ridge", "curved"): False,
    ("relative", "rotation"): True,
    ("relative", "scaled"): True,
    ("relative", "affine"): False,
    ("relative", "curved"): False,
}


@pytest.mark.parametrize(("method", "kind"), WITHIN)
def test_a_method_recovers_its_maps_and_no_others(method, kind):
    x = draw(N + 6, D)
    y = RECOVERED[kind](x)
    got = translated(x[:N], y[:N], x[N:], method=method)
    error = np.linalg.norm(got - y[N:]) / np.linalg.norm(y[N:] - y[N:].mean(axis=0))
    # Ridge shrinks, by the least of its ridges.
    assert error < 1e-4 if WITHIN[method, kind] else error > 1e-2, error


def test_without_rescaling_lengths_stay():
    x = draw(N, D)
    for method in ("orthogonal", "relative"):
        got = fitted(x, 4 * x @ turn() - 2, method=method, rescale=False)
        np.testing.assert_allclose(got.scale, turn(), atol=1e-10)


@one_quick
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_any_scale_of_a_space_is_held(method, scale):
    source, target = (np.float32(x) for x in paired())
    plain = fit_translation(source, target, method=method)
    scaled = fit_translation(source * np.float32(scale), target, method=method)
    np.testing.assert_allclose(scaled.scale * scale, plain.scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["orthogonal", "affine"])
def test_directions_without_variation_are_dropped(method):
    source, target = paired()
    source[:, 1] = source[:, 0]
    got = fitted(source, target, method=method).scale
    np.testing.assert_allclose(got[0], got[1], atol=1e-10)
    assert (
        np.linalg.matrix_rank(fitted(source[:4], target[:4], method=method).scale) == 3
    )


# Masks and edges


@each_method
def test_masked_rows_equal_dropped_rows(method):
    source, target = paired()
    where = np.arange(N) % 3 > 0
    bad = [np.where(where[:, None], x, np.nan) for x in (source, target)]
    masked = fitted(*bad, where=where, method=method)
    dropped = fitted(source[where], target[where], method=method)
    for one, other in zip(masked, dropped, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_masked_anchors_equal_dropped_anchors():
    where = np.arange(N) % 3 > 0
    anchors = np.where(where[:, None], draw(N, D), np.nan)
    with jax.enable_x64(True):
        masked, dropped = (
            jax.tree.map(np.asarray, fit)
            for fit in (
                fit_inverse_relative(anchors, where=where),
                fit_inverse_relative(anchors[where]),
            )
        )
    np.testing.assert_allclose(masked.scale[where], dropped.scale, atol=1e-10)
    np.testing.assert_array_equal(masked.scale[~where], 0)
    np.testing.assert_allclose(masked.offset, dropped.offset)


@each_method
def test_of_no_rows_nothing_is_known_and_of_one_the_mean(method):
    source, target = paired()
    none = fitted(source, target, where=np.zeros(N, bool), method=method)
    assert np.isnan(none.mean).all()
    assert np.isnan(none.offset).all()
    one = translated(source, target, where=np.arange(N) == 2, method=method)
    np.testing.assert_allclose(one, np.tile(target[2], (N, 1)))


def test_nan_in_a_row_that_counts_comes_out():
    source, target = paired()
    source[0, 0] = np.nan
    for method in METHODS:
        assert np.isnan(fitted(source, target, method=method).scale).any()


GRADIENTS = {
    "ridge": {"ridges": (0.3,)},
    "orthogonal": {},
    "affine": {},
    "relative": {},
}


@pytest.mark.slow
@each_method
@pytest.mark.parametrize("num_rows", [N, 4])
def test_gradients_are_those_of_differences(method, num_rows):
    source, target = (x[:num_rows] for x in paired())
    weights = draw(D, K, seed=4)

    def loss(source, target):
        options = {"method": method, **GRADIENTS[method]}
        fitted = fit_translation(source, target, **options)
        return jnp.sum(fitted.scale * weights) + jnp.sum(jnp.sin(fitted.offset))

    with jax.enable_x64(True):
        check_grads(loss, (source, target), order=1, modes=["fwd", "rev"], rtol=1e-4)


@pytest.mark.slow
def test_gradients_are_finite_where_singular_values_coincide():
    x = jnp.asarray(np.vstack([np.eye(3), -np.eye(3)]), jnp.float32)

    def loss(x, y, method):
        return jnp.sum(jnp.sin(fit_translation(x, y, method=method).scale))

    for method in METHODS:
        gradients = jax.grad(loss, argnums=(0, 1))(x, 2 * x, method)
        assert all(np.isfinite(part).all() for part in gradients)


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused():
    source, target = paired()
    for bad, text in (
        ({"method": "linear"}, "unknown method 'linear'; known are ridge"),
        ({"method": "affine", "ridges": (1.0,)}, "ridges are of method 'ridge'"),
    ):
        with pytest.raises(ValueError, match=text):
            fit_translation(source, target, **bad)
    with pytest.raises(ValueError, match="number of samples N of source and target"):
        fit_translation(source[1:], target)
