"""One list of promises, held against every public function that runs on the device.

A function joins by one line in `PROMISES`. What it promises is then tried on small
arrays drawn for it: jit, vmap, gradients, dtypes, masks, refusals.
"""

import ast
import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import public_names
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jatlas
from jatlas.merging.transforms import Transform

M, N, A, D, C = 3, 8, 5, 4, 2
B = 2  # the axis that vmap adds


class Promise(NamedTuple):
    """A function of arrays alone.

    Attributes:
        out: the dtype of what comes back: "same" as came in, "wide" (float32 or wider),
            or "discrete".
        inputs: name to a function of a random generator that draws the argument. Arrays
            are the caller's, in any dtype; records (tuples and dataclasses) are states
            and maps, in float32 or wider.
        smooth: whether it can be differentiated in reverse.
        mixed: whether integers or booleans come back beside what `out` says, found of
            all samples together.
    """

    name: str
    function: Callable
    out: str
    inputs: dict[str, Callable]
    smooth: bool = True
    mixed: bool = False


def promise(function, out, /, *, options=None, smooth=True, mixed=False, **inputs):
    options = options or {}
    values = [str(value) for value in options.values() if isinstance(value, str | bool)]
    name = "-".join([function.__name__, *values])
    smooth = smooth and out != "discrete"
    return Promise(name, partial(function, **options), out, inputs, smooth, mixed)


def floats(*shape):
    return lambda rng: rng.normal(size=shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2, shape)


def mask(*shape):
    """Every row of the last axis is somewhere True, but for the last."""

    def draw(rng):
        present = rng.uniform(size=shape) < 0.7
        present.reshape(-1, shape[-1])[0, :-1] = True
        present[..., -1] = False
        return present

    return draw


def labels(num_rows):
    return lambda rng: rng.permutation(np.arange(num_rows) % C).astype(np.int32)


def kernel(rng):
    x = rng.normal(size=(A, 2 * A))
    return x @ x.T / (2 * A)


def atlas(rng):
    count = rng.integers(0, 4, N).astype(float)
    return jatlas.running.atlas.AtlasState(
        rng.normal(size=(N, A)) * count[:, None], count
    )


def moments(rng):
    x, y = rng.normal(size=(N, D)), rng.normal(size=(N, A))
    with jax.enable_x64(True):
        state = jatlas.running.cka.add(
            jatlas.running.cka.empty(D, A, jnp.float64), x, y
        )
    return jax.tree.map(np.asarray, state)


def transform(rng):
    return Transform(rng.normal(size=D), rng.normal(size=(D, A)))


def probe(rng):
    weights = (D, 6), (6,), (6, C), (C,), ()
    weights = [rng.normal(size=shape) for shape in weights]
    return jatlas.Probe(*weights, np.array(3, np.int32))


def apart(rng):
    charts = rng.integers(0, 4, N).astype(float)
    total = rng.normal(size=(N, A)) * charts[:, None]
    joined = jatlas.running.atlas.AtlasState(total, charts)
    return jatlas.running.spread.SpreadState(
        joined, rng.uniform(0, 1, N) * (charts > 1), charts
    )


def related(rng):
    """Charts that agree most about one direction, then about another."""
    hidden = rng.normal(size=(N, D)) * np.array([3, 1.5, 0.7, 0.4])
    turns = np.linalg.qr(rng.normal(size=(M, D, D)))[0]
    return hidden @ turns + 0.2 * rng.normal(size=(M, N, D))


def exactly(function, *arguments, **options):
    """What a function gives in float64, as arrays of NumPy."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, function(*arguments, **options))


def alike(samples, features):
    """Some rows and features of a space that is the same in every draw, but for noise.

    Who goes with whom does then not hang on the last digit.
    """
    space = np.random.default_rng(0).normal(size=(N + A, D))[samples, features]
    return lambda rng: space + 0.01 * rng.normal(size=space.shape)


def consensus(rng):
    return exactly(jatlas.fit_consensus, related(rng), mask(M, N)(rng))


def linked(rng):
    def add(*rows):
        empty = jatlas.running.consensus.empty([D] * M, dtype=np.float64)
        return jatlas.running.consensus.add(empty, *rows)

    return exactly(add, related(rng), mask(M, N)(rng))


def crossfit(rng):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), probe(rng), probe(rng))
    return jatlas.probes.CrossFit(stacked, np.zeros(N, np.int32))


def overlap(x, y, *, where):
    """A measure of two spaces that compiles in no time."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x, y = (jnp.where(where, z[:, 0].astype(wide), 0) for z in (x, y))
    return jnp.sum(x * y)


spaces = {"x": floats(N, D), "y": floats(N, A), "where": mask(N)}
# Fewer features than samples that count: else all correlations are one.
correlated = {"x": floats(N, D), "y": floats(N, C), "where": mask(N)}
classes = {"space": floats(N, D), "labels": labels(N), "where": mask(N)}
charts = {
    "embeddings": floats(M, N, D),
    "anchors": floats(M, A, D),
    "presence": mask(M, N),
    "weights": positive(M),
}
several = {"embeddings": related, "presence": mask(M, N)}
rows = {"embeddings": floats(N, D), "where": mask(N)}
paired = {"source": floats(N, D), "target": floats(N, A), "where": mask(N)}
sides = {"embeddings": floats(N, D), "anchors": floats(A, D)}
of = {"num_classes": C}

