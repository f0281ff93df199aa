"""Flipped and cropped images are what they say, and the same for the same key."""

from functools import partial

import jax
import numpy as np
import pytest

from jatlas.charts import flip_and_crop

KEY = jax.random.key(0)
compiled = jax.jit(flip_and_crop, static_argnames=("padding", "flip"))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(1, 256, (40, 6, 7, 3), dtype=np.uint8)


def crops(image, padding, flip):
    """All that can come of an image, by (mirrored, row, column)."""
    height, width, _ = image.shape
    both = {False: image, True: image[:, ::-1]}
    margins = ((padding, padding), (padding, padding), (0, 0))
    found = {}
    for mirrored, one in both.items() if flip else [(False, image)]:
        padded = np.pad(one, margins)
        for i in range(2 * padding + 1):
            for j in range(2 * padding + 1):
                found[mirrored, i, j] = padded[i : i + height, j : j + width]
    return found


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (1, False)])
def test_each_image_is_mirrored_or_not_and_cut_from_its_padded_self(
    images, padding, flip
):
    changed = np.asarray(compiled(KEY, images, padding=padding, flip=flip))
    assert changed.dtype == np.uint8
    drawn = set()
    for image, new in zip(images, changed, strict=True):
        (place,) = (
            p for p, crop in crops(image, padding, flip).items() if (crop == new).all()
        )
        drawn.add(place)
    # Both sides of every range come up.
    for axis, largest in enumerate((int(flip), 2 * padding, 2 * padding)):
        assert {0, largest} <= {int(place[axis]) for place in drawn}


def test_it_depends_on_the_key_alone(images):
    changed = np.asarray(compiled(KEY, images, padding=2))
    np.testing.assert_array_equal(compiled(KEY, images, padding=2), changed)
    other = compiled(jax.random.key(1), images, padding=2)
    assert (np.asarray(other) != changed).any()
    floats = compiled(KEY, images.astype(np.float32), padding=2)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, changed.astype(np.float32))


@pytest.mark.usefixtures("unchecked")
def test_padding_below_zero_is_refused(images):
    with pytest.raises(ValueError, match="padding must be a whole number of 0 or more"):
        partial(flip_and_crop, padding=-1)(KEY, images)
