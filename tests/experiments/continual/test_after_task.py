"""What is measured after a task, on a step that is made up."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_chart import LINEAR

import jatlas
from experiments.continual import after_task, growing
from experiments.continual.measure import ContinualOptions
from experiments.encoders import chart_kinds
from experiments.runs import benches, settings

SEED, T, WIDTH = 0, 1, 10
OPTIONS = ContinualOptions(
    dataset="tiny", num_anchors=10, num_public=120, probe_epochs=30
)


@pytest.fixture(scope="module")
def bench(tiny):
    with pytest.MonkeyPatch.context() as patch:
        kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: LINEAR)
        patch.setitem(chart_kinds.KINDS, "cnn", kind)
        yield benches.prepare(OPTIONS, tiny, Path())


@pytest.fixture(scope="module")
def deal(bench):
    return growing.deal(bench, settings.parse("T5"), SEED)


@pytest.fixture(scope="module")
def left(bench, deal):
    """A reference that knows the class, charts that are noise, a head that is right."""
    labels = bench.dataset.labels[deal.kept]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, labels.size, WIDTH)).astype(np.float32)
    state, anchors = growing.first(bench, deal), jnp.asarray(deal.anchors)
    blind, oracle = state.blind, state.oracle
    for rows, present in zip(jnp.asarray(noise[:2]), deal.presence, strict=False):
        relative = jatlas.relativize(rows, rows[anchors])
        blind = jatlas.running.atlas.add(blind, relative, jnp.ones(labels.size, bool))
        oracle = jatlas.running.atlas.add(oracle, relative, jnp.asarray(present))
    classes = jax.nn.one_hot(labels, WIDTH)
    # The head is sure of a class that has not come yet; that must not count.
    logits = classes + 9.0 * jax.nn.one_hot(9, WIDTH)
    finetuned = bench.encoders["cnn"].chart.init(jax.random.key(0))
    return growing.Step(
        growing.State(blind, oracle, tuple(jnp.asarray(noise[:2])), finetuned),
        classes + 0.01 * noise[2],
        jnp.asarray(noise[2]),
        logits,
        {"training": 3.0, "joining": 1.0, "end_to_end": 5.0},
    )


@pytest.mark.slow
def test_each_method_is_measured_on_the_classes_so_far(bench, deal, left):
    rows = after_task.measured(bench, SEED, deal, T, left)
    assert {row["step"] for row in rows} == {T + 1}
    found = {(r["protocol"], r["space"], r["metric"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    assert found["both", "end_to_end", "accuracy"] == 1
    assert found["both", "end_to_end", "class_mean_accuracy"] == 1
    assert found["both", "finetuned_head", "accuracy"] == 1
    assert found["both", "finetuned", "accuracy"] < 0.6  # noise, of four classes
    tasks = {m for _, space, m in found if space == "atlas" and "task" in m}
    assert tasks == {"accuracy_task_1", "accuracy_task_2"}
    parts = [found["blind", "atlas", name] for name in sorted(tasks)]
    assert found["blind", "atlas", "accuracy"] == pytest.approx(np.mean(parts))
    assert found["blind", "atlas", "seconds"] == 1
    state = 4 * deal.kept.size * (OPTIONS.num_anchors + 1)
    assert found["blind", "atlas", "bytes"] == state
    assert found["blind", "concat", "bytes"] == 2 * 4 * deal.kept.size * WIDTH
    public = deal.tasks.held_out.sum()
    assert found["blind", "consensus_rows", "bytes"] == 2 * 4 * public * WIDTH
    width = 2 * WIDTH
    moments = 2 + width + 2 * WIDTH**2 + width**2 + 2 * width + 2 * 2
    assert found["blind", "consensus", "bytes"] == 4 * moments
    assert found["blind", "consensus", "seconds"] > 0
    for protocol in ("blind", "oracle"):
        assert 0 <= found[protocol, "consensus", "accuracy"] <= 1
        assert 0 <= found[protocol, "consensus", "cka"] <= 1
    assert found["both", "pixels", "bytes"] == public * bench.dataset.images[0].size
    assert found["both", "charts", "bytes"] == 2 * found["both", "finetuned", "bytes"]


def test_a_head_whose_logits_are_no_numbers_is_never_right(bench, deal, left):
    """Nor is it where the class is 0, the first that a bare argmax would name."""
    labels = bench.dataset.labels[deal.kept]
    unknown = labels == 0
    known = deal.tasks.classes[: T + 1].any(axis=0)
    assert known[0]
    logits = jnp.where(unknown[:, None], jnp.nan, left.logits)
    rows = after_task.measured(bench, SEED, deal, T, left._replace(logits=logits))
    (found,) = (
        row["value"]
        for row in rows
        if (row["space"], row["metric"]) == ("finetuned_head", "accuracy")
    )
    tested = growing.cut(SEED, deal, T).test
    assert found == pytest.approx((~unknown)[tested].mean())
    assert found < 1


def test_cka_is_with_the_end_to_end_space_on_test_samples_of_these_classes(
    bench, deal, left
):
    rows = after_task.measured(bench, SEED, deal, T, left)
    found = {
        (r["protocol"], r["space"]): r["value"] for r in rows if r["metric"] == "cka"
    }
    tested = growing.cut(SEED, deal, T).test

    def cka(x, y):
        x, y = (np.asarray(a, np.float64)[tested] for a in (x, y))
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        cross, own, other = (
            np.linalg.norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))
        )
        return cross**2 / (own * other)

    absolute = np.asarray(left.reference, np.float64)
    unit = absolute / np.linalg.norm(absolute, axis=1, keepdims=True)
    relative = unit @ unit[deal.anchors].T
    atlas = np.asarray(left.state.blind.total) / 2
    assert found["blind", "atlas"] == pytest.approx(cka(atlas, relative), abs=1e-4)
    both = np.hstack(left.state.concatenated)
    assert found["blind", "concat"] == pytest.approx(cka(both, absolute), abs=1e-4)
    own = [
        np.where(present[:, None], chart, 0)
        for present, chart in zip(
            deal.presence[:2], left.state.concatenated, strict=True
        )
    ]
    assert found["oracle", "concat"] == pytest.approx(
        cka(np.hstack(own), absolute), abs=1e-4
    )


def test_nystroem_coordinates_give_the_atlas_kernel_back_at_the_anchors(
    bench, deal, left
):
    rows, _ = after_task.spaces(bench, deal, left)["blind", "atlas_nystroem"]
    at = np.asarray(rows)[deal.anchors]
    kernel = np.asarray(left.state.blind.total)[deal.anchors] / 2
    np.testing.assert_allclose(at @ at.T, kernel, atol=0.02)  # the ridge


def test_consensus_rows_are_those_of_all_charts_or_of_a_samples_own(bench, deal, left):
    spaces = after_task.spaces(bench, deal, left)
    charts, public = left.state.concatenated, deal.tasks.held_out[deal.kept]
    fitted = jatlas.fit_consensus(
        [x[public] for x in charts],
        np.ones((2, public.sum()), bool),
        num_features=OPTIONS.num_anchors,
    )
    one, other = (jatlas.apply_consensus(fitted, m, x) for m, x in enumerate(charts))
    blind, _ = spaces["blind", "consensus"]
    np.testing.assert_allclose(blind, (one + other) / 2, atol=1e-4)
    oracle, _ = spaces["oracle", "consensus"]
    first, second = deal.presence[:2]
    np.testing.assert_allclose(oracle[first], one[first], atol=1e-4)
    np.testing.assert_allclose(oracle[second], other[second], atol=1e-4)
    assert np.isnan(oracle[~(first | second)]).all()