PROMISES = [
    promise(jatlas.relativize, "same", **sides),
    promise(jatlas.relativize, "same", options={"similarity": "angular"}, **sides),
    promise(jatlas.relativize, "same", options={"similarity": "euclidean"}, **sides),
    promise(jatlas.relativize, "same", options={"similarity": "rbf"}, **sides),
    promise(jatlas.fit_center, "wide", **rows),
    promise(jatlas.fit_standardize, "wide", **rows),
    promise(jatlas.fit_whiten, "wide", **rows),
    promise(
        jatlas.apply_transform, "same", transform=transform, embeddings=floats(N, D)
    ),
    promise(jatlas.fit_translation, "wide", **paired),
    *(
        promise(jatlas.fit_translation, "wide", options={"method": method}, **paired)
        for method in ("orthogonal", "affine", "relative")
    ),
    promise(
        jatlas.merging.fit_inverse_relative,
        "wide",
        anchors=floats(A, D),
        where=mask(A),
    ),
    promise(
        jatlas.merging.grow_anchors,
        "wide",
        mixed=True,
        source=alike(slice(N), slice(D)),
        target=alike(slice(N), slice(1, D)),
        source_anchors=alike(slice(N, None), slice(D)),
        target_anchors=alike(slice(N, None), slice(1, D)),
        source_where=mask(N),
        target_where=mask(N),
    ),
    promise(jatlas.fit_nystroem, "wide", anchor_relative=kernel),
    promise(
        jatlas.fit_nystroem,
        "wide",
        options={"ridge": 0.1},
        anchor_relative=kernel,
        by_chart=lambda rng: np.stack([kernel(rng) for _ in range(M)]),
    ),
    promise(jatlas.dropped_directions, "discrete", transform=transform),
    promise(jatlas.masked_mean, "same", relative=floats(M, N, A), presence=mask(M, N)),
    promise(jatlas.merge, "same", **charts),
    promise(jatlas.merge, "same", options={"similarity": "rbf"}, **charts),
    promise(jatlas.fit_consensus, "wide", options={"num_features": 2}, **several),
    promise(
        jatlas.fit_consensus,
        "wide",
        options={"num_features": 2, "normalize": True},
        **several,
        where=mask(N),
    ),
    promise(
        jatlas.merging.fit_procrustes,
        "wide",
        options={"num_features": 3, "sweeps": 2},
        **several,
    ),
    promise(
        jatlas.apply_consensus,
        "same",
        options={"chart": 1},
        consensus=consensus,
        embeddings=floats(N, D),
    ),
    promise(
        jatlas.merge_consensus,
        "same",
        consensus=consensus,
        **several,
        weights=positive(M),
    ),
    promise(
        jatlas.running.atlas.add,
        "wide",
        atlas=atlas,
        relative=floats(N, A),
        presence=mask(N),
    ),
    promise(jatlas.running.atlas.combine, "wide", a=atlas, b=atlas),
    promise(jatlas.running.atlas.value, "wide", atlas=atlas),
    promise(
        jatlas.running.spread.add,
        "wide",
        spread=apart,
        relative=floats(N, A),
        presence=mask(N),
    ),
    promise(jatlas.running.spread.combine, "wide", a=apart, b=apart),
    promise(jatlas.running.spread.value, "wide", spread=apart),
    promise(
        jatlas.running.consensus.add, "wide", state=linked, **several, where=mask(N)
    ),
    promise(jatlas.running.consensus.combine, "wide", a=linked, b=linked),
    promise(
        jatlas.running.consensus.value,
        "wide",
        options={"num_features": 2},
        state=linked,
    ),
    promise(
        jatlas.running.consensus.rotated,
        "wide",
        options={"num_features": 3, "sweeps": 2},
        state=linked,
    ),
    promise(
        jatlas.anchor_pool, "discrete", options={"rule": "shared"}, seen=mask(M, N)
    ),
    promise(
        jatlas.anchor_pool, "discrete", options={"rule": "unseen"}, seen=mask(M, N)
    ),
    promise(jatlas.cka, "wide", **spaces),
    promise(jatlas.cka, "wide", options={"debiased": True}, **spaces),
    promise(jatlas.cka, "wide", options={"kernel": "rbf"}, **spaces),
    promise(jatlas.metrics.median_distance, "wide", x=floats(N, D), where=mask(N)),
    promise(jatlas.running.cka.add, "wide", state=moments, **spaces),
    promise(jatlas.running.cka.combine, "wide", a=moments, b=moments),
    promise(jatlas.running.cka.value, "wide", state=moments),
    promise(jatlas.separability, "wide", options=of, **classes),
    promise(jatlas.probes.class_means, "wide", options=of, **classes),
    promise(
        jatlas.probes.nearest_class_mean,
        "discrete",
        means=floats(C, D),
        space=floats(N, D),
    ),
    promise(jatlas.metrics.self_similarity_correlation, "wide", **spaces),
    promise(
        jatlas.metrics.self_similarity_correlation,
        "wide",
        options={"method": "spearman"},
        **spaces,
    ),
    promise(jatlas.metrics.mutual_neighbors, "wide", options={"k": 2}, **spaces),
    promise(
        jatlas.metrics.jaccard_neighbors,
        "wide",
        options={"k": 2, "similarity": "cosine"},
        **spaces,
    ),
    promise(jatlas.metrics.rank_biased_neighbors, "wide", options={"k": 2}, **spaces),
    promise(jatlas.metrics.cycle_neighbors, "wide", options={"k": 2}, **spaces),
    promise(jatlas.metrics.cknna, "wide", options={"k": 3}, **spaces),
    promise(jatlas.metrics.procrustes_distance, "wide", **spaces),
    promise(
        jatlas.metrics.procrustes_distance,
        "wide",
        options={"form": "euclidean", "alpha": 0.5},
        **spaces,
    ),
    promise(jatlas.metrics.procrustes_similarity, "wide", **spaces),
    promise(jatlas.metrics.mean_squared_cca, "wide", **correlated),
    promise(jatlas.metrics.svcca, "wide", **correlated),
    promise(jatlas.metrics.pwcca, "wide", **correlated),
    promise(jatlas.metrics.hsic, "wide", **spaces),
    promise(jatlas.metrics.hsic, "wide", options={"kernel": "rbf"}, **spaces),
    promise(jatlas.metrics.minibatch_cka, "wide", options={"batch_size": 6}, **spaces),
    promise(jatlas.metrics.rsa, "wide", **spaces),
    promise(jatlas.metrics.rsa, "wide", options={"method": "spearman"}, **spaces),
    promise(jatlas.metrics.rsa, "wide", options={"method": "kendall"}, **spaces),
    promise(
        jatlas.metrics.compare_spaces,
        "wide",
        options={"measures": {"overlap": overlap}},
        spaces=lambda rng: related(rng)[:2],
        presence=mask(2, N),
    ),
    promise(jatlas.metrics.noise_ceiling, "wide", similarities=kernel),
    # Three rows a fold, four features: only a large ridge makes it well-conditioned.
    promise(
        jatlas.metrics.predictivity,
        "wide",
        options={"folds": 2, "ridge": 1.0},
        **spaces,
    ),
    promise(
        jatlas.metrics.retrieval,
        "wide",
        options={"k": 2},
        queries=floats(N, D),
        gallery=floats(N, D),
        where=mask(N),
    ),
    promise(jatlas.probe_logits, "wide", params=probe, space=floats(N, D)),
    promise(
        jatlas.probes.crossfit_probabilities,
        "wide",
        fitted=crossfit,
        space=floats(N, D),
        fold=lambda rng: rng.integers(-1, 2, N).astype(np.int32),
    ),
]

