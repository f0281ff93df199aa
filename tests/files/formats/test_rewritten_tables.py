"""Tables of atlases that other tools have written anew."""

import warnings

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from jatlas.files.formats import atlas_table
from jatlas.files.formats.atlas_table import RewrittenTable
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.storage import load, save

RNG = np.random.default_rng(0)
ANCHORS = tuple(RNG.normal(size=(2, width)).astype(np.float32) for width in (3, 4))
RECIPE = Recipe(np.array(["x", "y"]), ANCHORS, charts=("old", "new"))
PRESENCE = np.array([[True, False], [True, True], [False, True]])
ATLAS = AtlasFile(
    np.array(["kea", "owl", "emu"]),
    RNG.normal(size=(3, 2)).astype(np.float32),
    np.array([1, 2, 1], np.int32),
    np.array([np.nan, 0.25, np.nan], np.float32),
    RECIPE,
    PRESENCE,
)


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "x.parquet", ATLAS)
    return tmp_path / "x.parquet"


def test_an_untouched_table_opens_without_a_warning(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = load(path)
    np.testing.assert_array_equal(again.presence, PRESENCE)
    members = parquet.read_table(path).column("members").to_pylist()
    assert members == [["old"], ["old", "new"], ["new"]]


def without_marks(table):
    return table.replace_schema_metadata()


def with_plain_lists(table):
    """As pandas and Polars write: lists of no fixed size, 64 bits, other columns."""
    columns = {
        "title": arrow.array(["a", "b", "c"]),
        "id": table.column("id").cast(arrow.large_string()),
        "atlas": arrow.array(
            table.column("atlas").to_pylist(), arrow.list_(arrow.float64())
        ),
        "charts": table.column("charts").cast(arrow.int64()),
        "disagreement": table.column("disagreement"),
        "members": table.column("members").cast(arrow.large_list(arrow.string())),
    }
    return arrow.table(columns)


@pytest.mark.parametrize("change", [without_marks, with_plain_lists])
def test_a_rewritten_table_opens_with_a_warning(path, change):
    table = change(parquet.read_table(path))
    parquet.write_table(table, path)
    with pytest.warns(RewrittenTable, match=r"x.parquet: it was written anew by"):
        again = load(path)
    np.testing.assert_array_equal(again.ids, ATLAS.ids)
    np.testing.assert_array_equal(again.merged, ATLAS.merged)
    np.testing.assert_array_equal(again.presence, PRESENCE)


def test_rows_in_another_order_or_fewer_are_seen(path):
    table = parquet.read_table(path)  # with the marks, which pyarrow keeps
    parquet.write_table(table.take([2, 1]), path)
    with pytest.warns(RewrittenTable):
        again = load(path)
    assert again.ids.tolist() == ["emu", "owl"]
    np.testing.assert_array_equal(again.presence, PRESENCE[[2, 1]])
    save(path, again)
    assert load(path).ids.tolist() == ["emu", "owl"]


def test_the_recipe_of_another_atlas_is_refused_all_the_same(path, tmp_path):
    other = RECIPE._replace(charts=("a", "b"))
    save(tmp_path / "y.parquet", ATLAS._replace(recipe=other))
    (tmp_path / "y.recipe.safetensors").replace(tmp_path / "x.recipe.safetensors")
    with pytest.raises(ValueError, match="recipe of another atlas"):
        load(path)


def test_integers_in_32_bits_are_no_change(tmp_path):
    path = tmp_path / "x.parquet"
    save(path, ATLAS._replace(ids=np.array([3, 1, 2], np.int32)))
    assert load(path).ids.tolist() == [3, 1, 2]


def test_a_table_is_in_groups_of_rows_that_fit_in_memory(path, monkeypatch):
    atlas = load(path)
    width = atlas.merged.shape[1]
    monkeypatch.setattr(atlas_table, "GROUP", 2 * 4 * width)
    save(path, atlas)
    metadata = parquet.ParquetFile(path).metadata
    groups = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    assert max(groups) == 2
    assert sum(groups) == len(atlas.merged)
    np.testing.assert_array_equal(load(path).merged, atlas.merged)
