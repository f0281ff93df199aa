"""Arrow's arrays and NumPy's are the same numbers and texts, without pandas."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest

from jatlas.files.formats.columns.plain import array_of, numbers_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "i8", "f2", "f4", "f8"])
def test_numbers_come_back(dtype):
    x = (50 * np.random.default_rng(0).normal(size=9)).astype(dtype)
    array = array_of(x)
    assert array.equals(arrow.array(x))
    assert numbers_of(array).dtype == x.dtype
    np.testing.assert_array_equal(numbers_of(array.slice(3, 4)), x[3:7])
    several = arrow.chunked_array([array.slice(3, 4), array])
    np.testing.assert_array_equal(numbers_of(several), np.r_[x[3:7], x])
    none = arrow.chunked_array([], array.type)
    for empty in (numbers_of(array_of(x[:0])), numbers_of(none)):
        assert (empty.size, empty.dtype) == (0, x.dtype)


def test_nulls_and_truth_values():
    np.testing.assert_array_equal(numbers_of(arrow.array([1, None])), [1, np.nan])
    truth = arrow.array([True, False, False] * 5)
    for array in (truth.slice(2, 9), arrow.chunked_array([truth.slice(2, 9)])):
        values = numbers_of(array)
        assert values.dtype == bool
        assert values.tolist() == truth.to_pylist()[2:11]


@pytest.mark.parametrize(
    "texts", [["", "a", "größe", "a\0b", "日本", "x" * 50], [""], [], ["kea"] * 70000]
)
def test_texts_come_back(texts):
    column = arrow.table({"id": array_of(np.array(texts, str))}).column("id")
    column.validate(full=True)
    assert column.to_pylist() == texts


def test_a_merge_of_tables_does_not_import_pandas(tmp_path):
    program = (
        "import sys, numpy as np, pyarrow as arrow, pyarrow.parquet as parquet\n"
        "from jatlas.cli.commands import main\n"
        "from jatlas.files.formats.columns.plain import array_of\n"
        "for name, width in (('a', 3), ('b', 4)):\n"
        "    x = np.random.default_rng(width).normal(size=30 * width)\n"
        "    lists = arrow.FixedSizeListArray.from_arrays(array_of(x), width)\n"
        "    ids = array_of(np.array([f'id{n}' for n in range(30)]))\n"
        "    table = arrow.table({'id': ids, 'x': lists})\n"
        "    parquet.write_table(table, name + '.parquet')\n"
        "merge = ['merge', 'a.parquet', 'b.parquet', '--anchors', 'shared:5']\n"
        "assert main([*merge, '--out', 'atlas.parquet']) == 0\n"
        "assert main([*merge, '--out', 'parts/']) == 0\n"
        "query = ['--chart', 'a', '--out', 'new.parquet']\n"
        "assert main(['project', 'atlas.parquet', 'a.parquet', *query]) == 0\n"
        "assert 'pandas' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
