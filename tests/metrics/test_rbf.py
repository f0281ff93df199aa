from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas._src.pairs import halves, tiles
from jatlas._src.pairs.kernels import kernel_of
from jatlas.metrics import rbf as forms
from jatlas.metrics.alignment import cka

rbf = partial(cka, kernel="rbf")
N = 301  # several tiles, and several groups of rows, none of which comes out even


@pytest.fixture
def small_tiles(monkeypatch):
    for module in (tiles, halves):
        monkeypatch.setattr(module, "ROWS", 128)
        monkeypatch.setattr(module, "COLUMNS", 32)


def related():
    """Two spaces that have something to do with each other, and some rows of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 20))
    y = x[:, :4] @ rng.normal(size=(4, 7)) + rng.normal(size=(N, 7))
    return np.float32(x + 3), np.float32(y * 10), np.arange(N) % 4 > 0


def gram(x, sigma):
    x = np.float64(x)
    squares = sum((feature[:, None] - feature) ** 2 for feature in x.T)
    if sigma is None:
        nonzero = squares[squares != 0]
        sigma = np.sqrt(np.partition(nonzero, (len(nonzero) - 1) // 2))
        sigma = sigma[(len(nonzero) - 1) // 2]
    return np.exp(-squares / (2 * sigma**2))


def reference(x, y, sigma, debiased):
    """N x N, in float64: Kornblith et al. (2019); Song et al. (2012), equation 5."""
    n = len(x)

    def hsic(k, l):  # noqa: E741
        if not debiased:
            return np.sum((k - k.mean(0)) * (l - l.mean(1)[:, None]))
        sums = np.sum(k) * np.sum(l) / ((n - 1) * (n - 2))
        return np.sum(k * l) + sums - 2 / (n - 2) * (k.sum(0) @ l.sum(0))

    k, l = (gram(space, sigma) for space in (x, y))  # noqa: E741
    if debiased:
        k, l = (g - np.diag(np.diag(g)) for g in (k, l))  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.fixture(params=["one pass", "two passes"])
def passes(request, monkeypatch):
    """Both ways over the pairs."""
    least = {"one pass": 64, "two passes": 10 * N}[request.param]
    monkeypatch.setattr(forms, "_MANY", least)
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


@pytest.mark.usefixtures("small_tiles", "devices", "passes")
@pytest.mark.parametrize(("sigma", "debiased"), [(None, True), (4.0, False)])
def test_tiles_give_the_value_of_the_whole_matrices(sigma, debiased):
    x, y, where = related()
    exact = reference(x[where], y[where], sigma, debiased)
    value = rbf(x, y, sigma=sigma, debiased=debiased, where=where)
    assert float(value) == pytest.approx(exact, abs=1e-6)


@pytest.mark.usefixtures("small_tiles", "passes")
@pytest.mark.parametrize("devices", ["one device"], indirect=True)
def test_several_at_once_are_one_after_another_without_their_absent_rows(devices):
    x, y, where = related()
    absent = np.where(where[:, None], x, np.nan)
    xs, wheres = np.stack([absent, x[::-1]]), np.stack([where, np.full(N, True)])

    def value(x, where):
        return rbf(x, y, sigma=30.0, where=where)

    form = jax.vmap(jax.value_and_grad(value))
    values, gradients = form(jnp.asarray(xs), jnp.asarray(wheres))
    for k in range(2):
        exact = reference(xs[k][wheres[k]], y[wheres[k]], 30.0, False)
        assert float(jax.vmap(value)(xs, wheres)[k]) == pytest.approx(exact, abs=1e-6)
        assert float(value(xs[k], wheres[k])) == pytest.approx(exact, abs=1e-6)
        assert float(values[k]) == pytest.approx(exact, abs=1e-6)
        assert np.isfinite(gradients[k]).all()
        assert not np.any(gradients[k][~wheres[k]])


@pytest.mark.usefixtures("small_tiles", "passes")
@pytest.mark.parametrize("devices", ["one device"], indirect=True)
def test_the_derivative_by_several_widths_is_that_by_each(devices):
    x, y, _ = related()

    def value(sigma):
        return rbf(x, y, sigma=(sigma, 30.0))

    # As many as there are inner products: an axis taken for another has its length.
    widths, ways = jnp.array([5.0, 9.0, 30.0]), jnp.array([1.0, -2.0, 0.5])
    together = jax.jvp(jax.vmap(value), (widths,), (ways,))
    for k in range(3):
        alone = jax.jvp(value, (widths[k],), (ways[k],))
        for got, right in zip(together, alone, strict=True):
            np.testing.assert_allclose(got[k], right, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("small_tiles", "passes")
@pytest.mark.parametrize("devices", ["one device"], indirect=True)
def test_columns_like_no_others_cost_no_digits(devices):
    x, y, _ = related()
    first = np.arange(N) % (N // halves.COLUMNS) == 0  # those that are looked at
    x, y = (np.where(first[:, None], s + 50 * s.std(0), s) for s in (x, y))
    for debiased in (False, True):
        exact = reference(x, y, 30.0, debiased)
        value = rbf(x, y, sigma=30.0, debiased=debiased)
        assert float(value) == pytest.approx(exact, abs=2e-7)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("devices", ["one device"], indirect=True)
def test_one_pass_is_enough_where_some_columns_are_like_the_others(devices):
    def sure(x, y):
        rows = jnp.ones(N, bool)
        both = [kernel_of(jnp.asarray(s), rows, 30.0, "middle_all") for s in (x, y)]
        return bool(forms._in_one_pass(both, rows, False)[-1])

    x, y, _ = related()
    assert sure(x, y)
    assert not sure(x, np.ones_like(y))
    assert not sure(x, np.where(np.arange(N)[:, None] == 5, np.nan, y))


@pytest.mark.slow
@pytest.mark.usefixtures("small_tiles")
def test_the_gradient_is_the_slope_over_many_tiles():
    x, y, where = related()
    x, y = np.float64(x), np.float64(y)
    form = partial(rbf, debiased=True, where=where)
    way = np.random.default_rng(5).normal(size=x.shape)
    with jax.enable_x64(True):
        both = jax.jit(
            jax.value_and_grad(lambda x, s: form(x, y, sigma=(s, 30.0)), (0, 1))
        )
        grad, by_sigma = both(x, 5.0)[1]
        slope = (both(x + 1e-5 * way, 5.0)[0] - both(x - 1e-5 * way, 5.0)[0]) / 2e-5
        assert float(np.vdot(grad, way)) == pytest.approx(float(slope), rel=1e-6)
        slope = (both(x, 5.00001)[0] - both(x, 4.99999)[0]) / 2e-5
        assert float(by_sigma) == pytest.approx(float(slope), rel=1e-6)
        assert not np.any(grad[~where])


@pytest.mark.slow
def test_the_second_derivative_is_the_slope_of_the_first():
    # The first leaves out the means of rows, whose part in it is zero. Not so here.
    x, y, _ = (s[:20] for s in related())
    x, y = np.float64(x), np.float64(y)
    way = np.random.default_rng(5).normal(size=x.shape)
    with jax.enable_x64(True):
        grad = jax.grad(lambda x: rbf(x, y, sigma=(5.0, 30.0)))
        both = jax.jit(lambda x: jax.jvp(grad, (x,), (way,)))
        curved = both(x)[1]
        slope = (both(x + 1e-5 * way)[0] - both(x - 1e-5 * way)[0]) / 2e-5
        scale = float(np.abs(slope).max())
        np.testing.assert_allclose(curved, slope, atol=1e-6 * scale)


def test_no_array_is_of_n_by_n(largest_array):
    n = 20_000
    x, y = (jax.ShapeDtypeStruct((n, width), jnp.float32) for width in (64, 32))
    form = partial(rbf, debiased=True)
    assert largest_array(jax.value_and_grad(form, (0, 1)), x, y) < n * 64 * 2


@pytest.mark.slow
def test_20000_rows_and_their_gradient_take_less_than_a_fifth_of_a_gigabyte():
    shapes = [jax.ShapeDtypeStruct((20_000, 64), jnp.float32)] * 2
    program = jax.jit(jax.value_and_grad(rbf, (0, 1))).lower(*shapes).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.2e9


@pytest.mark.usefixtures("devices")
def test_memory_grows_with_n_and_not_with_its_square():
    def held(n, function):
        shapes = [jax.ShapeDtypeStruct((n, 8), jnp.float32)] * 2
        program = jax.jit(function).lower(*shapes).compile()
        return program.memory_analysis().temp_size_in_bytes

    for form in (partial(rbf, sigma=1.0), rbf):
        few, many = (held(n, form) for n in (50_000, 200_000))
        assert many < 5 * few


@pytest.mark.slow
@pytest.mark.usefixtures("devices")
def test_a_derivative_of_the_gradient_takes_no_square_of_n():
    def along(x, y):
        def gradient(x):
            return jnp.vdot(jax.grad(partial(rbf, sigma=1.0))(x, y), y)

        return jax.grad(gradient)(x)

    shapes = [jax.ShapeDtypeStruct((10_000, 8), jnp.float32)] * 2
    program = jax.jit(along).lower(*shapes).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.05e9


@pytest.mark.usefixtures("devices")
def test_widths_can_differ_from_device_to_device():
    x, y, _ = related()
    mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))

    def each(sigma):
        return rbf(x, y, sigma=sigma[0])[None]

    spec = PartitionSpec("d")
    got = jax.jit(jax.shard_map(each, mesh=mesh, in_specs=spec, out_specs=spec))
    expected = rbf(x, y, sigma=4.0)
    np.testing.assert_allclose(got(jnp.array([4.0]))[0], expected, rtol=1e-5)


@pytest.mark.usefixtures("devices")
def test_spaces_without_features_have_no_value():
    x = jnp.zeros((20, 0))
    assert jnp.isnan(rbf(x, x))


@pytest.mark.slow
def test_rows_stay_on_their_devices():
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Auto,))
    compiled = {}
    for name, spec in (("one", None), ("four", PartitionSpec("samples"))):
        place = spec and NamedSharding(mesh, spec)
        shape = jax.ShapeDtypeStruct((4096, 32), jnp.float32, sharding=place)
        compiled[name] = jax.jit(rbf).lower(shape, shape).compile()
    program = compiled["four"].as_text()
    assert "all-reduce" in program
    for gathering in ("all-gather", "all-to-all", "collective-permute"):
        assert gathering not in program
    one, four = (
        compiled[name].memory_analysis().temp_size_in_bytes for name in compiled
    )
    assert four < 0.3 * one
