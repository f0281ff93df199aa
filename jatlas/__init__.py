"""jatlas: merge the latent spaces of many encoders into one, in JAX."""

from jatlas.anchors import anchor_pool, check_anchors, choose_anchors
from jatlas.atlas import (
    Atlas,
    add_chart,
    atlas_mean,
    combine,
    empty_atlas,
    masked_mean,
)
from jatlas.charts import (
    CNN,
    Chart,
    ChartState,
    EfficientNetLite,
    Projector,
    ResNet20,
    flip_and_crop,
    from_module,
    with_preprocessing,
)
from jatlas.cka import (
    CkaState,
    add_rows,
    cka,
    cka_value,
    combine_cka,
    empty_cka,
)
from jatlas.embedding import Charts, embed
from jatlas.geometry import class_means, nearest_class_mean, separability
from jatlas.median import median_distance
from jatlas.merging import merge
from jatlas.neighbors import mutual_neighbors, self_similarity_correlation
from jatlas.optimizers import adam, sgd_cosine
from jatlas.probe import Probe, fit_probe, probe_logits
from jatlas.relative import relativize
from jatlas.sharding import own_rows, place, sample_mesh
from jatlas.spaces import Spaces, anchor_rows, assemble
from jatlas.tasks import (
    Tasks,
    end_to_end,
    part_shared_part_novel,
    same_classes_disjoint_samples,
    totally_disjoint,
)
from jatlas.training import Progress, fit_charts
from jatlas.transforms import (
    Transform,
    apply_transform,
    fit_center,
    fit_standardize,
    fit_whiten,
    nystroem,
)

__all__ = [
    "CNN",
    "Atlas",
    "Chart",
    "ChartState",
    "Charts",
    "CkaState",
    "EfficientNetLite",
    "Probe",
    "Progress",
    "Projector",
    "ResNet20",
    "Spaces",
    "Tasks",
    "Transform",
    "adam",
    "add_chart",
    "add_rows",
    "anchor_pool",
    "anchor_rows",
    "apply_transform",
    "assemble",
    "atlas_mean",
    "check_anchors",
    "choose_anchors",
    "cka",
    "cka_value",
    "class_means",
    "combine",
    "combine_cka",
    "embed",
    "empty_atlas",
    "empty_cka",
    "end_to_end",
    "fit_center",
    "fit_charts",
    "fit_probe",
    "fit_standardize",
    "fit_whiten",
    "flip_and_crop",
    "from_module",
    "masked_mean",
    "median_distance",
    "merge",
    "mutual_neighbors",
    "nearest_class_mean",
    "nystroem",
    "own_rows",
    "part_shared_part_novel",
    "place",
    "probe_logits",
    "relativize",
    "same_classes_disjoint_samples",
    "sample_mesh",
    "self_similarity_correlation",
    "separability",
    "sgd_cosine",
    "totally_disjoint",
    "with_preprocessing",
]
