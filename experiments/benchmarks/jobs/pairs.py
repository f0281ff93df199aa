"""Pairs found from a few known ones, beside loops in NumPy."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import measure, references
from experiments.benchmarks.measure import Bench, Reference, Row
from jatlas.merging import grow_anchors

_ROUNDS = 30
# Beside dimensions that vary by 3 to 0.3: little noise, with which all forms are right,
# and so much that mutual neighbors are not.
_LITTLE, _MUCH = 0.3, 0.8
_SCALINGS = 10  # of rows and then columns, a round
_COLDEST = 10.0

Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def sides(n: int, a: int, d: int, noise: float = _MUCH) -> tuple[Sides, np.ndarray]:
    """Unpaired rows and known anchors of two spaces, and the right partners.

    Both are rotations of the same hidden rows, with noise. Dimensions vary by 3 to 0.3.
    """
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((a + n, d)) * np.geomspace(3, 0.3, d)
    order = rng.permutation(n)
    spaces = []
    for _ in range(2):
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        added = noise * rng.standard_normal(hidden.shape)
        spaces.append(np.float32((hidden + added) @ turn + 1))
    one, other = spaces
    return (one[a:], other[a:][order], one[:a], other[:a]), np.argsort(order)


def by_neighbors(source: Any, target: Any, anchors: Any, theirs: Any) -> np.ndarray:
    """Turn one side to the other, pair mutual neighbors, and turn again."""
    x, y, a, b = _units(source, target, anchors, theirs)
    product = a.T @ b
    for _ in range(_ROUNDS):
        alike = _turned(x, product) @ y.T
        partners, back = alike.argmax(axis=1), alike.argmax(axis=0)
        mutual = back[partners] == np.arange(len(x))
        product = a.T @ b + x[mutual].T @ y[partners[mutual]]
    return partners


def by_transport(source: Any, target: Any, anchors: Any, theirs: Any) -> np.ndarray:
    """The same with a soft pairing by Sinkhorn's scalings, ever less soft."""
    x, y, a, b = _units(source, target, anchors, theirs)
    product = a.T @ b
    for number in range(_ROUNDS):
        alike = _turned(x, product) @ y.T
        inverse = _COLDEST ** (number / (_ROUNDS - 1)) / alike.std()
        kernel = np.exp(inverse * (alike - alike.max()))
        columns = np.ones(len(y), np.float32)
        for _ in range(_SCALINGS):
            ours = 1 / (kernel @ columns)
            columns = 1 / (ours @ kernel)
        product = a.T @ b + x.T @ (ours[:, None] * kernel * columns @ y)
    return (_turned(x, product) @ y.T).argmax(axis=1)


def grown(bench: Bench, n: int, a: int, d: int) -> Row:
    """Time, and how many partners are right."""
    arrays, right = sides(n, a, d)
    ours = partial(grow_anchors, *map(jnp.asarray, arrays))
    forms = {
        "neighbors": (f"rotation and mutual neighbors, {_ROUNDS} times", by_neighbors),
        "transport": (f"rotation and Sinkhorn, {_ROUNDS} times", by_transport),
    }
    baselines = {
        key: Reference(f"{what}, no pair left out, NumPy", partial(form, *arrays))
        for key, (what, form) in forms.items()
    }
    size = {"N": n, "A": a, "D": d}
    row = measure.compare(
        bench, "anchors grown", size, lambda: ours().partners, baselines
    )
    functions = {"grow_anchors": lambda *x: grow_anchors(*map(jnp.asarray, x)).partners}
    functions |= dict(forms.values())
    for noise in (_LITTLE, _MUCH):
        arrays, right = sides(n, a, d, noise)
        row["values"] |= {
            f"right partners, noise {noise}, {what}": float(
                np.mean(np.asarray(function(*arrays)) == right)
            )
            for what, function in functions.items()
        }
    return row


def _units(*arrays: Any) -> list[np.ndarray]:
    """Rows less the mean of their side, of length one."""
    source, target, anchors, theirs = arrays
    means = [
        np.concatenate(side).mean(axis=0)
        for side in ((source, anchors), (target, theirs))
    ]
    return [references.unit(np, x - means[k % 2]) for k, x in enumerate(arrays)]


def _turned(x: np.ndarray, product: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(product)
    return x @ (left @ right)
