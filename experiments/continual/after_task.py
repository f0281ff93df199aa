"""The measurements after each task of a sequence."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.continual import consensus, growing
from experiments.continual.consensus import Joined
from experiments.continual.growing import Deal, Step
from experiments.measures import guesses, metrics
from experiments.measures.nystroem import orthonormal
from experiments.measures.splits import Cut
from experiments.runs.benches import Bench
from experiments.runs.rows import Rows

# By protocol and name: (K, anything), and the end-to-end space of the same kind, with
# which it is compared.
Spaces = dict[tuple[str, str], tuple[jax.Array, jax.Array | None]]


def measured(bench: Bench, seed: int, deal: Deal, t: int, left: Step) -> Rows:
    """The rows of one step: accuracies, CKA, bytes and seconds.

    Args:
        bench: from `benches.prepare`.
        seed: of the classifiers.
        deal: who has what.
        t: the task, counted from 0; in the rows from 1.
        left: what it left behind.
    """
    labels = bench.dataset.labels[deal.kept]
    parts = growing.cut(seed, deal, t)
    scored = {f"_task_{s + 1}": deal.presence[s] & parts.test for s in range(t + 1)}
    scored[""] = parts.test
    values = {
        where: _of_space(bench, seed, space, like, labels, parts, scored)
        for where, (space, like) in spaces(bench, deal, left).items()
    }
    known = deal.tasks.classes[: t + 1].any(axis=0)
    guess = guesses.likely(np.where(known, left.logits, -np.inf))
    values["both", "finetuned_head"] = accuracies(guess, labels, scored)
    for where, numbers in costs(bench, deal, t, left).items():
        values[where] = values.get(where, {}) | numbers
    return [
        {
            "protocol": protocol,
            "space": space,
            "step": t + 1,
            "metric": metric,
            "value": value,
        }
        for (protocol, space), numbers in values.items()
        for metric, value in numbers.items()
    ]


def spaces(bench: Bench, deal: Deal, left: Step) -> Spaces:
    """The spaces that are compared, and each with which.

    Under `oracle` a concatenation has zeros for the charts that a sample does not have,
    and there are no Nystroem coordinates: anchors of later tasks have no row yet. The
    consensus is of all charts so far, also where a sample's own chart alone is applied.
    """
    state, absolute = left.state, left.reference
    anchors = jnp.asarray(deal.anchors)
    relative = jatlas.relativize(absolute, absolute[anchors])
    blind = jatlas.running.atlas.value(state.blind)
    known = zip(deal.presence, state.concatenated, strict=False)
    masked = [jnp.where(present[:, None], rows, 0) for present, rows in known]
    charts = list(state.concatenated)
    joined = consensus_of(bench, deal, charts)
    presence = jnp.asarray(deal.presence[: len(charts)])
    by_task_chart = jatlas.merge_consensus(joined.consensus, charts, presence)
    agreed = consensus_of(bench, deal, [absolute]).merged
    pixels = bench.dataset.images[deal.kept].reshape(deal.kept.size, -1)
    return {
        ("both", "end_to_end"): (absolute, None),
        ("both", "end_to_end_rel"): (relative, None),
        ("both", "finetuned"): (left.finetuned, absolute),
        ("both", "pixels"): (jnp.asarray(pixels / np.float32(255)), absolute),
        ("blind", "atlas"): (blind, relative),
        ("blind", "atlas_nystroem"): (
            orthonormal(blind, blind[anchors]),
            orthonormal(relative, relative[anchors]),
        ),
        ("blind", "consensus"): (joined.merged, agreed),
        ("oracle", "consensus"): (by_task_chart, agreed),
        ("oracle", "atlas"): (jatlas.running.atlas.value(state.oracle), relative),
        ("blind", "concat"): (jnp.hstack(state.concatenated), absolute),
        ("oracle", "concat"): (jnp.hstack(masked), absolute),
    }


def consensus_of(bench: Bench, deal: Deal, charts: Sequence[jax.Array]) -> Joined:
    """The consensus of these charts, at most as wide as the atlas."""
    public = deal.tasks.held_out[deal.kept]
    return consensus.join(charts, public, bench.options.num_anchors)


def accuracies(
    guess: np.ndarray, labels: np.ndarray, scored: dict[str, np.ndarray]
) -> dict[str, float]:
    """Accuracies by the ending of each group of rows."""
    right = guess == labels
    return {
        f"accuracy{name}": float(right[rows].mean()) for name, rows in scored.items()
    }


def costs(
    bench: Bench, deal: Deal, t: int, left: Step
) -> dict[tuple[str, str], dict[str, float]]:
    """Bytes kept from task to task, and seconds of the step.

    `charts` are the weights of all charts so far, which the atlas and the concatenation
    need for a sample that comes later. The public images, `pixels`, every method needs:
    the next chart embeds them, or the next classifier learns from them. The consensus
    is counted as its moments and, apart, the rows of the public samples of all charts,
    without which no chart can join; its seconds are without embedding.
    """
    kinds, state = bench.options.charts, left.state
    key = jax.random.key(0)
    weights = [
        growing.size(
            jax.eval_shape(bench.encoders[kinds[m % len(kinds)]].chart.init, key)
        )
        for m in range(t + 1)
    ]
    seconds, charts = left.seconds, state.concatenated
    # What it compiles has been compiled for `spaces`.
    joined, joining = growing.clocked(
        lambda: consensus_of(bench, deal, charts), growing.JOININGS
    )
    public = np.flatnonzero(deal.tasks.held_out[deal.kept])
    return {
        ("blind", "atlas"): {
            "bytes": growing.size(state.blind),
            "seconds": seconds["joining"],
        },
        ("blind", "consensus"): {
            "bytes": growing.size(joined.state),
            "seconds": joining,
        },
        ("blind", "consensus_rows"): {
            "bytes": growing.size([rows[public] for rows in charts])
        },
        ("blind", "concat"): {"bytes": growing.size(state.concatenated)},
        ("both", "finetuned"): {"bytes": growing.size(state.finetuned)},
        ("both", "pixels"): {"bytes": bench.dataset.images[deal.tasks.held_out].nbytes},
        ("both", "charts"): {"bytes": sum(weights), "seconds": seconds["training"]},
        ("both", "end_to_end"): {"seconds": seconds["end_to_end"]},
    }


def _of_space(
    bench: Bench,
    seed: int,
    space: jax.Array,
    like: jax.Array | None,
    labels: np.ndarray,
    parts: Cut,
    scored: dict[str, np.ndarray],
) -> dict[str, float]:
    """Accuracies of the probe and of the nearest class mean, and CKA."""
    num_classes = len(bench.dataset.class_names)
    logits, _ = metrics.probe(
        metrics.key_of(seed),
        space,
        labels,
        num_classes,
        where=parts.train,
        validation=parts.validation,
        max_epochs=bench.options.probe_epochs,
        patience=bench.options.probe_patience,
    )
    guess = guesses.likely(np.asarray(logits))
    values = accuracies(guess, labels, scored)
    means = jatlas.probes.class_means(space, labels, num_classes, where=parts.train)
    nearest = np.asarray(jatlas.probes.nearest_class_mean(means, space))
    values["class_mean_accuracy"] = float((nearest == labels)[parts.test].mean())
    if like is not None:
        aligned = jatlas.cka(space, like, where=jnp.asarray(parts.test))
        values["cka"] = float(aligned)
    return values
