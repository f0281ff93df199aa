"""Charts in training: whose samples they use, when they stop, and what they become."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas._src.layout import on_mesh
from jatlas.charts import (
    CNN,
    Chart,
    ChartState,
    ResNet20,
    adam,
    embed,
    fit_charts,
    flip_and_crop,
    from_module,
    learning,
    placement,
    sgd_cosine,
    with_preprocessing,
)
from jatlas.scenarios import totally_disjoint

KEY = jax.random.key(0)
NUM_CLASSES = 4
CHART = from_module(partial(CNN, (8, 8, 1), NUM_CLASSES, num_features=6))
fit = partial(fit_charts, KEY, CHART, batch_size=20)


@pytest.fixture(scope="module")
def problem():
    """Images of four noisy patterns, and two tasks of two classes each."""
    rng = np.random.default_rng(0)
    labels = (np.arange(200) % NUM_CLASSES).astype(np.int32)
    images = rng.normal(size=(NUM_CLASSES, 8, 8, 1))[labels]
    images = (images + rng.normal(size=images.shape)).astype(np.float32)
    test = np.arange(200) >= 160
    # The second task gets fewer samples: with one class less of its own to spare.
    tasks = totally_disjoint(0, labels, num_tasks=2, num_held_out=20, test=test)
    seen = tasks.seen.copy()
    seen[1, np.flatnonzero(seen[1])[:30]] = False
    return images, labels, tasks._replace(seen=seen)


@pytest.fixture(scope="module")
def fitted(problem):
    return fit(*problem, max_epochs=6, together=False)


def kernels(charts):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(charts.states)]


def assert_same(charts, others, **tolerance):
    for a, b in zip(kernels(charts), kernels(others), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_charts_learn_their_own_classes(problem, fitted):
    images, labels, tasks = problem
    for m in range(2):
        state = jax.tree.map(lambda leaf, m=m: leaf[m], fitted.states)
        logits = np.array(CHART.logits(state, jnp.array(images)))
        logits[:, ~tasks.classes[m]] = -np.inf
        own = tasks.presence[m] & tasks.test
        right = logits.argmax(axis=1) == labels
        assert own.sum() == 20
        assert right[own].mean() > 0.9
    assert (np.diff(fitted.train_loss[:, :3], axis=1) < 0).all()


def test_the_same_key_gives_the_same_charts_and_another_does_not(problem, fitted):
    assert_same(fitted, fit(*problem, max_epochs=6, together=False), rtol=0, atol=0)
    other = fit_charts(
        jax.random.key(1), CHART, *problem, batch_size=20, max_epochs=6, together=False
    )
    assert np.abs(kernels(fitted)[-1] - kernels(other)[-1]).max() > 0.01


@pytest.mark.slow
def test_side_by_side_and_one_after_another_are_the_same(problem, fitted):
    together = fit(*problem, max_epochs=6, together=True)
    assert_same(fitted, together, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(fitted.best_epoch, together.best_epoch)
    np.testing.assert_allclose(
        fitted.validation_loss, together.validation_loss, rtol=1e-3
    )


def test_a_chart_does_not_depend_on_the_others(problem, fitted):
    images, labels, tasks = problem
    alone = tasks._replace(
        **{name: getattr(tasks, name)[:1] for name in ("classes", "seen", "validation")}
    )
    one = fit(images, labels, alone, max_epochs=6, together=False)
    for a, b in zip(kernels(one), kernels(fitted), strict=True):
        np.testing.assert_array_equal(a[0], b[0])


@pytest.mark.parametrize("together", [False, True])
def test_samples_that_are_not_its_own_are_not_looked_at(problem, together):
    images, labels, tasks = problem
    used = (tasks.seen | tasks.validation).any(axis=0)
    spoilt = np.where(used[:, None, None, None], images, np.nan)
    assert not used.all()
    clean = fit(images, labels, tasks, max_epochs=1, together=together)
    assert_same(clean, fit(spoilt, labels, tasks, max_epochs=1, together=together))
    # And those that are its own are.
    spoilt = np.where(tasks.seen[1][:, None, None, None], np.nan, images)
    dirty = fit(spoilt, labels, tasks, max_epochs=1, together=together)
    assert np.isfinite(dirty.train_loss[0]).all()
    assert np.isnan(dirty.train_loss[1]).all()


def test_only_its_own_classes_are_scored(problem, fitted):
    """The head of a class that is not the task's gets no gradient, ever."""
    tasks = problem[2]
    keys = jax.vmap(partial(jax.random.fold_in, KEY))(jnp.arange(2))
    start = jax.jit(jax.vmap(lambda key: CHART.init(jax.random.fold_in(key, 0))))(keys)
    moved = np.abs(
        fitted.states.params["head"]["kernel"] - start.params["head"]["kernel"]
    ).max(axis=1)
    np.testing.assert_array_equal(moved > 0, tasks.classes)


