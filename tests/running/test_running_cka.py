"""The running state of CKA, against the whole and against NumPy in float64."""

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

from jatlas.running import cka as running_cka


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, np.float32])
def test_an_empty_state_is_float32_at_least(dtype):
    state = running_cka.empty(3, 2, dtype)
    assert {leaf.dtype for leaf in state} == {jnp.dtype(jnp.float32)}


def test_streamed_equals_whole_for_any_chunks_in_any_order():
    x, y = related()
    # Sorted and stretched: the mean moves far between chunks of very unlike spread.
    x = x[np.argsort(x[:, 0])] * np.linspace(0.1, 5, 40, dtype=np.float32)[:, None]
    y = y + np.linspace(-20, 20, 40, dtype=np.float32)[:, None] ** 2 / 20
    exact = both_references(x, y)
    whole = [value_of(("linear", debiased), x, y) for debiased in (False, True)]
    assert whole == pytest.approx(exact, abs=1e-6)
    states = [streamed(x, y, size) for size in (1, 4, 10)]
    states += [streamed(x[::-1], y[::-1], 10)]
    empty = running_cka.empty(6, 4)
    parts = [
        running_cka.add(empty, x[i : i + 10], y[i : i + 10]) for i in (20, 0, 30, 10)
    ]
    pairs = (
        running_cka.combine(parts[0], parts[1]),
        running_cka.combine(parts[2], parts[3]),
    )
    chain = running_cka.combine(
        running_cka.combine(parts[3], empty), running_cka.combine(empty, parts[2])
    )
    states += [
        running_cka.combine(*pairs),
        running_cka.combine(running_cka.combine(chain, parts[0]), parts[1]),
    ]
    for state in states:
        assert both_values(state) == pytest.approx(whole, abs=1e-6)


def test_the_state_holds_the_moments_about_the_mean():
    x, y = related(offset=100.0)
    state = streamed(x, y, 4)
    spaces = np.float64(x), np.float64(y)
    rests = [s - s.mean(0) for s in spaces]
    z = np.hstack(rests)
    e = np.stack([np.sum(rest**2, axis=1) for rest in rests])
    assert state.count == 40
    for space, mean in zip(spaces, (state.mean_x, state.mean_y), strict=True):
        exactly = np.float64(mean).sum(0)
        np.testing.assert_allclose(exactly, space.mean(0), atol=2e-6)
    exact = {"scatter": z.T @ z, "energy_rows": e @ z, "energies": e @ e.T}
    for name, value in exact.items():
        error = 1e-6 * np.abs(value).max()
        np.testing.assert_allclose(getattr(state, name), value, atol=error, rtol=0)


def test_masked_rows_and_empty_chunks_add_nothing():
    x, y = related()
    state = streamed(x, y, 10)
    bad = np.full_like(x, np.nan), np.full_like(y, np.inf)
    for one, other in zip(state, running_cka.add(state, *bad, ~ALL), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = np.arange(40) % 2 == 0
    masked = [np.where(kept[:, None], s, b) for s, b in zip((x, y), bad, strict=True)]
    values = both_values(running_cka.add(running_cka.empty(6, 4), *masked, kept))
    assert values == pytest.approx(both_references(x[::2], y[::2]), abs=1e-6)


def test_a_constant_stays_constant_through_chunks():
    _, y = related()
    constant = np.full((40, 6), 1e4 / 3, np.float32)
    constant[30:] = np.nextafter(constant[30:], np.float32(1e9))
    assert np.isnan(value_of(FORMS[0], constant, y))
    state = streamed(constant, y, 10)
    assert all(np.isnan(both_values(state)))
    changed = running_cka.add(state, np.full((40, 6), 3.0, np.float32), y)
    assert all(np.isfinite(both_values(changed)))


def test_few_rows_have_no_value():
    x, y = related()
    state = running_cka.empty(6, 4)
    for count in range(5):
        known = [np.isfinite(value) for value in both_values(state)]
        assert known == [count > 1, count > 3]
        state = running_cka.add(state, x[[count]], y[[count]])


def test_states_of_large_and_small_spaces_give_the_biased_value():
    x, y = related()
    state = running_cka.add(
        running_cka.empty(6, 4), x * np.float32(1e12), y * np.float32(1e-12)
    )
    exact = reference(x, y)
    assert float(running_cka.value(state)) == pytest.approx(exact, abs=1e-6)


def test_gradients_through_a_stream_are_those_of_the_whole():
    x, y = related()

    @jax.jit
    @jax.grad
    def gradient(x):
        state = running_cka.add(running_cka.empty(6, 4), x[:20], y[:20])
        return running_cka.value(running_cka.add(state, x[20:], y[20:]), True)

    whole = compiled("linear", True)(x, y, ALL)[1][0]
    np.testing.assert_allclose(gradient(x), whole, atol=2e-6)
    assert np.abs(whole).max() > 1e-3
    assert np.all(np.isfinite(gradient(np.full_like(x, 0.1))))


def test_float64_streams_are_exact():
    with jax.enable_x64(True):
        x, y = map(np.float64, related(offset=1e4))
        state = streamed(x, y, 4)
        assert {leaf.dtype for leaf in state} == {np.dtype("float64")}
        assert both_values(state) == pytest.approx(both_references(x, y), abs=1e-12)


def test_states_and_rows_of_other_dimensions_are_refused():
    x, y = related()
    with pytest.raises(ValueError, match=r"\(D1, D2\).*\[\(6, 4\), \(4, 6\)\]"):
        running_cka.add(running_cka.empty(6, 4), y, x)
    with pytest.raises(ValueError, match=r"\(D1, D2\).*\[\(6, 4\), \(4, 6\)\]"):
        running_cka.combine(running_cka.empty(6, 4), running_cka.empty(4, 6))