# Functions that promise something else, and where they are held to it. Those of the
# first table take arrays, and are held to what `CALLS` is held to as well.
TAKE_ARRAYS = {
    # on the host: from arrays of any content to arrays, every value looked at
    "anchor_rows": "merging/test_assembly.py",
    "assemble": "merging/test_assembly.py",
    "check_anchors": "merging/test_anchors.py",
    "merging.choose_consensus": "merging/test_scoring.py",
    "merging.score_merge": "merging/test_scoring.py",
    "choose_anchors": "merging/test_anchors.py",
    "scenarios.end_to_end": "test_scenarios.py",
    "devices.local_rows": "test_devices.py",
    "scenarios.part_shared_part_novel": "test_scenarios.py",
    "devices.place": "test_devices.py",
    "scenarios.same_classes_disjoint_samples": "test_scenarios.py",
    "scenarios.totally_disjoint": "test_scenarios.py",
    # random numbers and a function come in
    "metrics.bootstrap_interval": "metrics/test_resampling.py",
    "metrics.permutation_test": "metrics/test_permutation.py",
    # training: random numbers, and loops whose length depends on the data
    "probes.fit_crossfit": "probes/test_crossfit.py",
    "charts.embed": "charts/test_training.py",
    "charts.fit_charts": "charts/test_training.py",
    "fit_probe": "probes/test_probe.py",
    "charts.flip_and_crop": "charts/test_augment.py",
}
ELSEWHERE = TAKE_ARRAYS | {
    # files: from what is on disk, every value looked at
    "files.add_file": "files/test_adding.py",
    "files.compare_files": "cli/test_commands.py",
    "files.evaluate_files": "cli/test_choosing.py",
    "load": "files/test_storage.py",
    "files.load_recipe": "files/test_storage.py",
    "merge_files": "cli/test_commands.py",
    "files.merge_to_folder": "files/test_parted_atlases.py",
    "files.nearest_samples": "cli/test_choosing.py",
    "files.project_file": "cli/test_commands.py",
    "files.read_beside": "cli/test_tables.py",
    "files.read_embeddings": "files/test_readers.py",
    "save": "files/test_storage.py",
    "files.translate_file": "files/test_translating.py",
    # no arrays come in
    "merging.register_similarity": "merging/test_similarities.py",
    "charts.adam": "charts/test_optimizers.py",
    "running.atlas.empty": "running/test_atlas.py",
    "running.cka.empty": "running/test_running_cka.py",
    "running.consensus.empty": "running/test_running_consensus.py",
    "running.spread.empty": "running/test_spread.py",
    "charts.from_module": "charts/test_cnn.py",
    "devices.sample_mesh": "test_devices.py",
    "charts.sgd_cosine": "charts/test_optimizers.py",
    "charts.with_preprocessing": "charts/test_chart.py",
}


