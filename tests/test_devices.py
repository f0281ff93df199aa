"""The mesh, padding of ragged N, and the way back; all refusals by their messages."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jatlas
from jatlas import devices
from jatlas.devices import local_rows, place, sample_mesh

DEVICES = 4  # see conftest.py


class Space(NamedTuple):
    x: np.ndarray
    where: np.ndarray


@pytest.fixture(params=[False, True], ids=["automatic", "explicit"])
def mesh(request):
    return sample_mesh(explicit=request.param)


def space_of(num_rows: int, seed: int = 0) -> Space:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_rows, 3)).astype(np.float32)
    return Space(x, np.ones(num_rows, bool))


def refused(message: str):
    return pytest.raises(ValueError, match=message)


def test_the_mesh_has_one_axis_of_all_devices_and_the_kind_asked_for():
    for explicit, kind in ((False, AxisType.Auto), (True, AxisType.Explicit)):
        mesh = sample_mesh(explicit=explicit)
        assert mesh.axis_names == ("samples",)
        assert mesh.axis_types == (kind,)
        assert mesh.devices.tolist() == jax.devices()
    assert len(jax.devices()) == DEVICES
    some = jax.devices()[1:3]
    assert sample_mesh(some).devices.tolist() == some


@pytest.mark.parametrize("num_rows", [0, 1, 33, 1001])
def test_rows_come_first_and_zeros_after(mesh, num_rows):
    space = space_of(num_rows)
    placed = place(mesh, space)
    assert isinstance(placed, Space)
    assert placed.x.dtype == jnp.float32
    assert placed.where.dtype == bool
    x, where = np.asarray(placed.x), np.asarray(placed.where)
    assert len(x) == len(where) >= num_rows
    np.testing.assert_array_equal(x[:num_rows], space.x)
    assert where[:num_rows].all()
    assert not x[num_rows:].any()
    assert not where[num_rows:].any()


def test_every_device_holds_as_many_rows_and_no_others(mesh):
    for axis, shape in ((0, (50, 3)), (1, (2, 50, 3))):
        placed = place(mesh, np.ones(shape, np.float32), axis=axis)
        spec = PartitionSpec(*[None] * axis, "samples")
        assert placed.sharding.is_equivalent_to(NamedSharding(mesh, spec), placed.ndim)
        own = {
            shard.device: shard.data.shape[axis] for shard in placed.addressable_shards
        }
        assert own == dict.fromkeys(jax.devices(), 16)
        assert placed.shape[axis] == 16 * DEVICES


@given(num_rows=st.integers(1, 40_000))
@settings(max_examples=25, deadline=None)
def test_padding_is_little_and_chunks_are_equal(num_rows):
    rows, rest = divmod(place(sample_mesh(), np.zeros(num_rows, bool)).size, DEVICES)
    needed = -(-num_rows // DEVICES)
    assert rest == 0
    assert needed <= rows < needed + max(8, needed / 16)
    for least, multiple in ((1, 8), (256, 16), (512, 32), (1024, 64), (2048, 128)):
        if needed >= least:
            assert rows % multiple == 0


def test_rows_per_device_is_obeyed(mesh):
    space = space_of(10)
    placed = place(mesh, space, rows_per_device=5)
    assert placed.x.shape == (5 * DEVICES, 3)
    assert int(placed.where.sum()) == 10
    exact = place(mesh, space_of(12).x, rows_per_device=3)
    np.testing.assert_array_equal(exact, space_of(12).x)


@pytest.mark.parametrize("num_rows", [50, 64])
def test_nothing_is_shared_with_what_was_given(num_rows):
    x = np.ones((num_rows, 1024), np.float32)
    placed = place(sample_mesh(), x)
    x[:] = -1
    assert np.asarray(placed).min() >= 0


def test_dtypes_are_those_of_jax(mesh):
    tree = {
        "half": jnp.ones(8, jnp.bfloat16),
        "bytes": np.ones(8, np.uint8),
        "wide": np.ones(8),
        "none": None,
    }
    placed = place(mesh, tree)
    assert placed["half"].dtype == jnp.bfloat16
    assert placed["bytes"].dtype == np.uint8
    assert placed["wide"].dtype == np.float32
    assert placed["none"] is None
    with jax.enable_x64(True):
        assert place(mesh, tree)["wide"].dtype == np.float64


@pytest.mark.parametrize("num_rows", [0, 5, 50])
def test_own_rows_come_back(mesh, num_rows):
    space = space_of(num_rows)
    back = local_rows(mesh, place(mesh, space), num_rows)
    assert isinstance(back, Space)
    assert isinstance(back.x, np.ndarray)
    np.testing.assert_array_equal(back.x, space.x)
    np.testing.assert_array_equal(back.where, space.where)
    charts = np.stack([space.x, -space.x])
    placed = place(mesh, charts, axis=1)
    np.testing.assert_array_equal(local_rows(mesh, placed, num_rows, axis=1), charts)


def test_own_rows_come_back_from_any_layout(mesh):
    x = space_of(50).x
    everywhere = jax.device_put(place(mesh, x), NamedSharding(mesh, PartitionSpec()))
    np.testing.assert_array_equal(local_rows(mesh, everywhere, 50), x)


def test_padded_rows_do_not_count():
    """On one device and not padded, the same values."""
    rng, mesh = np.random.default_rng(1), sample_mesh()
    embeddings, anchors = rng.normal(size=(2, 50, 3)), rng.normal(size=(2, 4, 3))
    charts = embeddings.astype(np.float32), rng.uniform(size=(2, 50)) < 0.8
    space = space_of(50)
    placed, where = place(mesh, space)
    x, presence = place(mesh, charts, axis=1)
    merged = jatlas.merge(x, jnp.float32(anchors), presence, empty=0.0)
    alone = jatlas.merge(charts[0], jnp.float32(anchors), charts[1], empty=0.0)
    np.testing.assert_allclose(local_rows(mesh, merged, 50), alone, atol=1e-6)
    assert not np.asarray(merged)[50:].any()
    np.testing.assert_allclose(
        jatlas.cka(merged, placed, where=where), jatlas.cka(alone, space.x), rtol=1e-6
    )


# Several processes, played by one


@pytest.fixture
def others(monkeypatch):
    """Processes 1 and 2, which tell what they are made to; process 0 is this one."""

    def tell(*changes):
        def gather(told):
            return np.stack([told, *(np.asarray(c(told), np.uint32) for c in changes)])

        monkeypatch.setattr(devices.multihost_utils, "process_allgather", gather)

    return tell


def test_all_processes_pad_to_the_one_with_most_rows(others):
    others(lambda told: [70, told[1]], lambda told: [0, told[1]])
    assert place(sample_mesh(), space_of(10).x).shape == (72 * DEVICES, 3)


def test_processes_that_place_other_arrays_are_named(others):
    others(lambda told: told, lambda told: [told[0], told[1] ^ 1])
    with refused(r"processes \[2\] place other arrays than process 0, which has.*<f4"):
        place(sample_mesh(), space_of(10).x)


def test_what_processes_compare_does_not_depend_on_n(others):
    marks = []
    others(lambda told: marks.append(int(told[1])) or told)
    x = space_of(10).x
    trees = [x, x[:5], x[:, :2], x.astype(np.float16), [x], (x, x)]
    for tree in trees:
        place(sample_mesh(), tree)
    place(sample_mesh(), x, axis=1)
    assert marks[0] == marks[1]
    assert len(set(marks)) == len(trees)


# Refusals


def test_a_mesh_without_devices_is_refused():
    with refused("devices is empty"):
        sample_mesh([])


def test_a_mesh_that_is_not_of_samples_is_refused():
    other = jax.make_mesh((DEVICES,), ("rows",), axis_types=(AxisType.Auto,))
    for call in (lambda: place(other, np.ones(3)), lambda: local_rows(other, [], 3)):
        with refused(
            r"one axis 'samples', got \('rows',\); make it with `sample_mesh`"
        ):
            call()


def test_a_mesh_without_devices_of_this_process_is_refused(monkeypatch):
    mesh = sample_mesh()
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    with refused("none of the devices of process 3"):
        place(mesh, np.ones(3))


@pytest.mark.usefixtures("unchecked")
def test_arrays_that_cannot_be_placed_are_refused():
    mesh = sample_mesh()
    with refused(r"number of samples N of the arrays must be the same, got \[3, 4\]"):
        place(mesh, [np.ones(3), np.ones((4, 2))])
    with refused(r"an array of shape \(3,\) has no axis 1"):
        place(mesh, [np.ones((2, 3)), np.ones(3)], axis=1)
    with refused("axis must be a whole number of 0 or more, got -1"):
        place(mesh, np.ones(3), axis=-1)
    with refused("there are no arrays to place"):
        place(mesh, [])
    with refused("is <U3.*, which JAX does not hold"):
        place(mesh, np.array(["cat", "dog"]))
    for function in (place, partial(local_rows, num_rows=3)):
        with refused("runs on the host and reads the values of tree.* outside of jit"):
            jax.jit(lambda x, function=function: function(mesh, x))(np.ones(8))


@pytest.mark.usefixtures("unchecked")
def test_rows_that_do_not_fit_are_refused():
    mesh = sample_mesh()
    with refused("9 rows do not fit on 4 devices with rows_per_device=2; it must be 3"):
        place(mesh, np.ones(9), rows_per_device=2)
    with refused("rows_per_device must be a whole number of 1 or more, got 0"):
        place(mesh, np.ones(9), rows_per_device=0)
    with refused("num_rows must be a whole number of 0 or more, got -1"):
        local_rows(mesh, jnp.ones(8), -1)
    with refused("8 rows on 4 devices has no 9 rows on the 4 of this process"):
        local_rows(mesh, jnp.ones(8), 9)
    with refused("9 rows on 4 devices has no 9 rows"):
        local_rows(mesh, jnp.ones(9), 9)
    with refused("has no axis 1"):
        local_rows(mesh, jnp.ones(8), 3, axis=1)
