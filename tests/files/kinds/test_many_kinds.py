"""Files as other tools write them: parts, Arrow, word2vec, HDF5 groups, .h5ad."""

import gzip

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest

from jatlas.files.comparison.comparing import compare_files
from jatlas.files.formats.sources import batches
from jatlas.files.merging import merge_files
from jatlas.files.readers import (
    Reading,
    file_hash,
    open_embeddings,
    read_embeddings,
)

N, D = 9, 3
IDS = [f"größe {n}" for n in range(N)]
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def check(path, wanted=IDS, x=X, **names):
    """Both ways of reading give the ids and the rows."""
    got, rows = read_embeddings(path, **names)
    assert got.tolist() == list(wanted)
    np.testing.assert_array_equal(rows, x)
    source = open_embeddings(path, **names)
    parts = [part for _, part in batches(source, 2)]
    np.testing.assert_array_equal(np.concatenate(parts), np.float32(x))
    assert max(map(len, parts)) <= 2


def table(x=None, ids=IDS):
    return arrow.table({"id": ids, "x": X.tolist() if x is None else x})


def test_a_folder_of_parts_is_one_chart(tmp_path):
    folder = tmp_path / "chart"
    for k, place in ((10, "b=1"), (2, "b=1"), (1, "a=0")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        rows = {1: slice(0, 4), 2: slice(4, 5), 10: slice(5, 9)}[k]
        part = arrow.table({"id": IDS[rows], "x": X[rows].tolist()})
        parquet.write_table(part, folder / place / f"part-{k}.parquet")
    (folder / "_SUCCESS").write_bytes(b"")
    check(folder, x=X.astype(np.float64))
    check(str(folder / "*" / "part-*.parquet"), x=X.astype(np.float64))
    names = [], []
    for k, path in enumerate((folder, str(folder / "*" / "part-*.parquet"))):
        atlas = merge_files([path], anchors="shared:4", say=names[k].append)
        assert atlas.recipe.charts == (("chart",), ("part",))[k]
    before = file_hash(folder)
    parquet.write_table(table(ids=range(N)), folder / "b=1" / "part-11.parquet")
    assert file_hash(folder) != before
    with pytest.raises(ValueError, match=r"ids of .*part-1.parquet are text.*integers"):
        read_embeddings(folder)


def test_faults_in_parts_name_the_part(tmp_path):
    for k in range(3):
        x = X.copy()
        x[1] = np.nan if k == 2 else 0.5
        ids = [f"{k}-{n}" for n in range(N)]
        parquet.write_table(table(x.tolist(), ids), tmp_path / f"p{k}.parquet")
    with pytest.raises(ValueError, match=r"p2.parquet: NaN.* row 1; rows \[1\].*2-1"):
        read_embeddings(tmp_path)
    wide = arrow.table({"id": ["w"], "x": [[1.0]]})
    parquet.write_table(wide, tmp_path / "p3.parquet")
    with pytest.raises(ValueError, match=r"p3.parquet: .* 1 dimensions, .*p0.*3: "):
        read_embeddings(tmp_path)
    with pytest.raises(ValueError, match="no file fits it as a pattern"):
        read_embeddings(str(tmp_path / "q*.parquet"))


@pytest.mark.parametrize("compression", ["lz4", "zstd", "uncompressed"])
def test_feather_and_arrow(tmp_path, compression):
    data, x = table(), X.astype(np.float64)
    pyarrow.feather.write_feather(
        data, tmp_path / "a.feather", compression=compression, chunksize=4
    )
    check(tmp_path / "a.feather", x=x)
    with arrow.ipc.new_stream(tmp_path / "a.arrow", data.schema) as to:
        to.write_table(data, max_chunksize=5)
    check(tmp_path / "a.arrow", x=x)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("headed", [False, True])
def test_text_of_word2vec(tmp_path, packed, headed):
    words = [*(f"größe{n}" for n in range(N - 1)), ". . ."]  # as GloVe has them
    lines = [f"{N} {D}"] * headed
    lines += [
        f"{w} {' '.join(map(repr, x.tolist()))} " for w, x in zip(words, X, strict=True)
    ]
    path = tmp_path / ("a.vec.gz" if packed else "a.vec")
    with (gzip.open if packed else open)(path, "wb") as to:
        to.write("\n".join(lines).encode())
    check(path, words)
    assert merge_files([path], anchors="shared:4").recipe.charts == ("a",)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("3 2\na 1 2\nb 1 2\n", r"says 3 words, and 2 are there"),
        ("a 1 2\nb 1\n", r"row 1 has 1 numbers behind b'b', and the first 2"),
        ("a 1 2\nb 1 x2\n", r"b'x2' in row 1 \(id 'b'\) is no number"),
        ("a\n", r"expected a word and its numbers"),
        ("a 1 2\nb 1 2 3\n", r"row 1 has more than 2 numbers behind b'b 1'"),
        ("2 2\na 1 2 3\nb 1 2 3\n", r"row 0 has more than 2 numbers behind b'a 1'"),
        ("a 1 2\na 1 2\n", r"must differ"),
        ("a 1 2\nb nan 2\n", r"row 1.*'b'.*--drop-invalid"),
    ],
)
def test_faults_of_word2vec(tmp_path, text, wrong):
    (tmp_path / "a.vec").write_text(text)
    with pytest.raises(ValueError, match=rf"a.vec: .*{wrong}"):
        read_embeddings(tmp_path / "a.vec")