def test_it_stops_early_at_its_own_best_epoch(problem):
    images, labels, tasks = problem
    rng = np.random.default_rng(1)
    noise = labels.copy()  # nothing to learn in task 1: it stops at once
    for name in ("seen", "validation"):
        own = getattr(tasks, name)[1]
        noise[own] = rng.choice(np.flatnonzero(tasks.classes[1]), own.sum())
    charts = fit(images, noise, tasks, max_epochs=12, patience=2, together=True)
    losses = np.asarray(charts.validation_loss)
    for m in range(2):
        ran = np.isfinite(losses[m])
        assert charts.best_epoch[m] == np.nanargmin(losses[m])
        assert ran.sum() == min(12, charts.best_epoch[m] + 3)
        np.testing.assert_array_equal(ran, np.isfinite(charts.train_loss[m]))
    assert np.isfinite(losses[1]).sum() < 12
    # The state that is kept is that of the best epoch.
    short = fit(images, noise, tasks, max_epochs=int(charts.best_epoch[1]) + 1)
    for a, b in zip(kernels(charts), kernels(short), strict=True):
        np.testing.assert_allclose(a[1], b[1], rtol=1e-3, atol=1e-4)


def test_losses_are_those_of_the_formula(problem, fitted):
    """The best validation loss, from the kept state, in NumPy."""
    images, labels, tasks = problem
    for m in range(2):
        state = jax.tree.map(lambda leaf, m=m: leaf[m], fitted.states)
        rows = tasks.validation[m]
        logits = np.asarray(CHART.logits(state, jnp.array(images)), np.float64)[rows]
        own = logits[:, tasks.classes[m]]
        log_sum = np.log(np.exp(own).sum(axis=1))
        loss = np.mean(log_sum - logits[np.arange(rows.sum()), labels[rows]])
        found = fitted.validation_loss[m, fitted.best_epoch[m]]
        assert found == pytest.approx(loss, rel=1e-4)


def test_without_validation_samples_the_last_state_is_kept(problem):
    images, labels, tasks = problem
    none = tasks._replace(validation=np.zeros_like(tasks.validation))
    charts = fit(images, labels, none, max_epochs=4, patience=1)
    assert charts.best_epoch.tolist() == [3, 3]
    assert np.isnan(charts.validation_loss).all()
    assert np.isfinite(charts.train_loss).all()


def test_a_chart_that_diverges_is_not_kept(problem):
    images, labels, tasks = problem
    wild = optax.sgd(1e30)
    charts = fit(images, labels, tasks, max_epochs=5, patience=2, optimizer=wild)
    assert np.isnan(charts.validation_loss).all()
    assert charts.best_epoch.tolist() == [-1, -1]
    assert all(np.isfinite(leaf).all() for leaf in kernels(charts))  # the start


def test_each_epoch_has_an_order_of_its_own():
    """A chart that records which samples it saw, in place of learning."""
    labels = np.arange(40) % NUM_CLASSES
    images = np.zeros((40, 8, 8, 1), np.float32)
    images[:, 0, 0, 0] = np.arange(40)
    tasks = totally_disjoint(0, labels, num_tasks=2, num_held_out=0)

    def train(state, images):
        first = images[0, 0, 0, 0].astype(int)  # batches of one: the sample's number
        step = state.statistics["step"]
        seen = state.statistics["seen"].at[step].set(first)
        logits = jnp.zeros((1, NUM_CLASSES)) * state.params["scale"]
        return logits, {"seen": seen, "step": step + 1}

    def init(key):
        rest = {"seen": jnp.zeros(60, int), "step": jnp.array(0)}
        return ChartState({"scale": jnp.ones(())}, rest)

    def logits(state, images):
        return jnp.zeros((len(images), NUM_CLASSES))

    recorder = Chart(init=init, train=train, embed=logits, logits=logits)
    none = tasks._replace(validation=np.zeros_like(tasks.validation))
    charts = fit_charts(
        KEY, recorder, images, labels, none, batch_size=1, max_epochs=3, together=False
    )
    for own, seen in zip(tasks.seen, charts.states.statistics["seen"], strict=True):
        size = own.sum()
        epochs = np.asarray(seen)[: 3 * size].reshape(3, size)
        for order in epochs:
            assert sorted(order.tolist()) == np.flatnonzero(own).tolist()
        assert not (epochs[0] == np.sort(epochs[0])).all()
        assert not (epochs[0] == epochs[1]).all()
        assert not (epochs[1] == epochs[2]).all()


