"""Random changes of training images that leave their class what it is."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Real

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray


@border.border
def flip_and_crop(
    key: Array,
    images: Real[AnyArray, "B H W channels"],
    *,
    padding: int = 4,
    flip: bool = True,
) -> Real[Array, "B H W channels"]:
    """Each image mirrored or not, then shifted: padded with zeros and cut at random.

    Zero is black in bytes; in images that have been normalised it is the mean colour.
    So let this see bytes, and the chart normalise: `with_preprocessing`.

    Args:
        key: a JAX key; image b draws from its b-th split.
        images: (B, H, W, channels), of any dtype.
        padding: pixels on each side; the shift is uniform in -padding..padding, along
            either axis.
        flip: whether every second image, on average, is mirrored left to right. Not for
            digits or letters.

    Returns:
        (B, H, W, channels), in the dtype of `images`.

    Raises:
        ValueError: if padding is below 0.

    Example:
        >>> images = jnp.ones((2, 8, 8, 3), jnp.uint8)
        >>> flip_and_crop(jax.random.key(0), images, padding=1).shape
        (2, 8, 8, 3)

    Source: He et al., "Deep residual learning for image recognition" (2016), section
    4.2, which pads by 4.
    """
    arrays.check_count("padding", padding, 0)
    one = partial(_flip_and_crop, padding=padding, flip=flip)
    return jax.vmap(one)(jax.random.split(key, len(images)), jnp.asarray(images))


def _flip_and_crop(
    key: Array, image: Real[Array, "H W channels"], *, padding: int, flip: bool
) -> Real[Array, "H W channels"]:
    key_flip, key_crop = jax.random.split(key)
    if flip:
        image = jnp.where(jax.random.bernoulli(key_flip), image[:, ::-1], image)
    margins = ((padding, padding), (padding, padding), (0, 0))
    corner = jax.random.randint(key_crop, (2,), 0, 2 * padding + 1)
    start = (corner[0], corner[1], 0)
    return jax.lax.dynamic_slice(jnp.pad(image, margins), start, image.shape)
