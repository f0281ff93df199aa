import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src.pairs import halves, median, tiles
from jatlas._src.pairs.median import LIMB, MEDIANS, _excess, median_distance


def squared_distances(x):
    """Of all pairs, in float64."""
    return sum((feature[:, None] - feature) ** 2 for feature in np.float64(x).T)


def median_square(x, rule):
    """The rules in NumPy."""
    squares = squared_distances(x).ravel()
    if rule != "middle_all":
        squares = squares[squares != 0]
    lower, upper = (len(squares) - 1) // 2, len(squares) // 2
    middle = np.partition(squares, [lower, upper])
    upper = lower if rule == "lower_nonzero" else upper
    return (middle[lower] + middle[upper]) / 2


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("rule", MEDIANS)
def test_median_distance_by_each_rule(rule):
    x = np.random.default_rng(0).normal(size=(7, 3))
    x[3] = x[2]
    squares = squared_distances(np.float32(x))
    nonzero = np.sort(squares[squares != 0])
    assert len(nonzero) == 40  # of 42: there is a copy
    square = {
        "lower_nonzero": nonzero[19],
        "middle_nonzero": np.median(nonzero),
        "middle_all": np.median(squares),
    }[rule]
    padded = np.float32(np.vstack([x, np.full((2, 3), np.nan)]))
    where = np.arange(9) < 7
    for scale in (1.0, 2.0**80, 2.0**-80):
        value = median_distance(padded * np.float32(scale), rule=rule, where=where)
        assert float(value) == pytest.approx(scale * np.sqrt(square), rel=1e-6)


def of_few(rows, rule):
    """The median of at most nine rows, compiled once for all."""
    padded = np.zeros((9, 3), np.float32)
    padded[: len(rows), : rows.shape[1]] = rows
    return float(median_distance(padded, rule=rule, where=np.arange(9) < len(rows)))


def test_the_rules_of_the_median_differ():
    x = np.float32([[0.0], [1.0], [3.0], [7.0]])  # distances 1 2 3 4 6 7
    values = [of_few(x, rule) for rule in MEDIANS]
    # All pairs: 0 four times and each of these twice; the middle two of 16 are 2 and 3.
    assert values == pytest.approx([3.0, np.sqrt(12.5), np.sqrt(6.5)], rel=1e-6)


def test_median_distance_of_no_pairs_is_nan():
    for rule in MEDIANS:
        among_copies = of_few(np.ones((4, 2)), rule)
        assert among_copies == 0 if rule == "middle_all" else np.isnan(among_copies)
        of_one_row = of_few(np.ones((1, 2)), rule)
        assert of_one_row == 0 if rule == "middle_all" else np.isnan(of_one_row)
        assert np.isnan(of_few(np.ones((0, 2)), rule))
        assert np.isnan(of_few(np.full((4, 2), np.nan), rule))


def test_gradients_are_finite_where_there_is_no_median():
    for rows in (jnp.zeros((0, 2)), jnp.full((4, 2), jnp.nan)):
        value, grad = jax.value_and_grad(median_distance)(rows)
        assert jnp.isnan(value)
        assert jnp.isfinite(grad).all()