# Of a function that is here by another option too, or whose tests hold it to most of
# these; each compiles for seconds.
SLOW = (
    "cka-rbf",
    "fit_consensus-True",
    "fit_inverse_relative",
    "fit_procrustes",
    "rotated",
    "fit_translation-orthogonal",
    "fit_translation-affine",
    "fit_translation-relative",
    "hsic-rbf",
    "procrustes_distance-euclidean",
    "rsa-kendall",
    "rsa-spearman",
    "self_similarity_correlation-spearman",
)


def each(promises):
    params = [
        pytest.param(p, id=p.name, marks=[pytest.mark.slow] * (p.name in SLOW))
        for p in promises
    ]
    return pytest.mark.parametrize("p", params)


each_promise = each(PROMISES)
each_smooth = each([p for p in PROMISES if p.smooth])
# Without jit every operation is compiled by itself: once a function will do.
each_once = each([*{p.function.func: p for p in reversed(PROMISES)}.values()][::-1])


# Arrays


def is_float(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def is_record(x):
    """Whether an argument is a state or a map: a tuple or a dataclass."""
    return isinstance(x, tuple) or dataclasses.is_dataclass(x)


def arrays_of(p, seed=0):
    """The function's arguments, in float64."""
    rng = np.random.default_rng(seed)
    return {name: draw(rng) for name, draw in p.inputs.items()}


def cast(inputs, dtype):
    """Arrays to a dtype, records to one that is float32 or wider."""

    def one(value):
        wide = jnp.promote_types(dtype, jnp.float32)
        kept = wide if is_record(value) else dtype
        return jax.tree.map(lambda x: x.astype(kept) if is_float(x) else x, value)

    return {name: one(value) for name, value in inputs.items()}


def float_arrays(inputs):
    """The names of the arguments that are arrays of floating point numbers."""
    return [n for n, x in inputs.items() if not is_record(x) and is_float(x)]


def masked_by(inputs, name):
    """The mask of an argument: the one with the leading axes of its shape."""
    for key in (f"{name}_where", "where", "presence"):
        shape = np.shape(inputs.get(key, 0))
        if shape and inputs[name].shape[: len(shape)] == shape:
            return inputs[key]
    return None


def poisoned(inputs):
    """The same, with NaN in all rows that are masked out."""
    bad = dict(inputs)
    for name in float_arrays(inputs):
        where = masked_by(inputs, name)
        if where is not None:
            bad[name] = inputs[name].copy()
            bad[name][~where] = np.nan
    return bad


def call(p, inputs):
    return p.function(**inputs)


def assert_close(got, expected, **tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(one, other, **tolerance)


def differentiated(p):
    """Gradients with respect to all floating point arguments, compiled once."""

    def loss(moving, still):
        total = 0.0
        for leaf in jax.tree.leaves(call(p, {**moving, **still})):
            if is_float(leaf):
                known = jnp.isfinite(leaf)
                leaf = jnp.where(known, leaf, 0)
                total += jnp.sum(jnp.where(known, jnp.sin(leaf) + leaf, 0))
        return total

    def gradient(inputs):
        names = [n for n, x in inputs.items() if any(map(is_float, jax.tree.leaves(x)))]
        moving = {name: inputs[name] for name in names}
        still = {name: x for name, x in inputs.items() if name not in names}
        return jax.grad(loss, allow_int=True)(moving, still)

    return jax.jit(gradient)


# Promises


@pytest.mark.slow
@each_once
def test_without_jit_the_value_is_the_same(p):
    inputs = cast(arrays_of(p), np.float32)
    with jax.disable_jit():
        eager = call(p, jax.tree.map(jnp.asarray, inputs))
    assert_close(call(p, inputs), eager, rtol=1e-5, atol=2e-6)


@each_promise
def test_jit_and_vmap_are_a_loop(p):
    loop = [cast(arrays_of(p, seed), np.float32) for seed in range(B)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *loop)
    together = jax.jit(jax.vmap(partial(call, p)))(stacked)
    for b, inputs in enumerate(loop):
        own = jax.tree.map(lambda leaf, b=b: leaf[b], together)
        assert_close(own, call(p, inputs), rtol=1e-5, atol=2e-6)


@each([p for p in PROMISES if p.smooth and float_arrays(arrays_of(p))])
def test_the_derivative_of_several_at_once_is_that_of_each(p):
    """Of one argument alone: its axis need not be where those of others would be."""
    still = cast(arrays_of(p), np.float32)
    name = float_arrays(still)[0]
    values, ways = (
        np.stack([cast(arrays_of(p, seed), np.float32)[name] for seed in seeds])
        for seeds in ((0, 1, 2), (3, 4, 5))
    )

    def floats(value):
        leaves = jax.tree.leaves(call(p, {**still, name: value}))
        return [leaf for leaf in leaves if is_float(leaf)]

    along = jax.jit(lambda value, way: jax.jvp(floats, (value,), (way,)))
    together = jax.jit(lambda *both: jax.jvp(jax.vmap(floats), both[:1], both[1:]))
    each = [along(*both) for both in zip(values, ways, strict=True)]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    for got, right in zip(
        jax.tree.leaves(together(values, ways)), jax.tree.leaves(expected), strict=True
    ):
        scale = max(np.nanmax(np.abs(right), initial=0), 1)
        np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-4 * scale)


def zero_row(x):
    x = x.copy()
    x[..., 1, :] = 0
    return x


DEGENERATE = {
    "as drawn": lambda x: x,
    "a zero row": zero_row,
    "all zero": np.zeros_like,
    "all rows alike": lambda x: np.broadcast_to(x[..., :1, :], x.shape).copy(),
    "a constant feature": lambda x: np.where(
        np.arange(x.shape[-1]) == 1, x.dtype.type(0.1), x
    ),
    "all features alike": lambda x: np.broadcast_to(x[..., :1], x.shape).copy(),
}


@each_smooth
def test_gradients_are_finite_and_zero_where_masked_out(p):
    gradient = differentiated(p)
    for kind, degenerate in DEGENERATE.items():
        inputs = cast(arrays_of(p), np.float32)
        for name in float_arrays(inputs):
            if inputs[name].ndim > 1:
                inputs[name] = degenerate(inputs[name])
        gradients = gradient(poisoned(inputs))
        for leaf in jax.tree.leaves(gradients):
            if leaf.dtype != jax.dtypes.float0:
                assert np.isfinite(leaf).all(), kind
        for name in float_arrays(inputs):
            where = masked_by(inputs, name)
            if where is not None:
                np.testing.assert_array_equal(gradients[name][~where], 0, kind)


@each_promise
def test_masked_rows_may_hold_nan(p):
    inputs = cast(arrays_of(p), np.float32)
    assert_close(call(p, poisoned(inputs)), call(p, inputs), rtol=0, atol=0)


# What a number rounded once at the end, or computed all along, may be off by.
DIGITS = {
    ("same", jnp.bfloat16): 2**-8,
    ("same", jnp.float32): 1e-5,
    ("same", jnp.float64): 1e-12,
    ("wide", jnp.bfloat16): 1e-5,
    ("wide", jnp.float32): 1e-5,
    ("wide", jnp.float64): 1e-12,
    ("discrete", jnp.bfloat16): 0,
    ("discrete", jnp.float32): 0,
    ("discrete", jnp.float64): 0,
}


@each_promise
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtype_that_comes_out_is_documented_and_the_value_that_of_float64(p, dtype):
    inputs = cast(arrays_of(p), dtype)
    with jax.enable_x64(dtype == jnp.float64):
        got = call(p, inputs)
        for leaf in jax.tree.leaves(got):
            if p.out == "discrete":
                assert not is_float(leaf)
            elif is_float(leaf) or not p.mixed:
                wide = jnp.promote_types(dtype, jnp.float32)
                assert leaf.dtype == (dtype if p.out == "same" else wide)
    with jax.enable_x64(True):
        exact = call(p, cast(inputs, np.float64))
    assert_close(got, exact, rtol=DIGITS[p.out, dtype], atol=DIGITS[p.out, dtype])


def spread(mesh, inputs):
    """The same, every axis of samples over the devices."""

    def place(x):
        spec = ["samples" if size == N else None for size in np.shape(x)]
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))

    return jax.tree.map(place, inputs)


