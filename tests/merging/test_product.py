from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jatlas.merging import placed
from jatlas.merging.contraction import merged_rows
from jatlas.merging.mean import masked_mean
from jatlas.merging.product import merge
from jatlas.merging.relative import SIMILARITIES, relativize

few = settings(max_examples=15, deadline=None)
each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)

M, N, A, D = 3, 7, 5, 4


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def spaces():
    """Embeddings (M, N, D), anchors (M, A, D), and presence in 3, 2, 1 and 0 charts."""
    presence = np.zeros((M, N), bool)
    presence[:, 0] = presence[:2, 1] = presence[1:, 2] = True
    presence[0, 3] = presence[1, 4] = presence[2, 5] = True
    return draw(M, N, D), draw(M, A, D, seed=1), presence


def reference(embeddings, anchors, presence, weights=None):
    """Row by row, in float64, by cosines; NaN for a sample in no chart."""
    merged = np.full((presence.shape[1], len(anchors[0])), np.nan)
    weights = np.ones(presence.shape) if weights is None else weights
    for n in range(presence.shape[1]):
        total, rows = 0.0, 0.0
        for m in np.flatnonzero(presence[:, n]):
            x, a = np.float64(embeddings[m][n]), np.float64(anchors[m])
            cosines = a @ x / np.linalg.norm(a, axis=1) / np.linalg.norm(x)
            rows, total = rows + weights[m, n] * cosines, total + weights[m, n]
        if total > 0:
            merged[n] = rows / total
    return merged


def poisoned(x, presence):
    return np.where(presence[..., None], x, np.nan).astype(np.float32)


def test_atlas_is_the_golden_one(golden):
    spaces, rows = golden["embeddings"][1:], golden["merged_rows"]
    got = merge(spaces, spaces[:, golden["anchor_ids"]], golden["present"])
    known = golden["present"].any(axis=0)[rows]
    assert known.sum() > 300
    np.testing.assert_allclose(got[rows][known], golden["merged"][known], atol=1e-5)


@each_similarity
@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("weighting", ["none", "charts", "rows"])
def test_merge_is_masked_mean_of_relativize(similarity, weighting, spaces):
    embeddings, anchors, presence = spaces
    weights = {
        "none": None,
        "charts": np.array([1, 2, 0.5], np.float32),
        "rows": np.abs(draw(M, N, seed=2)),
    }[weighting]
    relative = jax.vmap(partial(relativize, similarity=similarity))(embeddings, anchors)
    expected = masked_mean(relative, presence, weights=weights)
    options = {"weights": weights, "similarity": similarity}
    got = merge(poisoned(embeddings, presence), anchors, presence, **options)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    listed = merge(list(embeddings), list(anchors), presence, **options)
    np.testing.assert_allclose(listed, expected, atol=1e-5)


def test_merge_in_float64_keeps_its_digits(spaces):
    # A third is not exact in float32: shares must be as wide as the spaces.
    with jax.enable_x64(True):
        x, a = (side.astype(np.float64) for side in spaces[:2])
        expected = reference(x, a, spaces[2])
        for sides in ((x, a), (list(x), list(a))):
            got = merge(*sides, spaces[2])
            assert got.dtype == jnp.float64
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_charts_may_have_different_dimensions(spaces):
    presence = spaces[2]
    x = [draw(N, size) for size in (2, 9, 4)]
    a = [draw(A, size, seed=1) for size in (2, 9, 4)]
    expected = reference(x, a, presence)
    np.testing.assert_allclose(merge(x, a, presence), expected, atol=1e-6)
    np.testing.assert_allclose(merge(tuple(x), a, presence), expected, atol=1e-6)


MANY = 19  # not a multiple of the charts that go through the loop at once


@pytest.fixture(scope="module")
def many():
    """As `spaces`, of many charts."""
    presence = np.random.default_rng(2).random((MANY, N)) < 0.3
    presence[:, 0], presence[:, 1] = True, False
    return draw(MANY, N, D), draw(MANY, A, D, seed=1), presence


