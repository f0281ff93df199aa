from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cka_references import (
    ALL,
    FORMS,
    both_references,
    both_values,
    compiled,
    reference,
    related,
    streamed,
    value_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas._src.pairs.median import median_distance
from jatlas.metrics.alignment import cka
from jatlas.metrics.rbf import check_kernel
from jatlas.running import cka as running_cka

few = settings(max_examples=15, deadline=None)


@jax.jit
def both_whole(x, y, where=None):
    return [cka(x, y, debiased=debiased, where=where) for debiased in (False, True)]


# ------------------------------------------------- values of others


@pytest.fixture(scope="module")
def notebook():
    """The data of Kornblith et al.'s Demo.ipynb (representation_similarity)."""
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    return x, rng.randn(100, 10) + x


def test_kornblith_notebook_constants(notebook):
    with jax.enable_x64(True):
        x, y = map(jnp.asarray, notebook)
        assert x.dtype == jnp.float64
        half = tuple(median_distance(s, rule="middle_all") / 2 for s in (x, y))
        assert round(float(cka(x, y)), 5) == 0.55761
        assert round(float(cka(x, y, debiased=True)), 5) == 0.51346
        assert round(float(cka(x, y, kernel="rbf", sigma=half)), 5) == 0.65483


@pytest.mark.slow
def test_kornblith_notebook_constants_in_float32(notebook):
    # The notebook's functions with the whole median as width; the constants, with all
    # their digits, stand in the tests of captum (captum/compare/fb).
    x, y = map(np.float32, notebook)
    form = partial(cka, x, y, kernel="rbf", median="middle_all")
    assert float(form()) == pytest.approx(0.5758322230135366, abs=2e-6)
    assert float(form(debiased=True)) == pytest.approx(0.5016102703531156, abs=2e-6)
    exact = [0.5576132566117589, 0.5134564895055259]
    assert both_whole(x, y) == pytest.approx(exact, abs=2e-6)


@pytest.mark.slow
def test_bias_on_independent_normals():
    # n: the mean biased value of many draws of 8 features, computed by public code.
    table = {32: 0.209, 64: 0.114, 128: 0.056, 256: 0.030}

    x, y = jax.random.normal(jax.random.key(0), (2, 500, 256, 8))
    mapped = jax.jit(jax.vmap(both_whole, (0, 0, None)))
    for n, biased in table.items():
        values = [float(v.mean()) for v in mapped(x, y, np.arange(256) < n)]
        assert values[0] == pytest.approx(biased, rel=0.07)
        assert values[0] == pytest.approx(8 / (n + 8), rel=0.03)
        assert abs(values[1]) < 0.005


@pytest.fixture(scope="module")
def digits(golden):
    """Spaces and rows of the golden arrays: the values are over all 600 samples."""
    embeddings = golden["embeddings"]
    units = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    relative = np.einsum("mnd,mad->mna", units, units[:, golden["anchor_ids"]])
    weights = golden["present"] / golden["present"].sum(0)
    merged = np.einsum("mna,mn->na", relative[1:], weights)
    np.testing.assert_allclose(relative[:, :200], golden["relative"], atol=1e-5)
    np.testing.assert_allclose(merged[:400], golden["merged"], atol=1e-5)
    spaces = {"abs": embeddings[0], "rel": relative[0], "merged": merged}
    shared = np.isin(golden["labels"], golden["shared_classes"])
    rows = {"all": golden["present"].any(0), "shared": shared, "novel": ~shared}
    return {name: np.float32(space) for name, space in spaces.items()} | rows


@pytest.mark.parametrize(
    ("key", "x", "y", "rows"),
    [
        ("cka_orig_orig_rel_abs", "rel", "abs", "all"),
        ("cka_orig_aggr_abs_rel", "abs", "merged", "all"),
        ("cka_orig_aggr_rel_rel", "rel", "merged", "all"),
        ("cka_shared", "rel", "merged", "shared"),
        ("cka_non_shared", "rel", "merged", "novel"),
    ],
)
def test_golden_linear(golden, digits, key, x, y, rows):
    value = cka(digits[x], digits[y], where=digits[rows])
    assert float(value) == pytest.approx(float(golden[key]), abs=2e-6)


def test_golden_rbf(golden, digits):
    form = partial(cka, digits["rel"], digits["merged"], kernel="rbf")
    for key, sigma in (("cka_rbf_rel_rel", None), ("cka_rbf_sigma1", 1.0)):
        assert float(form(sigma=sigma)) == pytest.approx(float(golden[key]), abs=5e-6)


# ------------------------------------------------- the definition


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.slow
def test_equals_the_gram_form_also_far_from_the_origin(form):
    for offset in (0.0, 1e4):
        x, y = related(offset=offset)
        exact = reference(x, y, *form)
        assert value_of(form, x, y) == pytest.approx(exact, abs=2e-6)


def test_mean_of_1e4_and_spread_1_keep_5_digits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 6))
    y = x[:, :4] + rng.normal(size=(1000, 4))
    x, y = np.float32(x + 1e4), np.float32(y / 2 - 1e4)
    exact = both_references(x, y)
    assert both_whole(x, y) == pytest.approx(exact, abs=1e-6)
    for size in (1, 10):
        assert both_values(streamed(x, y, size)) == pytest.approx(exact, abs=1e-6)


