"""Coordinates that make charts comparable, and their masked mean."""

from jatlas.merging.anchors import choose_anchors
from jatlas.merging.assembly import Spaces, anchor_rows, assemble
from jatlas.merging.choice import choose_consensus
from jatlas.merging.consensus import (
    Consensus,
    apply_consensus,
    fit_consensus,
    merge_consensus,
)
from jatlas.merging.mean import masked_mean
from jatlas.merging.nystroem import fit_nystroem
from jatlas.merging.pool import anchor_pool, check_anchors
from jatlas.merging.product import merge
from jatlas.merging.relative import register_similarity, relativize
from jatlas.merging.scoring import MergeScore, score_merge
from jatlas.merging.transforms import (
    Transform,
    apply_transform,
    dropped_directions,
    fit_center,
    fit_standardize,
    fit_whiten,
)
from jatlas.merging.translation.fitting import fit_inverse_relative, fit_translation
from jatlas.merging.translation.generalized import fit_procrustes
from jatlas.merging.translation.growing import GrownAnchors, grow_anchors

__all__ = [
    "Consensus",
    "GrownAnchors",
    "MergeScore",
    "Spaces",
    "Transform",
    "anchor_pool",
    "anchor_rows",
    "apply_consensus",
    "apply_transform",
    "assemble",
    "check_anchors",
    "choose_anchors",
    "choose_consensus",
    "dropped_directions",
    "fit_center",
    "fit_consensus",
    "fit_inverse_relative",
    "fit_nystroem",
    "fit_procrustes",
    "fit_standardize",
    "fit_translation",
    "fit_whiten",
    "grow_anchors",
    "masked_mean",
    "merge",
    "merge_consensus",
    "register_similarity",
    "relativize",
    "score_merge",
]
