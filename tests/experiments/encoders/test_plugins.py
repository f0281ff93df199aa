"""Parts of one's own, by MODULE:FUNCTION: taken, and refused in a line if wrong."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments.encoders import chart_kinds, plugins
from experiments.runs import options
from experiments.runs.options import Options

MODULE = """
from functools import partial

import jax.numpy as jnp
from jatlas.charts import CNN, from_module

def make(shape, num_classes):
    return from_module(partial(CNN, shape, num_classes, num_features=5))

def other_classes(shape, num_classes):
    return make(shape, num_classes + 1)

def module(shape, num_classes):
    return CNN

def fails(shape, num_classes):
    raise KeyError("no weights")

def product(x, anchors):
    return x @ anchors.T

def transposed(x, anchors):
    return anchors @ x.T

def one(x):
    return x

def endless(x, anchors):
    return jnp.full((len(x), len(anchors)), jnp.inf)

def of_histograms(x, anchors):
    return jnp.sqrt(x) @ jnp.sqrt(anchors).T

number = 3
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


def test_a_chart_of_ones_own_is_a_kind(tiny):
    options.check(Options(charts=("mine:make", "cnn")))
    encoder = chart_kinds.prepare(
        "mine:make", tiny, feature_size=8, cache_dir=None, report=print
    )
    state = encoder.chart.init(jax.random.key(0))
    images = jnp.asarray(tiny.images[:3])
    assert encoder.chart.embed(state, images).shape == (3, 5)
    bare = jatlas.charts.from_module(
        partial(jatlas.charts.CNN, (8, 8, 1), 10, num_features=5)
    )
    scaled = (images / 255 - 0.449) / 0.226  # as ours look at images
    np.testing.assert_allclose(
        encoder.chart.embed(state, images), bare.embed(state, scaled), atol=1e-4
    )
    assert Options(charts=("mine:make",)).epochs("mine:make") == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:make", "the module nowhere cannot be imported .*ModuleNotFoundError"),
        ("broken:make", "the module broken cannot be imported .*nothing_of_this_name"),
        ("mine:nothing", "the module mine has no function nothing; it has .*make"),
        ("mine:number", "the module mine has no function number"),
    ],
)
def test_a_function_that_is_not_there_is_refused(name, message):
    with pytest.raises(ValueError, match=f"--charts {name}: {message}"):
        options.check(Options(charts=(name,)))
    with pytest.raises(ValueError, match=f"--similarity {name}: {message}"):
        options.check(Options(similarity=name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"fails: KeyError: 'no weights'"),
        ("module", r"returns ModuleMeta; it must return a jatlas\.charts\.Chart"),
        ("other_classes", r"whose logits are \(2, 11\); they must be .* \(2, 10\)"),
    ],
)
def test_a_chart_that_does_not_fit_is_refused(name, message):
    asked = rf"--charts mine:{name}, called with \(8, 8, 1\) and 10, "
    with pytest.raises(ValueError, match=asked + ".*" + message) as refused:
        plugins.make_chart(f"mine:{name}", (8, 8, 1), 10)
    assert "\n" not in str(refused.value)


def test_a_similarity_of_ones_own_is_taken():
    options.check(Options(similarity="mine:product"))
    options.check(Options(similarity="mine:of_histograms"))
    rows = np.eye(3, 4, dtype=np.float32)
    found = jatlas.relativize(
        2 * rows, rows[:2], similarity=Options(similarity="mine:product").comparison
    )
    np.testing.assert_allclose(found, 2 * rows @ rows[:2].T)
    assert Options(similarity="rbf").comparison == "rbf"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sine", r"unknown 'sine'; known are cosine, .* by MODULE:FUNCTION"),
        ("mine:transposed", r"mine:transposed fails: .*\(3, 2\).*\(2, 3\)"),
        ("mine:one", r"mine:one fails: .* TypeError"),
        ("mine:endless", r"mine:endless fails: .* finite .* gave .*inf"),
    ],
)
def test_a_similarity_that_is_none_is_refused(name, message):
    with pytest.raises(ValueError, match="--similarity .*" + message) as refused:
        options.check(Options(similarity=name))
    assert "\n" not in str(refused.value)
