"""The paper's probe trained by plain loops in torch and NumPy."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

HIDDEN, BATCH, RATE = 256, 128, 1e-3


def in_torch(
    torch: ModuleType,
    space: Any,
    labels: Any,
    num_classes: int,
    epochs: int,
    *,
    loader: bool = True,
) -> Any:
    """The logits of the rows that it was trained on.

    Args:
        torch: the module.
        space: (N, D), a tensor.
        labels: (N,), a tensor of integers.
        num_classes: C.
        epochs: how many.
        loader: batches by a DataLoader, as is usual, or by indexing, which is faster.
    """
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.LayerNorm(space.shape[1], elementwise_affine=False),
        nn.Linear(space.shape[1], HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, num_classes),
    ).to(space.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    data = torch.utils.data
    rows = data.TensorDataset(space, labels)
    batches = data.DataLoader(rows, batch_size=BATCH, shuffle=True)
    for _ in range(epochs):
        for x, y in batches if loader else _sliced(torch, space, labels):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    with torch.inference_mode():
        return model(space)


def _sliced(torch: ModuleType, space: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    """The batches of an epoch, by indexing."""
    order = torch.randperm(len(space), device=space.device)
    for start in range(0, len(space), BATCH):
        rows = order[start : start + BATCH]
        yield space[rows], labels[rows]


def in_numpy(
    space: np.ndarray, labels: np.ndarray, num_classes: int, epochs: int
) -> np.ndarray:
    """The same in NumPy, with gradient and Adam written out.

    Batches are taken by indexing.
    """
    rng = np.random.default_rng(0)
    x = space - space.mean(axis=1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)
    targets = np.eye(num_classes, dtype=x.dtype)[labels]
    weights = [
        *_layer(rng, x.shape[1], HIDDEN, x.dtype),
        *_layer(rng, HIDDEN, num_classes, x.dtype),
    ]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            step += 1
            slopes = _slopes(weights, x[rows], targets[rows])
            for w, m, v, slope in zip(weights, first, second, slopes, strict=True):
                m += 0.1 * (slope - m)
                v += 0.001 * (slope**2 - v)
                root = np.sqrt(v / (1 - 0.999**step)) + 1e-8
                w -= RATE / (1 - 0.9**step) * m / root
    hidden, bias, kernel, offset = weights
    return np.maximum(x @ hidden + bias, 0) @ kernel + offset


def _layer(
    rng: np.random.Generator, width: int, height: int, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel and a bias, drawn as torch does."""
    bound = 1 / np.sqrt(width)
    shapes = ((width, height), (height,))
    kernel, bias = (rng.uniform(-bound, bound, shape) for shape in shapes)
    return kernel.astype(dtype), bias.astype(dtype)


def _slopes(
    weights: list[np.ndarray], x: np.ndarray, targets: np.ndarray
) -> list[np.ndarray]:
    """The gradient of the mean cross-entropy, by each of the weights."""
    hidden, bias, kernel, offset = weights
    active = np.maximum(x @ hidden + bias, 0)
    logits = active @ kernel + offset
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = shares / shares.sum(axis=1, keepdims=True)
    error = (shares - targets) / len(x)
    back = (error @ kernel.T) * (active > 0)
    return [x.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0)]
