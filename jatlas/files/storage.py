"""An atlas on disk: one `save` and one `load`, by suffix."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from jatlas._src import border
from jatlas.files.folders import layout, tables
from jatlas.files.formats import atlas_table, atlas_tensors
from jatlas.files.formats.columns.beside import Beside, checked_beside
from jatlas.files.formats.faults import faults_of
from jatlas.files.formats.places import check_local
from jatlas.files.formats.whole import check_folder, check_inputs, write_whole
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas


@border.short
def save(
    path: str | Path,
    atlas: AtlasFile,
    *,
    recipe: str | Path | None = None,
    beside: Beside | None = None,
) -> list[Path]:
    """Save an atlas with its recipe, in full or not at all.

    The suffix of the path says the format:

    ============== ==================================================================
    .safetensors   one file with the rows and the recipe
    .parquet       a table (id, atlas, charts, disagreement, members) that other tools
                   read, and beside it the recipe, x.recipe.safetensors for x.parquet
    none, or x/    a folder of such tables, part-00000.parquet and so on, with the
                   recipe, _recipe.safetensors
    ============== ==================================================================

    Any reader of safetensors reads the first, and NumPy in three lines::

        raw = open(path, "rb").read(); start = 8 + int.from_bytes(raw[:8], "little")
        about = json.loads(raw[8:start])["merged"]; begin, end = about["data_offsets"]
        merged = np.frombuffer(raw[start + begin : start + end], "<f4").reshape(about["shape"])

    Args:
        path: ends in .safetensors or .parquet, or is a folder. A file that is there, or
            a folder with an atlas, is replaced, once the new one is whole. Folders are
            made.
        atlas: an `AtlasFile`.
        recipe: of an atlas or recipe on disk that has the same recipe: a table then
            names it, and no recipe is written beside it. A .safetensors file and a
            folder always hold their recipe.
        beside: columns (N,) that stand in a table too, and the name of its ids, from
            `read_beside` or of your own; the atlas's `id_name` alone if None.

    Returns:
        The paths of the files that were written.

    Raises:
        ValueError: if the path ends otherwise, or is a folder that is there and no
            atlas; the atlas is no `AtlasFile`, or
            something in it has another shape or dtype than an `AtlasFile` says, is NaN
            or infinite, is a masked array, repeats (ids) or is a similarity without a
            name; the other recipe is not the same; or columns are for a .safetensors
            file, have another length or a name that the table has already.
        OSError: if it cannot be written.
        ImportError: if it is Parquet and pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = folder + "/atlas.safetensors"
        ...     written = save(path, AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load(path).merged.tolist()
        [[1.0], [0.3]]
    """  # noqa: E501 - three lines are promised
    check_output(path)
    path, is_folder = Path(path), layout.is_folder(path)
    check_atlas(atlas)
    beside = Beside(atlas.id_name) if beside is None else beside
    stands = checked_beside(beside, atlas.ids.size)
    if is_folder:
        return tables.save_folder(path, atlas, stands)
    if path.suffix.lower() == ".parquet":
        at = None if recipe is None else recipe_file(Path(recipe))
        files = atlas_table.writers(path, atlas, at, stands)
    elif stands.columns:
        raise ValueError(
            f"{path}: columns (beside=..., --keep) are for an atlas in Parquet; let it "
            "end in .parquet, or be a folder."
        )
    else:
        files = {path: atlas_tensors.atlas_writer(atlas)}
    write_whole(files)
    return list(files)


@border.short
def load(path: str | Path) -> AtlasFile:
    """Load what `save` or a command wrote.

    No code in a file is ever run.

    Args:
        path: of a .safetensors file, of a .parquet file with its recipe beside it, or
            where it says, or of a folder of parts.

    Returns:
        An `AtlasFile` of NumPy arrays, in the dtypes that were saved. A table that
        another tool wrote anew, other rows in it, is taken as it is, with a warning.

    Raises:
        ValueError: if it is cut off, changed, of an unknown version, a recipe alone, or
            no atlas; if the recipe beside it, or a part, is missing or is another
            atlas's.
        OSError: if it cannot be read.
        ImportError: if it is Parquet and pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = folder + "/atlas.safetensors"
        ...     written = save(path, AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load(path).count.tolist()
        [1, 1]
    """
    atlas: AtlasFile = _format(path).read_atlas(Path(path))
    return atlas


@border.short
def load_recipe(path: str | Path) -> Recipe:
    """The recipe of an atlas, from a file with or without rows.

    Args:
        path: of an atlas as `load` takes it, or of the recipe beside one in Parquet.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: if it is cut off, changed, of an unknown version, or not of jatlas;
            if the recipe beside a table is missing or is another atlas's.
        OSError: if it cannot be read.
        ImportError: if it is Parquet and pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = folder + "/atlas.safetensors"
        ...     written = save(path, AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load_recipe(path).charts
        ('birds',)
    """
    if (kind := _format(path)) is atlas_tensors:
        return atlas_tensors.read_recipe(Path(path))[0]
    recipe: Recipe = kind.read_recipe(Path(path))
    return recipe


def recipe_file(path: Path) -> Path:
    """The file in which the recipe of an atlas lies."""
    if path.is_dir():
        return path / layout.RECIPE
    table = _format(path) is atlas_table
    return atlas_table.recipe_location(path) if table else path


def check_output(path: str | Path, inputs: Sequence[str | Path] = ()) -> None:
    """Raise ValueError or OSError if an atlas cannot be written there.

    Nor may it, or the recipe beside it, be one of the inputs: they would be lost.
    """
    if layout.is_folder(path):
        layout.check_folder_output(path, inputs)
        return
    check_local(path)
    path = Path(path)
    check_inputs([path, atlas_table.recipe_path(path)], inputs)
    if path.suffix.lower() not in layout.FILES:
        raise ValueError(
            f"{path} must end in {' or '.join(layout.FILES)}, or in a slash: a folder "
            "of parts."
        )
    if path.suffix.lower() == ".parquet":
        atlas_table.check_package()
    check_folder(path)


def _format(path: str | Path) -> ModuleType:
    """The module that reads such an atlas; ValueError for none."""
    check_local(path)
    path = Path(path)
    suffix = path.suffix.lower()
    with faults_of(path):
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        if path.is_dir():
            return tables
        if suffix not in layout.FILES:
            raise ValueError(
                f"an atlas is in a file that ends in {' or '.join(layout.FILES)}, or "
                f"in a folder, as `save` writes it; this one ends in {suffix!r}."
            )
    return atlas_table if suffix == ".parquet" else atlas_tensors
