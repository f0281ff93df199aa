"""The vanilla convolutional network of the paper."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class CNN(nnx.Module):
    """Two convolutions, a linear embedding, a linear head.

    conv 5x5, 16 channels - SiLU - max-pool 2 - conv 5x5, 32 channels - SiLU - max-pool
    2 - linear to D, the embedding - linear to C. The convolutions keep the size of the
    image, so that any image of 4 x 4 pixels or more will do.

    Args:
        image_shape: (height, width, channels).
        num_classes: C.
        num_features: D, the dimension of the embedding.
        rngs: the source of the initial values.

    Raises:
        ValueError: if the image is smaller than 4 x 4.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> model = CNN((28, 28, 1), 10, rngs=nnx.Rngs(0))
        >>> model.embed(jnp.zeros((2, 28, 28, 1))).shape
        (2, 128)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        num_features: int = 128,
        rngs: nnx.Rngs,
    ) -> None:
        height, width, channels = image_shape
        if min(height, width) < 4:
            raise ValueError(
                f"images must be 4 x 4 pixels or more, got {height} x {width}: two "
                "poolings leave nothing of them."
            )
        self.conv1 = nnx.Conv(channels, 16, (5, 5), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (5, 5), rngs=rngs)
        size = (height // 4) * (width // 4) * 32
        self.embedding = nnx.Linear(size, num_features, rngs=rngs)
        self.head = nnx.Linear(num_features, num_classes, rngs=rngs)

    def embed(self, images: Float[Array, "B H W channels"]) -> Float[Array, "B D"]:
        """The embeddings of a batch."""
        x = max_pool(jax.nn.silu(convolve(self.conv1, images)))
        x = max_pool(jax.nn.silu(convolve(self.conv2, x)))
        return self.embedding(x.reshape(x.shape[0], -1))

    def __call__(self, images: Float[Array, "B H W channels"]) -> Float[Array, "B C"]:
        """The logits of a batch."""
        return self.head(self.embed(images))


def convolve(
    layer: nnx.Conv, x: Float[Array, "B H W channels"]
) -> Float[Array, "B H W K"]:
    """`layer(x)`, for a layer that keeps the size of the image.

    Of small images as patches times a matrix: on a CPU, XLA takes as long to convolve
    4 x 4 pixels as 14 x 14, six times what the product takes.
    """
    height, width = x.shape[1:3]
    if height * width > 64:
        return layer(x)
    kernel = layer.kernel[...]
    high, wide = kernel.shape[:2]
    margins = [((size - 1) // 2, size // 2) for size in (high, wide)]
    padded = jnp.pad(x, ((0, 0), *margins, (0, 0)))
    shifted = [
        padded[:, i : i + height, j : j + width]
        for i in range(high)
        for j in range(wide)
    ]
    patches = jnp.concatenate(shifted, axis=-1)
    product = patches @ kernel.reshape(-1, kernel.shape[-1])
    return product if layer.bias is None else product + layer.bias[...]


def max_pool(x: Float[Array, "B H W K"]) -> Float[Array, "B H//2 W//2 K"]:
    """The maximum over 2 x 2 pixels.

    An odd last row or column falls off.

    By reshaping: on a CPU, and in the backward pass everywhere, faster than a window.
    """
    batch, height, width, channels = x.shape
    height, width = height // 2, width // 2
    x = x[:, : 2 * height, : 2 * width]
    return x.reshape(batch, height, 2, width, 2, channels).max(axis=(2, 4))
