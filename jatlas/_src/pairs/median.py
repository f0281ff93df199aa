"""The median distance between rows, exact, with no array of (N, N)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Where
from jatlas._src.pairs import halves, tiles

MEDIANS = ("lower_nonzero", "middle_nonzero", "middle_all")
# Counts of pairs can be beyond the integers that there are without float64: they are
# kept as multiples of this and the rest.
LIMB = 1 << 16
# Rows whose median is a first guess at that of all, and how many bits of the fraction
# are right of it: of spaces of many features almost always. A miss takes two passes.
_SOME, _NEAR = 1024, 5
# By products a median is searched to 2 to this power of units in the last place, of
# some rows to that; by differences within an interval at least so wide. It is exact
# enough unless so many times smaller than the mean; and a square that is no more than
# so many eps of what it is the difference of can be of copies.
_NEARLY, _ROUGHLY, _CLOSE, _SMALL, _UNSURE = 4, 10, 13, 16, 64
# Most and fewest bits that a pass finds, and the most counts that it has of a middle.
_DIGITS, _FEWEST, _MOST_COUNTS, _MOST_OF_EACH = 14, 8, 1 << 20, 1 << 16


@border.jit(static_argnames="rule")
@layout.automatic()
def median_distance(
    x: Float[Array, "N D"], *, rule: str = "lower_nonzero", where: Where = None
) -> Float[Array, ""]:
    """The median Euclidean distance between rows.

    It is the usual width of an rbf kernel.

    `sigma = sqrt(median of |x_i - x_j|^2)`. Published code differs in which pairs it
    counts, and in the median of an even number of them. It is one of the distances, or
    the mean of two, and found by counting: memory grows with N, time with N^2.

    Args:
        x: (N, D), floating point.
        rule: "lower_nonzero", the lower of the two middle ones of the distances that
            are not zero (the paper's code, and torch's median); "middle_nonzero", the
            mean of their squares (NumPy's median); or "middle_all", that over all pairs
            (i, j), each row with itself too (Kornblith's notebook).
        where: (N,), the rows that count; all if None.

    Returns:
        A scalar in float32 or wider. NaN if there are no such pairs. Its gradient is
        that of the pairs in the middle.

    Raises:
        ValueError: if x is not a floating point matrix, or the rule is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [3.0]])
        >>> median_distance(x), median_distance(x, rule="middle_all")
        (Array(2., dtype=float32), Array(1., dtype=float32))

    Source: Kornblith et al. (2019), section 4, and the code of both papers.
    """
    arrays.check_rows("x", x)
    arrays.check_mask("where", where, x.shape[:1], "(N,)")
    check_median(rule)
    rows = arrays.all_rows(x, where)
    x, factor = arrays.rescaled(arrays.widen(x), rows)
    return arrays.safe_sqrt(median_square(x, rule, rows, True)) / factor


def check_median(rule: str) -> None:
    """Raise ValueError unless the rule is one of `MEDIANS`."""
    if rule not in MEDIANS:
        raise ValueError(
            f"unknown rule {rule!r} for the median distance; known are "
            f"{', '.join(MEDIANS)}."
        )


@partial(jax.custom_jvp, nondiff_argnums=(1, 3))
def median_square(
    x: Float[Array, "N D"], rule: str, rows: Bool[Array, " N"], exact: bool
) -> Float[Array, ""]:
    """The median of squared distances by one of the rules `MEDIANS`.

    If not exact, it is off by some multiples of its rounding.
    """
    return jnp.mean(_middle_squares(x, rule, rows, exact))


@median_square.defjvp
def _median_square_jvp(
    rule: str, exact: bool, primals: tuple[Array, Array], tangents: tuple[Array, Any]
) -> tuple[Array, Array]:
    """The change of the squared distances of the pairs in the middle."""
    (x, rows), (change, _) = primals, tangents
    middle = _middle_squares(x, rule, rows, exact)
    value = jnp.mean(middle)
    if not len(x):
        return value, jnp.zeros_like(value)
    known = ~jnp.isnan(value)
    slope = jnp.zeros_like(value)
    for i, j in [_pair_at(x, rows, square) for square in middle]:
        difference = jnp.where(known, x[i] - x[j], 0)
        slope += 2 * jnp.sum(difference * (change[i] - change[j])) / len(middle)
    return value, slope


def _pair_at(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], square: Float[Array, ""]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Two rows at a squared distance, or nearest to it.

    The same distance, computed in another loop, may differ in its last bit.
    """
    x = jax.lax.stop_gradient(x)

    def tile(group: tiles.Samples, block: tiles.Samples) -> Float[Array, " B"]:
        off = jnp.abs(tiles.squares(group.spaces[0], block.spaces[0], x[0]) - square)
        return jnp.min(jnp.where(tiles.pairs_of(group, block), off, jnp.inf), axis=0)

    i = jnp.argmin(tiles.sweep(tile, tiles.samples_of([x], rows), jnp.min).ravel())
    off = jnp.abs(jnp.sum((x - x[i]) ** 2, axis=1) - square)
    return i, jnp.argmin(jnp.where(rows, off, jnp.inf))


