"""Parts of one's own, by MODULE:FUNCTION: taken, and refused in a line if wrong."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments.encoders import chart_kinds, plugins
from experiments.runs import benches, options, provenance
from experiments.runs.options import Options
from jatlas.charts import training

MODULE = """
from functools import partial

import jax.numpy as jnp
import optax
from experiments.encoders.plugins import Trainable
from jatlas.charts import CNN, flip_and_crop, from_module, sgd_cosine
from jatlas.charts import with_preprocessing

def make(shape, num_classes):
    return from_module(partial(CNN, shape, num_classes, num_features=5))

def of_bytes(shape, num_classes):
    return with_preprocessing(make(shape, num_classes), lambda x: x / 255 - 0.5)

def trained(shape, num_classes):
    return Trainable(
        make(shape, num_classes), optax.adamw(2e-3), 3, 50, augment=flip_and_crop
    )

def stepwise(shape, num_classes):
    return Trainable(make(shape, num_classes), optimizer=sgd_cosine)

def no_chart(shape, num_classes):
    return Trainable(CNN)

def no_epochs(shape, num_classes):
    return Trainable(make(shape, num_classes), max_epochs=0)

def no_batch(shape, num_classes):
    return Trainable(make(shape, num_classes), batch_size=2.5)

def no_optimizer(shape, num_classes):
    return Trainable(make(shape, num_classes), optimizer="adam")

def of_epochs(shape, num_classes):
    return Trainable(make(shape, num_classes), optimizer=lambda num_steps: num_steps)

def no_steps(shape, num_classes):
    return Trainable(make(shape, num_classes), optimizer=lambda: optax.sgd(1e-2))

def cut(shape, num_classes):
    return Trainable(make(shape, num_classes), augment=lambda key, x: x[:, 1:])

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


FEW = """
from functools import partial
import jax
from flax import nnx
from jatlas.charts import from_module

class Few(nnx.Module):
    pass

def make(shape, num_classes):
    return from_module(partial(Few, shape, num_classes))

@jax.jit
def linear(x, anchors):
    return x @ anchors.T

def _hidden():
    pass
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "few.py").write_text(FEW)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)
    sys.modules.pop("few", None)


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


def test_a_chart_of_ones_own_brings_its_training_settings(tiny, monkeypatch):
    asked = Options(dataset="tiny", charts=("mine:trained",))
    bench = benches.prepare(asked, tiny, Path())
    calls = []
    monkeypatch.setattr(training, "fit_charts", lambda *a, **more: calls.append(more))
    task = jatlas.scenarios.end_to_end(0, tiny.labels, test=tiny.test)
    benches.fit(bench, "mine:trained", task, jax.random.key(0), [0])
    (given,) = calls
    assert (given["max_epochs"], given["batch_size"]) == (3, 50)
    assert given["augment"] is jatlas.charts.flip_and_crop
    assert given["optimizer"] is not jatlas.charts.adam()
    described = provenance.of_dataset(asked, tiny)["options"]
    assert described["max_epochs"] == {"mine:trained": 3}
    fewer = replace(asked, max_epochs=1)
    assert benches.epochs_of(bench._replace(options=fewer), "mine:trained") == 1


def test_an_optimizer_by_the_number_of_steps_is_one_object(tiny):
    asked = Options(dataset="tiny", charts=("mine:stepwise",))
    kind = benches.prepare(asked, tiny, Path()).encoders["mine:stepwise"].kind
    assert kind.optimizer(40) is kind.optimizer(40) is jatlas.charts.sgd_cosine(40)


def test_the_results_say_which_images_a_chart_of_ones_own_gets(tiny):
    (note,) = chart_kinds.notes("mine:make", tiny)
    assert note.startswith("mine:make gets images (B, 8, 8, 1) as float32, (x / 255 - ")
    (note,) = chart_kinds.notes("mine:of_bytes", tiny)
    assert "(B, 8, 8, 1) as uint8, 0 to 255, without any scaling" in note
    assert chart_kinds.notes("cnn", tiny) == []
    asked = Options(dataset="tiny", charts=("cnn", "mine:of_bytes", "mine:of_bytes"))
    assert provenance.of_dataset(asked, tiny)["notes"] == [note]


def test_a_chart_with_preprocessing_of_its_own_gets_the_bytes(tiny):
    asked = Options(dataset="tiny", charts=("mine:of_bytes",))
    chart = benches.prepare(asked, tiny, Path()).encoders["mine:of_bytes"].chart
    bare = jatlas.charts.from_module(
        partial(jatlas.charts.CNN, (8, 8, 1), 10, num_features=5)
    )
    state, images = chart.init(jax.random.key(0)), jnp.asarray(tiny.images[:3])
    np.testing.assert_allclose(
        chart.embed(state, images), bare.embed(state, images / 255 - 0.5), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:make", "the module nowhere cannot be imported .*ModuleNotFoundError"),
        ("broken:make", "the module broken cannot be imported .*nothing_of_this_name"),
        ("mine:nothing", "the module mine has no function nothing; it has .*make"),
        ("mine:number", "the module mine has no function number"),
        ("few:mke", "the module few has no function mke; it has make, linear.$"),
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
        ("no_chart", r"returns a Trainable of ModuleMeta; it must return a jatlas"),
        ("no_epochs", r"Trainable whose max_epochs is 0; it must be an integer of 1"),
        ("no_batch", r"Trainable whose batch_size is 2\.5; it must be an integer of 1"),
        ("no_optimizer", r"whose optimizer is a str; it must be an optimizer of optax"),
        ("of_epochs", r"whose optimizer returns a int; it must be an optimizer of"),
        ("no_steps", r"optimizer, called with 100 steps, fails: TypeError"),
        ("cut", r"whose augment makes \(2, 7, 8, 1\) of images \(2, 8, 8, 1\)"),
        ("other_classes", r"whose logits are \(2, 11\); they must be .* \(2, 10\)"),
    ],
)
def test_a_chart_that_does_not_fit_is_refused(name, message):
    asked = rf"--charts mine:{name}, called with \(8, 8, 1\) and 10, "
    with pytest.raises(ValueError, match=asked + ".*" + message) as refused:
        plugins.trainable(f"mine:{name}", (8, 8, 1), 10)
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
