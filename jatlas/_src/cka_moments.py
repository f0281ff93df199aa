"""Linear CKA from moments of the rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays


class CkaState(NamedTuple):
    """Moments of the rows so far, z = (x, y).

    There are D = D1 + D2 features. They are taken about the mean, so that a large mean
    costs no digits. The energy of a row is `e = (|x - mean|^2, |y - mean|^2)`: the
    diagonals of both Gram matrices, which the debiased value takes out. When the mean
    moves, the energies change by what `energy_rows` and `scatter` hold, so the state of
    all rows follows from the states of its parts.

    Attributes:
        count: (), the number of rows. In float32 it is whole up to 1.6e7 rows, and
            beyond stays right to 6e-8 only while the parts that join grow with it; for
            more rows begin in float64.
        mean_x, mean_y: (2, D1) and (2, D2). The mean is the sum of the two rows: a
            value that the feature takes, and the mean of the differences from it. One
            number near 1e4 would be off by 1e-3 in float32.
        scatter: (D, D), sum of z z'.
        energy_rows: (2, D), sum of e z'.
        energies: (2, 2), sum of e e'. Fourth powers: in float32 the debiased value
            needs rows between 1e-9 and 1e9 from the mean.
    """

    count: Float[Array, ""]  # type: ignore[assignment]  # hides tuple.count
    mean_x: Float[Array, "2 D1"]
    mean_y: Float[Array, "2 D2"]
    scatter: Float[Array, "D D"]
    energy_rows: Float[Array, "2 D"]
    energies: Float[Array, "2 2"]


def moments_of(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    rows: Bool[Array, " N"],
    scaled: bool = False,
) -> CkaState:
    """The state of these rows, rescaled if their unit is free."""
    dtype = jnp.result_type(x, y, jnp.float32)
    (x, mean_x), (y, mean_y) = (
        _centered(space.astype(dtype), rows, scaled) for space in (x, y)
    )
    across = arrays.matmul(x.T, y)
    scatter = [[arrays.matmul(x.T, x), across], [across.T, arrays.matmul(y.T, y)]]
    e = jnp.stack([jnp.sum(x**2, axis=1), jnp.sum(y**2, axis=1)])
    energy_rows = jnp.concatenate([arrays.matmul(e, x), arrays.matmul(e, y)], axis=1)
    count = jnp.sum(rows, dtype=dtype)
    return CkaState(
        count, mean_x, mean_y, jnp.block(scatter), energy_rows, arrays.matmul(e, e.T)
    )


def combined(a: CkaState, b: CkaState) -> CkaState:
    """One state of the rows of both."""
    mean_a, mean_b = (jnp.concatenate([s.mean_x, s.mean_y], 1) for s in (a, b))
    count = a.count + b.count
    share = arrays.safe_divide(b.count, count, 0.0)
    gap = (mean_b[0] - mean_a[0]) + (mean_b[1] - mean_a[1])
    # As in `arrays.center`: a feature constant in both parts, at values that differ by
    # rounding only, is constant.
    largest = jnp.maximum(jnp.abs(mean_a[0]), jnp.abs(mean_b[0]))
    constant = jnp.diag(a.scatter + b.scatter) == 0
    constant &= jnp.abs(gap) <= 4 * jnp.finfo(gap.dtype).eps * largest
    gap = jnp.where(constant, 0, gap)
    # A value of the larger part, untouched: no sum whose rounding would matter.
    near = jnp.where(b.count > a.count, mean_b[0], mean_a[0])
    offset_a, offset_b = ((mean[0] - near) + mean[1] for mean in (mean_a, mean_b))
    mean = jnp.stack([near, (1 - share) * offset_a + share * offset_b])
    moments_a, moments_b = _about(a, share * gap), _about(b, (share - 1) * gap)
    moments = (one + other for one, other in zip(moments_a, moments_b, strict=True))
    split = a.mean_x.shape[1]
    return CkaState(count, mean[:, :split], mean[:, split:], *moments)


def value_of(state: CkaState, debiased: bool) -> Float[Array, ""]:
    """Linear CKA of the rows of a state."""
    blocks = _blocks(state)
    energy = arrays.matmul(blocks, jnp.diag(state.scatter))
    unit = _unit(energy)
    lengths = arrays.matmul(jnp.sqrt(unit), blocks)
    scatter = state.scatter / lengths[:, None] / lengths
    # hsic[i, j], of spaces i and j; [0, 1] is |X'Y|^2.
    hsic = arrays.matmul(arrays.matmul(blocks, scatter**2), blocks.T)
    energies = state.energies / unit[:, None] / unit
    return _value(hsic, energy / unit, energies, state.count, debiased)


def value_of_grams(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    rows: Bool[Array, " N"],
    debiased: bool,
) -> Float[Array, ""]:
    """Linear CKA of these rows by their (N, N) Gram matrices.

    |X'Y|^2 is the sum of the products of the entries of XX' and YY'.
    """
    spaces = [_centered(space, rows, True)[0] for space in (x, y)]
    e = jnp.stack([jnp.sum(space**2, axis=1) for space in spaces])
    energy = jnp.sum(e, axis=1)
    unit = _unit(energy)
    k, l = (  # noqa: E741
        arrays.matmul(space, space.T) / one
        for space, one in zip(spaces, unit, strict=True)
    )
    squares, across = [jnp.sum(k * k), jnp.sum(l * l)], jnp.sum(k * l)
    hsic = jnp.stack([jnp.stack([squares[0], across]), jnp.stack([across, squares[1]])])
    energies = arrays.matmul(e, e.T) / unit[:, None] / unit
    count = jnp.sum(rows, dtype=x.dtype)
    return _value(hsic, energy / unit, energies, count, debiased)


def by_grams(num_samples: int, num_features: int) -> bool:
    """Whether two Gram matrices are smaller than the scatter of all features."""
    return 2 * num_samples**2 < num_features**2


def _unit(energy: Float[Array, "2"]) -> Float[Array, "2"]:
    """What the spaces are divided by, so that no fourth power overflows."""
    return jax.lax.stop_gradient(jnp.where(energy > 0, energy, 1))


def _value(
    hsic: Float[Array, "2 2"],
    energy: Float[Array, "2"],
    energies: Float[Array, "2 2"],
    count: Float[Array, ""],
    debiased: bool,
) -> Float[Array, ""]:
    """CKA from sums over pairs of rows.

    They are K L, tr K and tr L, and k_ii l_ii.
    """
    if not debiased:
        return alignment(hsic, jnp.zeros(2, hsic.dtype))
    n = jnp.where(count > 3, count, 4)
    diagonals = energies * n / (n - 2)
    totals = jnp.outer(energy, energy) / ((n - 1) * (n - 2))
    rounding = 32 * jnp.finfo(hsic.dtype).eps * jnp.diag(hsic + diagonals + totals)
    value = alignment(hsic - diagonals + totals, rounding)
    return jnp.where(count > 3, value, jnp.nan)


def alignment(hsic: Float[Array, "2 2"], rounding: Float[Array, "2"]) -> Array:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); NaN below rounding."""
    energies = jnp.diag(hsic)
    energies = jnp.where(energies <= rounding, 0, energies)
    lengths = arrays.safe_sqrt(energies)
    return arrays.safe_divide(hsic[0, 1], lengths[0] * lengths[1])


