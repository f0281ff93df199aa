"""Similarities with names of one's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from jatlas.files.recipe import Recipe, check_recipe
from jatlas.merging import contraction, register_similarity, relative

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 7, 4)).astype(np.float32)
ANCHORS = RNG.normal(size=(2, 5, 4)).astype(np.float32)
PRESENCE = RNG.uniform(size=(2, 7)) < 0.7


def cauchy(x, anchors):
    return 1 / (1 + jnp.sum((x[:, None] - anchors) ** 2, axis=-1))


def student(x, anchors):
    return cauchy(x, anchors) ** 2


def reference(x, anchors, power=1):
    squares = np.sum((np.float64(x)[:, None] - anchors) ** 2, axis=-1)
    return (1 + squares) ** -power


def merged_reference(power=1):
    relative = np.stack(
        [reference(x, a, power) for x, a in zip(X, ANCHORS, strict=True)]
    )
    kept = np.where(PRESENCE[..., None], relative, 0).sum(axis=0)
    count = PRESENCE.sum(axis=0)[:, None].astype(float)
    return np.divide(kept, count, out=np.full_like(kept, np.nan), where=count > 0)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(autouse=True)
def _names_of_the_test_only(monkeypatch):
    monkeypatch.setattr(relative, "_registered", {})


def test_a_name_of_ones_own_is_taken_by_relativize_and_merge():
    register_similarity("cauchy", cauchy)
    close(
        jatlas.relativize(X[0], ANCHORS[0], similarity="cauchy"),
        reference(X[0], ANCHORS[0]),
    )
    close(
        jatlas.merge(X, ANCHORS, PRESENCE, similarity="cauchy"),
        merged_reference(),
    )
    by_batches = jatlas.merge(X, ANCHORS, PRESENCE, similarity="cauchy", batch_size=3)
    close(by_batches, merged_reference())


def test_a_name_given_anew_takes_effect_at_the_next_call():
    register_similarity("own", cauchy)
    merge = jax.jit(partial(jatlas.merge, similarity="own"))
    each = jax.jit(jax.vmap(partial(jatlas.relativize, similarity="own")))
    gradient = jax.jit(
        jax.grad(lambda x: jatlas.relativize(x, ANCHORS[0], similarity="own").sum())
    )
    close(jatlas.merge(X, ANCHORS, PRESENCE, similarity="own"), merged_reference())
    close(merge(X, ANCHORS, PRESENCE), merged_reference())
    close(each(X, ANCHORS)[0], reference(X[0], ANCHORS[0]))
    before = gradient(X[0])

    register_similarity("own", student)
    squared = merged_reference(power=2)
    close(jatlas.merge(X, ANCHORS, PRESENCE, similarity="own"), squared)
    close(merge(X, ANCHORS, PRESENCE), squared)
    close(each(X, ANCHORS)[0], reference(X[0], ANCHORS[0], power=2))
    expected = jax.grad(lambda x: student(x, ANCHORS[0]).sum())(X[0])
    close(gradient(X[0]), expected)
    assert np.abs(before - expected).max() > 1e-3


def test_the_same_name_for_the_same_function_forgets_nothing(monkeypatch):
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    for function in (cauchy, cauchy):
        register_similarity("own", function)
    assert not cleared
    register_similarity("own", student)
    assert cleared


def test_a_function_that_takes_precision_is_given_it():
    given = []

    def noted(x, anchors, *, precision="high"):
        given.append(precision)
        return jnp.matmul(x, anchors.T, precision=precision)

    register_similarity("noted", noted)
    jatlas.relativize(X[0], ANCHORS[0], similarity="noted", precision="default")
    jatlas.merge(X, ANCHORS, PRESENCE, similarity="noted", precision="high")
    assert given == ["highest", "default", "high"]


def test_the_function_of_a_name_merges_as_fast_as_the_name(largest_array):
    """Cosines are merged in one contraction, be they named or given."""
    inputs = [jnp.ones((30, 7, 4)), jnp.ones((30, 5, 4)), jnp.ones((30, 7), bool)]
    sizes = [
        largest_array(partial(jatlas.merge, similarity=given), *inputs)
        for given in ("cosine", relative.cosine)
    ]
    assert sizes[0] == sizes[1]
    assert relative.cosine in contraction._PRODUCTS


def test_an_atlas_with_such_a_name_cannot_be_saved(tmp_path):
    register_similarity("cauchy", cauchy)
    recipe = Recipe(np.arange(5), tuple(ANCHORS), similarity="cauchy")
    with pytest.raises(ValueError, match="'cauchy' has no name to be saved by"):
        check_recipe(recipe)
    for m, x in enumerate(X):
        np.savez(tmp_path / f"{m}.npz", ids=np.arange(7), embeddings=x)
    paths = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="unknown similarity 'cauchy'"):
        jatlas.merge_files(paths, anchors="shared:5", similarity="cauchy")


def test_the_names_of_the_library_are_not_given_anew():
    with pytest.raises(ValueError, match="'cosine' comes with the library"):
        register_similarity("cosine", cauchy)
    with pytest.raises(TypeError, match="item assignment"):
        relative.SIMILARITIES["cauchy"] = cauchy


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("cosine", "got 'cosine'"),
        (lambda x: x, "TypeError: .*takes 1 positional"),
        (lambda x, anchors, sigma: x @ anchors.T, "missing 1 required positional"),
        (lambda x, anchors: anchors @ x.T, r"ValueError: .*\(3, 2\), \(2, 3\)"),
        (lambda x, anchors: None, "ValueError: .*shape"),
        (lambda x, anchors: (x @ anchors.T).astype(int), "it gave int32"),
        (lambda x, anchors: x @ anchors.T > 0, "it gave bool"),
        (lambda x, anchors: jnp.sqrt(-(x @ anchors.T)), "it gave .*nan"),
        (lambda x, anchors: 1 / (0 * (x @ anchors.T)), "it gave .*inf"),
        (lambda x, anchors: np.dot(np.asarray(x), anchors.T), "TracerArrayConversion"),
        (lambda x, anchors: x @ anchors.T if x[0, 0] > 0 else x, "TracerBool"),
    ],
)
def test_what_is_not_a_similarity_is_refused(function, message):
    with pytest.raises(ValueError, match="'own' must be a function") as e:
        register_similarity("own", function)
    e.match(message)
    with pytest.raises(ValueError, match="unknown similarity 'own'"):
        jatlas.relativize(X[0], ANCHORS[0], similarity="own")


def test_a_function_that_cannot_be_a_constant_is_refused():
    class Kernel:
        __hash__ = None

        def __call__(self, x, anchors):
            return cauchy(x, anchors)

    with pytest.raises(ValueError, match="unhashable"):
        register_similarity("own", Kernel())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_text(name):
    with pytest.raises(ValueError, match="must be text"):
        register_similarity(name, cauchy)


def test_an_unknown_name_lists_those_of_ones_own_too():
    register_similarity("cauchy", cauchy)
    with pytest.raises(ValueError, match=r"rbf, cauchy.*\.register_similarity"):
        jatlas.merge(X, ANCHORS, PRESENCE, similarity="cauchi")