# Values alike, copies, far rows: as hard to tell apart as can be.
SPACES = {
    "normal": lambda rng, n: rng.normal(size=(n, 3)),
    "whole numbers": lambda rng, n: np.round(rng.normal(size=(n, 3))),
    "far apart": lambda rng, n: (
        rng.normal(size=(n, 3)) * np.exp(4 * rng.normal(size=(n, 1)))
    ),
    "two heaps": lambda rng, n: (
        2e-4 * rng.normal(size=(n, 3)) + rng.integers(0, 2, (n, 1))
    ),
    # The rows that are looked at for a first guess: nothing like the others.
    "no guess": lambda rng, n: (
        rng.normal(size=(n, 3)) * np.where(np.arange(n) % 4, 1, 1e4)[:, None]
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("rule", MEDIANS)
def test_exact_of_many_tiles_whatever_the_distances(rule, monkeypatch):
    for module in (tiles, halves):
        monkeypatch.setattr(module, "ROWS", 256)
        monkeypatch.setattr(module, "COLUMNS", 64)
    monkeypatch.setattr(median, "_SOME", 250)
    n = 1021  # more than are looked at for a first guess, and no multiple of a tile
    where = np.arange(n) % 3 > 0
    for draw in SPACES.values():
        x = np.float32(draw(np.random.default_rng(0), n))
        square = median_square(x[where], rule)
        value = median_distance(x, rule=rule, where=where)
        assert float(value) == pytest.approx(np.sqrt(square), rel=2e-7)


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("bits", [8, 14])
def test_by_products_it_is_right_to_some_units_in_the_last_place(bits, monkeypatch):
    for name, value in (("_SOME", 32), ("_DIGITS", bits), ("_MOST_OF_EACH", 1 << 20)):
        monkeypatch.setattr(median, name, value)
    for draw in (SPACES["normal"], SPACES["no guess"]):
        x = np.float32(draw(np.random.default_rng(3), 131))
        square = median_square(x, "middle_nonzero")
        rows = jnp.ones(len(x), bool)
        value = median.median_square(jnp.asarray(x), "middle_nonzero", rows, False)
        assert float(value) == pytest.approx(square, rel=3e-6)


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("rule", MEDIANS)
def test_of_whole_numbers_it_is_equal_whatever_the_first_guess(rule, monkeypatch):
    monkeypatch.setattr(median, "_SOME", 32)
    n = 131
    rng, step = np.random.default_rng(1), n // 32
    x = np.round(8 * rng.normal(size=(n, 3)))
    chosen = np.arange(n) % step == 0  # those that the guess is of
    heaps = x + 100 * (np.arange(n)[:, None] < 66)  # the middles are far apart
    for rows, where in (
        (x, np.full(n, True)),
        (heaps, np.full(n, True)),
        (np.where(chosen[:, None], 1.0, x), np.full(n, True)),
        (np.where(chosen[:, None], np.nan, x), ~chosen),
    ):
        square = median_square(rows[where], rule)
        value = median_distance(np.float32(rows), rule=rule, where=where)
        assert float(value) == np.sqrt(np.float32(square))


def test_a_guess_that_is_near_takes_one_pass_and_one_that_is_not_takes_three(
    monkeypatch,
):
    passes, sweep = [], halves.sweep

    def counted(*arguments, **options):
        passes.append(1)
        return sweep(*arguments, **options)

    monkeypatch.setattr(halves, "sweep", counted)
    monkeypatch.setattr(median, "_digits", lambda num_rows: 14)
    x = np.float32(np.random.default_rng(2).normal(size=(40, 3)))
    square = median_square(x, "lower_nonzero")
    every = jnp.ones(len(x), bool)
    space = median._Space(jnp.asarray(x), every, jnp.mean(x, 0), jnp.bool_(True))
    for off, number in ((0, 1), (0.009, 1), (-0.006, 1), (0.04, 3), (-0.5, 3)):
        passes.clear()
        guess = jnp.array([square * (1 + off)], jnp.float32)
        with jax.disable_jit():
            value = median._search(space, "lower_nonzero", guess, 18, 4)
        assert len(passes) == number
        assert float(value[0]) == pytest.approx(square, rel=3e-6)


def test_the_median_of_many_small_spaces_takes_memory_of_their_pairs():
    shape = jax.ShapeDtypeStruct((256, 16, 8), jnp.float32)
    program = jax.jit(jax.vmap(median_distance)).lower(shape).compile()
    pairs = 256 * 16 * 16 * 4
    assert program.memory_analysis().temp_size_in_bytes < 20 * pairs


@pytest.mark.slow
def test_the_gradient_is_that_of_the_pairs_in_the_middle():
    x = np.random.default_rng(0).normal(size=(150, 5))
    squares = squared_distances(x)
    i, j = np.triu_indices(len(x), 1)
    order = np.argsort(squares[i, j])
    half = len(order) // 2 - 1  # of an odd number of pairs, the one in the middle
    assert len(order) % 2 == 1
    pair = order[half + 1]
    a, b = i[pair], j[pair]
    expected = np.zeros_like(x)
    expected[a] = (x[a] - x[b]) / np.sqrt(squares[a, b])
    expected[b] = -expected[a]
    with jax.enable_x64(True):
        value, grad = jax.value_and_grad(median_distance)(x)
        assert float(value) == pytest.approx(np.sqrt(squares[a, b]), rel=1e-15)
        np.testing.assert_allclose(grad, expected, atol=1e-14)


def test_counts_beyond_the_integers_are_told_apart():
    most = 2**31 - 1
    every = np.full(9, most, np.int32)
    below = np.stack([every // 2, every // 2 + 1, every * 0, every], axis=1)
    counts = np.concatenate([below, every[:, None]], axis=1).astype(np.int32)
    # Twice a count may wrap around; its difference from the whole is right again.
    many, few = map(np.int64, _excess(jnp.asarray(counts)))
    assert ((few >= 0) & (few < LIMB)).all()
    exact = 9 * most - 2 * np.int64(below).sum(0)
    np.testing.assert_array_equal(many * LIMB + few, exact)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"unknown rule 'mean'.*lower_nonzero"):
        median_distance(jnp.ones((3, 2)), rule="mean")