def _middle_squares(
    x: Float[Array, "N D"], rule: str, rows: Bool[Array, " N"], exact: bool
) -> Float[Array, " T"]:
    """The squared distances in the middle, by the rule; NaN if none.

    They are looked for among distances by products first. If that is not enough, as
    they are to be exact or are small beside the space, then among differences, close to
    what was found.
    """
    x = jax.lax.stop_gradient(x)
    mean_square, _, mean = tiles.spread(x, rows)
    every = jnp.iinfo(_integer(x.dtype)).bits - 1
    guess = jnp.full(1 if rule == "lower_nonzero" else 2, mean_square)
    width = every
    if len(x) > 2 * _SOME:
        step = len(x) // _SOME  # of some of the rows: near enough, and soon known
        some = _Space(x[::step], rows[::step], mean, jnp.bool_(False))
        guess = _search(some, rule, guess, every, _ROUGHLY)
        width = jnp.finfo(x.dtype).nmant - _NEAR

    def tried(state: tuple[Array, ...]) -> tuple[Array, ...]:
        fine, _, guess = state
        space = _Space(x, rows, mean, fine)
        around = jnp.where(fine, max(_digits(len(x)), _CLOSE), width)
        squares = _search(space, rule, guess, around, jnp.where(fine, 0, _NEARLY))
        enough = ~jnp.bool_(exact) & (jnp.min(squares) > mean_square / _SMALL)
        return layout.varying((jnp.bool_(True), fine | enough, squares), x, rows)

    start: tuple[Array, ...] = (jnp.bool_(False), jnp.bool_(False), guess)
    start = layout.varying(start, x, rows)
    *_, squares = jax.lax.while_loop(lambda state: ~state[1], tried, start)
    some_pairs = jnp.any(rows) if rule == "middle_all" else squares[0] > 0
    known = some_pairs & jnp.all(jnp.isfinite(arrays.keep(x, rows)))
    return jnp.where(known, squares, jnp.nan)


class _Space(NamedTuple):
    """Rows, those that count, their mean, and whether differences are needed."""

    x: Float[Array, "N D"]
    rows: Bool[Array, " N"]
    mean: Float[Array, " D"]
    fine: Bool[Array, ""]