def of_samples(p):
    """Whether anything that goes in has an axis of samples."""
    return any(N in np.shape(x) for x in jax.tree.leaves(arrays_of(p)))


each_of_samples = each([p for p in PROMISES if of_samples(p)])


@pytest.mark.slow
@each_of_samples
@pytest.mark.parametrize("axes", ["Auto", "Explicit"])
def test_samples_on_several_devices_give_the_same(p, axes):
    kind = getattr(jax.sharding.AxisType, axes)
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    inputs = cast(arrays_of(p), np.float32)
    expected = call(p, inputs)
    got = call(p, spread(mesh, inputs))
    for one, whole in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        largest = np.max(np.abs(np.asarray(whole)), initial=1, where=np.isfinite(whole))
        np.testing.assert_allclose(one, whole, rtol=1e-6, atol=1e-6 * largest)
        # Rows stay where they are; a statistic is known everywhere. What is found of
        # all rows together lies as the compiler chooses.
        shape = [N // 4 if size == N else size for size in whole.shape]
        assert p.mixed or one.sharding.shard_shape(whole.shape) == tuple(shape)


@pytest.mark.slow
@each([p for p in PROMISES if of_samples(p) and p.smooth])
def test_gradients_on_several_devices_are_the_same(p):
    axes = (jax.sharding.AxisType.Explicit,)
    mesh = jax.make_mesh((4,), ("samples",), axis_types=axes)
    with jax.enable_x64(True):
        inputs = cast(arrays_of(p), np.float64)
        expected = differentiated(p)(inputs)
        with jax.set_mesh(mesh):
            got = differentiated(p)(spread(mesh, inputs))
    both = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for one, whole in both:
        if whole.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(one, whole, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("unchecked")
@each_promise
def test_a_wrong_dtype_is_refused_by_a_message(p):
    inputs = cast(arrays_of(p), np.float32)
    for name in float_arrays(inputs):
        whole = {**inputs, name: inputs[name].astype(np.int32)}
        with pytest.raises(ValueError, match=rf"{name}.* must be floating point"):
            call(p, whole)
    for name, value in inputs.items():
        if not is_record(value) and value.dtype == bool:
            with pytest.raises(ValueError, match=f"{name} must be boolean"):
                call(p, {**inputs, name: value.astype(np.float32)})
    if "labels" in inputs:
        with pytest.raises(ValueError, match="labels must be integers"):
            call(p, {**inputs, "labels": inputs["labels"].astype(np.float32)})


# What a caller has set, and where the call stands

# Held to the promises below, though not to all above: from arrays of NumPy to a value.
KEY = jax.random.key(0)
FEW = {"max_epochs": 1, "batch_size": 4, "hidden": 3}


def linear_chart():
    """Of features: a matrix, the embedding, a matrix, logits."""

    def init(key):
        first, second = jax.random.split(key)
        inner, outer = (
            jax.random.normal(first, (D, 3)),
            jax.random.normal(second, (3, C)),
        )
        return jatlas.charts.ChartState({"inner": inner, "outer": outer}, {})

    def embedding(state, features):
        return features @ state.params["inner"]

    def logits(state, features):
        return embedding(state, features) @ state.params["outer"]

    def train(state, features):
        return logits(state, features), state.statistics

    return jatlas.charts.Chart(init, train, embedding, logits)


CHART = linear_chart()


def trained(x, labels):
    """Charts of two tasks, each of half of the samples."""
    tasks = jatlas.scenarios.same_classes_disjoint_samples(
        0, labels, percentages=((50, 50), (50, 50)), num_held_out=0
    )
    return jatlas.charts.fit_charts(
        KEY, CHART, x, labels, tasks, max_epochs=2, batch_size=2
    )


def three(labels):
    """Of the labels two classes, and a third."""
    return np.where(np.arange(N) < 5, labels, 2).astype(labels.dtype)


SPLIT = {"test": np.arange(N) == N - 1, "validation_share": 0.2}
MESH = jax.make_mesh((2,), ("samples",), devices=jax.devices()[:2])
CALLS = {
    "anchor_rows": lambda x, y, labels: jatlas.anchor_rows(
        jatlas.assemble([(np.arange(N), x), (np.arange(N)[::-1], y)]),
        labels.argsort()[:3],
    ),
    "check_anchors": lambda x, y, labels: jatlas.check_anchors(
        labels.argsort()[:3], np.ones((2, N), bool)
    ),
    "merging.choose_consensus": lambda x, y, labels: jatlas.merging.choose_consensus(
        KEY,
        [x, x[:, ::-1] * 2],
        np.ones((2, N), bool),
        ridges=(1.0,),
        powers=(1.0,),
        folds=2,
        num_features=2,
    )[0],
    "merging.score_merge": lambda x, y, labels: jatlas.merging.score_merge(
        KEY,
        lambda charts, presence, where: charts,
        [x, 2 * x],
        np.ones((2, N), bool),
        folds=2,
    ),
    "metrics.bootstrap_interval": lambda x, y, labels: (
        jatlas.metrics.bootstrap_interval(KEY, jatlas.cka, x, y, draws=3)
    ),
    "devices.place": lambda x, y, labels: jatlas.devices.place(MESH, [x, labels]),
    "devices.local_rows": lambda x, y, labels: jatlas.devices.local_rows(
        MESH, jatlas.devices.place(MESH, [x, labels]), N - 1
    ),
    "scenarios.end_to_end": lambda x, y, labels: jatlas.scenarios.end_to_end(
        0, labels, **SPLIT
    )[:3],
    "scenarios.part_shared_part_novel": lambda x, y, labels: (
        jatlas.scenarios.part_shared_part_novel(
            0, three(labels), num_shared=1, num_novel=1, **SPLIT
        )[:3]
    ),
    "scenarios.same_classes_disjoint_samples": lambda x, y, labels: (
        jatlas.scenarios.same_classes_disjoint_samples(
            0, labels, percentages=((50, 50), (50, 50)), num_held_out=0
        )[:3]
    ),
    "charts.fit_charts": lambda x, y, labels: trained(x, labels).states,
    "charts.embed": lambda x, y, labels: jatlas.charts.embed(trained(x, labels), x),
    "fit_probe": lambda x, y, labels: jatlas.fit_probe(KEY, x, labels, C, **FEW),
    "probes.fit_crossfit": lambda x, y, labels: jatlas.probes.fit_crossfit(
        KEY, x, labels, C, folds=2, **FEW
    ),
    "metrics.permutation_test": lambda x, y, labels: jatlas.metrics.permutation_test(
        KEY, jatlas.cka, x, y, permutations=3
    ),
    "choose_anchors": lambda x, y, labels: jatlas.choose_anchors(
        0, x[:, 0] < 9, 3, method="kmeans", labels=labels, embeddings=x
    ),
    "assemble": lambda x, y, labels: jatlas.assemble([(np.arange(N), x)] * 2)[1:],
    "charts.flip_and_crop": lambda x, y, labels: jatlas.charts.flip_and_crop(
        KEY, x.reshape(2, 4, 4, 1), padding=1
    ),
    "scenarios.totally_disjoint": lambda x, y, labels: (
        jatlas.scenarios.totally_disjoint(0, labels, num_tasks=2, num_held_out=2)[:3]
    ),
    "merge": lambda x, y, labels: jatlas.merge(
        [x, y], [x[:3], y[:3]], np.ones((2, N), bool), batch_size=3
    ),
    "Nystroem": lambda x, y, labels: jatlas.fit_nystroem(
        x[:D], by_chart=x.reshape(2, D, D)
    ),
    "anchor_pool": lambda x, y, labels: jatlas.anchor_pool(
        np.ones((2, N), bool), "shared", embeddings=[x, y]
    ),
}
each_call = pytest.mark.parametrize("name", CALLS)


def given(dtype=np.float32):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(N, D)), rng.normal(size=(N, A))
    return x.astype(dtype), y.astype(dtype), labels(N)(rng)


def strict():
    """As those set it who want to see every conversion and every added axis."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.numpy_dtype_promotion("strict"))
    stack.enter_context(jax.numpy_rank_promotion("raise"))
    return stack


@each_promise
def test_strict_promotion_changes_nothing(p):
    inputs = cast(arrays_of(p), np.float32)
    with strict():
        got = call(p, inputs)
        jax.jit(partial(call, p)).lower(inputs)
    assert_close(got, call(p, inputs), rtol=0, atol=0)


@each_call
def test_strict_promotion_changes_nothing_in_other_functions(name):
    with strict():
        got = CALLS[name](*given())
    assert_close(got, CALLS[name](*given()), rtol=0, atol=0)


@pytest.mark.slow
@each_smooth
def test_gradients_under_strict_promotion_are_the_same(p):
    inputs = cast(arrays_of(p), np.float32)
    with strict():
        got = differentiated(p)(inputs)
    for one, other in zip(
        jax.tree.leaves(got), jax.tree.leaves(differentiated(p)(inputs)), strict=True
    ):
        if other.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def swapped(tree):
    """The same values in the other order of bytes, as some files have them."""
    return jax.tree.map(lambda x: x.astype(x.dtype.newbyteorder("S")), tree)


@each_promise
def test_the_other_order_of_bytes_changes_nothing(p):
    inputs = cast(arrays_of(p), np.float32)
    foreign = swapped(jax.tree.map(np.asarray, inputs))
    assert_close(call(p, foreign), call(p, inputs), rtol=0, atol=0)


@each_call
def test_the_other_order_of_bytes_changes_nothing_in_other_functions(name):
    got = CALLS[name](*swapped(given()))
    assert_close(got, CALLS[name](*given()), rtol=0, atol=0)


@each_promise
def test_float64_is_rounded_to_float32_where_there_is_none(p):
    exact = arrays_of(p)
    got, expected = call(p, exact), call(p, cast(exact, np.float32))
    assert_close(got, expected, rtol=0, atol=0)
    for leaf in jax.tree.leaves(got):
        assert leaf.dtype not in (np.float64, np.int64)


@each_call
def test_float64_is_rounded_to_float32_in_other_functions_too(name):
    x, y, y_labels = given()
    wide = CALLS[name](x.astype(np.float64), y.astype(np.float64), y_labels)
    assert_close(wide, CALLS[name](x, y, y_labels), rtol=0, atol=0)
    for leaf in jax.tree.leaves(wide):
        assert not isinstance(leaf, jax.Array) or leaf.dtype != np.float64


def over_shards(function, *inputs):
    """A function of two devices, each of its own inputs; and these inputs."""
    mesh = jax.make_mesh((2,), ("two",), devices=jax.devices()[:2])

    def each(*stacked):
        own = jax.tree.map(lambda x: x[0], stacked)
        return jax.tree.map(lambda x: jnp.asarray(x)[None], function(*own))

    spec = PartitionSpec("two")
    stacked = jax.tree.map(
        lambda *leaves: jax.device_put(np.stack(leaves), NamedSharding(mesh, spec)),
        *inputs,
    )
    return jax.shard_map(each, mesh=mesh, in_specs=spec, out_specs=spec), stacked


def by_shards(function, *inputs):
    """What two devices give, each of its own inputs, with the default checks."""
    mapped, stacked = over_shards(function, *inputs)
    return jax.tree.map(np.asarray, mapped(*stacked))


def sharded(p):
    """A function of arrays in order, and the inputs of two devices."""
    loop = [cast(arrays_of(p, seed), np.float32) for seed in range(2)]
    names = list(p.inputs)
    both = [tuple(inputs[name] for name in names) for inputs in loop]
    return (lambda *own: call(p, dict(zip(names, own, strict=True)))), both, loop


# The default check of what varies from device to device is made when it is traced.
@pytest.mark.parametrize("p", [pytest.param(p, id=p.name) for p in PROMISES])
def test_inside_of_shard_map_it_can_be_traced(p):
    function, both, _ = sharded(p)
    mapped, stacked = over_shards(function, *both)
    assert jax.tree.leaves(jax.eval_shape(mapped, *stacked))


@pytest.mark.slow
@each_promise
def test_inside_of_shard_map_each_device_does_its_own(p):
    function, both, loop = sharded(p)
    got = by_shards(function, *both)
    for b, inputs in enumerate(loop):
        own = jax.tree.map(lambda leaf, b=b: leaf[b], got)
        assert_close(own, call(p, inputs), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["fit_probe", "metrics.permutation_test", "merge"])
def test_inside_of_shard_map_other_functions_do_too(name):
    both = [given(), tuple(x[::-1].copy() for x in given())]
    got = by_shards(CALLS[name], *both)
    for b, inputs in enumerate(both):
        own = jax.tree.map(lambda leaf, b=b: leaf[b], got)
        assert_close(own, CALLS[name](*inputs), rtol=1e-4, atol=1e-5)


# No machine of ours has an accelerator: what only a CPU can run must not land unseen.
ACCELERATORS = ["cuda", "tpu"]


@pytest.mark.parametrize("p", [pytest.param(p, id=p.name) for p in PROMISES])
def test_programs_for_accelerators_can_be_made_without_one(p):
    inputs = cast(arrays_of(p), np.float32)
    function = jax.jit(partial(call, p))
    jax.export.export(function, platforms=ACCELERATORS)(inputs)


@pytest.mark.parametrize(
    "name",
    [
        "charts.flip_and_crop",
        "fit_probe",
        "merge",
        "metrics.bootstrap_interval",
        "metrics.permutation_test",
        "probes.fit_crossfit",
    ],
)
def test_programs_for_accelerators_can_be_made_of_other_functions_too(name):
    x, y, y_labels = given()
    function = jax.jit(lambda x, y: CALLS[name](x, y, y_labels))
    jax.export.export(function, platforms=ACCELERATORS)(x, y)


# Names


PUBLIC = public_names.canonical()
FUNCTIONS = {n: inspect.unwrap(f) for n, f in PUBLIC.items() if not inspect.isclass(f)}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def test_jatlas_names_what_is_public():
    assert FUNCTIONS
    for module in (jatlas, *public_names.NAMESPACES.values()):
        assert len(set(module.__all__)) == len(module.__all__)
    assert len(public_names.FLAT) <= 35


def test_every_public_function_is_held_to_its_promises():
    names = {id(value): name for name, value in PUBLIC.items()}
    held = {names[id(p.function.func)] for p in PROMISES}
    assert held.isdisjoint(ELSEWHERE)
    assert held | set(ELSEWHERE) == set(FUNCTIONS)
    assert set(TAKE_ARRAYS) <= set(CALLS)
    for file in ELSEWHERE.values():
        assert (Path(__file__).parent / file).exists(), file


def products(jaxpr):
    """The precision of every matrix product, inner programs included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        inner = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns")
        )
        for value in inner:
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                yield from products(value)


