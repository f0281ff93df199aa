"""Cross-fitted probes: what each has learned from, and what is asked of which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas import fit_probe, probe_logits
from jatlas.probes import crossfit_probabilities, fit_crossfit

KEY = jax.random.key(3)
TOLD = {"hidden": 32, "batch_size": 16, "max_epochs": 30}


@pytest.fixture(scope="module")
def noise():
    """Rows that say nothing of their labels, and that a probe can learn by heart."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(90, 40)).astype(np.float32), rng.permutation(90) % 2


@pytest.fixture(scope="module")
def where():
    chosen = np.arange(90) < 80
    chosen[5] = False
    return chosen


@pytest.fixture(scope="module")
def fitted(noise, where):
    return fit_crossfit(KEY, *noise, 2, folds=3, where=where, **TOLD)


def softmax(logits):
    powers = np.exp(np.float64(logits) - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_the_rows_are_dealt_evenly_and_the_others_are_in_no_fold(fitted, where):
    fold = np.asarray(fitted.fold)
    assert (fold[~where] == -1).all()
    assert sorted(np.bincount(fold[where])) == [26, 26, 27]


def test_each_probe_learns_from_the_other_folds(fitted, noise, where):
    for k in range(3):
        own = jax.tree.map(lambda leaf, k=k: leaf[k], fitted.probes)
        rest = where & (np.asarray(fitted.fold) != k)
        key = jax.random.fold_in(KEY, k + 1)
        again = fit_probe(key, *noise, 2, where=rest, **TOLD)
        np.testing.assert_allclose(own.kernel, again.kernel, rtol=1e-6)


def test_of_a_row_that_probe_is_asked_that_has_not_learned_from_it(fitted, noise):
    space, _ = noise
    said = softmax(jax.vmap(probe_logits, (0, None))(fitted.probes, space))
    fold = np.asarray(fitted.fold)
    expected = np.where(
        (fold < 0)[:, None], said.mean(axis=0), said[fold, np.arange(90)]
    )
    got = crossfit_probabilities(fitted, space, fitted.fold)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        crossfit_probabilities(fitted, space, None), said.mean(axis=0), atol=1e-6
    )


def test_what_was_learned_by_heart_is_not_told(fitted, noise, where):
    """Without folds of their own, rows would seem to be known that are noise."""
    space, labels = noise

    def right(probabilities):
        return (np.asarray(probabilities).argmax(axis=1) == labels)[where].mean()

    assert right(crossfit_probabilities(fitted, space, None)) > 0.9
    assert right(crossfit_probabilities(fitted, space, fitted.fold)) < 0.65


def test_rows_that_do_not_count_are_not_looked_at(fitted, noise, where):
    space, labels = noise
    poisoned = np.where(where[:, None], space, np.nan).astype(np.float32)
    more = np.concatenate([np.full((7, 40), np.nan, np.float32), poisoned])
    again = fit_crossfit(
        KEY,
        more,
        np.concatenate([np.zeros(7, int), labels]),
        2,
        folds=3,
        where=np.concatenate([np.zeros(7, bool), where]),
        **TOLD,
    )
    np.testing.assert_array_equal(again.fold[7:], fitted.fold)
    for got, expected in zip(again.probes, fitted.probes, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_nan_stays_in_its_row(fitted, noise):
    space = noise[0].copy()
    space[4] = np.nan
    got = np.asarray(crossfit_probabilities(fitted, space, fitted.fold))
    assert np.isnan(got[4]).all()
    assert np.isfinite(np.delete(got, 4, axis=0)).all()


def test_a_fold_that_there_is_not_gives_nan(fitted, noise):
    fold = np.asarray(fitted.fold).copy()
    fold[7] = 3
    got = np.asarray(crossfit_probabilities(fitted, noise[0], fold))
    assert np.isnan(got[7]).all()
    assert np.isfinite(np.delete(got, 7, axis=0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_spread_over_devices_it_is_the_same(fitted, noise, where, kind):
    mesh = jax.make_mesh((2,), ("samples",), axis_types=(kind,))
    layout = NamedSharding(mesh, PartitionSpec("samples"))
    space, labels, rows = (jax.device_put(x, layout) for x in (*noise, where))
    again = fit_crossfit(KEY, space, labels, 2, folds=3, where=rows, **TOLD)
    np.testing.assert_array_equal(again.fold, fitted.fold)
    got = crossfit_probabilities(again, space, again.fold)
    assert got.sharding.spec[0] == "samples"
    expected = crossfit_probabilities(fitted, noise[0], fitted.fold)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_fewer_rows_than_folds_give_nan(noise):
    space, labels = noise
    two = np.arange(90) < 2
    fitted = fit_crossfit(KEY, space, labels, 2, folds=3, where=two, **TOLD)
    assert np.isnan(fitted.probes.kernel).all()
    assert np.isnan(crossfit_probabilities(fitted, space, None)).all()


def test_under_jit_it_is_the_same(fitted, noise, where):
    def run(space, labels, where):
        return fit_crossfit(KEY, space, labels, 2, folds=3, where=where, **TOLD)

    again = jax.jit(run)(*map(jnp.asarray, (*noise, where)))
    np.testing.assert_array_equal(again.fold, fitted.fold)
    np.testing.assert_allclose(
        again.probes.kernel, fitted.probes.kernel, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"folds": 1}, "folds must be a whole number of 2 or more"),
        ({"where": np.ones(4, bool)}, "where must have the axes"),
        ({"max_epochs": 0}, "max_epochs"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused(noise, told, message):
    with pytest.raises(ValueError, match=message):
        fit_crossfit(KEY, *noise, 2, **told)


@pytest.mark.usefixtures("unchecked")
def test_folds_that_do_not_fit_are_refused(fitted, noise):
    with pytest.raises(ValueError, match="the number of rows of space and fold"):
        crossfit_probabilities(fitted, noise[0], fitted.fold[:5])
    with pytest.raises(ValueError, match="width A"):
        crossfit_probabilities(fitted, noise[0][:, :7], None)