@pytest.mark.parametrize("num_charts", [8, 9, 16, MANY])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_stacked_charts_are_merged_as_few_are(num_charts, weighted, many):
    x, anchors, presence = (array[:num_charts] for array in many)
    weights = np.abs(draw(num_charts, N, seed=3)) if weighted else None
    expected = reference(x, anchors, presence, weights)
    options = {"weights": weights}
    for kind in (jnp.asarray, list):
        got = merge(kind(poisoned(x, presence)), anchors, presence, **options)
        np.testing.assert_allclose(got, expected, atol=1e-6)
    got = merge(x, list(anchors), presence, batch_size=3, **options)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "inner"])
def test_what_is_compiled_does_not_grow_with_the_charts(similarity):
    sizes = []
    for num_charts in (16, 64):
        arrays = draw(num_charts, 40, D), draw(num_charts, A, D)
        presence = np.ones((num_charts, 40), bool)
        traced = jax.make_jaxpr(partial(merge, similarity=similarity))
        sizes.append(len(str(traced(*arrays, presence)).splitlines()))
    assert sizes[0] == sizes[1]


def test_gradients_of_many_charts_are_those_of_a_list(many):
    x, anchors, presence = (array[:9] for array in many)

    def loss(x, anchors, as_is):
        x, anchors = as_is(x), as_is(anchors)
        return jnp.sum(merge(x, anchors, presence, empty=0.0) ** 3)

    got = jax.grad(partial(loss, as_is=lambda x: x), (0, 1))(x, anchors)
    expected = jax.grad(partial(loss, as_is=list), (0, 1))(x, anchors)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_one_side_may_be_stacked_and_the_other_listed(spaces):
    embeddings, anchors, presence = spaces
    expected = merge(embeddings, anchors, presence)
    listed = merge(embeddings, list(anchors), presence)
    np.testing.assert_allclose(listed, expected, atol=1e-6)
    listed = merge(list(embeddings), anchors, presence)
    np.testing.assert_allclose(listed, expected, atol=1e-6)


@each_similarity
def test_one_chart_is_its_relative_representation(similarity, spaces):
    x, a = spaces[0][:1], spaces[1][:1]
    got = merge(x, a, np.ones((1, N), bool), similarity=similarity)
    expected = relativize(x[0], a[0], similarity=similarity)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@few
@given(st.permutations(range(M)))
def test_order_of_the_charts_does_not_matter(order):
    x, a, presence = draw(M, N, D), draw(M, A, D, seed=1), draw(M, N, seed=2) > 0
    order = np.array(order)
    np.testing.assert_allclose(
        merge(x[order], a[order], presence[order]), merge(x, a, presence), atol=1e-6
    )


def test_a_chart_rotated_and_rescaled_gives_the_same_atlas(spaces):
    embeddings, anchors, presence = spaces
    turns = np.linalg.qr(draw(M, D, D, seed=5))[0] * np.array([[[0.01]], [[1]], [[50]]])
    turned = [(side @ turns).astype(np.float32) for side in (embeddings, anchors)]
    expected = merge(embeddings, anchors, presence)
    np.testing.assert_allclose(merge(*turned, presence), expected, atol=1e-5)
    moved = merge(embeddings + 1, anchors + 1, presence)
    assert np.nanmax(np.abs(moved - expected)) > 0.1
    features = np.array([0.1, 1, 3, 10], np.float32)
    rescaled = merge(embeddings * features, anchors * features, presence)
    assert np.nanmax(np.abs(rescaled - expected)) > 0.1


