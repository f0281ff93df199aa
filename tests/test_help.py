"""What `help` and `inspect.signature` say of public functions: names, in short."""

import copy
import functools
import inspect
import pickle
import pydoc
import typing

import jax
import jax.numpy as jnp
import numpy as np
import public_names
import pytest

import jatlas
from jatlas._src import border

FUNCTIONS = {
    name: value
    for name, value in public_names.canonical().items()
    if not inspect.isclass(value)
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


@each_function
def test_help_shows_a_function_with_the_names_of_its_arguments(name):
    function = FUNCTIONS[name]
    whole = inspect.signature(inspect.unwrap(function))
    shown = inspect.signature(function)
    assert list(shown.parameters) == list(whole.parameters)
    for one, other in zip(
        shown.parameters.values(), whole.parameters.values(), strict=True
    ):
        assert (one.kind, one.default) == (other.kind, other.default)
        assert one.annotation is one.empty
    page = pydoc.plain(pydoc.render_doc(function))
    assert page.splitlines()[0].startswith(
        f"Python Library Documentation: function {function.__name__} in module jatlas"
    )
    # Python 3.13 and later write a long one in several lines.
    line = "".join(page.split("\n", 2)[2].split())
    assert line.startswith("".join(f"{function.__name__}{shown}".split()))
    assert function.__doc__.splitlines()[0] in page
    assert len(str(shown)) < 250


def test_annotations_are_still_there():
    hints = typing.get_type_hints(jatlas.running.atlas.add)
    assert set(hints) == {"atlas", "relative", "presence", "weights", "return"}
    assert "N A" in str(hints["relative"])


@border.jit(static_argnames="power")
def powered(x: jax.Array, *, power: int = 2) -> jax.Array:
    """A power of x."""
    traces.append(power)
    return x**power


traces: list[int] = []


def test_what_jit_offers_is_still_there():
    powered.clear_cache()
    traces.clear()
    x = jnp.arange(3.0)
    assert str(inspect.signature(powered)) == "(x, *, power=2)"
    assert (powered.__name__, powered.__doc__) == ("powered", "A power of x.")
    np.testing.assert_array_equal(powered(x), [0, 1, 4])
    np.testing.assert_array_equal(powered(x, power=3), [0, 1, 8])
    np.testing.assert_array_equal(powered(x=x), [0, 1, 4])
    assert sorted(set(traces)) == [2, 3]
    before = len(traces)
    powered(x)
    assert len(traces) == before
    assert powered._cache_size() >= 2
    assert powered.lower(x, power=3).compile()(x).tolist() == [0, 1, 8]
    assert powered.trace(x).jaxpr.out_avals[0].shape == (3,)
    assert powered.eval_shape(x).shape == (3,)
    powered.clear_cache()
    assert powered._cache_size() == 0
    np.testing.assert_array_equal(powered.__wrapped__(np.arange(3)), [0, 1, 4])


def test_what_a_transformation_offers_is_its_own():
    x = jnp.arange(3.0)
    for form, expected in (
        (jax.vmap(jax.grad(powered)), [0, 2, 4]),
        (jax.vmap(jax.value_and_grad(powered)), ([0, 1, 4], [0, 2, 4])),
        (jax.vmap(powered), [0, 1, 4]),
    ):
        jitted = jax.jit(form)
        shapes = jax.tree.map(jnp.shape, jitted(x))
        jax.tree.map(
            np.testing.assert_array_equal,
            jitted.lower(x).compile()(x),
            jax.tree.map(jnp.array, expected, is_leaf=lambda e: isinstance(e, list)),
        )
        assert jax.tree.map(lambda out: out.shape, jitted.eval_shape(x)) == shapes
        assert len(jitted.trace(x).jaxpr.out_avals) == len(jax.tree.leaves(jitted(x)))


@each_function
def test_no_function_hands_on_what_a_jitted_one_offers(name):
    """JAX copies the attributes of a function to what it makes of it, functools too."""
    own = vars(functools.wraps(FUNCTIONS[name])(lambda: None))
    assert own["__wrapped__"] is FUNCTIONS[name]
    assert not {"lower", "trace", "eval_shape", "clear_cache"} & set(own)


@each_function
def test_a_function_is_pickled_and_copied_by_its_name(name):
    function = FUNCTIONS[name]
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function


def test_transformations_go_through():
    x = jnp.arange(3.0)
    np.testing.assert_array_equal(jax.vmap(powered)(x), [0, 1, 4])
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.grad(powered)))(x), [0, 2, 4])
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        powered(x, other=1)
