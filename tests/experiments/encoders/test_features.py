"""Features of a frozen encoder are computed once, and what is damaged is made again."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.data import modules
from experiments.encoders import features, pretrained
from experiments.encoders.features import frozen_features

GOLDEN = Path(__file__).parents[2] / "golden" / "efficientnet_lite0.npz"
NUM_IMAGES = 23
CHUNK = 10


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (NUM_IMAGES, 28, 28, 1), dtype=np.uint8)


@pytest.fixture
def computed(monkeypatch):
    """How many images were encoded, by an encoder that compiles in no time."""
    counts = []

    def encoder(model, size, layer):
        def rows(part):
            counts.append(len(part))
            means = part.mean(axis=(1, 2, 3), dtype=np.float32)
            return means[:, None] * np.arange(features.NUM_FEATURES, dtype=np.float32)

        return rows

    monkeypatch.setattr(features, "_CHUNK", CHUNK)
    monkeypatch.setattr(features, "_compiled", encoder)
    monkeypatch.setattr(pretrained, "encoder", lambda variant, weights: None)
    return counts


@pytest.fixture
def frozen(tmp_path):
    def run(images, **others):
        return frozen_features(images, cache_dir=tmp_path / "cache", **others)

    return run


def files(tmp_path):
    return sorted((tmp_path / "cache").glob("*/*"))


@pytest.mark.slow
def test_they_are_those_of_torch(tmp_path):
    """Of images of the encoder's own colors and size; see test_efficientnet.py."""
    values = np.arange(2 * 64 * 64 * 3, dtype=np.uint64) * 2654435761 % 2**32 >> 24
    noise = values.astype(np.uint8).reshape(2, 64, 64, 3)
    found = frozen_features(noise, size=64, cache_dir=tmp_path)
    assert found.dtype == np.float32
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(found, golden["noise_features_64"], atol=1e-4)


class Pixels(nnx.Module):
    """An encoder that shows what it is given."""

    def __init__(self):
        self.one = nnx.Param(jnp.ones(()))

    def embed(self, images):
        return images.reshape(len(images), -1) * self.one[...]


def bilinear(length, size):
    """(size, length), the weights of linear interpolation between pixel centres."""
    place = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(length)), 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_scaled_and_grey_is_three_equal_colours(
    images, channels, tmp_path, monkeypatch
):
    monkeypatch.setattr(features, "NUM_FEATURES", 40 * 40 * 3)
    monkeypatch.setattr(features, "_PIXELS", {"cpu": 40 * 40 * 4})  # batches of 4
    monkeypatch.setattr(pretrained, "encoder", lambda variant, weights: Pixels())
    chosen = np.repeat(images[:7], channels, axis=-1) // np.arange(1, channels + 1)
    chosen = chosen.astype(np.uint8)
    found = frozen_features(chosen, size=40, cache_dir=tmp_path)
    weights = bilinear(28, 40)
    expected = np.einsum("yh,nhwc,xw->nyxc", weights, chosen.astype(float), weights)
    expected = (expected * np.ones(3) - 127) / 128
    np.testing.assert_allclose(found, expected.reshape(7, -1), atol=1e-4)


class Times(nnx.Module):
    """A layer that multiplies."""

    def __init__(self, factor):
        self.factor = nnx.Param(jnp.asarray(factor, jnp.float32))

    def __call__(self, x):
        return x * self.factor[...]


class Layers(nnx.Module):
    """A stem and two blocks; what comes after these must not be asked for."""

    def __init__(self):
        self.stem = Times([4.0, 20.0, -1.0])
        self.blocks = nnx.List([Times(0.5), Times(-3.0)])


def test_of_the_last_block_the_mean_over_the_pixels_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "encoder", lambda variant, weights: Layers())
    grey = np.full((2, 32, 32, 1), 255, np.uint8)
    found = frozen_features(grey, size=32, layer="last_block", cache_dir=tmp_path)
    # The stem's activation is ReLU6, the last block has none.
    np.testing.assert_allclose(found, [[-6.0, -9.0, 0.0]] * 2)


@pytest.mark.parametrize(("variant", "width"), [(0, 320), (1, 320), (2, 352)])
def test_what_is_kept_of_the_last_block_has_its_width(
    images, variant, width, frozen, tmp_path, monkeypatch
):
    made = []

    def encoder(model, size, layer):
        made.append(layer)
        columns = width if layer == "last_block" else features.NUM_FEATURES
        return lambda part: np.ones((len(part), columns), np.float32)

    monkeypatch.setattr(features, "_compiled", encoder)
    monkeypatch.setattr(pretrained, "encoder", lambda variant, weights: None)
    weights = tmp_path / "any.pth"
    weights.write_bytes(b"any")
    told = {"variant": variant, "weights": weights}
    for _ in range(2):
        assert frozen(images, layer="last_block", **told).shape == (NUM_IMAGES, width)
    assert made == ["last_block"]
    frozen(images, **told)  # which is another layer, and computed anew
    frozen(images, layer="last_block", **told)  # and both are kept
    assert made == ["last_block", "embedding"]


