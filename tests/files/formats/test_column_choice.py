"""What is taken for the embeddings, and what is refused instead of taken."""

import base64
import json
from functools import partial

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file

from jatlas.files.adding import add_file
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.readers import open_embeddings, read_embeddings
from jatlas.merging.assembly import assemble

N, D = 6, 4
NAMES = [f"s{n}" for n in range(N)]
SCORE = np.linspace(0.1, 0.6, N)
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Q = np.random.default_rng(1).integers(-99, 99, size=(N, D)).astype(np.int8)


def tensor(shape, x):
    kind = arrow.fixed_shape_tensor(arrow.from_numpy_dtype(x.dtype), shape)
    lists = arrow.FixedSizeListArray.from_arrays(x.ravel(), int(np.prod(shape)))
    return arrow.ExtensionArray.from_storage(kind, lists)


def lists(x, kind=None):
    return arrow.array(x.tolist(), arrow.list_(kind or arrow.from_numpy_dtype(x.dtype)))


def nest(x):
    return arrow.array(x[:, None].tolist(), arrow.list_(arrow.list_(arrow.float32())))


def structs(x):
    return arrow.array(
        [{"values": row} for row in x.tolist()],
        arrow.struct([("values", arrow.list_(arrow.float32()))]),
    )


def write(folder, kind="parquet", **columns):
    """The columns, beside ids and scores, in a file or a folder of `datasets`."""
    table = arrow.table({"id": NAMES, "score": SCORE} | columns)
    if kind == "parquet":
        parquet.write_table(table, folder / "a.parquet", row_group_size=4)
        return folder / "a.parquet"
    path = folder / "d"
    path.mkdir()
    with arrow.ipc.new_stream(path / "a.arrow", table.schema) as to:
        to.write_table(table)
    names = {"_data_files": [{"filename": "a.arrow"}]}
    (path / "state.json").write_text(json.dumps(names))
    return path


READ = {
    "int8": (lists(Q), Q),
    "int64": (lists(Q.astype(np.int64)), Q),
    "fixed int16": (
        arrow.FixedSizeListArray.from_arrays(Q.astype(np.int16).ravel(), D),
        Q,
    ),
    "large": (lists(X).cast(arrow.large_list(arrow.float32())), X),
    "nest": (nest(X), X),
    "nest of nests": (
        arrow.array(
            X[:, None, None].tolist(),
            arrow.list_(arrow.list_(arrow.list_(arrow.float32()))),
        ),
        X,
    ),
    "tensor": (tensor([D], X), X),
    "tensor of one row": (tensor([1, D], X), X),
    "tensor of integers": (tensor([D], Q), Q),
}


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
@pytest.mark.parametrize(("column", "wanted"), READ.values(), ids=READ)
def test_what_holds_vectors_is_read_and_no_score_is(tmp_path, kind, column, wanted):
    path = write(tmp_path, kind, embedding=column)
    ids, x = read_embeddings(path)
    np.testing.assert_array_equal(x, wanted)
    assert x.dtype in (np.float32, np.float64)
    assert ids.tolist() == NAMES
    assemble([(ids, x)])
    path.rename(tmp_path / "other")  # by any other name too
    (tmp_path / "more").mkdir()
    np.testing.assert_array_equal(
        read_embeddings(write(tmp_path / "more", kind, v=column))[1], wanted
    )


