import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jatlas._src import arrays, classes

few = settings(max_examples=15, deadline=None)
rows = hnp.arrays(
    np.float32, (4, 3), elements=st.floats(-10, 10, width=32, allow_subnormal=False)
)


@pytest.mark.parametrize(
    ("given_", "computed"),
    [
        (jnp.bfloat16, jnp.float32),
        (jnp.float16, jnp.float32),
        (jnp.float32, jnp.float32),
        (jnp.float64, jnp.float64),
    ],
)
def test_arithmetic_is_done_in_float32_at_least(given_, computed):
    with jax.enable_x64(True):
        assert arrays.widen(jnp.ones(2, given_)).dtype == computed


@few
@given(rows, st.integers(-28, 28))
def test_unit_vectors_have_length_one_at_any_scale(x, exponent):
    kept = np.abs(x).max(axis=1) > 1e-3
    scaled = x * np.float32(10.0**exponent)
    lengths = np.linalg.norm(np.asarray(arrays.unit(scaled), np.float64), axis=1)
    np.testing.assert_allclose(lengths[kept], 1, atol=1e-6)


def test_unit_vector_of_zero_is_zero_and_so_is_its_gradient():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    gradient = jax.grad(lambda x: jnp.sum(arrays.unit(x) * jnp.array([1.0, 2.0])))(x)
    np.testing.assert_array_equal(arrays.unit(x)[0], 0)
    np.testing.assert_array_equal(gradient[0], 0)
    # (I - u u') c / |x| with u = (.6, .8), c = (1, 2)
    np.testing.assert_allclose(gradient[1], [-0.064, 0.048], atol=1e-7)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_gradient_of_unit_is_that_of_its_scale(scale):
    x = jnp.array([3.0, 4.0]) * scale
    gradient = jax.grad(lambda x: arrays.unit(x)[0])(x)
    np.testing.assert_allclose(gradient * scale, [0.128, -0.096], rtol=1e-5)


def test_unit_keeps_a_nan_and_the_dtype():
    x = jnp.array([[jnp.nan, 1.0], [0.0, 2.0]], jnp.bfloat16)
    u = arrays.unit(x)
    assert u.dtype == jnp.bfloat16
    assert np.isnan(np.asarray(u[0], np.float32)).all()
    np.testing.assert_array_equal(np.asarray(u[1], np.float32), [0, 1])


def test_safe_divide_gives_otherwise_at_zero_with_finite_gradients():
    x, y = jnp.array([1.0, 0.0, 3.0]), jnp.array([0.0, 0.0, 2.0])
    np.testing.assert_array_equal(arrays.safe_divide(x, y), [np.nan, np.nan, 1.5])
    np.testing.assert_array_equal(arrays.safe_divide(x, y, 7.0), [7, 7, 1.5])
    gradients = jax.grad(lambda x, y: arrays.safe_divide(x, y).sum(), (0, 1))(x, y)
    np.testing.assert_allclose(gradients, [[0, 0, 0.5], [0, 0, -0.75]])


def test_safe_sqrt_is_zero_below_zero_with_finite_gradients_and_keeps_nan():
    x = jnp.array([4.0, 0.0, -1e-9])
    np.testing.assert_array_equal(arrays.safe_sqrt(x), [2, 0, 0])
    gradient = jax.grad(lambda x: arrays.safe_sqrt(x).sum())(x)
    np.testing.assert_array_equal(gradient, [0.25, 0, 0])
    assert np.isnan(arrays.safe_sqrt(jnp.array(jnp.nan)))


def test_magnitude_is_one_of_zeros_and_a_constant_to_the_gradient():
    x = jnp.array([[3.0, -5.0], [0.0, 0.0]])
    np.testing.assert_array_equal(arrays.magnitude(x, axis=1), [[5], [1]])
    np.testing.assert_array_equal(arrays.magnitude(x, axis=0), [[3, 5]])
    np.testing.assert_array_equal(arrays.magnitude(jnp.zeros((0, 2)), axis=0), [[1, 1]])
    np.testing.assert_array_equal(
        jax.grad(lambda x: arrays.magnitude(x, axis=0).sum())(x), 0
    )


@few
@given(rows, hnp.arrays(bool, 4))
def test_masked_sum_does_not_look_at_masked_rows(x, where):
    expected = x[where].astype(np.float64).sum(axis=0)
    poisoned = jnp.asarray(np.where(where[:, None], x, np.nan))
    mask = jnp.asarray(where)
    np.testing.assert_allclose(arrays.masked_sum(poisoned, mask), expected, atol=1e-5)
    gradient = jax.grad(lambda x: (arrays.masked_sum(x, mask) ** 2).sum())(poisoned)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~where], 0)


def test_centre_keeps_its_digits_far_from_the_origin():
    x = (1e4 + np.random.default_rng(0).normal(size=(5000, 3))).astype(np.float32)
    rest, mean = arrays.center(jnp.asarray(x), jnp.ones(5000, bool))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(rest, wide - wide.mean(axis=0), atol=1e-6)
    # Half a unit in the last place: the mean is rounded once.
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=0, atol=2**-11)


@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678, 1e-30])
def test_centre_leaves_nothing_of_a_constant_feature(value):
    x = jnp.full((37, 2), value)
    rest, mean = arrays.center(x, jnp.ones(37, bool))
    np.testing.assert_array_equal(rest, 0)
    np.testing.assert_allclose(mean, x[0], rtol=1e-6)


