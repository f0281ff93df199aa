"""The residual network of 20 layers for small images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jatlas.charts.cnn import convolve

_WIDTHS = (16, 32, 64)
_BLOCKS = 3  # a stage


class ResNet20(nnx.Module):
    """Nineteen convolutions in residual blocks with batch norm, and a linear head.

    conv 3x3, 16 channels - three stages of three blocks, of 16, 32 and 64 channels, the
    second and third at half the height and width of the one before - the mean over the
    pixels, the embedding of 64 - linear to C. A block is conv - batch norm - ReLU -
    conv - batch norm, plus its input, - ReLU. Where a stage begins, the input is every
    second pixel, with zeros for the channels that are new: a shortcut without
    parameters, option A of the paper. Convolutions have no bias.

    Batch norm: eps 1e-5, and running statistics that move a tenth of the way to those
    of each batch. A chart has its own; they are in `ChartState.statistics`.

    Args:
        image_shape: (height, width, channels).
        num_classes: C.
        rngs: the source of the initial values, He et al.'s (2015).

    Raises:
        ValueError: if the image is smaller than 8 x 8.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> model = ResNet20((32, 32, 3), 100, rngs=nnx.Rngs(0))
        >>> model.embed(jnp.zeros((2, 32, 32, 3))).shape
        (2, 64)

    Source: He et al., "Deep residual learning for image recognition" (2016), section
    4.2.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, *, rngs: nnx.Rngs
    ) -> None:
        height, width, channels = image_shape
        if min(height, width) < 8:
            raise ValueError(
                f"images must be 8 x 8 pixels or more, got {height} x {width}: too few "
                "would be left of them after two halvings."
            )
        self.stem = _conv(channels, _WIDTHS[0], 1, rngs)
        self.norm = _norm(_WIDTHS[0], rngs)
        before, blocks = _WIDTHS[0], []
        for features in _WIDTHS:
            for number in range(_BLOCKS):
                stride = 2 if number == 0 and features != before else 1
                blocks.append(_Block(before, features, stride, rngs))
                before = features
        self.blocks = nnx.List(blocks)
        inner = [conv for block in blocks for conv in (block.conv1, block.conv2)]
        _initialize([self.stem, *inner], rngs.params())
        self.head = nnx.Linear(before, num_classes, rngs=rngs)

    def embed(self, images: Float[Array, "B H W channels"]) -> Float[Array, "B 64"]:
        """The embeddings of a batch."""
        x = jax.nn.relu(self.norm(convolve(self.stem, images)))
        for block in self.blocks:
            x = block(x)
        return x.mean(axis=(1, 2))

    def __call__(self, images: Float[Array, "B H W channels"]) -> Float[Array, "B C"]:
        """The logits of a batch."""
        return self.head(self.embed(images))


class _Block(nnx.Module):
    """Two convolutions, and a way around them."""

    def __init__(
        self, channels: int, features: int, stride: int, rngs: nnx.Rngs
    ) -> None:
        self.stride, self.new = stride, features - channels
        self.conv1 = _conv(channels, features, stride, rngs)
        self.norm1 = _norm(features, rngs)
        self.conv2 = _conv(features, features, 1, rngs)
        self.norm2 = _norm(features, rngs)

    def __call__(self, x: Float[Array, "B H W K"]) -> Float[Array, "B h w L"]:
        step = self.stride
        first = self.conv1(x) if step > 1 else convolve(self.conv1, x)
        y = jax.nn.relu(self.norm1(first))
        y = self.norm2(convolve(self.conv2, y))
        margin = (self.new // 2, self.new - self.new // 2)
        around = jnp.pad(x[:, ::step, ::step], ((0, 0), (0, 0), (0, 0), margin))
        return jax.nn.relu(y + around)


def _conv(channels: int, features: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    # One pixel on each side, at any stride, as the paper's; "SAME" would shift it.
    return nnx.Conv(
        channels,
        features,
        (3, 3),
        strides=stride,
        padding=1,
        use_bias=False,
        kernel_init=nnx.initializers.zeros,  # `_initialize` comes after
        rngs=rngs,
    )


def _norm(features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)


def _initialize(convs: Sequence[nnx.Conv], key: Array) -> None:
    """Normal kernels of variance 2 / fan-in, after He et al. (2015).

    Drawn at once: to compile nineteen draws takes ten times as long.
    """
    shapes = [conv.kernel.shape for conv in convs]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    drawn = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
    for conv, shape, numbers in zip(convs, shapes, drawn, strict=True):
        kernel = numbers.reshape(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        conv.kernel[...] = kernel