def test_word2vec_with_the_mark_of_utf8(tmp_path):
    (tmp_path / "a.vec").write_bytes(b"\xef\xbb\xbf2 2\na 1 2\nb 3 4\n")
    ids, x = read_embeddings(tmp_path / "a.vec")
    assert ids.tolist() == ["a", "b"]
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])


def test_parts_of_other_columns_are_refused(tmp_path):
    for k, columns in enumerate(["uvw", "wvu"]):
        ids = [f"{k}-{n}" for n in range(N)]
        data = {"id": ids} | dict(zip(columns, X[:, :3].T, strict=True))
        parquet.write_table(arrow.table(data), tmp_path / f"p{k}.parquet")
    with pytest.raises(ValueError, match=r"p1.*columns w, v, u, those of .*p0.* u, v"):
        read_embeddings(tmp_path)
    for k, name in enumerate(["text", "image"]):
        data = {"id": [f"{k}-{n}" for n in range(N)], name: X.tolist()}
        parquet.write_table(arrow.table(data), tmp_path / f"p{k}.parquet")
    with pytest.raises(ValueError, match=r"columns image, those of .*p0.* text:"):
        read_embeddings(tmp_path)


def test_ids_of_parts_are_converted_part_by_part(tmp_path):
    for k in range(2):
        ids = [n + k * N for n in range(N)]
        data = table(X.tolist(), ids if k else list(map(str, ids)))
        parquet.write_table(data, tmp_path / f"p{k}.parquet")
    ids, _ = read_embeddings(tmp_path, reading=Reading("text"))
    assert ids.tolist() == list(map(str, range(2 * N)))


def test_word2vec_that_is_cut_off(tmp_path):
    whole = gzip.compress(b"a 1 2\nb 1 2\n" * 2)
    (tmp_path / "a.vec.gz").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"a.vec.gz: it is damaged"):
        read_embeddings(tmp_path / "a.vec.gz")


def test_groups_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["obs/names"] = IDS
        file["obsm/X_pca"] = X.astype(np.float16)
        file["obsm/X_umap"] = X[:, :2]
        file["other"] = h5py.ExternalLink("b.h5", "x")
    names = {"ids": "obs/names", "embeddings": "obsm/X_pca"}
    check(tmp_path / "a.h5", x=X.astype(np.float16), **names)
    assert open_embeddings(tmp_path / "a.h5", **names).rows.id_name == "names"
    with pytest.raises(ValueError, match=r"which of \['obsm/X_pca', 'obsm/X_umap'\]"):
        read_embeddings(tmp_path / "a.h5", ids="obs/names")
    with pytest.raises(ValueError, match=r"no ids 'id or ids' in it, but \['obs/names"):
        read_embeddings(tmp_path / "a.h5")


def test_h5ad(tmp_path):
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["obs/cell"] = IDS
        file["obs"].attrs["_index"] = "cell"
        file["obs/index"] = np.arange(N)[::-1]  # a column like any other
        file["obs/kind_of/categories"] = ["a", "b"]
        file["obsm/X_pca"] = X
        file["X"] = np.ones((N, 50))
    check(tmp_path / "a.h5ad")
    check(tmp_path / "a.h5ad", embeddings="X_pca")
    check(tmp_path / "a.h5ad", embeddings="X", x=np.ones((N, 50)))
    assert open_embeddings(tmp_path / "a.h5ad").rows.id_name == "cell"
    assert open_embeddings(tmp_path / "a.h5ad", ids="cell").ids.tolist() == IDS
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        file["obs/kind"] = IDS[::-1]
    with pytest.raises(ValueError, match=r"which of \['obs/cell', 'obs/kind'\] are"):
        read_embeddings(tmp_path / "a.h5ad")
    check(tmp_path / "a.h5ad", ids="cell")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        file.move("obs/cell", "obs/_index")
    check(tmp_path / "a.h5ad")


