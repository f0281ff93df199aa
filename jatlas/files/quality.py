"""Warnings and refusals about a chart's rows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jatlas._src import border
from jatlas.files.formats.sources import Source

# How far an embedding of an anchor may be from the recipe's: what float16 rounds.
SAME = 1e-2

# Cosines of rows are 1 less the square of the angle between them, by half. Where these
# squares are not so many times what float32 rounds, digits are lost.
_NARROW = 2**7

# Similarities whose deviation over the samples is below this share of their size say
# nothing of the samples: those of real encoders vary ten times as much and more.
_HARDLY = 1e-3


class Reach(NamedTuple):
    """The minimum and maximum of every feature so far, in float64."""

    least: Float[np.ndarray, " D"]
    most: Float[np.ndarray, " D"]

    @classmethod
    def empty(cls, width: int) -> "Reach":
        """The value for no rows."""
        return cls(np.full(width, np.inf), np.full(width, -np.inf))

    def with_rows(self, x: Float[np.ndarray, "n D"]) -> "Reach":
        """That of these rows too, but for zeros, which no anchor is."""
        x = x[x.any(axis=1)]
        if len(x) == 0:
            return self
        return Reach(
            np.minimum(self.least, x.min(axis=0)), np.maximum(self.most, x.max(axis=0))
        )

    def hidden(self) -> int:
        """How many features vary, by less than float32 holds beside their size."""
        if not (self.least <= self.most).all():  # no rows were looked at
            return 0
        size = np.maximum(np.abs(self.least), np.abs(self.most))
        return int(border.is_hidden(size, self.most - self.least).sum())


def cosines_hidden(x: Float[np.ndarray, "n D"]) -> bool:
    """Whether cosines between rows differ by less than float32 holds.

    A mean that is far from zero makes all rows point nearly one way.
    """
    rows = x[x.any(axis=1)].astype(np.float64)
    if len(rows) < 2:
        return False
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    spread = np.mean(np.sum((units - units.mean(axis=0)) ** 2, axis=1))
    return bool(0 < spread < _NARROW * np.finfo(np.float32).eps)


class Variation:
    """Running moments of a chart's similarities over its samples."""

    def __init__(self, num_anchors: int) -> None:
        self.count, self.varies, self.row = 0, False, np.zeros(0)
        self.first = np.zeros(num_anchors)
        self.total = np.zeros(num_anchors)
        self.squares = np.zeros(num_anchors)

    def add(self, x: Float[np.ndarray, "n D"], rows: Float[np.ndarray, "n A"]) -> None:
        """Add rows of embeddings x, less the first row against cancellation."""
        if self.count == 0:
            self.first, self.row = rows[0].astype(np.float64), x[0].copy()
        self.varies = self.varies or bool((x != self.row).any())
        self.count += len(rows)
        residual = rows - self.first
        self.total += residual.sum(axis=0)
        self.squares += np.square(residual, out=residual).sum(axis=0)

    def values(self) -> tuple[float, float]:
        """Root mean squares of the deviations over samples, and of the means."""
        mean = self.total / max(self.count, 1)
        variance = self.squares / max(self.count, 1) - mean**2
        deviation = np.sqrt(np.maximum(variance, 0).mean())
        return float(deviation), float(np.sqrt(((self.first + mean) ** 2).mean()))

    def text(self, similarity: str) -> str:
        """The warning about similarities that hardly vary."""
        deviation, size = self.values()
        return (
            f"its {similarity} similarities to the anchors hardly vary over its "
            f"samples (by {deviation:.2g} around {size:.3g}): they tell none apart. "
            "One feature may outweigh all others, a time or a count among the "
            "embeddings, or a mean far from zero: leave it out, scale it, or take it "
            "off."
        )


def hardly_vary(variation: Variation) -> bool:
    """Whether similarities say nothing of samples whose embeddings differ."""
    deviation, size = variation.values()
    return variation.varies and deviation < _HARDLY * size


def same_encoder(x: Float[np.ndarray, "A _"], y: Float[np.ndarray, "A _"]) -> bool:
    """Whether two charts embed the anchors alike, up to rounding.

    Measured by how far the anchors are apart, lest a mean that is far from zero, which
    two encoders may share, make them alike.
    """
    if x.shape != y.shape or not np.any(y):
        return False
    x, y = x.astype(np.float64), y.astype(np.float64)
    spread = np.sqrt(((y - y.mean(axis=0)) ** 2).sum(axis=1).mean())
    return bool((np.linalg.norm(x - y, axis=1) <= SAME * spread).all())


def differing(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n D"]) -> np.ndarray:
    """The rows of x that differ from y beyond float16 rounding."""
    apart = np.linalg.norm(x - y, axis=1)
    return np.asarray(apart > SAME * np.linalg.norm(y, axis=1))


def flat(source: Source, constant: bool, hidden: int, dropped: int = 0) -> list[str]:
    """Warnings for a chart whose rows hardly differ between samples."""
    texts = []
    if constant:
        texts.append(
            f"{source.path}: all of its rows are the same, so that it tells no samples "
            "apart."
        )
    width = source.rows.shape[1]
    if hidden:
        texts.append(
            f"{source.path}: {hidden} of its {width} features vary by less than "
            "float32 holds beside their size, and what they say is lost. Take the mean "
            "off before, in float64, or whiten the charts when you merge (whiten=True, "
            "--whiten)."
        )
    if dropped and not constant:
        keep = " A shrinkage above 0 keeps them, when you merge (--shrinkage 0.5)."
        texts.append(
            f"{source.path}: the whitening drops {dropped} of its {width} directions, "
            "in which its samples do not vary beyond rounding."
            f"{keep if dropped < width else ''}"
        )
    if width == 1:
        texts.append(
            f"{source.path}: its embeddings have one number a sample, so that every "
            "cosine is 1 or -1. Is that column the embeddings? Name them with "
            "embeddings=... (--embeddings)."
        )
    return texts