def test_absent_charts_equal_dropped_charts(spaces):
    embeddings, anchors, presence = spaces
    presence = presence & np.array([[True], [False], [True]])
    got = merge(embeddings, anchors, presence)
    expected = merge(embeddings[::2], anchors[::2], presence[::2])
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "inner"])
def test_merge_forms_no_array_over_charts_samples_and_anchors(
    similarity, largest_array
):
    # A > D and N > D, so that (M, N, A) is the largest array that could be made.
    x, a, presence = jnp.ones((6, 31, 5)), jnp.ones((6, 29, 5)), jnp.ones((6, 31), bool)
    function = partial(merge, similarity=similarity)
    assert largest_array(function, x, a, presence) <= max(6 * 31 * 5, 31 * 29)
    gradient = jax.grad(lambda x, a: function(x, a, presence).sum(), (0, 1))
    assert largest_array(gradient, x, a) <= max(6 * 31 * 5, 31 * 29)


@each_similarity
def test_no_similarity_forms_it_from_charts_in_a_list(similarity, largest_array):
    x, a, presence = jnp.ones((6, 31, 5)), jnp.ones((6, 29, 5)), jnp.ones((6, 31), bool)
    function = partial(merge, similarity=similarity)
    assert largest_array(function, x, a, presence) < 6 * 31 * 29
    assert largest_array(function, list(x), list(a), presence) < 6 * 31 * 29


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("container", [np.asarray, list], ids=["stacked", "listed"])
def test_merge_goes_through_vmap(similarity, container, spaces):
    embeddings, anchors, presence = (np.stack([s, s[::-1]]) for s in spaces)
    function = partial(merge, similarity=similarity)
    if container is list:
        # A list's charts each carry the new axis.
        sides = [list(np.moveaxis(side, 1, 0)) for side in (embeddings, anchors)]
    else:
        sides = [embeddings, anchors]
    got = jax.vmap(function)(*sides, presence)
    for b in range(2):
        expected = function(embeddings[b], anchors[b], presence[b])
        np.testing.assert_allclose(got[b], expected, atol=1e-6)


EDGES = {
    "zero samples": (np.zeros((M, N, D)), draw(M, A, D)),
    "zero anchors": (draw(M, N, D), np.zeros((M, A, D))),
    "duplicated anchors": (draw(M, N, D), np.tile(draw(M, 1, D), (1, A, 1))),
    "samples are anchors": (draw(M, N, D), draw(M, N, D)[:, :A]),
    "one sample": (draw(M, 1, D), draw(M, A, D)),
    "one anchor": (draw(M, N, D), draw(M, 1, D)),
}


# By one contraction, and by a scan; every similarity is tried in test_relative.py.
@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("similarity", ["cosine", "angular"])
@pytest.mark.parametrize("edge", EDGES)
def test_values_and_gradients_of_merge_are_finite_at_the_edges(similarity, edge):
    x, a = (jnp.asarray(side, jnp.float32) for side in EDGES[edge])
    presence = jnp.arange(M * x.shape[1]).reshape(M, -1) % 4 != 1
    x = jnp.where(presence[..., None], x, jnp.nan)

    def loss(x, a, weights):
        options = {"weights": weights, "similarity": similarity, "empty": 0.0}
        merged = merge(x, a, presence, **options)
        return jnp.sum(jnp.sin(merged)), merged

    weights = jnp.array([1.0, 0.0, 2.0])
    gradients, merged = jax.grad(loss, (0, 1, 2), has_aux=True)(x, a, weights)
    assert np.isfinite(merged).all()
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradients[0][~presence], 0)


def test_gradients_of_merge_are_those_of_finite_differences(spaces):
    with jax.enable_x64(True):
        presence = spaces[2]
        point = [*(jnp.asarray(s, jnp.float64) for s in spaces[:2]), jnp.ones(M)]
        way = [jnp.asarray(draw(*p.shape, seed=9), jnp.float64) for p in point]
        c = draw(N, A, seed=8)

        def loss(x, a, weights):
            return jnp.vdot(c, merge(x, a, presence, weights=weights, empty=0.0))

        ahead, behind = (
            loss(*(p + step * w for p, w in zip(point, way, strict=True)))
            for step in (1e-6, -1e-6)
        )
        gradients = jax.grad(loss, (0, 1, 2))(*point)
        got = sum(jnp.vdot(g, w) for g, w in zip(gradients, way, strict=True))
        np.testing.assert_allclose(got, (ahead - behind) / 2e-6, rtol=1e-6)