@pytest.mark.slow
def test_the_optimizer_is_the_papers_unless_another_is_given(problem):
    images, labels, tasks = problem
    steep = 300 * images  # gradients far longer than the bound
    default = fit(steep, labels, tasks, max_epochs=1)
    assert_same(default, fit(steep, labels, tasks, max_epochs=1, optimizer=adam()))
    free = fit(steep, labels, tasks, max_epochs=1, optimizer=optax.adam(1e-3))
    assert np.abs(kernels(default)[-1] - kernels(free)[-1]).max() > 1e-5


def test_progress_is_reported_after_each_epoch(problem):
    seen = []
    charts = fit(*problem, max_epochs=2, together=False, report=seen.append)
    assert [(p.charts, p.epoch) for p in seen] == [
        ((0,), 0), ((0,), 1), ((1,), 0), ((1,), 1)
    ]  # fmt: skip
    assert seen[1].validation_loss[0] == charts.validation_loss[0, 1]


@pytest.mark.parametrize("together", [False, True])
def test_embed_is_each_chart_on_every_sample(problem, fitted, together):
    images = problem[0]
    rows = embed(fitted, images, batch_size=64, together=together)
    assert rows.shape == (2, 200, 6)
    for m in range(2):
        state = jax.tree.map(lambda leaf, m=m: leaf[m], fitted.states)
        expected = CHART.embed(state, jnp.array(images))
        np.testing.assert_allclose(rows[m], expected, rtol=1e-4, atol=1e-5)
    one = embed(fitted, images[:1], together=together)
    np.testing.assert_allclose(one, rows[:, :1], rtol=1e-4, atol=1e-5)


def test_charts_pass_through_jit(problem, fitted):
    images = jnp.array(problem[0][:5])
    rows = jax.jit(embed)(fitted, images)
    np.testing.assert_allclose(rows, embed(fitted, images), rtol=1e-4, atol=1e-5)


def spread_out(images, kind):
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    return jax.device_put(images, NamedSharding(mesh, PartitionSpec("samples")))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_images_on_several_devices_give_the_same_charts(problem, fitted, kind):
    images, labels, tasks = problem
    placed = spread_out(images, kind)
    charts = fit(placed, labels, tasks, max_epochs=6, together=False)
    assert_same(fitted, charts, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(fitted.best_epoch, charts.best_epoch)
    leaf = jax.tree.leaves(charts.states)[0]
    assert leaf.sharding.mesh == placed.sharding.mesh
    assert leaf.is_fully_replicated


@pytest.mark.parametrize(
    ("kind", "together"), [(AxisType.Auto, False), (AxisType.Explicit, True)]
)
def test_each_device_embeds_its_own_images(problem, fitted, kind, together):
    images = problem[0]
    placed = spread_out(images, kind)
    rows = embed(fitted, placed, batch_size=20, together=together)
    for shard in rows.addressable_shards:
        assert shard.data.shape == (2, 50, 6)
    expected = embed(fitted, images, batch_size=20, together=False)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_explicit_axes_are_seen_inside_of_jit(problem, fitted):
    placed = spread_out(problem[0], AxisType.Explicit)
    rows = jax.jit(partial(embed, batch_size=50))(fitted, placed)
    for shard in rows.addressable_shards:
        assert shard.data.shape == (2, 50, 6)
    expected = embed(fitted, problem[0], batch_size=20)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_replicated_images_on_explicit_axes_are_embedded_on_every_device(
    problem, fitted
):
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Explicit,))
    placed = jax.device_put(problem[0], NamedSharding(mesh, PartitionSpec()))
    rows = embed(fitted, placed, batch_size=20)
    assert rows.is_fully_replicated
    expected = embed(fitted, problem[0], batch_size=20)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def linear(num_pixels, num_outputs):
    """A chart that compiles in no time."""

    def rows(state, images):
        return images.reshape(len(images), -1) @ state.params

    def init(key):
        return ChartState(jax.random.normal(key, (num_pixels, num_outputs)), {})

    def train(state, images):
        return rows(state, images), {}

    return Chart(init=init, train=train, embed=rows, logits=rows)