def _centered(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], scaled: bool
) -> tuple[Float[Array, "N D"], Float[Array, "2 D"]]:
    """The centered rows, and the mean in two parts.

    Both are zero for no rows. The mean is that of the differences from a value that the
    feature takes, in two sums, as in `arrays.center`. The ends of a feature tell the
    rest without a look at all rows: the scale, and whether it is constant up to
    rounding; then it is zero.
    """
    high = jnp.max(jnp.where(rows[:, None], x, -jnp.inf), axis=0, initial=-jnp.inf)
    low = jnp.min(jnp.where(rows[:, None], x, jnp.inf), axis=0, initial=jnp.inf)
    ends = jnp.where(jnp.any(rows), jnp.stack([high, low]), 0)
    ends = jax.lax.stop_gradient(ends)
    if scaled:
        ends, factor = arrays.rescaled(ends, jnp.ones(2, bool))
        x = x * factor
    near, count = ends[0], jnp.sum(rows)
    beyond = arrays.safe_divide(arrays.masked_sum(x - near, rows), count, 0.0)
    residual = arrays.masked_sum((x - near) - beyond, rows)
    beyond += arrays.safe_divide(residual, count, 0.0)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(near + beyond)
    constant = jnp.max(jnp.abs(ends - near - beyond), axis=0) <= rounding
    x = jnp.where(constant | ~rows[:, None], 0, (x - near) - beyond)
    return x, jnp.stack([near, beyond])


def _about(
    state: CkaState, d: Float[Array, " D"]
) -> tuple[Float[Array, "D D"], Float[Array, "2 D"], Float[Array, "2 2"]]:
    """The moments about mean + d instead of the mean.

    With z -> z - d, and (dx, dy) = d: e_x = |x|^2 -> e_x - 2 dx.x + |dx|^2, and the
    same for y. The sums of z vanish, those of e are the traces of the scatter.
    """
    n, scatter = state.count, state.scatter
    blocks = _blocks(state)
    parts = blocks * d  # (dx, 0) and (0, dy)
    squares = jnp.sum(parts**2, axis=1)
    energy = arrays.matmul(blocks, jnp.diag(scatter))
    towards = arrays.matmul(parts, scatter)
    energy_rows = state.energy_rows - 2 * towards - jnp.outer(energy + n * squares, d)
    across = arrays.matmul(state.energy_rows, parts.T)
    across = jnp.outer(energy, squares) - 2 * across
    energies = state.energies + across + across.T + 4 * arrays.matmul(towards, parts.T)
    energies += n * jnp.outer(squares, squares)
    return scatter + n * jnp.outer(d, d), energy_rows, energies


def _blocks(state: CkaState) -> Float[Array, "2 D"]:
    """Ones for the features of x, and for those of y."""
    sizes = [state.mean_x.shape[1], state.mean_y.shape[1]]
    return jnp.asarray(np.repeat(np.eye(2), sizes, axis=1), state.scatter.dtype)