@each_promise
def test_matrix_products_do_not_round_their_inputs(p):
    """Nothing shows it on a CPU, whose products are exact; accelerators round."""
    if p.function.func in (jatlas.probe_logits, jatlas.probes.crossfit_probabilities):
        return  # a classifier, not a metric: as fast as the device likes
    inputs = cast(arrays_of(p), np.float32)
    for precision in products(jax.make_jaxpr(partial(call, p))(inputs).jaxpr):
        assert precision == (jax.lax.Precision.HIGHEST,) * 2


def test_precision_is_passed_on():
    p = next(p for p in PROMISES if p.function.func is jatlas.merge)
    inputs = cast(arrays_of(p), np.float32)
    exact = list(products(jax.make_jaxpr(partial(call, p))(inputs).jaxpr))
    quick = jax.make_jaxpr(partial(jatlas.merge, precision="default"))(**inputs)
    assert len(exact) == 1
    assert list(products(quick.jaxpr)) != exact


def test_every_public_name_is_one_of_ours_with_a_first_line():
    for name, value in PUBLIC.items():
        assert value.__module__.startswith("jatlas."), name
        assert value.__doc__.splitlines()[0].endswith("."), name


@each_function
def test_docstring_has_an_example_that_is_run(name):
    assert ">>> " in FUNCTIONS[name].__doc__