@pytest.fixture(scope="module")
def light(problem):
    """Images in bytes, and four tasks of one class each."""
    images, labels, _ = problem
    pixels = np.clip(images * 40 + 128, 0, 255).astype(np.uint8)
    tasks = totally_disjoint(0, labels, num_tasks=4, num_held_out=0)
    return pixels, labels, tasks


RAW = with_preprocessing(linear(64, NUM_CLASSES), lambda x: (x - 127.0) / 64)
AUGMENT = partial(flip_and_crop, padding=0)
fit_raw = partial(
    fit_charts, KEY, max_epochs=2, batch_size=30, augment=AUGMENT, together=False
)


@pytest.fixture(scope="module")
def raw(light):
    return fit_raw(RAW, *light)


def test_bytes_are_trained_and_embedded_as_the_numbers_they_stand_for(light, raw):
    pixels, labels, tasks = light
    images = (pixels.astype(np.float32) - 127) / 64
    expected = fit_raw(linear(64, NUM_CLASSES), images, labels, tasks)
    assert_same(raw, expected, rtol=1e-4, atol=1e-5)
    rows = embed(raw, pixels, batch_size=30)
    params = np.asarray(raw.states.params)
    np.testing.assert_allclose(
        rows, images.reshape(200, -1) @ params, rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_bytes_stay_bytes_on_the_device(light):
    """From the compiled programs: only a batch of them becomes numbers."""
    pixels, labels, tasks = light
    optimizer, keys = adam(), jax.random.split(KEY, 4)
    samples = learning.share(jnp.asarray(pixels), labels, tasks, (0, 1, 2, 3), None)
    learners = learning.start(RAW, optimizer, keys)
    order = learning.shuffled(keys, samples.seen, 0)
    step = learning.step.lower(
        RAW, optimizer, learners, samples, order, 0, 20, None, AUGMENT
    ).compile()
    rows = jnp.zeros((4, 200, NUM_CLASSES))
    add = placement.add_rows.lower(
        RAW, learners.state, rows, samples.images, (0, 0, 0), 20, None
    ).compile()
    for program in (step.as_text(), add.as_text()):
        assert "u8[200,8,8,1]" in program
        assert not re.search(r"[fs]\d+\[200,8,8", program)


def test_only_some_of_the_charts_are_the_same_as_among_all(light, raw):
    """Bit for bit, one after another; what is drawn for a chart is its own."""
    told = []
    for only in ([2], (3, 0)):
        some = fit_raw(RAW, *light, only=only, report=lambda p: told.append(p.charts))
        chosen = jax.tree.map(lambda leaf, only=only: leaf[np.array(only)], raw)
        for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(chosen), strict=True):
            np.testing.assert_array_equal(a, b)
    assert told == [(2,)] * 2 + [(3,)] * 2 + [(0,)] * 2
    assert np.abs(np.diff(kernels(raw)[0], axis=0)).min(axis=(1, 2)).max() > 0


