"""The named streams of random numbers of a run.

All is drawn from the seed of a unit. Draws that share a stream would be tied to each
other: so each stream stands here, once, and a test holds that no two are alike. The
charts of a unit take the numbers from 0 on, folded into the unit's key.
"""

from typing import NewType

import jax
import numpy as np

Words = NewType("Words", tuple[int, ...])  # what stands beside the seed, for NumPy
Number = NewType("Number", int)  # what is folded into a key, for JAX

CUT = Words((3,))  # the samples that a classifier learns from, stops by, is scored on
CUT_ROWS = Words((3, 1))  # the rows, where a sample has several
PAIRS = Words((5,))  # the rows of what takes all pairs
PUBLIC = Words((8,))  # the public samples, which are kept from every task
HALVES = Words((11,))  # the validation samples to stop by, and those to choose by
PRESENCE = Words((13,))  # the charts that embed a sample
LABELS = Words((17,))  # the samples that are labeled

CLASSIFIERS = Number(7)  # of the key of a seed, as those of federated rounds
PUBLIC_OF_CLIENTS = Number(11)  # a round's public samples, and its anchors
HEADS = Number(12)  # of a round; all below are of the key of a unit
ANCHORS = Number(2**31)
MERGED_SPACES = Number(2**31 - 1)
END_TO_END = Number(2**30)
PCA = Number(2**30 + 1)  # of the key of merged spaces


def rng(seed: int, stream: Words) -> np.random.Generator:
    """NumPy's generator of a stream."""
    return np.random.default_rng([seed, *stream])


def fold(key: jax.Array, stream: Number) -> jax.Array:
    """The key of a stream."""
    return jax.random.fold_in(key, stream)


def integer(key: jax.Array) -> int:
    """A seed for what takes no key, drawn from one."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))