@each_function
def test_docstring_names_every_argument(name):
    function = FUNCTIONS[name]
    described = function.__doc__.split("Args:\n")[-1].split("Returns:")[0]
    for argument in inspect.signature(function).parameters:
        entry = rf"^ +(\w+, )*{argument}(, \w+)*: "
        assert re.search(entry, described, flags=re.M), argument


@pytest.mark.parametrize("name", [n for n, c in PUBLIC.items() if inspect.isclass(c)])
def test_record_describes_its_fields(name):
    record = PUBLIC[name]
    fields = getattr(record, "__dataclass_fields__", getattr(record, "_fields", ()))
    for field in fields:
        assert f"{field}" in record.__doc__.split("Attributes:")[1], field


def validators(module):
    """The functions of a module that raise an error, or call one that does."""
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.FunctionDef)
    }

    def called(node):
        function = node.func
        return getattr(function, "attr", None) or getattr(function, "id", "")

    def validates(name, seen=()):
        if name.startswith("check_"):
            return True
        if name not in functions or name in seen:
            return False
        inside = list(ast.walk(functions[name]))
        calls = [called(node) for node in inside if isinstance(node, ast.Call)]
        return any(isinstance(node, ast.Raise) for node in inside) or any(
            validates(other, (*seen, name)) for other in calls
        )

    return {name for name in functions if validates(name)}


@each_function
def test_docstring_says_what_it_raises(name):
    function = FUNCTIONS[name]
    raises = function.__name__ in validators(inspect.getmodule(function))
    assert ("Raises:" in function.__doc__) == raises
