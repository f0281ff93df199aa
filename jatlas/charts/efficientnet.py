"""EfficientNet-Lite 0 to 2, trained and frozen."""

import math
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

_EPSILON = 1e-3  # of the batch norms
_STEM, _TOP, _CLASSES = 32, 1280, 1000

# (width, depth): what the numbers of channels and of blocks are multiplied by.
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
# Stages: blocks, size of the kernel, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite(nnx.Module):
    """An image classifier of ImageNet's 1000 classes, without squeeze-and-excitation.

    conv 3x3 of stride 2, 32 channels - 16, 21 or 23 inverted residual blocks - conv
    1x1, 1280 channels - the mean over the pixels, the embedding of 1280 - linear to
    1000. The activation is ReLU6. Convolutions are padded as TensorFlow's "SAME" pads
    them. Each batch norm is folded into the convolution before it: nothing here is to
    be trained.

    Images are (x - 127) / 128 of bytes x; red, green and blue; of any size from 32
    pixels on. The variants were trained at 224, 240 and 260.

    Args:
        tensors: the weights by their names, `tensor_shapes(variant)`. The counters of
            batches (`num_batches_tracked`) that torch keeps may be there or not.
        variant: 0, 1 or 2.

    Raises:
        ValueError: if there is no such variant, or a tensor is missing, is not one of
            this network, has another shape, or is not of finite numbers, or a variance
            is negative.

    Example:
        >>> shapes = tensor_shapes(0)
        >>> ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        >>> model = EfficientNetLite(ones)
        >>> jax.eval_shape(model.embed, jnp.zeros((2, 64, 64, 3))).shape
        (2, 1280)

    Source: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural
    networks" (2019); the Lite variants are those of github.com/tensorflow/tpu,
    models/official/efficientnet/lite. Names as in `efficientnet_lite_pytorch`.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], variant: int = 0) -> None:
        _check(tensors, variant)
        self.stem = _Conv(tensors, "_conv_stem", "_bn0", 2)
        self.blocks = nnx.List(
            _Block(tensors, f"_blocks.{number}.", plan)
            for number, plan in enumerate(_plans(variant))
        )
        self.top = _Conv(tensors, "_conv_head", "_bn1")
        self.head = nnx.Param(jnp.asarray(tensors["_fc.weight"].T))
        self.head_bias = nnx.Param(jnp.asarray(tensors["_fc.bias"]))

    def embed(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B 1280"]:
        """The embeddings of a batch."""
        x = jax.nn.relu6(self.stem(images))
        for block in self.blocks:
            x = block(x)
        return jax.nn.relu6(self.top(x)).mean(axis=(1, 2))

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B 1000"]:
        """The logits of a batch."""
        return self.embed(images) @ self.head[...] + self.head_bias[...]


def tensor_shapes(variant: int = 0) -> dict[str, tuple[int, ...]]:
    """The weights of a variant: names, and shapes as torch has them.

    Raises:
        ValueError: if there is no such variant.

    Example:
        >>> shapes = tensor_shapes(0)
        >>> shapes["_conv_stem.weight"], len(shapes)
        ((32, 3, 3, 3), 247)
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(conv: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        shapes[f"{conv}.weight"] = shape
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{name}"] = shape[:1]

    layer("_conv_stem", "_bn0", (_STEM, 3, 3, 3))
    for number, plan in enumerate(_plans(variant)):
        block, wide = f"_blocks.{number}.", plan.wide
        if plan.expands:
            layer(f"{block}_expand_conv", f"{block}_bn0", (wide, plan.before, 1, 1))
        square = (plan.kernel, plan.kernel)
        layer(f"{block}_depthwise_conv", f"{block}_bn1", (wide, 1, *square))
        layer(f"{block}_project_conv", f"{block}_bn2", (plan.after, wide, 1, 1))
    layer("_conv_head", "_bn1", (_TOP, plan.after, 1, 1))
    return {**shapes, "_fc.weight": (_CLASSES, _TOP), "_fc.bias": (_CLASSES,)}


class _Plan(NamedTuple):
    """A block: its channels before, inside and after; kernel and stride."""

    before: int
    wide: int
    after: int
    kernel: int
    stride: int
    expands: bool


def _plans(variant: int) -> list[_Plan]:
    if variant not in _SCALES:
        raise ValueError(
            f"there is no EfficientNet-Lite{variant} here; variants are "
            f"{sorted(_SCALES)}."
        )
    width, depth = _SCALES[variant]
    plans, before = [], _STEM
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES):
        # The Lite networks do not deepen the first and the last stage.
        ends = stage in (0, len(_STAGES) - 1)
        after = _widened(channels, width)
        for number in range(blocks if ends else math.ceil(depth * blocks)):
            step = stride if number == 0 else 1
            wide = before * expansion
            plans.append(_Plan(before, wide, after, kernel, step, expansion > 1))
            before = after
    return plans