def test_centre_leaves_nothing_of_what_differs_by_rounding_and_all_of_the_rest():
    # Two steps of the last place of 0.1, and two hundred.
    steps = np.spacing(np.float32(0.1)) * np.array([2, 200], np.float32)
    x = np.float32(0.1) + np.tile([[0], [1]], (5, 1)) * steps
    rest, _ = arrays.center(jnp.asarray(x, jnp.float32), jnp.ones(10, bool))
    np.testing.assert_array_equal(rest[:, 0], 0)
    expected = (np.tile([0, 1], 5) - 0.5) * steps[1]
    np.testing.assert_allclose(rest[:, 1], expected, rtol=1e-2)


def test_centre_does_not_look_at_masked_rows_and_has_no_mean_of_no_rows():
    x = jnp.array([[1.0], [jnp.nan], [4.0]])
    rest, mean = arrays.center(x, jnp.array([True, False, True]))
    np.testing.assert_array_equal(rest, [[-1.5], [0], [1.5]])
    np.testing.assert_array_equal(mean, [2.5])
    rest, mean = arrays.center(x, jnp.zeros(3, bool))
    np.testing.assert_array_equal(rest, 0)
    assert np.isnan(mean).all()


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 3e38])
def test_rescaled_is_near_one_by_a_power_of_two_that_rounds_nothing(scale):
    x = jnp.array([[0.3, -1.0], [0.7, jnp.inf]]) * jnp.float32(scale)
    got, factor = arrays.rescaled(x, jnp.array([True, False]))
    assert 0.2 <= jnp.abs(got).max() <= 4
    np.testing.assert_array_equal(got[0] / factor, x[0])
    np.testing.assert_array_equal(got[1], 0)
    assert np.frexp(float(factor))[0] == 0.5
    gradient = jax.grad(lambda x: arrays.rescaled(x, jnp.ones(2, bool))[1])(x)
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(
        arrays.rescaled(jnp.zeros((2, 2)), jnp.ones(2, bool))[0], 0
    )


def test_one_hot_marks_a_label_out_of_range_with_nan():
    labels = jnp.array([2, -1, 3, 0, 7])
    got = classes.one_hot(labels, 3, jnp.array([True, True, True, True, False]))
    nan = [np.nan] * 3
    np.testing.assert_array_equal(got, [[0, 0, 1], nan, nan, [1, 0, 0], [0, 0, 0]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.ones((2, 2), np.int32),
            r"^x must be floating point; convert it first.*int32\(2, 2\)\.$",
        ),
        (np.ones((2, 2), bool), "x must be floating point"),
        (np.ones((2, 2), np.complex64), "x must be floating point"),
        (
            np.ones((1, 2, 2), np.float32),
            r"^x must be a matrix.*jax\.vmap.*32\(1, 2, 2\)\.$",
        ),
        ([[1.0]], r"^x must be a matrix.* Got list\.$"),
        (np.ones(2, np.float32), r"^x must be a matrix.*float32\(2,\)\.$"),
    ],
)
def test_what_is_no_floating_point_matrix_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        arrays.check_rows("x", x)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.ones((3, 2), bool),
            r"^seen must have the axes \(M, N\), here \(2, 3\); got",
        ),
        (np.ones(3, bool), r"^seen must have the axes.* got bool\(3,\)\.$"),
        (
            np.ones((2, 3)),
            r"^seen must be boolean; for numbers write `seen > 0`. Got f",
        ),
        (np.ones((2, 3), int), "seen must be boolean"),
    ],
)
def test_what_is_no_mask_of_the_shape_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        arrays.check_mask("seen", mask, (2, 3), "(M, N)")


def test_sizes_that_differ_are_named_with_the_advice():
    arrays.check_equal("sizes", [3], "")
    arrays.check_equal("sizes", [3, 3, 3], "")
    with pytest.raises(
        ValueError, match=r"^sizes must be the same, got \[3, 3, 4\]. Do this.$"
    ):
        arrays.check_equal("sizes", [3, 3, 4], "Do this.")


def test_spaces_of_other_samples_are_no_pair():
    x = np.ones((4, 2), np.float32)
    arrays.check_pair(x, np.ones((4, 3), np.float32), np.ones(4, bool))
    with pytest.raises(ValueError, match=r"got \[4, 5\]"):
        arrays.check_pair(x, np.ones((5, 2), np.float32), None)
    with pytest.raises(ValueError, match=r"where must have the axes \(N,\), here \(4,"):
        arrays.check_pair(x, x, np.ones(5, bool))
    with pytest.raises(ValueError, match="floating point"):
        arrays.check_pair(x, x.astype(int), None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 3]), r"0..2 \(num_classes=3\); got \[3\].*`where`"),
        (np.array([0, -1, 2]), r"got \[-1\]"),
        (np.array([0, 1]), r"^labels must be one a row, \(3,\); got int64\(2,\)"),
        (np.array([0.0, 1.0, 2.0]), "^labels must be integers.* float64"),
        (np.array([True, False, True]), "labels must be integers"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        arrays.check_labels(labels, 3, 3)


def test_labels_out_of_range_may_be_masked_out_and_pass_where_unseen():
    labels = np.array([0, 9, 2])
    arrays.check_labels(labels, 3, 3, np.array([True, False, True]))

    @jax.jit
    def inside(labels):
        arrays.check_labels(labels, 3, 3)
        return arrays.is_concrete(labels)

    assert not inside(labels)
    assert arrays.is_concrete(labels)
    assert arrays.is_concrete(jnp.asarray(labels))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int16, jnp.int32])
def test_labels_of_any_integer_type_are_read(dtype):
    most = min(int(jnp.iinfo(dtype).max) + 1, 300)  # 256 is 0 in uint8
    labels = jnp.array([0, most - 1], dtype)
    ones = classes.one_hot(labels, most, jnp.ones(2, bool))
    assert ones.argmax(axis=1).tolist() == [0, most - 1]
    assert ones.sum() == 2
    assert jnp.isnan(classes.one_hot(labels, most - 1, jnp.ones(2, bool))[1]).all()