def _search(
    space: _Space,
    rule: str,
    guess: Float[Array, " T"],
    width: int | Int[Array, ""],
    least: int | Int[Array, ""],
) -> Float[Array, " T"]:
    """The squared distances in the middle, from a guess at them.

    Floats that are not negative have the order of their bits. A square in the middle is
    at least t if more squares are t or above than below it; for the upper of two, at
    least as many. A pass over the tiles counts the squares in as many parts of an
    interval as `_digits` says, and takes the part with the middle; if that is outside,
    all numbers.

    Args:
        space: the rows.
        rule: one of `MEDIANS`.
        guess: one, or the lower and the upper.
        width: of the interval around the guess that is looked at first; as all widths,
            the logarithm to base 2 of units in the last place.
        least: the width at which the lower end is exact enough; 0: it is exact.
    """
    bits = partial(jax.lax.bitcast_convert_type, new_dtype=_integer(space.x.dtype))
    every = jnp.iinfo(_integer(space.x.dtype)).bits - 1
    digits = _digits(len(space.x))
    samples = tiles.samples_of([space.x], space.rows)
    lower = jnp.arange(len(guess))[:, None] == 0

    def narrowed(state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, width, sure = state
        part = jnp.maximum(width - digits, least)
        count = partial(_counted, space, rule, digits, low, part)
        counts = halves.sweep(count, samples, distinct=rule != "middle_all")
        below = jnp.cumsum(counts, axis=2)
        many, few = jax.vmap(_excess, in_axes=1)(below)
        reached = (many > 0) | ((many == 0) & ((few > 0) | ~lower))
        number = jnp.sum(reached, axis=1, dtype=low.dtype)
        sure |= width == every  # also if there are no pairs, and no middle
        held = sure | ((number > 0) & (number <= 1 << digits))
        number = jnp.clip(number - 1, 0, (1 << digits) - 1)
        low = jnp.where(held, low + (number << part), 0)
        return low, jnp.where(held, part, every), sure

    width = jnp.full(len(guess), width, _integer(space.x.dtype))
    low = jnp.where(width < every, jnp.maximum(bits(guess) - (1 << (width - 1)), 0), 0)
    start: tuple[Array, ...] = (low, width, width == every)
    low, *_ = jax.lax.while_loop(
        lambda state: jnp.any(state[1] > least),
        narrowed,
        layout.varying(start, samples),
    )
    return jax.lax.bitcast_convert_type(low, space.x.dtype)


def _digits(num_rows: int) -> int:
    """How many bits a pass over the tiles finds.

    Of few rows fewer, which have few pairs; of many rows too, as each group of tiles
    has counts of its own. Where rows may lie on several devices, each device has all.
    """
    if layout.alone():
        most = _MOST_COUNTS // (num_rows // halves.ROWS + 1)
    else:
        most = _MOST_OF_EACH // (num_rows // tiles.COLUMNS + 1)
    of_pairs = 2 * num_rows.bit_length() - 2
    return max(_FEWEST, min(most.bit_length() - 1, of_pairs, _DIGITS))


def _counted(
    space: _Space,
    rule: str,
    digits: int,
    low: Int[Array, " T"],
    part: Int[Array, " T"],
    group: tiles.Samples,
    block: tiles.Samples,
    weights: Float[Array, "R B"],
) -> Int[Array, "T K2"]:
    """Counts of a tile's squares below an interval, in its parts, above."""
    squares = _squares(space, group, block)
    if rule != "middle_all":
        weights = jnp.where(squares != 0, weights, 0)
    times = weights.astype(jnp.int32)
    bits = jax.lax.bitcast_convert_type(squares, low.dtype)
    none = layout.varying(jnp.zeros((1 << digits) + 2, jnp.int32), bits, times, low)

    def counts(low: Int[Array, ""], part: Int[Array, ""]) -> Int[Array, " K2"]:
        place = jnp.clip(((bits - low) >> part) + 1, 0, (1 << digits) + 1)
        return none.at[place].add(times)

    return jnp.stack([counts(*each) for each in zip(low, part, strict=True)])


def _squares(
    space: _Space, group: tiles.Samples, block: tiles.Samples
) -> Float[Array, "R B"]:
    """A tile's squared distances, zero of copies only.

    A product cannot tell copies from rows that are near. Where there are such, it is
    done by differences.
    """
    x, y = group.spaces[0], block.spaces[0]
    others = tiles.pairs_of(group, block, distinct=True)
    quick = tiles.squares_by_product(x, y, space.mean)
    lengths = [jnp.sum((side - space.mean) ** 2, axis=1) for side in (x, y)]
    rounding = _UNSURE * jnp.finfo(quick.dtype).eps
    near = quick <= rounding * (lengths[0][:, None] + lengths[1])
    return jax.lax.cond(
        space.fine | jnp.any(near & others),
        lambda: tiles.squares(x, y, space.mean),
        lambda: jnp.where(others, quick, 0),
    )


def _excess(counts: Int[Array, "J K1"]) -> tuple[Int[Array, " K"], Int[Array, " K"]]:
    """Squares not below each value less those below: multiples of LIMB, remainder."""
    excess = counts[:, -1:] - 2 * counts[:, :-1]
    few = jnp.sum(excess & (LIMB - 1), axis=0)
    return jnp.sum(excess >> 16, axis=0) + (few >> 16), few & (LIMB - 1)


def _integer(dtype: jnp.dtype) -> jnp.dtype:
    """The integers of as many bits."""
    return jnp.dtype(f"int{jnp.finfo(dtype).bits}")
