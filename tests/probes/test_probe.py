"""The probe: what it learns, what it ignores, and when it stops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas import fit_probe, probe_logits
from jatlas.probes.probe import standardized
from jatlas.probes.training import _fit

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def clusters():
    """Two hundred rows of four overlapping clusters, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    space = rng.normal(size=(4, 12))[labels] + rng.normal(size=(200, 12))
    return jnp.array(space, jnp.float32), jnp.array(labels)


@pytest.fixture(scope="module")
def parts():
    number = np.arange(200)
    return jnp.array(number < 120), jnp.array((number >= 120) & (number < 160))


def by_hand(space):
    """The row standardisation of the paper, in NumPy."""
    x = np.asarray(space, np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)


@jax.jit
def a_step(weights, state, x, labels, rate):
    """Of optax's Adam on the mean loss of these rows."""

    def loss(weights):
        w1, b1, w2, b2 = weights
        logits = jax.nn.relu(x @ w1 + b1) @ w2 + b2
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    update, state = optax.adam(rate).update(jax.grad(loss)(weights), state)
    return optax.apply_updates(weights, update), state


def test_it_learns_what_it_can_and_generalises(clusters, parts):
    space, labels = clusters
    train, validation = parts
    probe = fit_probe(KEY, space, labels, 4, where=train, validation=validation)
    test = ~np.asarray(train | validation)
    right = np.asarray(probe_logits(probe, space)).argmax(axis=1) == np.asarray(labels)
    assert right[test].mean() > 0.85
    # Labels that say nothing of the rows are not learned beyond those it has seen.
    noise = jax.random.randint(jax.random.key(5), labels.shape, 0, 4)
    probe = fit_probe(KEY, space, noise, 4, where=train, validation=validation)
    right = np.asarray(probe_logits(probe, space)).argmax(axis=1) == np.asarray(noise)
    assert right[test].mean() < 0.6


