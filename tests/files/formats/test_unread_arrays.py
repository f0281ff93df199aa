"""Arrays that hold vectors in a form that is not read: a question, and no score."""

import base64
import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from jatlas.files.readers import read_embeddings

N, D = 6, 4
IDS = [f"s{n}" for n in range(N)]
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
BESIDE = {"score": X[:, :1], "xy": X[:, :2]}
JSON = [json.dumps(row.tolist()) for row in X]
COMPOUND = np.zeros(N, [("x", "f4"), ("y", "f4")])
FIELD = np.zeros(N, [("label", "S4"), ("v", "f4", (D,))])
RAW = np.array([np.void(row.tobytes()) for row in X])
CODED = np.array([base64.b64encode(row.tobytes()).decode() for row in X])


def of_any_length(file, name):
    data = file.create_dataset(name, (N,), h5py.vlen_dtype(np.float32))
    for n in range(N):
        data[n] = X[n]


def of_array_type(file, name):
    file.create_dataset(name, (N,), np.dtype(("f4", (D,))))[:] = X


def put(value):
    return lambda file, name: file.create_dataset(name, data=value)


def link(value):
    return lambda file, name: file.__setitem__(name, value)


def one_each(pattern, names):
    def fill(file, name):
        for n, sample in enumerate(names):
            file[pattern.format(name=name, sample=sample)] = X[n]

    return fill


HDF5 = {
    "any length": (of_any_length, "'emb' is float32 of any length"),
    "compound": (put(COMPOUND), r"'emb' is \[\('x', '<f4'\), \('y'"),
    "compound of a vector": (put(FIELD), r"'emb' is \[\('label', 'S4'\), \('v'"),
    "array type": (of_array_type, r"'emb' is float32\(4,\) a value"),
    "text": (put(JSON), "'emb' is text of numbers"),
    "text after nothing": (put(["", *JSON[1:]]), "'emb' is text of numbers"),
    "text of one width": (put(np.array(JSON, "S")), "'emb' is text of numbers"),
    "bytes": (put(RAW), r"'emb' is bytes \(.V16"),
    "link": (link(h5py.SoftLink("/raw/emb")), "'emb' is a link to '/raw/emb', which"),
    "link to a file": (link(h5py.ExternalLink("b.h5", "x")), "another file, 'b.h5'"),
    "named after samples": (one_each("{name}/{sample}", IDS), r"'emb/\*' is 6 arrays"),
    "counted samples": (one_each("{name}/{sample}", range(N)), r"'emb/\*' is 6 arrays"),
    "groups": (one_each("{sample}/{name}", IDS), r"'\*/emb' is 6 arrays, one a sample"),
    "at the top": (one_each("{sample}", IDS), r"'\*' is 6 arrays, one a sample"),
    "features": (
        lambda file, name: [put(X[:, d])(file, f"{name}_{d}") for d in range(D)],
        r"'emb_\*' is 4 arrays, one number a sample",
    ),
}  # fmt: skip


def hdf5(path, fill, name="emb", **more):
    with h5py.File(path, "w") as file:
        file["id"] = IDS
        for key, value in more.items():
            file[key] = value
        fill(file, name)
    return path


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize(("fill", "message"), HDF5.values(), ids=HDF5)
def test_nothing_takes_the_place_of_what_hdf5_holds(tmp_path, fill, message, beside):
    path = hdf5(tmp_path / "a.h5", fill, **{beside: BESIDE[beside]})
    with pytest.raises(ValueError, match=f"which of .*'{beside}'.*{message}") as caught:
        read_embeddings(path)
    assert "could be the embeddings, and is not read" in str(caught.value)
    x = read_embeddings(path, embeddings=beside)[1]
    np.testing.assert_array_equal(x, BESIDE[beside])
    with h5py.File(path, "a") as file:
        file["embedding"] = X
    np.testing.assert_array_equal(read_embeddings(path)[1], X)


@pytest.mark.parametrize("form", ["any length", "text", "link"])
def test_what_is_asked_for_or_has_a_usual_name_is_refused_by_its_type(tmp_path, form):
    fill, message = HDF5[form]
    path = hdf5(tmp_path / "a.h5", fill, xy=X[:, :2])
    with pytest.raises(ValueError, match=message):
        read_embeddings(path, embeddings="emb")
    path = hdf5(tmp_path / "a.h5", fill, "embeddings", merged=X[:, :2])
    with pytest.raises(ValueError, match=message.replace("'emb'", "'embeddings'")):
        read_embeddings(path)


def images(file, name):
    file.create_dataset(name, (N,), h5py.vlen_dtype(np.uint8))