def test_numbers_in_all_forms(tmp_path):
    whole = np.arange(N * D).reshape(N, D)
    tensor = arrow.fixed_shape_tensor(arrow.float32(), (1, D))
    forms = {
        "integers": (arrow.array(whole.astype(np.int8).tolist()), whole),
        "nested": (arrow.array(X[:, None].tolist()), X.astype(np.float64)),
        "halves": (arrow.array(list(X.astype(np.float16))), X.astype(np.float16)),
        "tensor": (
            arrow.ExtensionArray.from_storage(
                tensor, arrow.FixedSizeListArray.from_arrays(X.ravel(), D)
            ),
            X,
        ),
    }
    for name, (column, x) in forms.items():
        data = table(column)
        parquet.write_table(data, tmp_path / f"{name}.parquet")
        check(tmp_path / f"{name}.parquet", x=x)
        pyarrow.feather.write_feather(data, tmp_path / f"{name}.feather")
        check(tmp_path / f"{name}.feather", x=x)


def test_bfloat16_where_the_file_says_so(tmp_path):
    wide = (X.view(np.uint32) & 0xFFFF0000).view(np.float32)
    halves = (wide.view(np.uint32) >> 16).astype(np.uint16)
    pairs = arrow.FixedSizeBinaryArray.from_buffers(
        arrow.binary(2), N * D, [None, arrow.py_buffer(halves.tobytes())]
    )
    for name, known in (("lance.bfloat16", True), ("other", False)):
        about = {"ARROW:extension:name": name}
        field = arrow.field("item", arrow.binary(2), metadata=about)
        kind = arrow.list_(field, D)
        column = arrow.Array.from_buffers(kind, N, [None], children=[pairs])
        parquet.write_table(table(column), tmp_path / "a.parquet")
        if known:
            check(tmp_path / "a.parquet", x=wide)
            continue
        with pytest.raises(ValueError, match=r"'x' is fixed_size_list.*Convert it"):
            read_embeddings(tmp_path / "a.parquet", embeddings="x")


NULL = [[1.0, 2.0], None, [0.0, 0.0], [None, 1.0], [float("inf"), 1], [3.0, 4.0]]


@pytest.mark.parametrize("first", [0, 1])
def test_invalid_rows_are_left_out_and_that_is_said(tmp_path, first):
    lists = NULL[first:]
    nests = [None if x is None else [x] for x in lists]
    flat = [[None if x is None else x[k] for x in lists] for k in range(2)]
    ids = list("abcdef")[first:]
    parquet.write_table(table(lists, ids), tmp_path / "x.parquet")
    parquet.write_table(table(nests, ids), tmp_path / "nest.parquet")
    columns = arrow.table({"id": ids, "d0": flat[0], "d1": flat[1]})
    parquet.write_table(columns, tmp_path / "d.parquet")
    wanted = ["a", "f"][first:]
    for name in ("x", "nest", "d"):
        path, lines = tmp_path / f"{name}.parquet", []
        with pytest.raises(ValueError, match=r"row \d.*id '[bd]'.*--drop-invalid"):
            read_embeddings(path)
        valid = Reading(drop_invalid=True)
        check(path, wanted, [[1.0, 2.0], [3.0, 4.0]][first:], reading=valid)
        read_embeddings(path, reading=valid, say=lines.append)
        left = ["b", "c", "d", "e"]
        assert f"4 of its {6 - first} rows are null, NaN, inf" in lines[-1]
        assert f"left out, ids {left}" in lines[-1]


def test_all_rows_invalid(tmp_path):
    np.savez(tmp_path / "a.npz", id=[1, 2], x=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="all of its 2 rows are null, NaN"):
        read_embeddings(tmp_path / "a.npz", reading=Reading(drop_invalid=True))
    nothing = arrow.array([None, None], arrow.list_(arrow.float32()))
    parquet.write_table(table(nothing, ["a", "b"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"all of its 2 rows are null"):
        read_embeddings(tmp_path / "a.parquet", reading=Reading(drop_invalid=True))


def test_names_one_a_file(tmp_path):
    np.savez(tmp_path / "a.npz", key=IDS, x=X, y=X[:, :2])
    np.savez(tmp_path / "b.npz", name=IDS, x=-X, z=X[:, :2] ** 2)
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    names = {"ids": ["key", "name"], "embeddings": ["y", "z"]}
    atlas = merge_files(paths, anchors="shared:4", **names)
    assert [x.shape for x in atlas.recipe.anchors] == [(4, 2), (4, 2)]
    same = merge_files(paths, anchors="shared:4", ids=names["ids"], embeddings="x")
    assert [x.shape for x in same.recipe.anchors] == [(4, 3), (4, 3)]
    found = compare_files(paths, **names, measures=["cka-linear"], permutations=9)
    assert found.common == N
    with pytest.raises(ValueError, match=r"ids \(--ids\) has 3 names, .* for 2 files"):
        merge_files(paths, ids=["key", "name", "name"])


def test_a_refused_hdf5_file_is_not_kept_open(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = X, X
        file["id"] = IDS
    with pytest.raises(ValueError, match=r"a\.h5") as refused:
        read_embeddings(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:  # while the error is at hand
        del file["y"]
    assert refused.value.__traceback__ is not None
    check(tmp_path / "a.h5")
