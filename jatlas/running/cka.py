"""Linear CKA as a running state: rows in chunks, and on hosts, in any order."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, cka_moments, layout
from jatlas._src.arrays import Where
from jatlas._src.cka_moments import CkaState

__all__ = ["CkaState", "add", "combine", "empty", "value"]


def empty(
    dimension_x: int, dimension_y: int, dtype: jnp.dtype | type = jnp.float32
) -> CkaState:
    """A state that has seen no rows yet, of spaces with D1 and D2 features.

    Args:
        dimension_x: D1.
        dimension_y: D2.
        dtype: of the sums: float32, or float64 for more digits.

    Returns:
        A `CkaState`.

    Example:
        >>> value(empty(3, 2))
        Array(nan, dtype=float32)
    """
    width = dimension_x + dimension_y
    shapes = [
        (),
        (2, dimension_x),
        (2, dimension_y),
        (width, width),
        (2, width),
        (2, 2),
    ]
    return CkaState(*(jnp.zeros(shape, dtype) for shape in shapes))


@border.jit()
@layout.automatic()
def add(
    state: CkaState,
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    where: Where = None,
) -> CkaState:
    """The state after N more samples. How they are cut into chunks does not matter.

    Args:
        state: from `empty` or another call.
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        where: (N,), the rows that count; all if None. With it the last chunk can be
            padded to the length of the others.

    Returns:
        A `CkaState` of the same shapes, in float32 or wider.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax
        >>> from jatlas import cka
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> state = add(empty(3, 2), x[:20], x[:20, :2])
        >>> state = add(state, x[20:], x[20:, :2])
        >>> jnp.allclose(value(state), cka(x, x[:, :2]))
        Array(True, dtype=bool)
    """
    arrays.check_pair(x, y, where)
    arrays.check_equal(
        "the dimensions (D1, D2) of the state and of the rows",
        [(state.mean_x.shape[1], state.mean_y.shape[1]), (x.shape[1], y.shape[1])],
        "Rows are added of the spaces that the state began with.",
    )
    return cka_moments.combined(
        state, cka_moments.moments_of(x, y, arrays.all_rows(x, where))
    )


@border.jit()
@layout.automatic()
def combine(a: CkaState, b: CkaState) -> CkaState:
    """One state of the rows of both; for parts seen on different hosts.

    Args:
        a: the state of some rows.
        b: the state of others, of the same two spaces.

    Returns:
        A `CkaState`, the same in whichever order up to rounding.

    Raises:
        ValueError: if they differ in D1 or in D2.

    Example:
        >>> combine(empty(3, 2), empty(3, 2)).scatter.shape
        (5, 5)

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979), here to the fourth order.
    """
    arrays.check_equal(
        "the dimensions (D1, D2) of the two states",
        [(s.mean_x.shape[1], s.mean_y.shape[1]) for s in (a, b)],
        "Only states of the same two spaces can be combined.",
    )
    return cka_moments.combined(a, b)


@border.jit(static_argnames="debiased")
@layout.automatic()
def value(state: CkaState, debiased: bool = False) -> Float[Array, ""]:
    """Linear CKA of the rows seen so far; NaN where `cka` is.

    Args:
        state: from `add` or `combine`.
        debiased: as in `cka`.

    Returns:
        A scalar, the value of `cka` on all these rows at once.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0], [2.0], [4.0]])
        >>> value(add(empty(1, 1), x, -x)).round(3)
        Array(1., dtype=float32)

    Source: as for `cka`; no Gram matrix is needed for the debiased value, since with
    centred columns the row sums of K without its diagonal are minus that diagonal.
    """
    return cka_moments.value_of(state, debiased)
