"""A soft pairing of two sides' rows, some pairs being known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, layout

STEPS = 60
COLDEST = 10.0  # inverse temperature at the end, in standard deviations of the scores
SINKHORN = 10  # scalings of rows and then columns, a step


class Pool(NamedTuple):
    """Rows that are to be paired; the others are zero."""

    x: Float[Array, "AN1 D1"]
    y: Float[Array, "AN2 D2"]
    rows: Bool[Array, " AN1"]
    columns: Bool[Array, " AN2"]


def paired(pool: Pool, given: Float[Array, "D1 D2"]) -> Float[Array, "AN1 AN2"]:
    """The soft pairing P that makes |given + X' P Y|^2 large.

    P follows the scores of given + X' P Y by Sinkhorn's scalings, while the temperature
    falls.
    """

    def step(number: int | Array, plan: Array) -> Array:
        inverse = COLDEST ** (number / (STEPS - 1))
        return _scaled(scores(pool, given + across(pool, plan)) * inverse, pool)

    start = jnp.zeros((len(pool.x), len(pool.y)), given.dtype)
    start = layout.varying(start, given, pool)
    return jax.lax.fori_loop(0, STEPS, step, start)


def across(pool: Pool, plan: Array) -> Float[Array, "D1 D2"]:
    """X' P Y, the narrower side first."""
    x, y = pool.x, pool.y
    if x.shape[1] < y.shape[1]:
        return arrays.matmul(arrays.matmul(x.T, plan), y)
    return arrays.matmul(x.T, arrays.matmul(plan, y))


def scores(pool: Pool, middle: Float[Array, "D1 D2"]) -> Float[Array, "AN1 AN2"]:
    """How well rows go together, with mean 0 and deviation 1."""
    x, y = pool.x, pool.y
    if x.shape[1] < y.shape[1]:
        table = arrays.matmul(x, arrays.matmul(middle, y.T))
    else:
        table = arrays.matmul(arrays.matmul(x, middle), y.T)
    count_rows, count_columns = jnp.sum(pool.rows), jnp.sum(pool.columns)
    # Rows that do not count are zero, so that sums are over those that do.
    of_rows = arrays.safe_divide(jnp.sum(table, 1, keepdims=True), count_columns, 0.0)
    of_columns = arrays.safe_divide(jnp.sum(table, 0), count_rows, 0.0)
    mean = arrays.safe_divide(jnp.sum(of_rows), count_rows, 0.0)
    counted = pool.rows[:, None] & pool.columns
    table = jnp.where(counted, table - of_rows - of_columns + mean, 0)
    square = arrays.safe_divide(jnp.sum(table**2), count_rows * count_columns, 0.0)
    return arrays.safe_divide(table, arrays.safe_sqrt(square), 0.0)


def _scaled(logits: Array, pool: Pool) -> Float[Array, "AN1 AN2"]:
    """Sinkhorn: columns sum to N1 / N2, rows nearly to 1.

    Columns come last: scaled for rows alone, some columns take most rows.
    """
    counted = pool.rows[:, None] & pool.columns
    logits = jnp.where(counted, logits, -jnp.inf)
    # Every row and every column gets an entry of exp(0): nothing is lost to underflow.
    for axis in (1, 0):
        largest = jnp.max(logits, axis=axis, keepdims=True)
        logits = logits - jnp.where(jnp.isneginf(largest), 0, largest)
    kernel = jnp.exp(logits)
    count_rows, count_columns = (
        jnp.sum(some).astype(kernel.dtype) for some in (pool.rows, pool.columns)
    )
    share = arrays.safe_divide(count_rows, count_columns, 0.0)

    def of_rows(columns: Array) -> Array:
        sums = arrays.matmul(kernel, columns)
        return arrays.safe_divide(jnp.ones_like(sums), sums, 0.0)

    def of_columns(rows: Array) -> Array:
        return arrays.safe_divide(share, arrays.matmul(rows, kernel), 0.0)

    start = layout.varying(jnp.ones_like(kernel[0]), kernel)
    columns = jax.lax.fori_loop(
        0, SINKHORN - 1, lambda _, columns: of_columns(of_rows(columns)), start
    )
    rows = of_rows(columns)
    return rows[:, None] * kernel * of_columns(rows)