@pytest.mark.slow
def test_each_batch_is_augmented_anew_by_a_key_of_the_chart_and_the_place():
    """A chart of features that records what it was given, in place of learning."""
    labels = np.zeros(24, np.int32)
    seen = np.arange(24) % 2 == np.arange(2)[:, None]
    tasks = totally_disjoint(0, np.arange(24) % 2, num_tasks=2, num_held_out=0)
    none = np.zeros_like(seen)
    tasks = tasks._replace(seen=seen, validation=none, classes=np.ones((2, 1), bool))

    def train(state, images):
        step = state.statistics["step"]
        drawn = state.statistics["drawn"].at[step].set(images[0, 0])
        rest = {"drawn": drawn, "step": step + 1}
        return jnp.zeros((len(images), 1)) * state.params, rest

    def init(key):
        rest = {"drawn": jnp.zeros(6), "step": jnp.array(0)}
        return ChartState(jnp.ones(()), rest)

    def logits(state, images):
        return jnp.zeros((len(images), 1))

    def augment(key, images):
        return images + jax.random.uniform(key)

    recorder = Chart(init=init, train=train, embed=logits, logits=logits)
    images = np.zeros((24, 1), np.float32)
    charts = fit_charts(
        KEY, recorder, images, labels, tasks, batch_size=4, max_epochs=2,
        augment=augment, together=True,
    )  # fmt: skip
    drawn = np.asarray(charts.states.statistics["drawn"])
    assert drawn.shape == (2, 6)
    assert len(np.unique(drawn)) == 12
    assert ((drawn > 0) & (drawn < 1)).all()
    assert embed(charts, images).shape == (2, 24, 1)