# Some samples at a time


def large(num_samples, num_charts=4, num_anchors=48, dimension=16):
    x = draw(num_charts, num_samples, dimension)
    present = np.random.default_rng(1).random((num_charts, num_samples)) < 0.6
    return x, draw(num_charts, num_anchors, dimension, seed=2), present


# Chunks that divide N, strided, and chunks that do not, with a last one that overlaps.
@pytest.mark.parametrize("batch_size", [20, 16, 1, 60, 1000])
@pytest.mark.parametrize("similarity", ["cosine", "angular"])
def test_the_samples_at_a_time_do_not_matter(batch_size, similarity):
    x, a, present = large(60)
    weights = np.abs(draw(4, 60, seed=3))
    options = {"weights": weights, "similarity": similarity}
    expected = merge(x, a, present, **options)
    got = merge(jnp.asarray(x), a, present, batch_size=batch_size, **options)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    if similarity == "cosine":
        np.testing.assert_allclose(got, reference(x, a, present, weights), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [20, 16])
def test_gradients_of_chunks_are_those_of_the_whole(batch_size):
    x, a, present = large(60)
    x = poisoned(x, present)
    c = draw(60, 48, seed=4)

    def loss(x, a, weights, size):
        options = {"weights": weights, "empty": 0.0, "batch_size": size}
        return jnp.vdot(c, merge(x, a, present, **options))

    point = jnp.asarray(x), jnp.asarray(a), jnp.ones(4)
    expected = jax.grad(loss, (0, 1, 2))(*point, 60)
    got = jax.grad(loss, (0, 1, 2))(*point, batch_size)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# 512 and more rows: 3 x 599, 7 x 73 x 2, a prime.
@pytest.mark.parametrize("num_samples", [1797, 1022, 1031])
def test_every_number_of_samples_is_merged_whole(num_samples):
    x, a, present = large(num_samples)
    got = merge(x, a, present)
    np.testing.assert_allclose(got, reference(x, a, present), atol=1e-6)


@pytest.mark.parametrize("weighted", ["none", "charts", "rows"])
@pytest.mark.parametrize("batch_size", [20, 16, 1000])
def test_what_lies_in_files_is_streamed(tmp_path, weighted, batch_size):
    x, a, present = large(60)
    weights = {
        "none": None,
        "charts": np.array([1, 2, 0.5, 3], np.float32),
        "rows": np.abs(draw(4, 60, seed=3)),
    }[weighted]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options = {"weights": weights, "batch_size": batch_size}
    got = merge(mapped, a, present, **options)
    assert isinstance(got, jax.Array)
    np.testing.assert_allclose(got, merge(x, a, present, weights=weights), atol=1e-6)
    listed = merge(list(mapped), list(a), present, **options)
    np.testing.assert_allclose(listed, got, atol=1e-6)


def test_streaming_reads_only_some_rows_at_once():
    class Counted(np.ndarray):
        def __getitem__(self, key):
            read = super().__getitem__(key)
            most.append(read.shape[-2])
            return read

    most = []
    x, a, present = large(60)
    got = merge(x.view(Counted), a, present, batch_size=16)
    np.testing.assert_allclose(got, merge(x, a, present), atol=1e-6)
    assert most == [16] * 4


def test_without_a_batch_size_what_is_large_is_streamed_too(monkeypatch):
    class Counted(np.ndarray):
        def __getitem__(self, key):
            read = super().__getitem__(key)
            most.append(read.nbytes)
            return read

    most = []
    x, a, present = large(60)
    expected = merge(x, a, present)
    monkeypatch.setattr(placed, "HOST_BYTES", 4096)
    got = merge(x.view(Counted), a, present)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert max(most) <= 4096 < x.nbytes
    listed = merge([one.view(Counted) for one in x], list(a), present)
    np.testing.assert_allclose(listed, expected, atol=1e-6)
    assert max(most) <= 4096