def _widened(channels: int, width: float) -> int:
    """`channels * width` to a multiple of 8, at least nine tenths."""
    scaled = channels * width
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * scaled else nearest


class _Block(nnx.Module):
    """Widen, filter each channel, narrow; add the input if it fits."""

    def __init__(
        self, tensors: Mapping[str, np.ndarray], prefix: str, plan: _Plan
    ) -> None:
        def conv(name: str, norm: str, stride: int = 1) -> _Conv:
            return _Conv(tensors, prefix + name, prefix + norm, stride)

        self.expand = conv("_expand_conv", "_bn0") if plan.expands else None
        self.filter = conv("_depthwise_conv", "_bn1", plan.stride)
        self.project = conv("_project_conv", "_bn2")
        self.adds = plan.stride == 1 and plan.before == plan.after

    def __call__(self, x: Float[Array, "B H W K"]) -> Float[Array, "B h w L"]:
        y = x if self.expand is None else jax.nn.relu6(self.expand(x))
        y = self.project(jax.nn.relu6(self.filter(y)))
        return x + y if self.adds else y


class _Conv(nnx.Module):
    """A convolution with the batch norm after it folded in.

    gamma (w * x - mean) / s + beta, s = sqrt(var + eps), is (gamma w / s) * x plus
    beta - gamma mean / s.
    """

    def __init__(
        self, tensors: Mapping[str, np.ndarray], conv: str, norm: str, stride: int = 1
    ) -> None:
        def wide(name: str) -> np.ndarray:
            return np.asarray(tensors[name], np.float64)

        scale = wide(f"{norm}.weight")
        scale = scale / np.sqrt(wide(f"{norm}.running_var") + _EPSILON)
        kernel = wide(f"{conv}.weight").transpose(2, 3, 1, 0) * scale
        bias = wide(f"{norm}.bias") - wide(f"{norm}.running_mean") * scale
        self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
        self.stride = stride

    def __call__(self, x: Float[Array, "B H W K"]) -> Float[Array, "B h w L"]:
        kernel, channels = self.kernel[...], x.shape[-1]
        if kernel.shape[:2] == (1, 1):
            y = x @ kernel[0, 0]
        elif kernel.shape[2] < channels and jax.default_backend() == "cpu":
            y = shift_and_add(x, kernel[:, :, 0], self.stride)
        else:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                (self.stride, self.stride),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=channels // kernel.shape[2],
            )
        return y + self.bias[...]


def shift_and_add(
    x: Float[Array, "B H W K"], kernel: Float[Array, "high wide K"], stride: int
) -> Float[Array, "B h w K"]:
    """Each channel by its own filter, padded as "SAME".

    On a CPU, six to nine times faster than XLA's convolution in K groups.
    """
    high, wide = kernel.shape[:2]
    height, width = (-(-size // stride) for size in x.shape[1:3])
    margins = [
        _margins(size, length, stride)
        for size, length in zip(x.shape[1:3], (high, wide), strict=True)
    ]
    padded = jnp.pad(x, ((0, 0), *margins, (0, 0)))
    rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
    return reduce(
        add,
        (
            padded[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j]
            for i in range(high)
            for j in range(wide)
        ),
    )


def _margins(size: int, length: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, an odd one after."""
    missing = max((-(-size // stride) - 1) * stride + length - size, 0)
    return missing // 2, missing - missing // 2


def _check(tensors: Mapping[str, np.ndarray], variant: int) -> None:
    """Raise ValueError unless these are the weights of the variant."""
    what = f"the weights of EfficientNet-Lite{variant}"
    shapes = tensor_shapes(variant)
    names = {name for name in tensors if not name.endswith(".num_batches_tracked")}
    missing, foreign = sorted(set(shapes) - names), sorted(names - set(shapes))
    if missing or foreign:
        raise ValueError(
            f"{what} have the {len(shapes)} tensors of tensor_shapes({variant}); "
            f"missing are {len(missing)} {missing[:3]}, foreign are {len(foreign)} "
            f"{foreign[:3]}. Is it the file of another network?"
        )
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{what}: {name} must be {shape}, got {tensor.shape}.")
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise ValueError(f"{what}: {name} must be finite floating point numbers.")
        if name.endswith(".running_var") and (tensor < 0).any():
            raise ValueError(f"{what}: {name} must not be negative.")
