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
from jatlas.commands.adding import add_file
from jatlas.commands.comparing import Comparison, Likeness, compare_files
from jatlas.commands.from_files import merge_files
from jatlas.commands.projecting import project_file
from jatlas.crossfit import CrossFit, crossfit_probabilities, crossfit_probe
from jatlas.disagreement import (
    Spread,
    add_to_spread,
    combine_spreads,
    disagreement,
    empty_spread,
)
from jatlas.embedding import Charts, embed
from jatlas.files.readers import read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.geometry import class_means, nearest_class_mean, separability
from jatlas.median import median_distance
from jatlas.merging import merge
from jatlas.neighbors import mutual_neighbors, self_similarity_correlation
from jatlas.optimizers import adam, sgd_cosine
from jatlas.permutation import PermutationTest, permutation_test
from jatlas.probe import Probe, fit_probe, probe_logits
from jatlas.relative import relativize
from jatlas.retrieval import Retrieval, retrieval
from jatlas.sharding import own_rows, place, sample_mesh
from jatlas.spaces import Spaces, anchor_rows, assemble
from jatlas.storage import load, load_recipe, save
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
    "AtlasFile",
    "Chart",
    "ChartState",
    "Charts",
    "CkaState",
    "Comparison",
    "CrossFit",
    "EfficientNetLite",
    "Likeness",
    "PermutationTest",
    "Probe",
    "Progress",
    "Projector",
    "Recipe",
    "ResNet20",
    "Retrieval",
    "Spaces",
    "Spread",
    "Tasks",
    "Transform",
    "adam",
    "add_chart",
    "add_file",
    "add_rows",
    "add_to_spread",
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
    "combine_spreads",
    "compare_files",
    "crossfit_probabilities",
    "crossfit_probe",
    "disagreement",
    "embed",
    "empty_atlas",
    "empty_cka",
    "empty_spread",
    "end_to_end",
    "fit_center",
    "fit_charts",
    "fit_probe",
    "fit_standardize",
    "fit_whiten",
    "flip_and_crop",
    "from_module",
    "load",
    "load_recipe",
    "masked_mean",
    "median_distance",
    "merge",
    "merge_files",
    "mutual_neighbors",
    "nearest_class_mean",
    "nystroem",
    "own_rows",
    "part_shared_part_novel",
    "permutation_test",
    "place",
    "probe_logits",
    "project_file",
    "read_embeddings",
    "relativize",
    "retrieval",
    "same_classes_disjoint_samples",
    "sample_mesh",
    "save",
    "self_similarity_correlation",
    "separability",
    "sgd_cosine",
    "totally_disjoint",
    "with_preprocessing",
]