@pytest.mark.parametrize("batch_size", [None, 16])
def test_the_other_order_of_bytes_is_taken(batch_size):
    x, a, present = large(60)
    expected = merge(x, a, present, batch_size=batch_size)
    big = [one.astype(one.dtype.newbyteorder(">")) for one in (x, a)]
    got = merge(*big, present, batch_size=batch_size)
    np.testing.assert_array_equal(got, expected)
    listed = merge(list(big[0]), list(big[1]), present, batch_size=batch_size)
    np.testing.assert_allclose(listed, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("kind", [jnp.asarray, np.asarray])
def test_the_dtype_of_the_result_may_be_asked_for(kind, batch_size):
    x, a, present = (kind(part) for part in large(60))
    x, a = x.astype(jnp.bfloat16), a.astype(jnp.bfloat16)
    options = {"batch_size": batch_size}
    short = merge(x, a, present, **options)
    wide = merge(x, a, present, dtype=jnp.float32, **options)
    assert (short.dtype, wide.dtype) == (jnp.bfloat16, jnp.float32)
    exact = reference(*(np.asarray(part, np.float64) for part in (x, a)), present)
    np.testing.assert_allclose(wide, exact, atol=1e-6)
    # Rounded once, to eight bits.
    rounded = wide.astype(jnp.bfloat16)
    np.testing.assert_array_equal(short.astype(np.float32), rounded.astype(np.float32))
    known = np.asarray(present).any(axis=0)
    off = np.abs(np.asarray(short, np.float64) - exact)[known]
    assert np.all(off <= 2**-8 * np.abs(exact[known]) + 1e-6)
    assert off.max() <= 2**-9 + 1e-6  # of a mean of cosines


def test_the_mean_in_a_dtype_that_is_asked_for():
    relative = jnp.asarray(draw(3, 7, 5), jnp.bfloat16)
    present = jnp.ones((3, 7), bool)
    exact = np.asarray(relative, np.float64).mean(axis=0)
    wide = masked_mean(relative, present, dtype="float32")
    assert wide.dtype == jnp.float32
    np.testing.assert_allclose(wide, exact, atol=1e-6)
    assert masked_mean(relative, present).dtype == jnp.bfloat16


def test_a_dtype_that_is_not_floating_point_is_refused():
    x, a, present = large(60)
    with pytest.raises(ValueError, match=r"dtype must be floating point.*got int32"):
        merge(x, a, present, dtype=jnp.int32)
    with pytest.raises(ValueError, match="dtype must be floating point"):
        masked_mean(jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool), dtype=bool)


def test_streaming_goes_through_vmap_and_grad():
    x, a, present = large(60)

    def streamed(a):
        return merge(x, a, present, empty=0.0, batch_size=16)

    both = np.stack([a, a[::-1]])
    got = jax.vmap(streamed)(both)
    for one, anchors in zip(got, both, strict=True):
        expected = merge(x, anchors, present, empty=0.0)
        np.testing.assert_allclose(one, expected, atol=1e-6)
    slope = jax.grad(lambda a: jnp.sum(jnp.sin(streamed(a))))(jnp.asarray(a))
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


@pytest.mark.usefixtures("unchecked")
def test_streaming_refuses_before_it_reads():
    x, a, present = large(60)
    with pytest.raises(ValueError, match="presence must have the axes"):
        merge(x, a, present[:, 1:], batch_size=16)
    with pytest.raises(ValueError, match=r"\(M,\) or \(M, N\)"):
        merge(x, a, present, weights=np.ones((4, 59), np.float32), batch_size=16)
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1"):
        merge(x, a, present, batch_size=0)


def memory(function, *args):
    """Bytes that a compiled program needs beyond what goes in and comes out."""
    return jax.jit(function).lower(*args).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("num_samples", [10_000, 50_000])
