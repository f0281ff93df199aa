import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas._src import layout

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


@pytest.fixture
def mesh():
    return jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Explicit,))


def spread(mesh, x, *spec):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))


def gram(x, scale=1.0):
    return scale * x.T @ x


def moved(scale, x):
    total, _ = jax.lax.scan(lambda total, row: (total + row, row), jnp.zeros(3), x)
    return {"rows": x * scale - total, "first": x[:, 0]}


def test_a_sum_over_samples_is_ambiguous_without_it(mesh):
    x = spread(mesh, X, "samples")
    with pytest.raises(Exception, match="ambiguous"):
        jax.jit(gram)(x)
    got = jax.jit(layout.automatic()(gram))(x, scale=2.0)
    np.testing.assert_allclose(got, 2 * X.T @ X, rtol=1e-5)
    assert got.sharding.is_fully_replicated


def test_rows_lie_as_the_samples_do(mesh):
    function = jax.jit(layout.automatic("x")(moved))
    expected = moved(2.0, X)
    for x in (spread(mesh, X, "samples"), spread(mesh, X)):
        got = function(2.0, x=x)
        for name, leaf in got.items():
            np.testing.assert_allclose(leaf, expected[name], rtol=1e-5, atol=1e-6)
            assert leaf.sharding.shard_shape((8,))[0] == x.sharding.shard_shape((8,))[0]


def test_in_a_list_the_first_says_how_the_samples_lie(mesh):
    @jax.jit
    @layout.automatic("spaces", -2)
    def added(spaces):
        return sum(space.sum(axis=1) for space in spaces)

    got = added([spread(mesh, X, "samples"), spread(mesh, X, "samples")])
    np.testing.assert_allclose(got, 2 * X.sum(axis=1), rtol=1e-5)
    assert got.sharding.spec == PartitionSpec("samples")


def test_without_explicit_axes_nothing_changes():
    function = layout.automatic("x")(moved)
    with_it, without = (str(jax.make_jaxpr(f)(2.0, X)) for f in (function, moved))
    assert with_it == without


def test_jit_vmap_and_grad_go_through(mesh):
    function = jax.jit(layout.automatic()(gram))

    def loss(x):
        return jnp.sum(jnp.sin(function(x)))

    x = spread(mesh, X, "samples")
    expected = jax.grad(lambda x: jnp.sum(jnp.sin(gram(x))))(X)
    with jax.set_mesh(mesh):
        got = jax.jit(jax.grad(loss))(x)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    two = spread(mesh, np.stack([X, 2 * X]), None, "samples")
    got = jax.vmap(function)(two)
    np.testing.assert_allclose(got[1], 4 * X.T @ X, rtol=1e-5)


def test_samples_are_found_where_they_are_spread_and_can_be_seen(mesh):
    automatic = jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Auto,))

    def specs(x):
        seen = [layout.of_samples(x, 0), layout.on_mesh(x)]

        def inside(x):
            seen.extend([layout.of_samples(x, 0), layout.on_mesh(x)])
            return x

        jax.jit(inside).eval_shape(x)
        return [None if one is None else one.spec for one in seen]

    along, whole = PartitionSpec("samples"), PartitionSpec(None)
    assert specs(jnp.asarray(X)) == [None] * 4
    assert specs(spread(automatic, X, "samples")) == [along, along, None, None]
    assert specs(spread(automatic, X)) == [None] * 4
    assert specs(spread(mesh, X, "samples")) == [along, along, None, along]
    assert specs(spread(mesh, X)) == [None, whole, None, whole]
    assert layout.of_samples(X, 0) is layout.on_mesh(X) is None
    stacked = spread(mesh, np.stack([X, X]), None, "samples")
    assert layout.of_samples(stacked, -2).spec == along
    assert layout.of_samples(stacked, 0) is None
    assert layout.on_mesh(stacked, 1).spec == along
