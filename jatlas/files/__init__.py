"""Files of embeddings and of atlases: read, checked, merged, written."""

from jatlas.files.adding import add_file
from jatlas.files.comparison.comparing import Comparison, Likeness, compare_files
from jatlas.files.folders.merging import MergedFolder, merge_to_folder
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.columns.keep import read_beside
from jatlas.files.kinds.evaluating import Evaluation, evaluate_files
from jatlas.files.kinds.nearest import Neighbor, nearest_samples
from jatlas.files.maps import ConsensusMaps
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.readers import Reading, read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.storage import load, load_recipe, save
from jatlas.files.translation.translating import TranslatedFile, translate_file

__all__ = [
    "AtlasFile",
    "Beside",
    "Comparison",
    "ConsensusMaps",
    "Evaluation",
    "Likeness",
    "MergedFolder",
    "Neighbor",
    "Reading",
    "Recipe",
    "TranslatedFile",
    "add_file",
    "compare_files",
    "evaluate_files",
    "load",
    "load_recipe",
    "merge_files",
    "merge_to_folder",
    "nearest_samples",
    "project_file",
    "read_beside",
    "read_embeddings",
    "save",
    "translate_file",
]