@pytest.mark.slow
def test_memory_is_a_small_part_of_the_charts_relative_representations(num_samples):
    float32 = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    x, a = float32((8, num_samples, 128)), float32((8, 256, 128))
    present = jax.ShapeDtypeStruct((8, num_samples), bool)
    assert memory(merge, x, a, present) <= 0.15 * 8 * num_samples * 256 * 4
    listed = [float32((num_samples, d)) for d in (64, 256, 128, 32, 128, 200, 88, 128)]
    sides = listed, [float32((256, x.shape[1])) for x in listed]
    assert memory(merge, *sides, present) <= 0.15 * 8 * num_samples * 256 * 4


@pytest.mark.usefixtures("devices")
def test_of_bfloat16_no_whole_is_widened():
    x, a, present = large(4000, dimension=64)
    needed = memory(merge, x, a, present)
    narrow = jnp.asarray(x, jnp.bfloat16), jnp.asarray(a, jnp.bfloat16)
    assert memory(merge, *narrow, present) <= 1.1 * needed


def test_bfloat16_is_added_up_in_float32():
    x, a, present = large(600, dimension=64)
    present[:, ~present.any(axis=0)] = True
    narrow = jnp.asarray(x, jnp.bfloat16), jnp.asarray(a, jnp.bfloat16)
    exact = reference(*(np.asarray(side, np.float64) for side in narrow), present)
    got = merge(*narrow, present)
    assert got.dtype == jnp.bfloat16
    # Rounded once, at the end, to 8 bits.
    error = np.abs(np.asarray(got, np.float64) - exact)
    assert (error <= 2.0**-8 * np.abs(exact) + 1e-6).all()


# Samples on several devices


@pytest.fixture(params=["Auto", "Explicit"])
def mesh(request):
    kind = getattr(jax.sharding.AxisType, request.param)
    return jax.make_mesh((4,), ("samples",), axis_types=(kind,))


def spread(mesh, x, *spec):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))


@pytest.mark.parametrize(
    ("num_charts", "options"),
    [(4, {}), (4, {"similarity": "rbf"}), (4, {"batch_size": 500}), (MANY, {})],
    ids=str,
)
def test_each_device_merges_its_own_rows(mesh, num_charts, options):
    x, a, present = large(4096, num_charts)
    expected = merge(x, a, present, **options)
    placed = (
        spread(mesh, x, None, "samples"),
        spread(mesh, a),
        spread(mesh, present, None, "samples"),
    )
    function = jax.jit(partial(merge, **options))
    with jax.set_mesh(mesh):
        program = function.lower(*placed).compile()
        got = function(*placed)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert {s.data.shape for s in got.addressable_shards} == {(1024, 48)}
    text = program.as_text()
    assert "while" in text  # chunks there are
    for sent in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
        assert f"{sent}(" not in text, sent
    memory = program.memory_analysis()
    of_inputs = (x.nbytes + present.nbytes) / 4 + a.nbytes
    assert memory.argument_size_in_bytes <= 1.01 * of_inputs
    assert memory.output_size_in_bytes == 1024 * 48 * 4


def test_each_device_needs_little_beside_its_rows(mesh):
    x, a, present = large(40_960)
    own = NamedSharding(mesh, PartitionSpec("samples"))
    inputs = (
        spread(mesh, x, None, "samples"),
        spread(mesh, present, None, "samples"),
        None,
        spread(mesh, a),
        spread(mesh, jnp.float32(0)),
    )
    settings = (
        ("batch_size", None),
        ("precision", "highest"),
        ("similarity", "cosine"),
    )
    compiled = placed._by_device.lower(
        *inputs, mesh=own, rows=merged_rows, settings=settings
    )
    program = compiled.compile()
    whole = 4 * len(x) * 40_960 * a.shape[1]  # (M, N, A)
    assert program.memory_analysis().temp_size_in_bytes <= 0.15 * whole / 4
    text = program.as_text()
    assert "while" in text
    for sent in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
        assert sent not in text, sent