REFUSED = {
    "struct": (structs(X), r"'e' is struct<values: list<.*>>"),
    "nest of several": (arrow.array([[[1.0], [2.0]]] * N), r"row 0 .*holds 2 lists"),
    "tensor of several rows": (tensor([2, 2], X), r"'e' is extension.*tensor"),
    "truths": (arrow.array([[True, False]] * N), r"'e' is list<.*bool>"),
    "bytes": (arrow.array([row.tobytes() for row in X]), r"'e' is binary"),
    "fixed bytes": (
        arrow.array([row.tobytes() for row in X], arrow.binary(4 * D)),
        r"'e' is fixed_size_binary",
    ),
    "text of numbers": (
        arrow.array([str(row.tolist()) for row in X]),
        r"'e' is string",
    ),
    "map": (
        arrow.array([[("v", row)] for row in X.tolist()],
                    arrow.map_(arrow.string(), arrow.list_(arrow.float32()))),
        r"'e' is map<",
    ),
    "decimals": (
        arrow.array([[1, 2]] * N, arrow.list_(arrow.decimal128(9, 2))),
        r"'e' is list<.*decimal",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
@pytest.mark.parametrize(
    ("column", "message"), REFUSED.values(), ids=REFUSED
)  # fmt: skip
def test_what_could_be_meant_and_is_not_read_is_named(tmp_path, kind, column, message):
    path = write(tmp_path, kind, e=column)
    with pytest.raises(ValueError, match=message) as caught:
        read_embeddings(path)
    assert str(caught.value).startswith(f"{path}: ")
    x = read_embeddings(path, embeddings="score")[1]
    np.testing.assert_array_equal(x[:, 0], SCORE)


def test_a_usual_name_is_meant_even_if_it_is_not_read(tmp_path):
    path = write(tmp_path, bbox=lists(X), embedding=structs(X))
    with pytest.raises(ValueError, match="'embedding' is struct"):
        read_embeddings(path)
    (tmp_path / "b").mkdir()
    path = write(tmp_path / "b", bbox=lists(X), embedding=lists(2 * X))
    np.testing.assert_array_equal(read_embeddings(path)[1], 2 * X)
    (tmp_path / "c").mkdir()
    path = write(tmp_path / "c", bbox=lists(X), vector=structs(X))
    with pytest.raises(ValueError, match=r"which of \['bbox', 'vector'\].*struct"):
        read_embeddings(path)


# What may hold vectors beside a column that is read, or beside a score.
FORMS = {
    "fixed bytes": arrow.array([row.tobytes() for row in X], arrow.binary(4 * D)),
    "bytes": arrow.array([row.tobytes() for row in X]),
    "wide bytes": arrow.array([bytes(range(100))] * N, arrow.binary(100)),
    "text": arrow.array([str(row.tolist()) for row in X]),
    "points": arrow.array([" ".join(map(str, [*row, *row])) for row in X]),
    "texts": arrow.array([list(map(str, row)) for row in X]),
    "struct": structs(X),
    "structs": arrow.array(
        [[{"value": [v]} for v in row] for row in X.tolist()],
        arrow.list_(arrow.struct([("value", arrow.list_(arrow.float32()))])),
    ),
    "categories": arrow.DictionaryArray.from_arrays(list(range(N)), lists(X)),
    "bytes as categories": arrow.array(
        [row.tobytes() for row in X]
    ).dictionary_encode(),
    "text as categories": arrow.array(
        [str(row.tolist()) for row in X]
    ).dictionary_encode(),
    "late": arrow.array([None, *(str(row.tolist()) for row in X[1:])]),
}  # fmt: skip


@pytest.mark.parametrize("beside", ["bbox", "score"])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_takes_the_place_of_what_is_not_read(tmp_path, form, beside):
    columns = {"v": FORMS[form]} | ({"bbox": lists(X)} if beside == "bbox" else {})
    if form == "categories":  # Parquet cannot hold them
        path = write(tmp_path, "datasets", **columns)
    else:
        path = write(tmp_path, **columns)
    with pytest.raises(ValueError, match=r"the column 'v' is .* is not read"):
        read_embeddings(path)
    _, x = read_embeddings(path, embeddings=beside)
    np.testing.assert_array_equal(x, X if beside == "bbox" else SCORE[:, None])


@pytest.mark.parametrize("kind", ["decimal", "text"])
def test_numbered_columns_that_are_not_read_are_named(tmp_path, kind):
    values = {
        "decimal": arrow.array([1, 2, 3, 4, 5, 6], arrow.decimal128(9, 2)),
        "text": arrow.array([f"{k}.5" for k in range(N)]),
    }[kind]
    path = write(tmp_path, d0=values, d1=values)
    with pytest.raises(ValueError, match=r"column 'd0' is .*, 'd1' is "):
        read_embeddings(path)
    path = write(tmp_path, line1=arrow.array(NAMES), line2=arrow.array(NAMES))
    np.testing.assert_array_equal(read_embeddings(path)[1][:, 0], SCORE)


# What may be meant beside a score only: texts in other forms, and encoded numbers.
OTHER_FORMS = {
    "after nothing": arrow.array(["", " ", *(str(row.tolist()) for row in X[2:])]),
    "tensors": arrow.array([f"tensor({row.tolist()}, device='cuda:0')" for row in X]),
    "arrays": arrow.array([f"np.{np.array(row)!r}" for row in X]),
    "a key": arrow.array([json.dumps({"values": row.tolist()}) for row in X]),
    "a key of integers": arrow.array([json.dumps({"v": row.tolist()}) for row in Q]),
    "a key of many": arrow.array([json.dumps({"of": "x", "v": list(SCORE)})] * N),
    "much": arrow.array([str(np.linspace(0.1, 0.9, 2000))] * N),
    "base64": arrow.array([base64.b64encode(row.tobytes()).decode() for row in X]),
    "hexadecimal": arrow.array([(2 * row.tobytes()).hex() for row in X]),
    "categories": arrow.array(SCORE).dictionary_encode(),
    "runs": arrow.RunEndEncodedArray.from_arrays([3, N], arrow.array([0.1, 0.2])),
    "times": arrow.array([[1, 2]] * N, arrow.list_(arrow.timestamp("s"))),
}  # fmt: skip


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_no_score_takes_the_place_of_numbers_in_another_form(tmp_path, form):
    column = OTHER_FORMS[form]
    path = tmp_path / "a.feather"
    if form == "runs":  # Feather's own writer does not take them
        path = write(tmp_path, "datasets", v=column)
    else:
        table = arrow.table({"id": NAMES, "score": SCORE, "v": column})
        arrow.feather.write_feather(table, path)
    with pytest.raises(ValueError, match=r"column 'v' is .* is not read"):
        read_embeddings(path)
    x = read_embeddings(path, embeddings="score")[1]
    np.testing.assert_array_equal(x[:, 0], SCORE)
    if arrow.types.is_string(column.type):
        (tmp_path / "b").mkdir()
        path = write(tmp_path / "b", v=column, boxes=lists(X))
        with pytest.raises(ValueError, match=r"Of these, the column 'v' is string"):
            read_embeddings(path)


PLAIN = {
    "images": arrow.array([{"bytes": b"\x89PNG" + bytes(40), "path": "a"}] * N),
    "hashes": arrow.array(
        [np.random.default_rng(k).bytes(32) for k in range(N)], arrow.binary(32)
    ),
    "captions": arrow.array(["2 owls, 1 kea. 3.5 more"] * N),
    "prices": arrow.array(["1,299.00", "12.50 13.20"] * (N // 2)),
    "places": arrow.array(["48.85, 2.35", "(40.71, -74.00)"] * (N // 2)),
    "sections": arrow.array(["3. 1. 2"] * N),
    "telephones": arrow.array(["555 123 4567"] * N),
    "dates": arrow.array(["2024-01-02, 10:30"] * N),
    "tags": arrow.array([["owl", "kea"]] * N),
    "categories": arrow.array(["owl", "kea"] * (N // 2)).dictionary_encode(),
    "metadata": arrow.array(['{"source": "web", "page": 3}'] * N),
    "metadata of lists": arrow.array(['{"page": [3, 4], "tags": [1, 2, "a"]}'] * N),
    "tokens": arrow.array(["ACGTTGCA" * 8] * N),
    "paths": arrow.array(["images/train/owls/00000012"] * N),
    "md5": arrow.array(["0cc175b9c0f1b6a831c399e269772661"] * N),
    "sha256": arrow.array(["yph4EhvbuvwjFsOaI5tNyoZe/0gHpyAfqFpxZ8M0uCk="] * N),
    "visits": arrow.array([[1, 2]] * N, arrow.list_(arrow.timestamp("s"))),
    "labels": arrow.array([1, 2] * (N // 2)).dictionary_encode(),
}


@pytest.mark.parametrize("name", ["captions", "metadata", "md5", "labels", "tokens"])
def test_what_stands_beside_features_every_day_is_no_question(tmp_path, name):
    path = write(tmp_path, beside=PLAIN[name])
    np.testing.assert_array_equal(read_embeddings(path)[1][:, 0], SCORE)


# Lists in another form are a question beside any column.
@pytest.mark.parametrize("form", sorted({*FORMS} - {"struct", "structs", "categories"}))
def test_what_is_as_wide_as_only_embeddings_are_is_taken(tmp_path, form):
    wide = np.tile(X, 4)
    path = tmp_path / "a.parquet"
    parquet.write_table(
        arrow.table({"id": NAMES, "vec": lists(wide), "other": FORMS[form]}), path
    )
    np.testing.assert_array_equal(read_embeddings(path)[1], wide)


@pytest.mark.parametrize("name", PLAIN)
def test_what_stands_beside_vectors_every_day_is_no_question(tmp_path, name):
    path = write(tmp_path, vec=lists(X), beside=PLAIN[name])
    np.testing.assert_array_equal(read_embeddings(path)[1], X)
    if name in ("images", "hashes"):  # it could be meant: what was taken is said
        assert "'vec'; not taken: beside" in open_embeddings(path).rows.note


def test_of_integers_and_floats_the_floats_are_meant(tmp_path):
    path, said = write(tmp_path, tokens=lists(Q), x=lists(X)), []
    np.testing.assert_array_equal(read_embeddings(path, say=said.append)[1], X)
    assert said == [f"{path}: its embeddings are the column 'x'; not taken: tokens"]


def wide(**more):
    """A table of a feature a column, not in the order of their numbers."""
    order = [3, 0, 2, 1]
    columns = {f"dim_{d}": X[:, d] for d in order}
    return {"created_at": 1.7e9 + np.arange(N) * 1e3} | columns | more


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
def test_numbered_columns_are_taken_without_what_stands_beside_them(tmp_path, kind):
    path, said = write(tmp_path, kind, **wide()), []
    np.testing.assert_array_equal(read_embeddings(path, say=said.append)[1], X)
    (line,) = said
    assert "the 4 columns dim_0, dim_1, dim_2, dim_3; not taken: score, created" in line
    assert open_embeddings(path).rows.note in line


def test_numbered_columns_of_two_kinds_are_named_by_what_they_begin_with(tmp_path):
    path = write(tmp_path, **wide(pc1=SCORE, pc2=SCORE))
    with pytest.raises(ValueError, match=r"which of \['dim_\* \(4 columns\)', 'pc\*"):
        read_embeddings(path)
    np.testing.assert_array_equal(read_embeddings(path, embeddings="dim_")[1], X)
    np.testing.assert_array_equal(
        read_embeddings(path, embeddings="pc")[1].T, [SCORE] * 2
    )


@pytest.mark.parametrize("kind", ["float64", "int32"])
def test_a_list_beside_numbered_columns_is_a_question(tmp_path, kind):
    dims = {f"dim_{d}": SCORE for d in range(16)}
    path = write(tmp_path, **dims, probs=lists(X[:, :3].astype(kind)))
    with pytest.raises(ValueError, match=r"\['probs', 'dim_\* \(16 columns\)'\] are"):
        read_embeddings(path)
    assert read_embeddings(path, embeddings="dim_")[1].shape == (N, 16)
    assert read_embeddings(path, embeddings="probs")[1].shape == (N, 3)
    path = write(tmp_path, **dims, embedding=lists(X))  # of a usual name
    np.testing.assert_array_equal(read_embeddings(path)[1], X)
    years = {f"year_{y}": SCORE for y in range(2019, 2023)}
    ranks = {f"top{k}": SCORE for k in (1, 5, 10)} | {"x1": SCORE, "x2": SCORE}
    path = write(tmp_path, **years, **ranks, vec=lists(X))
    np.testing.assert_array_equal(read_embeddings(path)[1], X)


ODD = {
    "string": ["a"] * N,
    "bool": [True] * N,
    "null": arrow.nulls(N),
    "decimal128": arrow.array(range(N), arrow.decimal128(9, 2)),
    "date32": arrow.array(range(N), arrow.date32()),
    "list": lists(X),
}


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("kind", ODD)
def test_a_feature_of_another_type_is_named(tmp_path, kind, at):
    columns = {f"dim_{d}": SCORE for d in range(5)} | {f"dim_{at}": ODD[kind]}
    path = write(tmp_path, **columns)
    with pytest.raises(ValueError, match=rf"'dim_{at}'( is {kind}|, 'dim_\*)"):
        read_embeddings(path)
    with pytest.raises(ValueError, match=rf"'dim_{at}' is {kind}.* would be missing"):
        read_embeddings(path, embeddings="dim_")


WIDE = np.random.default_rng(2).normal(size=(N, 5))
DOUBTFUL = {
    "gap": ([0, 1, 3, 4], "dim_{}", "no column has number 2"),
    "far": ([0, 1, 2, 3, 40], "dim_{}", "no column has number 4, 5, 6"),
    "late": ([2, 3, 4, 5], "dim_{}", "no column has number 1"),
    "case": (["Dim_0", "dim_1", "dim_2"], "{}", "Dim_0 are spelled otherwise"),
    "twice": (["dim_01", "dim_1", "dim_2"], "{}", "dim_1 are spelled otherwise"),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_numbered_columns_of_which_some_can_be_missing_are_a_question(tmp_path, case):
    numbers, form, message = DOUBTFUL[case]
    columns = {form.format(d): WIDE[:, k] for k, d in enumerate(numbers)}
    path, texts = write(tmp_path, **columns), []
    with pytest.raises(ValueError, match=rf"dim_\* could be .*{message}.*'dim_'"):
        read_embeddings(path)
    x = read_embeddings(path, embeddings="dim_", say=texts.append)[1]
    np.testing.assert_array_equal(x, WIDE[:, : len(numbers)])
    assert message in texts[0]


def test_two_kinds_of_numbered_columns_are_named_once(tmp_path):
    columns = {f"{name}_{k}": SCORE for name in "ef" for k in range(2)}
    path = write(tmp_path, **columns)
    wanted = r"which of \['e_\* \(2 columns\)', 'f_\* \(2 columns\)', 'score'\] are"
    with pytest.raises(ValueError, match=wanted):
        read_embeddings(path)


def test_a_feature_whose_numbers_are_whole_is_not_left_out(tmp_path):
    columns = {f"d{d}": X[:, d] for d in range(D)} | {"d4": np.arange(N)}
    x = read_embeddings(write(tmp_path, **columns))[1]
    np.testing.assert_array_equal(x, np.column_stack([X, np.arange(N)]))


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    columns = {"a": X[:, 0], "b": X[:, 1], "__index_level_0__": 1.7e9 + np.arange(N)}
    path, said = write(tmp_path, **columns), []
    x = read_embeddings(path, say=said.append)[1]
    np.testing.assert_array_equal(x, np.column_stack([SCORE, X[:, :2]]))
    assert "the 3 columns score, a, b" in said[0]
    about = {"pandas": json.dumps({"index_columns": ["when"]})}
    table = arrow.table({"id": NAMES, "a": X[:, 0], "when": SCORE}, metadata=about)
    parquet.write_table(table, path)
    np.testing.assert_array_equal(read_embeddings(path)[1], X[:, :1])


def test_a_matrix_of_one_row_each_is_read_from_arrays_too(tmp_path):
    np.savez(tmp_path / "a.npz", id=NAMES, x=X[:, None], turned=X[0])
    np.savez_compressed(tmp_path / "b.npz", id=NAMES, x=X[:, None])
    np.save(tmp_path / "c.npy", X[:, None])
    np.save(tmp_path / "c.id.npy", NAMES)
    save_file({"id": np.arange(N), "x": X[:, None].copy()}, tmp_path / "d.safetensors")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["id"], file["x"] = np.arange(N), X[:, None]
    for name in ("a.npz", "b.npz", "c.npy", "d.safetensors", "e.h5"):
        np.testing.assert_array_equal(read_embeddings(tmp_path / name)[1], X)
    np.savez(tmp_path / "f.npz", id=NAMES, bbox=X, embedding=np.zeros((N, 2, D)))
    with pytest.raises(ValueError, match=r"float64\(6, 2, 4\); expected a matrix"):
        read_embeddings(tmp_path / "f.npz")


# What is said of charts that say nothing


def charts(folder, x):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(len(x), 3))
    np.savez(folder / "p.npz", id=np.arange(len(x)), x=rows)
    np.savez(folder / "q.npz", id=np.arange(len(x)), x=x)
    return [folder / "p.npz", folder / "q.npz"]


FEW = {"anchors": "shared:5", "batch_size": 8}


def test_similarities_that_hardly_vary_are_warned_of(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4))
    x[:, 0] = 1.7e9 + np.arange(20)
    files, said = charts(tmp_path, x), [[], [], []]
    atlas = merge_files(files, say=said[0].append, **FEW)
    one = merge_files(files[:1], **FEW)
    add_file(one, files[1], batch_size=8, say=said[1].append)
    project_file(atlas.recipe, files[1], chart="q", batch_size=8, say=said[2].append)
    for texts in said:
        found = [text for text in texts if "hardly vary over its samples" in text]
        assert len(found) == 1
        assert found[0].startswith(f"warning: {files[1]}: its cosine similarities")
    x[:, 0] = 1  # of real encoders, whose cosines are narrow, it is not said
    x[:, 1:] *= 0.1
    texts = []
    merge_files(charts(tmp_path, x), say=texts.append, **FEW)
    assert not any("hardly" in text for text in texts)


def test_one_number_a_sample_is_warned_of(tmp_path):
    texts = []
    merge_files(charts(tmp_path, np.ones((20, 1))), say=texts.append, **FEW)
    assert any("every cosine is 1 or -1" in text for text in texts)


def test_what_float32_hides_is_said_or_centered_in_float64(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) @ np.diag([1.0, 2.0, 0.5, 1.0])
    files, texts = charts(tmp_path, x + 1e7), []
    merge_files(files, say=texts.append, **FEW)
    assert any(
        "4 of its 4 features vary by less than float32" in text for text in texts
    )
    texts.clear()
    few = FEW | {"whiten": True}
    far = merge_files(files, say=texts.append, **few)
    assert not any("vary" in text for text in texts)
    near = merge_files(charts(tmp_path, x), **few)
    np.testing.assert_allclose(far.merged, near.merged, atol=2e-5)
    project = partial(project_file, chart="q", batch_size=8, say=texts.append)
    plain = project(near.recipe, files[1])
    again = project(far.recipe, charts(tmp_path, x + 1e7)[1])
    np.testing.assert_allclose(again.merged, plain.merged, atol=2e-5)
    assert not any("vary" in text for text in texts)


# One encoder counts once


def test_the_same_encoder_joins_once_whatever_its_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    files = charts(tmp_path, x)
    half = tmp_path / "half.npz"
    np.savez(half, id=np.arange(20), x=x.astype(np.float16))
    table = arrow.table({"id": np.arange(20)[::-1], "x": lists(x[::-1])})
    parquet.write_table(table, tmp_path / "more.parquet")
    atlas = merge_files(files, **FEW)
    for copy in (half, tmp_path / "more.parquet"):
        with pytest.raises(ValueError, match=r"are those of .*q\.npz: both are of one"):
            merge_files([*files, copy], **FEW)
        with pytest.raises(ValueError, match="are those of chart 1 of the atlas, 'q'"):
            add_file(atlas, copy)
        with pytest.raises(ValueError, match="of the same encoder"):
            project_file(atlas.recipe, copy, chart=None)
    # Two encoders of one width whose means lie far from zero are two.
    near = tmp_path / "near.npz"
    np.savez(near, id=np.arange(20), x=x[::-1] + 1e3)
    np.savez(tmp_path / "far.npz", id=np.arange(20), x=x + 1e3)
    assert len(merge_files([near, tmp_path / "far.npz"], **FEW).recipe.charts) == 2


# Shrinkage


def test_shrinkage_is_that_of_numpy_and_of_charts_that_join_later(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 4)) @ np.diag([1.0, 5, 0.2, 2])
    files = charts(tmp_path, x)
    few = FEW | {"whiten": True, "shrinkage": 0.4}
    atlas = merge_files(files, **few)
    covariance = np.cov(x.T, bias=True)
    target = np.trace(covariance) / 4 * np.eye(4)
    values, vectors = np.linalg.eigh(0.6 * covariance + 0.4 * target)
    root = vectors / np.sqrt(values) @ vectors.T
    np.testing.assert_allclose(atlas.recipe.transforms[1].scale, root, rtol=1e-4)
    grown = add_file(merge_files(files[:1], **few), files[1], batch_size=8)
    assert grown.recipe.shrinkage == 0.4
    anchors = [atlas.ids.tolist().index(name) for name in grown.recipe.anchor_ids]
    assert anchors
    np.testing.assert_allclose(grown.recipe.transforms[1].scale, root, rtol=1e-4)


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, float("nan"), "much"])
def test_a_shrinkage_that_cannot_be_is_refused(tmp_path, unchecked, shrinkage):
    files = charts(tmp_path, np.eye(20))
    with pytest.raises(ValueError, match="must be a number from 0 to 1, got"):
        merge_files(files, whiten=True, shrinkage=shrinkage, **FEW)
    with pytest.raises(ValueError, match=r"give whiten=True|from 0 to 1"):
        merge_files(files, shrinkage=0.3, **FEW)