@pytest.mark.slow
def test_mean_of_1e4_and_spread_1_keep_5_digits_of_10000_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10_000, 6))
    y = x[:, :4] + rng.normal(size=(10_000, 4))
    x, y = np.float32(x + 1e4), np.float32(y / 2 - 1e4)
    with jax.enable_x64(True):  # itself held to the Gram form, which is too large here
        exact = list(map(float, both_whole(np.float64(x), np.float64(y))))
    assert both_whole(x, y) == pytest.approx(exact, rel=1e-5)
    assert both_values(streamed(x, y, 1000)) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.slow
def test_rbf_of_narrow_and_wide_kernels_with_a_width_for_each_space(debiased):
    x, y = related()
    form = partial(cka, x, y, kernel="rbf", debiased=debiased)
    for sigma in (0.3, 3.0, 1e3):
        exact = reference(x, y, "rbf", debiased, (sigma, 2.0))
        assert float(form(sigma=(sigma, 2.0))) == pytest.approx(exact, abs=2e-6)
    linear = cka(x, y, debiased=debiased)
    assert float(form(sigma=(1e8, 1e7))) == pytest.approx(float(linear), abs=1e-6)


# ------------------------------------------------- invariances


@pytest.mark.slow  # test_invariances.py tries all measures
@few
@given(
    st.integers(0, 2**16),
    st.floats(-18, 18),
    st.floats(-100, 100),
    st.sampled_from(FORMS),
)
def test_does_not_change_when_a_space_is_rotated_scaled_or_moved(
    seed, exponent, shift, form
):
    x, y = related(seed)
    turn = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(6, 6)))[0]
    other = np.float32((x + shift) @ turn * 10**exponent)
    before, after = value_of(form, x, y), value_of(form, other, y)
    assert after == pytest.approx(before, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_changes_when_one_feature_is_rescaled(form):
    x, y = related()
    other = x * np.float32([30, 1, 1, 1, 1, 1])
    assert abs(value_of(form, other, y) - value_of(form, x, y)) > 0.05


@pytest.mark.parametrize("form", FORMS)
def test_symmetric_and_one_with_itself(form):
    x, y = related()
    x = x[:, :4]

    def value(x, y):  # features of zeros change nothing
        return value_of(form, np.pad(x, ((0, 0), (0, 2))), y)

    assert value(x, y) == pytest.approx(value(y, x), abs=1e-6)
    assert value(x, 3 - 2 * x) == pytest.approx(1, abs=1e-6)
    assert 0 < value(x, y) < 0.99


@pytest.mark.parametrize("form", FORMS)
def test_masked_equals_dropped_whatever_the_masked_rows_hold(form):
    x, y = related()
    kept = np.arange(40) % 3 != 0
    exact = reference(x[kept], y[kept], *form)
    clean = compiled(*form)(x * kept[:, None], y * kept[:, None], kept)
    assert float(clean[0]) == pytest.approx(exact, abs=2e-6)
    for garbage in (np.nan, np.inf, 1e30):
        masked = [np.where(kept[:, None], s, np.float32(garbage)) for s in (x, y)]
        value, grads = compiled(*form)(*masked, kept)
        assert value == clean[0]
        for grad, same in zip(grads, clean[1], strict=True):
            np.testing.assert_array_equal(grad, same)
            assert not np.any(grad[~kept])
            assert np.any(grad[kept])


# ------------------------------------------------- where undefined


def spaces_and_whether_defined():
    x, y = related()
    n = np.arange(40)
    constant, zero, copies, absent = x.copy(), x.copy(), x[n // 3], x.copy()
    constant[:, 1], zero[:5], absent[7] = 0.3, 0, np.nan
    nothing, flat = np.full_like(x, 0.1), np.zeros_like(y)
    return {
        "constant feature": (constant, y, ALL, True),
        "zero rows": (zero, y, ALL, True),
        "copies": (copies, y, ALL, True),
        "absent rows": (absent, y, n != 7, True),
        "four rows": (x, y, n < 4, True),
        "nothing varies": (nothing, y, ALL, False),
        "nothing varies in either": (nothing, flat, ALL, False),
        "no rows": (x, y, n < 0, False),
        "one row": (x, y, n == 3, False),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", spaces_and_whether_defined())
def test_nan_where_undefined_and_gradients_finite_everywhere(form, case):
    x, y, where, defined = spaces_and_whether_defined()[case]
    value, grads = compiled(*form)(x, y, where)
    assert bool(jnp.isfinite(value)) == defined
    assert all(np.all(np.isfinite(grad)) for grad in grads)
    if defined:
        exact = reference(x[where], y[where], *form)
        assert float(value) == pytest.approx(exact, abs=5e-6)


@pytest.mark.parametrize("form", FORMS)
def test_two_and_three_rows_have_a_biased_value_only(form):
    x, y = related()
    for count in (2, 3):
        known = np.isfinite(value_of(form, x, y, np.arange(40) < count))
        assert known == (not form[1])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_debiased_is_nan_for_rows_all_equally_far_apart(kernel):
    # The unbiased HSIC of a regular simplex with itself is zero.
    x, y = related()
    for size in (4, 5, 6):
        turn = np.linalg.qr(np.random.default_rng(size).normal(size=(6, 6)))[0]
        x[:size] = 3 * turn[:size] + 5
        where = np.arange(40) < size
        value, grads = compiled(kernel, True)(x, y, where)
        assert jnp.isnan(value)
        assert all(np.all(np.isfinite(grad)) for grad in grads)
        assert np.isfinite(value_of((kernel, False), x, y, where))


@pytest.mark.parametrize("form", FORMS)
def test_a_nan_in_a_row_that_counts_is_not_lost(form):
    x, y = related()
    x[3, 1] = np.nan
    assert np.isnan(value_of(form, x, y))


# ------------------------------------------------- transformations and dtypes


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS[1:3])
def test_float64_and_the_gradient_through_the_median_too(form):
    x, y = map(np.float64, related())
    way = np.random.default_rng(5).normal(size=x.shape)
    with jax.enable_x64(True):
        value, (grad, _) = compiled(*form)(x, y, ALL)
        assert value.dtype == jnp.float64
        assert float(value) == pytest.approx(reference(x, y, *form), abs=1e-12)
        ahead, behind = (value_of(form, x + s * 1e-5 * way, y) for s in (1, -1))
        slope = (ahead - behind) / 2e-5
        assert float(np.vdot(grad, way)) == pytest.approx(slope, rel=1e-5)
        # The value does not change with the scale of x: nor does the median's width.
        assert abs(np.vdot(grad, x)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_is_computed_in_float32(form):
    x, y = (jnp.asarray(s, jnp.bfloat16) for s in related())
    value = cka(x, y, kernel=form[0], debiased=form[1])
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(reference(x, y, *form), abs=2e-6)


@pytest.mark.slow
def test_two_dtypes_are_computed_in_the_wider():
    with jax.enable_x64(True):
        x, y = related()
        for kernel, debiased in (FORMS[0], FORMS[3]):
            value = cka(x, y.astype(np.float64), kernel=kernel, debiased=debiased)
            exact = reference(x, y, kernel, debiased)
            assert float(value) == pytest.approx(exact, abs=1e-12)


@pytest.mark.slow
def test_vmap_equals_one_by_one():
    x, y = (np.stack(s) for s in zip(*map(related, range(3)), strict=True))
    where = np.arange(40) < np.array([[40], [20], [30]])
    for form in (FORMS[0], FORMS[3]):
        kernel, debiased = form
        one = partial(cka, kernel=kernel, debiased=debiased)
        mapped = jax.vmap(lambda x, y, w, one=one: one(x, y, where=w))(x, y, where)
        single = [value_of(form, x[i], y[i], where[i]) for i in range(3)]
        np.testing.assert_allclose(mapped, single, atol=2e-6)
    states = jax.vmap(partial(running_cka.add, running_cka.empty(6, 4)))(x, y, where)
    single = [value_of(("linear", True), x[i], y[i], where[i]) for i in range(3)]
    mapped = jax.vmap(partial(running_cka.value, debiased=True))(states)
    np.testing.assert_allclose(mapped, single, atol=2e-6)


def test_sigma_may_be_traced_and_differentiated():
    x, y = map(np.float64, related())
    with jax.enable_x64(True):
        form = jax.jit(lambda s, t: cka(x, y, kernel="rbf", sigma=(s, t)))
        exact = reference(x, y, "rbf", sigma=(2.0, 3.0))
        assert float(form(2.0, 3.0)) == pytest.approx(exact, abs=1e-12)
        slope = jax.grad(form)(2.0, 3.0)
        numeric = (form(2.00001, 3.0) - form(1.99999, 3.0)) / 2e-5
        assert float(slope) == pytest.approx(float(numeric), rel=1e-6)
        assert jnp.isnan(form(0.0, 3.0))
        assert jnp.isfinite(jax.grad(form)(0.0, 3.0))


def test_linear_forms_no_n_by_n_array(largest_array):
    x, y = related(n=300)
    for debiased in (False, True):
        gradient = jax.grad(partial(cka, debiased=debiased))
        assert largest_array(gradient, x, y) <= 300 * 10
    assert largest_array(lambda x: streamed(x, y, 50), x) <= 300 * 10


# ------------------------------------------------- several devices


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("kind", ["plain", "masked", "float64", "offset"])
def test_wide_spaces_of_few_rows_go_by_their_gram_matrices(debiased, kind):
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(24, 6))
    x, y = (
        factors @ rng.normal(size=(6, width)) + rng.normal(size=(24, width))
        for width in (300, 200)
    )
    where = np.arange(24) % 4 > 0 if kind == "masked" else np.ones(24, bool)
    x, y = (x + 1e4, y) if kind == "offset" else (x, y)
    dtype = np.float64 if kind == "float64" else np.float32
    x, y = x.astype(dtype), y.astype(dtype)
    expected = reference(x[where], y[where], "linear", debiased)
    x[~where] = np.nan
    with jax.enable_x64(kind == "float64"):
        got = cka(x, y, debiased=debiased, where=where)
    tolerance = {"float64": 1e-12, "offset": 1e-4}.get(kind, 2e-6)
    np.testing.assert_allclose(got, expected, rtol=tolerance)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.slow
def test_linear_takes_the_memory_of_the_smaller_side(largest_array, debiased):
    x, y = jnp.zeros((16, 500)), jnp.zeros((16, 400))
    form = partial(cka, debiased=debiased)
    for function in (form, jax.grad(form, (0, 1))):
        assert largest_array(function, x, y) <= 16 * 500
    # By rows or by features, the value and its gradient are the same.
    spaces = [np.random.default_rng(s).normal(size=(16, 10 + s)) for s in range(2)]
    with jax.enable_x64(True):
        slopes = [
            jax.grad(lambda x, own=own: cka(x, own, debiased=debiased))(spaces[0])
            for own in (spaces[1], np.pad(spaces[1], ((0, 0), (0, 40))))
        ]
    np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-12)


def all_of_linear_cka(x, y, where):
    return (
        jax.value_and_grad(partial(cka, where=where), (0, 1))(x, y),
        cka(x, y, debiased=True, where=where),
        running_cka.add(running_cka.empty(x.shape[1], y.shape[1]), x, y, where),
    )


def program(function, place):
    shapes = ((8000, 6), "f4"), ((8000, 4), "f4"), ((8000,), bool)
    rows = [jax.ShapeDtypeStruct(*shape, sharding=place) for shape in shapes]
    return jax.jit(function).lower(*rows).compile()


@pytest.mark.slow
def test_rows_stay_on_their_devices():
    one = program(all_of_linear_cka, None).memory_analysis()
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
        four = program(all_of_linear_cka, NamedSharding(mesh, PartitionSpec("samples")))
        assert "all-reduce" in four.as_text()
        for gathering in ("all-gather", "all-to-all", "collective-permute"):
            assert gathering not in four.as_text()
        held = four.memory_analysis().temp_size_in_bytes
        assert held < 0.3 * one.temp_size_in_bytes


# ------------------------------------------------- errors


def test_unknown_names_and_widths_are_refused():
    x, y = related()
    with pytest.raises(
        ValueError, match=r"unknown kernel 'poly'; known are linear, rbf"
    ):
        cka(x, y, kernel="poly")
    with pytest.raises(ValueError, match=r"unknown rule 'mean'.*lower_nonzero"):
        cka(x, y, kernel="rbf", median="mean")
    for sigma in ((1.0, 2.0, 3.0), jnp.ones(2)):
        with pytest.raises(ValueError, match="a number or a pair of numbers"):
            check_kernel("rbf", sigma, "middle_all")


@pytest.mark.usefixtures("unchecked")
def test_spaces_that_are_no_pair_are_refused():
    x, y = related()
    for take in (cka, partial(running_cka.add, running_cka.empty(6, 4))):
        with pytest.raises(ValueError, match=r"number of samples N.*\[40, 30\]"):
            take(x, y[:30])
        with pytest.raises(ValueError, match="x must be a matrix"):
            take(x[0], y)
        with pytest.raises(ValueError, match="y must be floating point"):
            take(x, y.astype(np.int32))
        with pytest.raises(ValueError, match=r"where must have the axes \(N,\)"):
            take(x, y, where=ALL[:30])
        with pytest.raises(ValueError, match="where must be boolean"):
            take(x, y, where=ALL.astype(np.float32))


def test_a_width_that_is_none_gives_no_number_and_of_linear_is_refused():
    x = jax.random.normal(jax.random.key(0), (12, 3))
    assert jnp.isnan(cka(x, x[:, :2], kernel="rbf", sigma=-1.0))
    assert jnp.isnan(cka(x, x[:, :2], kernel="rbf", sigma=(1.0, 0.0)))
    with pytest.raises(ValueError, match="sigma is a width of the kernel 'rbf'"):
        cka(x, x[:, :2], sigma=1.0)