def test_of_sharded_samples_a_batch_size_is_checked_too(mesh):
    x, a, present = large(400)
    placed = spread(mesh, x, None, "samples"), a, spread(mesh, present, None, "samples")
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1"):
        merge(*placed, batch_size=0)


def test_a_mesh_may_be_of_some_of_the_devices(monkeypatch):
    x, a, present = large(3 * 340)
    three = jax.make_mesh((3,), ("samples",), devices=jax.devices()[:3])
    where = (
        spread(three, x, None, "samples"),
        a,
        spread(three, present, None, "samples"),
    )
    seen, by_device = [], placed._by_device

    def noted(*inputs, **options):
        seen.append(by_device.lower(*inputs, **options).compile().as_text())
        return by_device(*inputs, **options)

    monkeypatch.setattr(placed, "_by_device", noted)
    got = merge(*where, weights=jnp.arange(1.0, 1 + len(x)))
    expected = merge(x, a, present, weights=jnp.arange(1.0, 1 + len(x)))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert "all-gather" not in seen[0]


def test_gradients_on_several_devices_are_those_on_one(mesh):
    x, a, present = large(4096)
    c = draw(4096, 48, seed=4)

    def loss(x, a, present, c):
        return jnp.sum(c * merge(x, a, present, empty=0.0))

    expected = jax.grad(loss, (0, 1))(x, a, present, c)
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    of_rows = partial(spread, mesh)
    placed = (
        of_rows(x, None, "samples"),
        of_rows(a),
        of_rows(present, None, "samples"),
        of_rows(c, "samples"),
    )
    with jax.set_mesh(mesh):
        got = gradient(*placed)
        program = gradient.lower(*placed).compile().as_text()
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)
    assert "all-gather(" not in program


# What is refused


ONES = np.ones((M, N, D), np.float32), np.ones((M, A, D), np.float32)
ALL = np.ones((M, N), bool)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "a", "message"),
    [
        (
            ONES[0],
            ONES[1][:2],
            r"number of charts M .* got \[3, 2\]. Give each chart's",
        ),
        (ONES[0], ONES[1][..., :2], r"D of .* of chart 0 .*\(7, 4\) and \(5, 2\)"),
        (ONES[0][0], ONES[1], r"axes of stacked embeddings .* got \[3, 2\]"),
        (ONES[0], [*ONES[1][:2], ONES[1][2, :3]], r"anchors A .* got \[5, 5, 3\]"),
        ([*ONES[0][:2], ONES[0][2, :6]], ONES[1], r"N .* got \[7, 7, 6\].*assemble"),
        ([*ONES[0][:2], ONES[0][2, :, :3]], ONES[1], r"D of .* of chart 2"),
        (ONES[0].astype(int), ONES[1], "embeddings of chart 0 must be floating point"),
        ([], [], "there are no charts to merge"),
    ],
)
def test_merge_refuses_charts_that_do_not_fit(x, a, message):
    with pytest.raises(ValueError, match=message):
        merge(x, a, ALL)


@pytest.mark.usefixtures("unchecked")
def test_indices_of_anchors_are_refused_by_saying_how_to_index():
    x, numbers, everywhere = (
        np.ones((2, 5, 3), np.float32),
        [0, 2],
        np.ones((2, 5), bool),
    )
    call = r"index first: `merge\(E, E\[:, anchors\], presence\)`"
    for indices in (np.array(numbers), numbers, np.array([numbers, numbers])):
        with pytest.raises(ValueError, match=call):
            merge(x, indices, everywhere)
    with pytest.raises(ValueError, match=call):
        merge(list(x), [np.array(numbers)] * 2, everywhere)
    with pytest.raises(ValueError, match=r"first: `relativize\(E, E\[anchors\]\)`"):
        relativize(x[0], np.array(numbers))


def test_merge_refuses_an_unknown_similarity():
    with pytest.raises(ValueError, match="'dot'; known are cosine"):
        merge(*ONES, ALL, similarity="dot")