def test_logits_are_those_of_the_formula(clusters):
    space, labels = clusters
    probe = fit_probe(KEY, space, labels, 4, max_epochs=2)
    w1, b1, w2, b2 = (np.asarray(leaf, np.float64) for leaf in probe[:4])
    expected = np.maximum(by_hand(space) @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(probe_logits(probe, space), expected, atol=1e-5)
    assert np.std(expected) > 0.1


def test_one_full_batch_is_one_step_of_adam(clusters):
    """An epoch of one batch, done again with optax outside of the loop."""
    space, labels = clusters
    start = fit_probe(KEY, space, labels, 4, max_epochs=1, learning_rate=0.0)
    after = fit_probe(KEY, space, labels, 4, max_epochs=1, batch_size=200)
    x = jnp.array(by_hand(space), jnp.float32)
    weights = tuple(start[:4])
    expected, _ = a_step(weights, optax.adam(1e-3).init(weights), x, labels, 1e-3)
    for leaf, want in zip(after[:4], expected, strict=True):
        # Adam's first step is the sign of the gradient: alike but where that is noise.
        close = np.isclose(leaf, want, atol=1e-5)
        assert close.mean() > 0.99
    assert not np.allclose(after.kernel, start.kernel, atol=1e-4)


def test_rows_that_do_not_count_are_not_looked_at(clusters, parts):
    space, labels = clusters
    train, validation = parts
    rest = ~(train | validation)
    spoilt = jnp.where(rest[:, None], jnp.nan, space)
    wrong = jnp.where(rest, 99, labels)
    options = {"where": train, "validation": validation, "max_epochs": 5}
    clean = fit_probe(KEY, space, labels, 4, **options)
    dirty = jax.jit(lambda s, y: fit_probe(KEY, s, y, 4, **options))(spoilt, wrong)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_masked_is_dropped_and_padding_changes_nothing(clusters, parts):
    """The same batches in the same order, wherever and however many the others are."""
    space, labels = clusters
    kept = np.flatnonzero(parts[0] | parts[1])[::2]
    assert np.any(np.diff(kept) != 1)

    def fit(rows):
        train, validation = (part[rows] & (rows >= 0) for part in parts)
        masks = {"where": train, "validation": validation}
        return fit_probe(KEY, space[rows], labels[rows], 4, **masks, max_epochs=10)

    scattered = np.where(np.isin(np.arange(200), kept), np.arange(200), -1)
    padded = np.pad(kept, (0, 200 - kept.size), constant_values=-1)
    masked = fit(scattered)
    for rows in (padded, kept):
        for a, b in zip(fit(rows), masked, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_it_is_compiled_once_for_many_row_counts_and_settings(clusters, parts):
    space, labels = clusters
    train, validation = parts
    fit_probe(KEY, space, labels, 4)
    compiled = _fit._cache_size()
    settings = itertools.product((9, 50), (1, 3), (1e-4, 1e-3))
    ends = [
        fit_probe(
            KEY,
            space,
            labels,
            4,
            where=train & (jnp.arange(200) < count),
            validation=validation & (jnp.arange(200) < 111 + count),
            max_epochs=max_epochs,
            patience=max_epochs,
            learning_rate=learning_rate,
        ).hidden_kernel
        for count, max_epochs, learning_rate in settings
    ]
    assert len(np.unique(ends, axis=0)) == 8
    assert _fit._cache_size() == compiled


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_sharded_is_single_and_gathers_no_rows(clusters, parts, kind):
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    over = NamedSharding(mesh, PartitionSpec("samples"))

    def fit(space, labels, train, validation):
        masks = {"where": train, "validation": validation}
        return fit_probe(KEY, space, labels, 4, **masks, max_epochs=5)

    single = fit(*clusters, *parts)
    placed = jax.device_put((*clusters, *parts), over)
    program = jax.jit(fit).lower(*placed).compile()
    sharded = program(*placed)
    assert all(leaf.sharding.is_fully_replicated for leaf in sharded)
    for a, b in zip(sharded, single, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    logits = probe_logits(sharded, placed[0])
    assert logits.sharding.spec[0] == "samples"
    np.testing.assert_allclose(
        logits, probe_logits(single, clusters[0]), rtol=1e-4, atol=1e-6
    )
    # Of the 200 rows a device has its 50 and a batch at a time.
    assert "f32[50,12]" in program.as_text()
    assert "f32[128,12]" in program.as_text()
    assert "f32[200,12]" not in program.as_text()


def test_it_stops_early_and_keeps_the_best_epoch(clusters, parts):
    space, labels = clusters
    train, validation = parts
    options = {"where": train, "validation": validation, "learning_rate": 0.03}
    stopped = fit_probe(KEY, space, labels, 4, patience=3, **options)
    assert 0 < stopped.best_epoch < 96
    # As many epochs and no more, with nothing to stop by, end in the same weights.
    epochs = int(stopped.best_epoch) + 1
    plain = fit_probe(
        KEY, space, labels, 4, where=train, learning_rate=0.03, max_epochs=epochs
    )
    np.testing.assert_allclose(stopped.kernel, plain.kernel, rtol=1e-4, atol=1e-5)
    logits = probe_logits(stopped, space)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    loss = float(losses[np.asarray(validation)].mean())
    assert float(stopped.validation_loss) == pytest.approx(loss, rel=1e-4)
    # One more epoch than was kept is no better.
    longer = fit_probe(KEY, space, labels, 4, **options, max_epochs=epochs + 3)
    assert longer.best_epoch == stopped.best_epoch


def test_rows_for_validation_are_not_learned_from(clusters, parts):
    space, labels = clusters
    validation = parts[1]
    options = {"validation": validation, "max_epochs": 3}
    default = fit_probe(KEY, space, labels, 4, **options)
    explicit = fit_probe(KEY, space, labels, 4, where=~validation, **options)
    np.testing.assert_array_equal(default.kernel, explicit.kernel)


def test_rows_are_not_learned_from_in_the_order_in_which_they_stand(clusters):
    """A chain of steps of one row each: what it ends in depends on their order."""
    space, labels = clusters
    key = jax.random.key(1)  # one of the five in six that draw another order
    options = {"where": jnp.arange(200) < 3, "batch_size": 1, "max_epochs": 1}
    probe = fit_probe(key, space, labels, 4, learning_rate=0.05, **options)
    start = fit_probe(key, space, labels, 4, learning_rate=0.0, **options)
    x = jnp.array(by_hand(space), jnp.float32)

    def ends_in(order):
        weights = tuple(start[:4])
        state = optax.adam(0.05).init(weights)
        for row in order:
            one = slice(row, row + 1)
            weights, state = a_step(weights, state, x[one], labels[one], 0.05)
        return weights[2]

    apart = {
        order: np.abs(ends_in(order) - probe.kernel).max()
        for order in itertools.permutations(range(3))
    }
    assert apart.pop((0, 1, 2)) > 1e-3
    assert min(apart.values()) < 1e-5  # it is one of the other orders


def test_another_key_starts_elsewhere(clusters):
    space, labels = clusters
    still = {"max_epochs": 1, "learning_rate": 0.0}
    one, again, other = (
        fit_probe(jax.random.key(seed), space, labels, 4, **still) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.kernel, again.kernel)
    assert np.abs(one.kernel - other.kernel).max() > 0.01
    assert np.abs(one.hidden_kernel - other.hidden_kernel).max() > 0.01


def test_without_validation_the_last_epoch_is_kept(clusters):
    space, labels = clusters
    probe = fit_probe(KEY, space, labels, 4, max_epochs=3)
    assert probe.best_epoch == 2
    losses = optax.softmax_cross_entropy_with_integer_labels(
        probe_logits(probe, space), labels
    )
    assert float(probe.validation_loss) == pytest.approx(float(losses.mean()), rel=1e-5)


def test_without_validation_the_loss_is_that_of_the_rows_learned_from(clusters, parts):
    space, labels = clusters
    train, _ = parts
    none = np.zeros(200, bool)
    probe = fit_probe(KEY, space, labels, 4, where=train, validation=none, max_epochs=3)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        probe_logits(probe, space), labels
    )
    expected = float(losses[np.asarray(train)].mean())
    assert float(probe.validation_loss) == pytest.approx(expected, rel=1e-5)
    nothing = fit_probe(KEY, space, labels, 4, where=none, max_epochs=3)
    assert jnp.isnan(nothing.validation_loss)


@pytest.mark.parametrize(
    ("scale", "share"), [(0.1, 0.9995), (0.01, 0.953), (1e-3, 0.302), (1e-4, 0.032)]
)
def test_a_row_that_varies_little_is_not_brought_to_one(scale, share):
    """The figures of the docstring, and the formula."""
    rows = np.random.default_rng(0).normal(size=(20, 64))
    rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    expected = scale * rows / np.sqrt(scale**2 + 1e-5)
    got = standardized(np.float32(scale * rows))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    assert round(float(got.std(axis=1).mean()), len(str(share)) - 2) == share


def test_vmap_over_keys_spaces_masks_and_learning_rates_is_a_loop(clusters, parts):
    space, labels = clusters
    train, validation = parts
    keys = jax.random.split(KEY, 3)
    spaces = jnp.stack([space, space[:, ::-1] * 2, space])
    masks = jnp.stack([train, train & (jnp.arange(200) > 40), train])
    rates = jnp.array([1e-3, 3e-3, 1e-1])

    def fit(key, space, train, rate):
        options = {"where": train, "validation": validation, "learning_rate": rate}
        return fit_probe(key, space, labels, 4, **options, max_epochs=8, patience=2)

    together = jax.vmap(fit)(keys, spaces, masks, rates)
    for i in range(3):
        alone = fit(keys[i], spaces[i], masks[i], float(rates[i]))
        assert together.best_epoch[i] == alone.best_epoch
        np.testing.assert_allclose(together.kernel[i], alone.kernel, atol=2e-4)
    # They did not stop together.
    assert together.best_epoch.min() + 2 < together.best_epoch.max()


def test_a_row_that_counts_and_is_no_number_gives_no_number(clusters):
    space, labels = clusters
    probe = fit_probe(KEY, space.at[3, 0].set(jnp.nan), labels, 4, max_epochs=1)
    assert all(jnp.isnan(leaf).all() for leaf in probe[:4])
    none = jnp.zeros(200, bool)
    probe = fit_probe(KEY, space, labels, 4, where=none, max_epochs=1)
    assert all(jnp.isnan(leaf).all() for leaf in probe[:4])
    beyond = labels.at[7].set(4)
    probe = jax.jit(lambda y: fit_probe(KEY, space, y, 4, max_epochs=1))(beyond)
    assert all(jnp.isnan(leaf).all() for leaf in probe[:4])


def test_training_that_diverges_gives_no_number(clusters, parts):
    space, labels = clusters
    train, validation = parts
    probe = fit_probe(
        KEY, space, labels, 4, where=train, validation=validation, learning_rate=1e38
    )
    assert all(jnp.isnan(leaf).all() for leaf in probe[:5])


def test_gradients_of_the_logits_are_finite_at_constant_rows(clusters):
    space, labels = clusters
    probe = fit_probe(KEY, space, labels, 4, max_epochs=1)
    flat = space.at[0].set(0.0).at[1].set(3.0)
    gradient = jax.grad(lambda s: probe_logits(probe, s).sum())(flat)
    assert jnp.isfinite(gradient).all()
    assert jnp.abs(gradient[2]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes_are_computed_in_float32_at_least(clusters, dtype):
    space, labels = clusters
    with jax.enable_x64(dtype == jnp.float64):
        probe = fit_probe(KEY, space.astype(dtype), labels, 4, max_epochs=20)
        logits = probe_logits(probe, space.astype(dtype))
        expected = jnp.float64 if dtype == jnp.float64 else jnp.float32
        assert probe.kernel.dtype == logits.dtype == expected
        assert probe.best_epoch.dtype == jnp.int32
        assert (logits.argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_before_any_compute(clusters):
    space, labels = clusters
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2"):
        fit_probe(KEY, space, labels, 3)
    with pytest.raises(ValueError, match="labels must be one a row"):
        fit_probe(KEY, space, labels[:-1], 4)
    with pytest.raises(ValueError, match="validation must be boolean"):
        fit_probe(KEY, space, labels, 4, validation=labels)
    rows = jnp.arange(200) < 9
    with pytest.raises(
        ValueError, match="9 places are both in where and in validation"
    ):
        fit_probe(KEY, space, labels, 4, where=rows, validation=rows)
    for name in ("hidden", "batch_size", "max_epochs", "patience"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of 1 or"):
            fit_probe(KEY, space, labels, 4, **{name: 0})
    probe = fit_probe(KEY, space, labels, 4, max_epochs=1)
    with pytest.raises(ValueError, match="width A of the space and of the probe"):
        probe_logits(probe, space[:, 1:])
