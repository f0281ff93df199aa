"""Maps of rows of files, fitted in float64 on the host.

A map fitted in float32 on a device depends, in its last digits, on how the solver's
threads shared their work, and drops directions that float32 does not hold. What is
applied to rows is rounded to float32.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from jatlas.merging import nystroem, transforms
from jatlas.merging.consensus import Consensus
from jatlas.merging.transforms import Transform


def _default(function: object, name: str) -> float:
    value = inspect.signature(function).parameters[name].default  # type: ignore[arg-type]
    return float(value)


# What the commands take if nothing is given: the defaults of the functions.
SHRINKAGE = _default(transforms.fit_whiten, "shrinkage")
RIDGE = _default(nystroem.fit_nystroem, "ridge")

# An eigenvalue is known to so many eps of the largest; see `jatlas._src.spectra.roots`.
_ROUNDING = 8
_ROWS = 4096  # in float64 at a time


class ConsensusMaps(NamedTuple):
    """Each chart's map to consensus coordinates, and samples to know it by.

    A row x of chart m has the coordinates (x - means[m]) / scales[m] weights[m].

    Attributes:
        means: M arrays (D_m,), in float64.
        scales: (M,), in float64.
        weights: M arrays (D_m, K).
        agreement: (K,), how far the charts agree about each coordinate.
        ridge: that all maps were fitted with; None for rotations (`fit_procrustes`).
        power: of the agreement in the weights; 0 for rotations.
        known_ids: M arrays (S_m,), some of each chart's linked samples.
        known: M arrays (S_m, D_m), the embeddings of these, as given.
    """

    means: tuple[Float[np.ndarray, " _"], ...]
    scales: Float[np.ndarray, " M"]
    weights: tuple[Float[np.ndarray, "_ K"], ...]
    agreement: Float[np.ndarray, " K"]
    ridge: float | None
    power: float
    known_ids: tuple[np.ndarray, ...]
    known: tuple[Float[np.ndarray, "_ _"], ...]

    def as_consensus(self) -> Consensus:
        """The same maps for functions of arrays, `apply_consensus` and others.

        In float32, or in float64 where JAX has that. Of rotations the ridge is NaN.
        """
        per_chart = self.means, self.weights
        mean, weights = (tuple(map(jnp.asarray, each)) for each in per_chart)
        return Consensus(
            mean,
            jnp.asarray(self.scales),
            weights,
            jnp.asarray(self.agreement),
            jnp.asarray(math.nan if self.ridge is None else self.ridge),
            jnp.asarray(self.power),
            normalize=False,
        )


class FittedMap(NamedTuple):
    """A map that was fitted, and how many directions it drops.

    Attributes:
        transform: its scale in float32, its mean in the dtype that was asked for.
        dropped: directions that it maps to zero, as rounding does not tell them from
            ones in which nothing varies.
    """

    transform: Transform
    dropped: int


def fit_whiten(
    rows: Float[np.ndarray, "N D"], shrinkage: float, stored: DTypeLike
) -> FittedMap:
    """`jatlas.fit_whiten` of some rows of a file.

    Args:
        rows: (N, D), in float32 or float64; the mean of the map is in that dtype.
        shrinkage: in [0, 1].
        stored: the dtype of the numbers in the file, which had rounded them.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    squares = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _ROWS):
        wide = rows[start : start + _ROWS].astype(np.float64)
        squares += (wide**2).sum(axis=0) / len(rows)
        residual = wide - mean
        covariance += residual.T @ residual / len(rows)
    # Rounding moves a number by eps / 2 of it at most.
    rounding = squares * _eps(stored) ** 2
    target = shrinkage * np.trace(covariance) / len(covariance)
    root, dropped = _inverse_sqrt((1 - shrinkage) * covariance, target, rounding)
    return FittedMap(_transform(mean.astype(rows.dtype), root), dropped)


def fit_center(rows: Float[np.ndarray, "N D"]) -> FittedMap:
    """`jatlas.fit_center` of some rows of a file."""
    mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    return FittedMap(_transform(mean, np.ones(len(mean))), 0)


def fit_nystroem(
    kernel: Float[np.ndarray, "A A"],
    by_chart: Sequence[Float[np.ndarray, "A A"]],
    ridge: float = RIDGE,
) -> FittedMap:
    """`jatlas.fit_nystroem` of the anchors' merged rows, from the charts' own.

    Args:
        kernel: (A, A), the merged rows of the anchors.
        by_chart: M arrays (A, A), each chart's rows of the anchors.
        ridge: as a share of the kernel's mean eigenvalue.
    """
    symmetric = _symmetric(kernel)
    share = ridge * np.trace(symmetric) / len(symmetric)
    root, dropped = _inverse_sqrt(symmetric, share)
    spread = np.zeros_like(symmetric)
    for rows in by_chart:
        residual = (_symmetric(rows) - symmetric) @ root
        spread += residual.T @ residual / len(by_chart)
    inner, _ = _inverse_sqrt(symmetric + spread, share)
    ridged = symmetric + share * np.eye(len(symmetric))
    scale = root @ inner @ (inner @ ridged)
    return FittedMap(_transform(np.zeros(len(scale), np.float32), scale), dropped)


def _transform(mean: np.ndarray, scale: np.ndarray) -> Transform:
    parts: Any = mean, scale.astype(np.float32)  # of NumPy: its float64 stays float64
    return Transform(*parts)


def _symmetric(x: Float[np.ndarray, "A A"]) -> Float[np.ndarray, "A A"]:
    wide = np.asarray(x, np.float64)
    return (wide + wide.T) / 2


def _eps(dtype: DTypeLike) -> float:
    """The eps of a dtype, bfloat16 too; 0 for integers."""
    kind = np.dtype(dtype)
    if kind.kind in "iub":
        return 0.0
    return 2.0**-7 if kind.name == "bfloat16" else float(np.finfo(kind).eps)


def _inverse_sqrt(
    matrix: Float[np.ndarray, "D D"],
    added: float,
    rounding: Float[np.ndarray, " D"] | None = None,
) -> tuple[Float[np.ndarray, "D D"], int]:
    """(S + added I)^(-1/2), and how many directions it maps to zero.

    `jatlas._src.spectra.roots.inverse_sqrt` in float64. With nothing added, a direction
    is dropped too if its eigenvalue is no larger than what rounding puts into it, given
    as a variance of every feature.
    """
    values, vectors = np.linalg.eigh(matrix + added * np.eye(len(matrix)))
    eps = np.finfo(values.dtype).eps * np.abs(values).max(initial=0)
    supported = added > eps
    no_less = np.abs(values - added) <= _ROUNDING * eps
    values = np.where(no_less, np.maximum(values, added), values)
    least = np.full(len(values), _ROUNDING * eps)
    if rounding is not None:
        least = np.maximum(least, rounding @ vectors**2)
    kept = (values > least) | ((values >= added) & supported)
    roots = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
    return (vectors * roots) @ vectors.T, int(len(values) - kept.sum())
