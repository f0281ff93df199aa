"""Features of a frozen encoder, computed once and kept on disk.

They are kept under a hash of all that they depend on: the images, the weights, the
size, and what the code does. So they need no name and are never out of date. Each chunk
is a file of its own, written whole or not at all: what was stopped goes on, and a chunk
that cannot be read back is made again.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from platformdirs import user_cache_path

from experiments.data import modules, storage
from experiments.encoders import pretrained
from jatlas.charts import EfficientNetLite, efficientnet

NUM_FEATURES = 1280
Layer = Literal["embedding", "last_block"]

# Modules that find and keep files: no feature depends on them.
_KEEPING = ("experiments.data", "jatlas.files")
_CHUNK = 500  # images a file
# In a batch. On two cores at 64 x 64, batches of 8 to 32 are a third faster than of 64.
_PIXELS = {"cpu": 2**17}
_PIXELS_ELSEWHERE = 2**22


def frozen_features(
    images: np.ndarray,
    *,
    variant: int = 0,
    weights: str | Path | None = None,
    size: int = 64,
    layer: Layer = "embedding",
    cache_dir: str | Path | None = None,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """The features of images by an EfficientNet-Lite that ImageNet has trained.

    Args:
        images: (N, height, width, channels), uint8, of 1 channel or 3.
        variant: 0, 1 or 2.
        weights: a file of weights; default is that of the variant's package.
        size: images are scaled to size x size pixels first. 224 is what the paper
            takes; 64 takes a tenth of the time, and images of 28 or 32 pixels hold no
            more than that.
        layer: which is read: the encoder's embedding, or the mean over the pixels of
            what its last block gives the widest layer, 320 channels or 352.
        cache_dir: where they are kept; default is the user's cache folder.
        report: called with the share that is done, after each chunk.

    Returns:
        (N, 1280), float32; of the last block (N, 320), of variant 2 (N, 352).

    Raises:
        ValueError: if images are not such, there are none, size is below 32, or the
            weights are not those of the variant (`pretrained.encoder`).
        OSError: if there are no weights, or the folder cannot be written.
    """
    _check(images, size)
    file = pretrained.weights_file(variant) if weights is None else Path(weights)
    cache = user_cache_path("jatlas") / "features" if cache_dir is None else cache_dir
    folder = Path(cache) / _key(images, variant, file, size, layer)
    starts = range(0, len(images), _CHUNK)
    chunks = []
    features = None  # the encoder is built, and compiled, if anything is missing
    for number, start in enumerate(starts):
        part = images[start : start + _CHUNK]
        kept = folder / f"{number:05}.npz"
        rows = _read(kept, (len(part), _width(variant, layer)))
        if rows is None:
            features = features or _compiled(
                pretrained.encoder(variant, file), size, layer
            )
            rows = features(part)
            storage.write_arrays(kept, {"features": rows})
        chunks.append(rows)
        if report is not None:
            report((number + 1) / len(starts))
    return np.concatenate(chunks)


def _check(images: np.ndarray, size: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must be (N, height, width, channels) of 1 channel or 3, uint8; got "
            f"{images.shape}, {images.dtype}."
        )
    if not images.size:
        raise ValueError(f"there must be one image or more, got {images.shape}.")
    if size < 32:
        raise ValueError(f"size must be 32 or more, got {size}.")


def _width(variant: int, layer: Layer) -> int:
    if layer == "embedding":
        return NUM_FEATURES
    _, channels, *_ = efficientnet.tensor_shapes(variant)["_conv_head.weight"]
    return channels


def _key(
    images: np.ndarray, variant: int, weights: Path, size: int, layer: Layer
) -> str:
    """A hash of all that the features depend on."""
    content = hashlib.sha256()
    content.update(repr((images.shape, variant, size, layer, _CHUNK)).encode())
    content.update(hashlib.sha256(weights.read_bytes()).digest())
    content.update(modules.hash_of(modules.hashes([__name__], _KEEPING)).encode())
    content.update(np.ascontiguousarray(images).data)
    return content.hexdigest()[:32]


def _read(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The features of a chunk, or None if incomplete."""
    try:
        rows = storage.read_arrays(file)["features"]
    except (FileNotFoundError, KeyError, storage.Damaged):
        return None
    whole = rows.shape == shape and rows.dtype == np.float32
    return rows if whole and np.isfinite(rows).all() else None


def _compiled(
    encoder: EfficientNetLite, size: int, layer: Layer
) -> Callable[[np.ndarray], np.ndarray]:
    """Images to features, in batches of one shape."""
    graph, state = nnx.split(encoder)
    one = jax.jit(partial(_features, graph, size=size, layer=layer))
    pixels = _PIXELS.get(jax.default_backend(), _PIXELS_ELSEWHERE)
    batch = max(1, pixels // size**2)

    def features(images: np.ndarray) -> np.ndarray:
        rows = []
        for start in range(0, len(images), batch):
            # What fills up the last one is cut off again.
            number = np.arange(start, start + batch) % len(images)
            rows.append(np.asarray(one(state, images[number])))
        return np.concatenate(rows)[: len(images)]

    return features


def _features(
    graph: nnx.GraphDef,
    state: nnx.State,
    images: jax.Array,
    *,
    size: int,
    layer: Layer,
) -> jax.Array:
    num_images, *_, channels = images.shape
    shape = (num_images, size, size, channels)
    pixels = jax.image.resize(images.astype(jnp.float32), shape, "bilinear")
    coloured = jnp.broadcast_to(pixels, (*shape[:3], 3))
    encoder, x = nnx.merge(graph, state), (coloured - 127) / 128
    if layer == "embedding":
        return encoder.embed(x)
    x = jax.nn.relu6(encoder.stem(x))
    for block in encoder.blocks:
        x = block(x)
    return x.mean(axis=(1, 2))