def tags(file, name):
    data = file.create_dataset(name, (N,), h5py.vlen_dtype(h5py.string_dtype()))
    for n in range(N):
        data[n] = np.array(["owl", "kea"], object)


def columns(file, name):
    file[f"{name}/age"], file[f"{name}/width"] = np.ones(N), np.ones(N)
    file["bins/edges"], file["bins/counts"] = np.ones(11), np.ones(10)
    file["alias"], file[f"{name}/alias"] = h5py.SoftLink("xy"), h5py.SoftLink("../xy")


PLAIN = {
    "titles": put(["2 owls, 1 kea. 3.5 more"] * N),
    "metadata": put(['{"source": "web", "page": 3}'] * N),
    "dates": put(np.array([b"2024-01-02, 10:30"] * N)),
    "hashes": put(np.array([np.void(np.random.default_rng(3).bytes(32))] * N)),
    "table": put(np.zeros(N, [("name", "S4"), ("age", "f4"), ("page", "i8")])),
    "mean": put(np.zeros((D,), [("x", "f4"), ("y", "f4")])),
    "nothing": put([""] * N),
    "images": images,
    "tags": tags,
    "columns": columns,
}


@pytest.mark.parametrize("fill", PLAIN.values(), ids=PLAIN)
def test_what_stands_beside_a_matrix_every_day_is_no_question(tmp_path, fill):
    path = hdf5(tmp_path / "a.h5", fill, xy=X[:, :2])
    np.testing.assert_array_equal(read_embeddings(path)[1], X[:, :2])


def test_a_table_in_obsm_is_a_question_and_what_lies_elsewhere_is_none(tmp_path):
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file["obs/_index"], file["obsm/X_pca"] = IDS, X
        file["obs/note"], file["uns/genes"] = JSON, COMPOUND
        for k in range(3):
            file[f"obs/score_{k}"] = X[:, k]
    np.testing.assert_array_equal(read_embeddings(path)[1], X)
    with h5py.File(path, "a") as file:
        file["obsm/protein/CD3"] = file["obsm/protein/CD4"] = X[:, 0]
    with pytest.raises(ValueError, match="'obsm/protein' is a group of arrays"):
        read_embeddings(path)
    np.testing.assert_array_equal(read_embeddings(path, embeddings="X_pca")[1], X)


NPZ = {
    "structured": (COMPOUND, r"'emb' is \[\('x', '<f4'\), \('y'"),
    "field": (FIELD, r"'emb' is \[\('label', 'S4'\), \('v'"),
    "text": (np.array(["", *JSON[1:]]), "'emb' is text of numbers"),
    "coded": (CODED, "'emb' is text of numbers"),
    "bytes": (RAW, r"'emb' is bytes \(.V16\)"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("emb", "message"), NPZ.values(), ids=NPZ)
def test_nothing_takes_the_place_of_what_npz_holds(tmp_path, save, emb, message):
    save(tmp_path / "a.npz", id=IDS, xy=X[:, :2], emb=emb)
    with pytest.raises(ValueError, match=rf"which of \['xy', 'emb'\].*{message}"):
        read_embeddings(tmp_path / "a.npz")
    x = read_embeddings(tmp_path / "a.npz", embeddings="xy")[1]
    np.testing.assert_array_equal(x, X[:, :2])
    with pytest.raises(ValueError, match=message):
        read_embeddings(tmp_path / "a.npz", embeddings="emb")
    plain = {"title": np.array(["2 owls, 1 kea. 3.5 more"] * N), "mean": emb[:4]}
    save(tmp_path / "a.npz", id=IDS, xy=X[:, :2], score=X[:, 0], **plain)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "a.npz")[1], X[:, :2])


def one_a_sample(names):
    return {name: X[n].copy() for n, name in enumerate(names)}


EACH = {
    "samples": (one_a_sample([f"emb/{n}" for n in range(N)]), r"'emb/\*' is 6 arrays"),
    "ids": (one_a_sample(map(str, range(N))), r"'\*' is 6 arrays, one a sample"),
    "features": (
        {f"d{k}": X[:, k].copy() for k in range(D)},
        r"'d\*' is 4 arrays, one",
    ),
}


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
@pytest.mark.parametrize(("arrays", "message"), EACH.values(), ids=EACH)
def test_an_array_a_sample_or_a_feature_is_a_question(tmp_path, name, arrays, message):
    arrays = {"id": np.arange(N), "xy": X[:, :2].copy()} | arrays
    if name == "a.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        save_file(arrays, tmp_path / name)
    with pytest.raises(ValueError, match=rf"which of \['xy', .*{message}"):
        read_embeddings(tmp_path / name)
    x = read_embeddings(tmp_path / name, embeddings="xy")[1]
    np.testing.assert_array_equal(x, X[:, :2])
