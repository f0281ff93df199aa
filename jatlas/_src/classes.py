"""Labels as class numbers, and sums and means by class."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Real

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray

# The sums that the sum over a class is made of, at most.
_PARTS = 64


def check_classes(
    space: AnyArray, labels: AnyArray, num_classes: int, where: AnyArray | None
) -> None:
    """Raise ValueError unless every row that counts has a valid label."""
    arrays.check_rows("space", space)
    arrays.check_mask("where", where, space.shape[:1], "(N,)")
    arrays.check_count("num_classes", num_classes, 1)
    arrays.check_labels(labels, space.shape[0], num_classes, where)


def class_indices(
    labels: Integer[Array, " N"], num_classes: int, rows: Bool[Array, " N"]
) -> tuple[Int[Array, " N"], Float[Array, " C"]]:
    """The class of each row, C if masked out; the classes' sizes.

    Under `jit` a label cannot be looked at. If one is out of range, no class has a
    known number of rows: the NaN carries the fault into whatever is computed.
    """
    # Wide first: in uint8, 256 classes would wrap around to none.
    labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    valid = (labels >= 0) & (labels < num_classes)
    classes = jnp.where(rows & valid, labels, num_classes).astype(jnp.int32)
    count = class_sums(rows.astype(jnp.int32), classes, num_classes)
    return classes, jnp.where(jnp.all(valid | ~rows), count, jnp.nan)


def class_sums(
    x: Real[Array, "N *rest"], classes: Int[Array, " N"], num_classes: int
) -> Real[Array, "C *rest"]:
    """The sum over the rows of each class.

    By adding every row where it belongs: no (N, C) array, and on several devices each
    sums its own rows. But one row after another: a long sum would round off what is
    small beside it, so it is made of up to 64 shorter ones, of every 64th row each.
    """
    parts = min(_PARTS, 1 + len(x) // (16 * num_classes))
    places = classes * parts + jnp.arange(len(x)) % parts
    # The places of masked rows are beyond the last, and left out.
    sums = jax.ops.segment_sum(x, places, num_classes * parts)
    return jnp.sum(sums.reshape(num_classes, parts, *x.shape[1:]), axis=1)


def class_center(
    x: Float[Array, "N *rest"], classes: Int[Array, " N"], count: Float[Array, " C"]
) -> tuple[Float[Array, "N *rest"], Float[Array, "C *rest"]]:
    """The rows less the mean of their class, and the means.

    Twice, and without what is rounding alone, for the reasons given in `arrays.center`.
    """
    rows = classes < len(count)
    count = count.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)

    def mean(values: Array) -> Array:
        return arrays.safe_divide(class_sums(values, classes, len(count)), count, 0.0)

    def of_class(values: Array) -> Array:
        return jnp.take(values, classes, axis=0, mode="clip")

    first = mean(x)
    residual = arrays.keep(x - of_class(first), rows)
    second = mean(residual)
    residual = arrays.keep(residual - of_class(second), rows)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(of_class(first))
    return jnp.where(jnp.abs(residual) <= rounding, 0, residual), first + second


def one_hot(
    labels: Integer[AnyArray, " N"], num_classes: int, where: Bool[Array, " N"]
) -> Float[Array, "N C"]:
    """Rows of zeros and a one for the label.

    Zeros where masked out, NaN for a label out of range.

    Under `jit` a label cannot be looked at, and `jax.nn.one_hot` would quietly drop it:
    the NaN carries the fault into whatever is computed.
    """
    labels = jnp.asarray(labels)
    # Wide first: in uint8, 256 classes would wrap around to none.
    labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    valid = (labels >= 0) & (labels < num_classes)
    ones = jax.nn.one_hot(labels, num_classes)
    ones = jnp.where(valid[:, None], ones, jnp.nan)
    return arrays.keep(ones, where)
