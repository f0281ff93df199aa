"""Procrustes distances: how far a space is from another, rotated to fit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Where
from jatlas._src.spectra import roots

FORMS = ("angular", "euclidean")
_FAR = 1 / 8  # of the squares' sum: a difference that keeps all digits but one


@border.jit(static_argnames=("form", "alpha"))
@layout.automatic()
def procrustes_distance(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    form: str = "angular",
    alpha: float = 1.0,
    where: Where = None,
) -> Float[Array, ""]:
    """The distance of two spaces after the best rotation.

    With X and Y the centered spaces, and zeros for the features that one has fewer:
    `min |X - Y Q|` over orthogonal Q (Euclidean), or the least angle between X and Y Q,
    `arccos(|X'Y|_* / (|X| |Y|))`, `|.|_*` being the sum of the singular values. Both
    are metrics: they obey the triangle inequality. Neither changes when a space is
    rotated or moved; the angle does not when one is rescaled.

    Partial whitening, `X (alpha I + (1 - alpha) (X'X)^(-1/2))` and the same of Y, leads
    from rotations (alpha = 1) to canonical correlations (alpha = 0): there the distance
    is invariant to invertible linear maps, and its cosine is the mean correlation.
    Between the two it depends on the unit of the spaces: X'X is the plain sum.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        form: "angular", in radians, or "euclidean".
        alpha: a number from 0 to 1, constant under `jit`.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in float32 or wider: in [0, pi / 2], or 0 and above. NaN for no rows;
        the angle also where nothing varies in a space. A direction whose variance is
        below rounding is not whitened but dropped. Gradients are finite everywhere.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, the form is
            unknown, or alpha is not in [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        >>> procrustes_distance(x, 3 * x[:, ::-1]).round(3)
        Array(0., dtype=float32)
        >>> procrustes_distance(x, x[:, :1], form="euclidean").round(3)
        Array(2.828, dtype=float32)

    Source: Williams et al., "Generalized shape metrics on neural representations"
    (2021), equations 5, 6 and 10.
    """
    _check(x, y, where, alpha)
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known are {', '.join(FORMS)}.")
    first, second, some = _shapes(x, y, where, alpha)
    if form == "euclidean":
        unit = jnp.minimum(first.factor, second.factor)
        sides = [shape.x * (unit / shape.factor) for shape in (first, second)]
        value = arrays.safe_sqrt(_square(*sides)) / unit
        return jnp.where(some, value, jnp.nan)
    half = arrays.safe_sqrt(_chord(first, second)) / 2
    return 2 * jnp.arcsin(jnp.minimum(half, 1))


@border.jit(static_argnames="alpha")
@layout.automatic()
def procrustes_similarity(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    alpha: float = 1.0,
    where: Where = None,
) -> Float[Array, ""]:
    """The cosine of the angular `procrustes_distance`.

    `|X'Y|_* / (|X| |Y|)`, also called the fidelity, or the normalized Bures similarity,
    of the two kernels: 1 for spaces that a rotation and a scale make equal.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        alpha: as for `procrustes_distance`.
        where: (N,), the rows that count; all if None.

    Returns:
        A scalar in [0, 1] up to rounding, in float32 or wider. NaN where the angle is.

    Raises:
        ValueError: as `procrustes_distance`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        >>> procrustes_similarity(x, x[:, 1:] + 5).round(4)
        Array(0.8944, dtype=float32)

    Source: Harvey, Larsen and Williams, "Duality of Bures and shape distances" (2023).
    """
    _check(x, y, where, alpha)
    first, second, _ = _shapes(x, y, where, alpha)
    return 1 - _chord(first, second) / 2


class _Shape(NamedTuple):
    """A centered space times a power of two, and that power."""

    x: Float[Array, "N D"]
    factor: Float[Array, ""]


def _shapes(
    x: Array, y: Array, where: Where, alpha: float
) -> tuple[_Shape, _Shape, Array]:
    """Both shapes, and whether there are rows."""
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    first, second = (_shape(space.astype(dtype), rows, alpha) for space in (x, y))
    return first, second, jnp.any(rows)


def _shape(x: Array, rows: Array, alpha: float) -> _Shape:
    x, factor = arrays.rescaled(x, rows)
    x = roots.reduced(arrays.center(x, rows)[0])
    if alpha == 1:
        return _Shape(x, factor)
    whitening = roots.inverse_sqrt(arrays.matmul(x.T, x), "highest")
    whitened = arrays.matmul(x, whitening)
    return _Shape(*arrays.rescaled(alpha * x / factor + (1 - alpha) * whitened, rows))


def _chord(first: _Shape, second: _Shape) -> Float[Array, ""]:
    """The squared distance of two shapes of size one."""
    lengths = [arrays.safe_sqrt(jnp.sum(shape.x**2)) for shape in (first, second)]
    units = [
        arrays.safe_divide(shape.x, length)
        for shape, length in zip((first, second), lengths, strict=True)
    ]
    return _square(*units)


def _square(x: Float[Array, "N D1"], y: Float[Array, "N D2"]) -> Float[Array, ""]:
    """The least |x - y Q|^2 over rotations Q.

    That is |x|^2 + |y|^2 - 2 |x'y|_*, which has few digits where it is small.
    """
    across = arrays.matmul(x.T, y)
    energy = jnp.sum(x**2) + jnp.sum(y**2)
    plain = energy - 2 * jnp.sum(jnp.linalg.svd(across, compute_uv=False))
    # A NaN is not far; it must come out as NaN.
    far = jax.lax.stop_gradient(plain) > _FAR * jax.lax.stop_gradient(energy)
    return jax.lax.cond(far, lambda *_: plain, _sum_of_squares, across, x, y)


def _sum_of_squares(across: Array, x: Array, y: Array) -> Float[Array, ""]:
    """The same as a sum, which has digits where it is small.

    With x'y = U S V' it is |x U - y V|^2 and what x and y have outside of U and V. At
    the minimum U and V are constants to the gradient.
    """
    u, _, v = jnp.linalg.svd(jax.lax.stop_gradient(across), full_matrices=False)
    inside = arrays.matmul(x, u), arrays.matmul(y, v.T)
    total = jnp.sum((inside[0] - inside[1]) ** 2)
    for side, within, basis in ((x, inside[0], u), (y, inside[1], v.T)):
        if basis.shape[0] > basis.shape[1]:
            total += jnp.sum((side - arrays.matmul(within, basis.T)) ** 2)
    return total


def _check(x: Array, y: Array, where: Where, alpha: float) -> None:
    """Raise ValueError unless spaces and alpha are valid."""
    arrays.check_pair(x, y, where)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}.")