def test_they_are_computed_once(images, computed, frozen):
    shares = []
    first = frozen(images, report=shares.append)
    assert computed == [10, 10, 3]
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(frozen(images.copy()), first)
    assert computed == [10, 10, 3]
    assert first.shape == (NUM_IMAGES, 1280)
    np.testing.assert_allclose(first[:, 1], images.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_other_images_weights_sizes_and_code_are_computed_anew(
    images, computed, frozen, tmp_path, monkeypatch
):
    weights = tmp_path / "mine.pth"
    weights.write_bytes(b"one")
    changed = images.copy()
    changed[3, 4, 5, 0] ^= 1
    runs = [
        {"images": images},
        {"images": changed},
        {"images": images.reshape(NUM_IMAGES, 14, 56, 1)},
        {"images": images, "size": 32},
        {"images": images, "weights": weights},
    ]
    for number, run in enumerate(runs):
        frozen(**run)
        frozen(**run)
        assert len(computed) == 3 * (number + 1)
    weights.write_bytes(b"two")
    frozen(**runs[-1])
    assert len(computed) == 3 * 6
    name, path_of = features.__name__, modules._path
    source = path_of(name).read_text()
    efficientnet = "jatlas.charts.efficientnet"
    for changed, text, is_new in (
        (name, f"# A comment.\n{source}", False),
        (name, f"{source}\n_BATCH = 7\n", True),
        (efficientnet, f"{path_of(efficientnet).read_text()}\n_EPS = 7\n", True),
        ("experiments.data.storage", "import zipfile\n", False),
    ):
        newer = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        newer.write_text(text)
        paths = {changed: newer}
        monkeypatch.setattr(modules, "_path", lambda n, p=paths: p.get(n) or path_of(n))
        before = len(computed)
        frozen(images)
        assert len(computed) == before + 3 * is_new


def test_what_was_stopped_goes_on(images, computed, frozen, tmp_path):
    def stop(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frozen(images, report=stop)
    assert computed == [10, 10]
    frozen(images)
    assert computed == [10, 10, 3]
    assert len(files(tmp_path)) == 3


def test_a_write_that_fails_leaves_nothing(
    images, computed, frozen, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="no space left"):
            frozen(images)
    assert files(tmp_path) == []
    assert len(frozen(images)) == NUM_IMAGES


def test_a_damaged_chunk_is_never_used(images, computed, frozen, tmp_path):
    good = frozen(images)
    chunk = files(tmp_path)[1]
    whole = chunk.read_bytes()
    spoilt = [bytearray(whole) for _ in range(12)]
    places = np.linspace(0, len(whole) - 1, 12).astype(int)
    for content, place in zip(spoilt, places, strict=True):
        content[place] ^= 0xFF
    bad = [b"", b"nothing", whole[:1000], whole[:-1], *map(bytes, spoilt)]
    for content in bad:
        chunk.write_bytes(content)
        np.testing.assert_array_equal(frozen(images), good)
        if len(content) < len(whole):
            assert chunk.read_bytes() == whole
    # Neither is one of other rows, or of something that is no number.
    for rows in (good[:9], good[10:20, :5], good[10:20] * np.nan, good[10:20] > 0):
        np.savez(chunk, features=rows)
        np.testing.assert_array_equal(frozen(images), good)
    np.savez(chunk, other=good[10:20])
    np.testing.assert_array_equal(frozen(images), good)


def test_bad_input_is_refused(images, frozen):
    for bad in (images / 255, images[..., 0], np.repeat(images, 2, axis=-1)):
        with pytest.raises(
            ValueError, match=r"images must be .* of 1 channel or 3, ui"
        ):
            frozen(bad)
    with pytest.raises(ValueError, match="one image or more"):
        frozen(images[:0])
    with pytest.raises(ValueError, match="size must be 32 or more, got 31"):
        frozen(images, size=31)
    with pytest.raises(ValueError, match="no EfficientNet-Lite5 here"):
        frozen(images, variant=5)
    with pytest.raises(FileNotFoundError):
        frozen(images, weights="nowhere.pth")