class Normalised(nnx.Module):
    """Batch norm of the images themselves, whose statistics no weights change."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(1, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(64, NUM_CLASSES, rngs=rngs)

    def embed(self, images):
        return self.norm(images).reshape(len(images), -1)

    def __call__(self, images):
        return self.head(self.embed(images))


@pytest.mark.slow
def test_the_statistics_of_batch_norm_are_of_whole_batches_of_its_own(problem):
    """The last batch of an epoch is filled up with the first of the epoch again.

    Not with blank rows, and with nobody else's; and a chart that has done with its
    samples, while another has not, does not move.
    """
    images, labels, tasks = problem
    tasks = tasks._replace(validation=np.zeros_like(tasks.validation))
    counts = tasks.seen.sum(axis=1)
    assert (counts % 20 != 0).all()
    assert len(set(np.ceil(counts / 20))) == 2
    charts = fit_charts(
        KEY, from_module(Normalised), images, labels, tasks, batch_size=20,
        max_epochs=2, together=True,
    )  # fmt: skip
    keys = jax.vmap(partial(jax.random.fold_in, KEY))(jnp.arange(2))
    orders = [learning.shuffled(keys, tasks.seen, epoch).samples for epoch in range(2)]
    for m, count in enumerate(counts):
        mean, var = 0.0, 1.0
        for order in orders:
            own = np.asarray(order[m])[:count]
            assert sorted(own.tolist()) == np.flatnonzero(tasks.seen[m]).tolist()
            for start in range(0, count, 20):
                batch = images[np.resize(np.roll(own, -start), 20)]
                mean = 0.9 * mean + 0.1 * batch.mean(dtype=np.float64)
                var = 0.9 * var + 0.1 * batch.var(dtype=np.float64)
        norm = charts.states.statistics["norm"]
        np.testing.assert_allclose(norm["mean"][m], [mean], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(norm["var"][m], [var], rtol=1e-4)


@pytest.mark.slow
def test_residual_networks_learn_with_statistics_of_their_own(problem):
    images, labels, tasks = problem
    resnet = from_module(partial(ResNet20, (8, 8, 1), NUM_CLASSES))
    charts = fit_charts(
        KEY, resnet, images, labels, tasks, batch_size=20, max_epochs=3,
        optimizer=sgd_cosine(3 * 4), together=False,
    )  # fmt: skip
    means = np.asarray(charts.states.statistics["norm"]["mean"])
    assert means.shape == (2, 16)
    assert np.abs(means[0] - means[1]).max() > 0.01
    assert (charts.train_loss[:, -1] < charts.train_loss[:, 0]).all()
    assert embed(charts, images).shape == (2, 200, 64)


def test_no_device_is_sent_all_images(problem):
    """From the compiled programs: batches and gradients are sent, N images are not."""
    images, labels, tasks = problem
    chart, optimizer = linear(64, NUM_CLASSES), adam()
    placed = spread_out(images, AxisType.Auto)
    layout = on_mesh(placed)
    keys = placement.on_all(jax.random.split(KEY, 2), layout)
    with jax.set_mesh(layout.mesh):
        samples = learning.share(placed, labels, tasks, (0, 1), layout)
        learners = learning.start(chart, optimizer, keys)
        order = learning.shuffled(keys, samples.seen, 0)
        step = learning.step.lower(
            chart, optimizer, learners, samples, order, 0, 20, "samples"
        ).compile()
    like = jax.ShapeDtypeStruct((50, 8, 8, 1), jnp.float32)
    rows = placement.no_rows(chart, learners.state, like, layout)
    add = placement.add_rows.lower(
        chart, learners.state, rows, placed, (0, 0, 0), 20, layout
    ).compile()
    trained, embedded = step.as_text(), add.as_text()
    for program in (trained, embedded):
        assert "f32[50,8,8,1]" in program
        assert "f32[200," not in program
    assert "all-reduce(" in trained
    assert not re.search("all-|collective-|reduce-scatter", embedded)


def test_embedding_takes_no_memory_but_that_of_the_rows_and_a_chunk():
    chart, images = (
        linear(256, 3),
        jax.ShapeDtypeStruct((9_000, 16, 16, 1), jnp.float32),
    )
    states = jax.vmap(chart.init)(jax.random.split(KEY, 1))
    rows = jax.ShapeDtypeStruct((4, 9_000, 3), jnp.float32)
    program = placement.add_rows.lower(
        chart, states, rows, images, (0, 0, 0), 200, None
    ).compile()
    memory = program.memory_analysis()
    assert memory.alias_size_in_bytes == 4 * 9_000 * 3 * 4  # the rows, in place
    assert memory.temp_size_in_bytes <= 2 * 200 * 16 * 16 * 4


def test_an_integer_seed_is_the_key_of_that_seed(problem):
    images, labels, tasks = problem
    first, second = (
        fit_charts(key, CHART, images, labels, tasks, max_epochs=1)
        for key in (7, jax.random.key(7))
    )
    np.testing.assert_array_equal(first.train_loss, second.train_loss)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_before_any_compute(problem, fitted):
    images, labels, tasks = problem
    with pytest.raises(ValueError, match=r"images must be \(N, H, W, channels\)"):
        fit(images[..., 0], labels, tasks)
    with pytest.raises(ValueError, match="images must be floating point"):
        embed(fitted, (images * 9).astype(np.uint8))
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3 .* from 0") as e:
        fit(images, labels + 1, tasks)
    assert "where" not in str(e.value)  # there is no such argument
    other = from_module(partial(CNN, (12, 12, 1), 4))
    shapes = r"chart fails on images \(B, 8, 8, 1\), float32, .* yours, float32\(\d+, 8"
    with pytest.raises(ValueError, match=shapes):
        fit_charts(KEY, other, images, labels, tasks)
    with pytest.raises(ValueError, match=r"tasks\.seen must have the axes"):
        fit(images, labels, tasks._replace(seen=tasks.seen[:, 1:]))
    seen = tasks.seen & [[False], [True]]
    with pytest.raises(ValueError, match=r"charts \[0\] have no sample to learn from"):
        fit(images, labels, tasks._replace(seen=seen))
    with pytest.raises(
        ValueError, match=r"places are both in tasks\.seen and in tasks"
    ):
        fit(images, labels, tasks._replace(validation=tasks.seen))
    with pytest.raises(ValueError, match=r"logits \(B, 4\).* it gives \(1, 3\)"):
        fit_charts(KEY, from_module(partial(CNN, (8, 8, 1), 3)), images, labels, tasks)
    for name in ("batch_size", "max_epochs", "patience"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of 1"):
            fit_charts(KEY, CHART, images, labels, tasks, **{name: 0})
    with pytest.raises(
        ValueError, match="number of images must be a whole number of 1"
    ):
        embed(fitted, images[:0])
    for only in ([], [0, 0], [2], [-1]):
        with pytest.raises(
            ValueError, match=r"only must name some of the charts 0\.\.1"
        ):
            fit(images, labels, tasks, only=only)
    with pytest.raises(
        ValueError, match=r"augment must keep .* it makes \(1, 4, 8, 1\)"
    ):
        fit(images, labels, tasks, augment=lambda key, x: x[:, ::2])
    with pytest.raises(ValueError, match=r"images must be floating point.* give bytes"):
        fit((images * 9).astype(np.uint8), labels, tasks)
    with pytest.raises(ValueError, match=r"fit_charts runs on the host.* of images"):
        jax.jit(lambda images: fit(images, labels, tasks).states)(images)
    with pytest.raises(ValueError, match=r"tasks.seen gives charts \[0 1\] samples of"):
        fit(images, labels, tasks._replace(seen=tasks.seen[::-1]))
