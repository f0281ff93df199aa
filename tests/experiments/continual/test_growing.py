"""What goes from task to task: who is in it, what joins it, what never comes back."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_chart import LINEAR

from experiments.continual import growing
from experiments.continual.measure import ContinualOptions
from experiments.encoders import chart_kinds
from experiments.runs import benches, settings
from jatlas.charts import Charts, training

SEED, NUM_PUBLIC = 3, 100
OPTIONS = ContinualOptions(
    dataset="tiny", num_anchors=10, num_public=NUM_PUBLIC, max_epochs=1, seeds=(SEED,)
)
SETTING = settings.parse("T2")


def silent(what, share):
    pass


@pytest.fixture(scope="module")
def bench(tiny):
    with pytest.MonkeyPatch.context() as patch:
        kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: LINEAR)
        patch.setitem(chart_kinds.KINDS, "cnn", kind)
        yield benches.prepare(OPTIONS, tiny, Path())


def steps(bench, deal, num_steps=2):
    """What each task leaves behind."""
    left, state = [], growing.first(bench, deal)
    for t in range(num_steps):
        left.append(growing.step(bench, SETTING, SEED, deal, t, state, silent))
        state = left[-1].state
    return left


@pytest.fixture(scope="module")
def grown(bench):
    deal = growing.deal(bench, SETTING, SEED)
    return deal, steps(bench, deal)


@pytest.mark.parametrize("name", ["S4_N2", "P80_20", "T5"])
def test_no_task_is_trained_on_a_public_sample_and_all_have_a_task(bench, name):
    deal = growing.deal(bench, settings.parse(name), SEED)
    tasks, public = deal.tasks, deal.tasks.held_out
    assert public.sum() == NUM_PUBLIC
    assert not (public & bench.dataset.test).any()
    assert not (public & (tasks.seen | tasks.validation).any(axis=0)).any()
    assert deal.kept.tolist() == np.flatnonzero(public | tasks.test).tolist()
    assert public[deal.kept[deal.anchors]].all()
    assert len(set(deal.anchors)) == OPTIONS.num_anchors
    assert deal.presence.any(axis=0).all()
    of_class = tasks.classes[:, bench.dataset.labels[deal.kept]]
    assert (of_class | ~deal.presence).all()


def test_who_learns_and_who_is_scored_belongs_to_the_tasks_so_far(bench):
    deal = growing.deal(bench, settings.parse("T5"), SEED)
    labels = bench.dataset.labels[deal.kept]
    public = deal.tasks.held_out[deal.kept]
    for t in range(5):
        train, validation, test = growing.cut(SEED, deal, t)
        known = deal.tasks.classes[: t + 1].any(axis=0)[labels]
        np.testing.assert_array_equal(train | validation, known & public)
        assert not (train & validation).any()
        assert validation.sum() == (known & public).sum() // 10
        np.testing.assert_array_equal(test, known & ~public)


def test_end_to_end_has_the_training_data_of_all_tasks_so_far(bench):
    tasks = growing.deal(bench, settings.parse("S4_N2"), SEED).tasks
    whole = growing.end_to_end(tasks)
    for t in range(len(tasks.seen)):
        np.testing.assert_array_equal(whole.seen[t], tasks.seen[: t + 1].any(axis=0))
        assert not (whole.seen[t] & whole.validation[t]).any()
        np.testing.assert_array_equal(
            whole.classes[t], tasks.classes[: t + 1].any(axis=0)
        )


def test_the_state_is_the_mean_of_cosines_over_the_charts(grown):
    deal, left = grown
    state = left[-1].state
    relative = []
    for rows in state.concatenated:
        x = np.asarray(rows, np.float64)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        relative.append(x @ x[deal.anchors].T)
    np.testing.assert_allclose(state.blind.total, sum(relative), atol=1e-4)
    assert (np.asarray(state.blind.count) == 2).all()
    own = np.where(deal.presence[0][:, None], *relative)  # in T2 each is in one task
    np.testing.assert_allclose(state.oracle.total, own, atol=1e-4)
    assert (np.asarray(state.oracle.count) == 1).all()


def test_the_state_is_as_large_after_each_task_and_a_concatenation_grows(grown):
    deal, left = grown
    rows, anchors = deal.kept.size, OPTIONS.num_anchors
    for t, of_task in enumerate(left):
        assert growing.size(of_task.state.blind) == 4 * rows * (anchors + 1)
        width = sum(own.shape[1] for own in of_task.state.concatenated)
        assert width == (t + 1) * of_task.reference.shape[1]
        assert all(value > 0 for value in of_task.seconds.values())


def test_images_of_past_tasks_are_not_looked_at_again(bench, grown):
    deal, left = grown
    past = (deal.tasks.seen | deal.tasks.validation)[0]
    gone = bench.dataset.images.copy()
    gone[past] = 255 - gone[past]
    encoder = bench.encoders["cnn"]._replace(inputs=gone)
    blank = bench._replace(encoders={"cnn": encoder})
    again = growing.step(blank, SETTING, SEED, deal, 1, left[0].state, silent)
    for new, old in zip(
        jax.tree.leaves(again.state), jax.tree.leaves(left[1].state), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    # It can be told: the end-to-end chart does look at them.
    assert not np.array_equal(again.reference, left[1].reference)


def test_fine_tuning_begins_where_the_last_task_ended(bench, grown, monkeypatch):
    deal, left = grown
    begun = left[0].state.finetuned

    def untrained(key, chart, *rest, only, **told):
        states = jax.tree.map(lambda leaf: leaf[None], chart.init(key))
        losses = jnp.full((1, 1), jnp.nan)
        return Charts(chart, states, losses, losses, jnp.array([-1]))

    monkeypatch.setattr(training, "fit_charts", untrained)
    again = growing.step(bench, SETTING, SEED, deal, 1, left[0].state, silent)
    for new, old in zip(
        jax.tree.leaves(again.state.finetuned), jax.tree.leaves(begun), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    encoder = bench.encoders["cnn"]
    inputs = jnp.asarray(encoder.inputs[deal.kept])
    near = {"rtol": 1e-4, "atol": 1e-4}
    rows, logits = (
        encoder.chart.embed(begun, inputs),
        encoder.chart.logits(begun, inputs),
    )
    np.testing.assert_allclose(again.finetuned, rows, **near)
    np.testing.assert_allclose(again.logits, logits, **near)


def test_fine_tuning_goes_on_from_task_to_task(grown):
    _, (first, second) = grown
    np.testing.assert_array_equal(first.finetuned, first.state.concatenated[0])
    for other in (first.finetuned, second.state.concatenated[1]):
        assert not np.array_equal(second.finetuned, other)


@pytest.mark.parametrize(
    ("number", "message"),
    [(400, "leaves none to train on"), (8, "classifiers learn from these")],
)
def test_too_many_and_too_few_public_samples_are_refused(bench, number, message):
    other = bench._replace(options=replace(OPTIONS, num_public=number))
    with pytest.raises(ValueError, match=rf"--num-public {number} .*{message}"):
        growing.deal(other, SETTING, SEED)
