"""Files and calls that people reported: the right values, or an error that says why."""

import io
import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import jax
import ml_dtypes
import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file

import jatlas
from jatlas.cli import interrupts
from jatlas.cli.commands import main
from jatlas.files import (
    Reading,
    add_file,
    evaluate_files,
    merge_files,
    merge_to_folder,
    nearest_samples,
    project_file,
    quality,
    translate_file,
)
from jatlas.files.comparison.comparing import compare_files
from jatlas.files.formats.array_files import read_ids
from jatlas.files.formats.columns import ipc_buffers, parquet_pages
from jatlas.files.formats.columns.keep import read_beside
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.names import given_ids, near_ids
from jatlas.files.readers import open_embeddings, read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.storage import load, load_recipe, save
from jatlas.merging.assembly import assemble

ROOT = Path(__file__).parents[2]
N, D = 6, 4
NAMES = np.array([f"s{n}" for n in range(N)])
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def atlas(**changes):
    recipe = Recipe(np.array([7]), (np.ones((1, 3), np.float32),), charts=("birds",))
    rows = np.array([[1.0], [0.3]], np.float32), np.array([1, 1]), np.full(2, np.nan)
    return AtlasFile(np.array([7, 8]), *rows, recipe)._replace(**changes)


# Save and load


@pytest.mark.parametrize("end", [".safetensors", ".parquet", ".PARQUET"])
def test_one_save_and_one_load_by_suffix(tmp_path, end):
    written = save(tmp_path / f"x{end}", atlas())
    assert written[-1] == tmp_path / f"x{end}"
    for path in (tmp_path / f"x{end}", str(tmp_path / f"x{end}")):
        again = load(path)
        np.testing.assert_array_equal(again.merged, atlas().merged)
        assert load_recipe(path).charts == ("birds",)
    for path in written:
        assert load_recipe(path).charts == ("birds",)


def test_other_suffixes_are_no_atlas(tmp_path):
    with pytest.raises(ValueError, match=r"x\.npz must end in \.parquet or \.safetens"):
        save(tmp_path / "x.npz", atlas())
    (tmp_path / "x.npz").write_bytes(b"1")
    for read in (load, load_recipe):
        with pytest.raises(
            ValueError, match=r"x\.npz: an atlas is in a file that ends"
        ):
            read(tmp_path / "x.npz")


RUNNING = jatlas.running.atlas.empty(3, 2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (RUNNING, r"expected a jatlas.AtlasFile, got a .*AtlasState.*running.atlas.va"),
        (X, r"expected a jatlas.AtlasFile, got a numpy.ndarray.*merge_files"),
        (None, "got a builtins.NoneType"),
        (atlas(recipe=None), "expected a jatlas.files.Recipe"),
        (atlas(ids=[7, 8]), "ids must be a vector .* got list"),
        (atlas(count=[1, 1]), "count must be an array, got a builtins.list"),
        (
            atlas(recipe=atlas().recipe._replace(anchors=None)),
            "anchors must be a tuple",
        ),
        (
            atlas(recipe=atlas().recipe._replace(nystroem=X)),
            "nystroem must be a jatlas",
        ),
    ],
)
@pytest.mark.parametrize("end", [".safetensors", ".parquet"])
def test_what_is_no_atlas_file_is_not_saved(tmp_path, wrong, message, end):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / f"x{end}", wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["ids", "merged", "count", "disagreement"])
def test_masked_arrays_are_not_saved(tmp_path, name):
    masked = np.ma.masked_array(getattr(atlas(), name), mask=False)
    with pytest.raises(ValueError, match="a masked array, with 0 masked values"):
        save(tmp_path / "x.safetensors", atlas(**{name: masked}))
    anchors = (np.ma.masked_greater(np.ones((1, 3)), 0),)
    with pytest.raises(ValueError, match=r"anchors of chart 0: a masked.* 3 masked"):
        save(
            tmp_path / "x.parquet",
            atlas(recipe=atlas().recipe._replace(anchors=anchors)),
        )


@pytest.mark.parametrize("end", [".safetensors", ".parquet"])
def test_an_atlas_in_the_other_order_of_bytes_is_saved_and_loaded(tmp_path, end):
    plain = atlas()
    turned = AtlasFile(
        *(x.astype(x.dtype.newbyteorder(">")) for x in plain[:4]), plain.recipe
    )
    save(tmp_path / f"x{end}", turned)
    for ours, theirs in zip(load(tmp_path / f"x{end}")[:4], plain[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_recipes_share_nothing_that_can_be_changed():
    assert Recipe._field_defaults["versions"] is None


# Ids


def long_ids(long):
    return [f"s{n}" for n in range(3999)] + ["y" * long]


def write_parquet(path, ids):
    x = arrow.FixedSizeListArray.from_arrays(np.ones(len(ids), np.float32), 1)
    parquet.write_table(arrow.table({"id": ids, "x": x}), path)


def write_hdf5(path, ids):
    with h5py.File(path, "w") as file:
        file["id"], file["x"] = ids, np.ones((len(ids), 1), np.float32)


def write_text(path, ids):
    np.save(path, np.ones((len(ids), 1), np.float32))
    path.with_suffix(".id.txt").write_text("\n".join(ids))


def write_compressed(path, ids):
    np.savez_compressed(path, id=np.array(ids), x=np.ones((len(ids), 1), np.float32))


WRITERS = {"a.parquet": write_parquet, "a.h5": write_hdf5, "a.npy": write_text}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_one_long_id_does_not_fill_the_memory(tmp_path, name, write):
    write(tmp_path / name, long_ids(50_000))
    tracemalloc.start()
    message = r"id in row 3999 has 50,000 characters \('yyy.*800,000,000 bytes"
    with pytest.raises(ValueError, match=message):
        open_embeddings(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    write(tmp_path / name, long_ids(2_000))  # that many can be had
    assert open_embeddings(tmp_path / name).ids[-1] == "y" * 2_000


SHORT = np.array([f"s{n}" for n in range(4000)])
LONG = np.array([*SHORT[:39], "x" * 50_000])
REFUSED = r"long.npz: the id in row 39 has 50,000 characters \('xxx.*800,200,000 bytes"


@contextmanager
def within_memory(most=2**27):
    """What is done inside takes less; an array of all ids took 800 MB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.fixture
def short_and_long(tmp_path):
    """A file of many short ids, and two of a few ids, one of them long."""
    draw = np.random.default_rng(0).normal
    files = {"short": SHORT, "long": LONG, "other": LONG, "brief": SHORT}
    for name, ids in files.items():
        x = draw(size=(ids.size, 4)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", id=ids, x=x, title=np.arange(ids.size))
    (tmp_path / "anchors.txt").write_text("\n".join(SHORT[:8]))
    return tmp_path


def merged(folder, *names):
    files = [folder / f"{name}.npz" for name in names]
    return merge_files(files, anchors=str(folder / "anchors.txt"))


def test_one_long_id_in_another_file_does_not_fill_the_memory(short_and_long):
    short, long = (short_and_long / f"{name}.npz" for name in ("short", "long"))
    atlas = merged(short_and_long, "short", "brief")
    calls = [
        lambda: merge_files([short, long]),
        lambda: merge_files([long, short], coordinates="consensus"),
        lambda: merge_to_folder(short_and_long / "atlas", [short, long]),
        lambda: evaluate_files([short, long]),
        lambda: translate_file(long, to=short),
        lambda: translate_file(short, to=long),
        lambda: add_file(atlas, long),
    ]
    for call in calls:
        with within_memory(), pytest.raises(ValueError, match=REFUSED) as caught:
            call()
        assert len(str(caught.value)) < 600


def test_one_long_id_is_looked_for_among_short_ones(short_and_long):
    folder = short_and_long
    short, long = folder / "short.npz", folder / "long.npz"
    atlas = merged(folder, "short", "brief")
    recipe = merged(folder, "long", "other").recipe
    with within_memory():
        linear = {"measures": ["cka-linear"], "permutations": 1}
        assert compare_files([short, long], **linear).common == 39
        assert project_file(recipe, short, chart=None).ids.tolist() == SHORT.tolist()
        assert project_file(atlas.recipe, long, chart=None).ids[-1] == "x" * 50_000
        titles = read_beside([short], LONG, ["title"]).columns["title"].to_pylist()
        assert titles == [*range(39), None]
        titles = read_beside([long], SHORT, ["title"]).columns["title"].to_pylist()
        assert titles == [*range(39), *[None] * 3961]
        with pytest.raises(ValueError, match=r"no sample 'x*\.{3}x*' in") as caught:
            nearest_samples(atlas, "x" * 50_000)
        assert len(str(caught.value)) < 200
        (folder / "anchors.txt").write_text("\n".join(LONG))
        with pytest.raises(ValueError, match="1 anchors are not in") as caught:
            merged(folder, "short", "brief")
        assert len(str(caught.value)) < 400


def test_one_long_id_in_a_part_does_not_fill_the_memory(tmp_path):
    np.savez(tmp_path / "1.npz", id=SHORT, x=np.ones((4000, 2)))
    np.savez(tmp_path / "2.npz", id=LONG[39:], x=np.ones((1, 2)))
    message = r"the id in row 0 of .*2.npz has 50,000 characters \('xx.*800,200,000"
    with within_memory(2**25), pytest.raises(ValueError, match=message):
        read_embeddings(tmp_path)


def test_long_ids_are_cut_in_messages(tmp_path):
    ids = np.array([f"{n}/" + "x" * 3000 + f"/{n}" for n in range(12)])
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    np.savez(tmp_path / "b.npz", id=ids[::-1], x=x)
    np.savez(tmp_path / "twice.npz", id=ids.repeat(2), x=np.ones((24, 3)))
    np.savez(tmp_path / "nan.npz", id=ids, x=np.full((12, 3), np.nan))
    np.savez(tmp_path / "far.npz", id=np.char.add(ids, "?"), x=x)
    table = arrow.table({"id": ids, "x": [[1.0, None]] * 12})
    parquet.write_table(table, tmp_path / "null.parquet")
    calls = [
        lambda: read_embeddings(tmp_path / "twice.npz"),
        lambda: read_embeddings(tmp_path / "nan.npz"),
        lambda: read_embeddings(tmp_path / "null.parquet"),
        lambda: read_embeddings(tmp_path / "b.npz", reading=Reading("integers")),
        lambda: compare_files([tmp_path / "b.npz", tmp_path / "far.npz"]),
        lambda: merge_files([tmp_path / "b.npz", tmp_path / "far.npz"]),
        lambda: assemble([(ids.repeat(2), np.ones((24, 3)))]),
        lambda: assemble([(ids, np.full((12, 3), np.nan))]),
        lambda: jatlas.anchor_rows(assemble([(ids, x)]), np.char.add(ids, "?")),
        lambda: jatlas.anchor_rows(assemble([(ids, x)]), ids.repeat(2)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"x\.\.\.x") as caught:
            call()
        assert len(str(caught.value)) < 1500
    assert max(map(len, near_ids(ids, np.char.add(ids, " ")))) < 500


def test_samples_may_come_in_a_list(tmp_path):
    np.savez(tmp_path / "text.npz", id=["a", "b"], x=np.eye(2), title=[1, 2])
    np.savez(tmp_path / "whole.npz", id=[7, 8], x=np.eye(2), title=[1, 2])
    text, whole = [tmp_path / "text.npz"], [tmp_path / "whole.npz"]
    for files, samples in (
        (text, ["b", "a"]),
        (text, ("b", "a")),
        (text, np.array(["b", "a"])),
        (whole, [8, 7]),
        (whole, range(8, 6, -1)),
        (whole, jax.numpy.array([8, 7])),
    ):
        columns = read_beside(files, samples, ["title"]).columns
        assert columns["title"].to_pylist() == [2, 1]
    for bad in ([1, "1"], [1.5], [["a"]], "ab", b"ab", {"a"}, None, np.eye(2)):
        with pytest.raises(ValueError, match="samples must be a vector of integers or"):
            given_ids("samples", bad)
    with pytest.raises(ValueError, match=r"the atlas are integers, those of .* text"):
        read_beside(text, [1, 2], ["title"])


@pytest.mark.usefixtures("unchecked")
def test_ids_of_another_form_are_refused_in_words(tmp_path):
    np.savez(tmp_path / "a.npz", id=NAMES, x=X)
    np.savez(tmp_path / "b.npz", id=NAMES, x=X[:, ::-1])
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for anchors in (list(NAMES), NAMES, 3):
        with pytest.raises(ValueError, match=r"anchors must be .*np\.save"):
            merge_files(files, anchors=anchors)
    (tmp_path / "anchors.txt").write_text("\n".join(NAMES))
    atlas = merge_files(files, anchors=tmp_path / "anchors.txt")
    assert atlas.recipe.anchor_ids.tolist() == NAMES.tolist()
    for sample in (["s1", "s2"], NAMES):
        with pytest.raises(ValueError, match="must be the id of one sample, got"):
            nearest_samples(atlas, sample)
    whole = atlas._replace(ids=np.arange(N))
    with pytest.raises(ValueError, match="there is no sample None in the atlas"):
        nearest_samples(whole, None)


@pytest.mark.slow
def test_one_long_id_does_not_fill_the_memory_from_what_is_packed(tmp_path):
    write_compressed(tmp_path / "a.npz", long_ids(50_000))
    with pytest.raises(ValueError, match=r"id.npy would take 800,000,000 bytes, and"):
        open_embeddings(tmp_path / "a.npz")


def test_only_ends_of_lines_end_an_id(tmp_path):
    ids = ["a\x0bb", "c\x0cd", "e\x1cf", "g\x85h", "i\u2028j", "k\u2029l", "m\x1e"]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "ids.txt").write_bytes(end.join([*ids, ""]).encode())
        assert read_ids(tmp_path / "ids.txt").tolist() == ids


# Dtypes


def test_the_other_order_of_bytes_is_native_at_the_border(tmp_path):
    ids = np.char.add("größe ", np.arange(N).astype(str)).astype(">U9")
    np.save(tmp_path / "a.npy", X.astype(">f4"))
    np.save(tmp_path / "a.id.npy", ids)
    np.savez(tmp_path / "b.npz", id=ids, x=X.astype(">f8"))
    np.savez_compressed(
        tmp_path / "c.npz", id=np.arange(N, dtype=">i4"), x=X.astype(">f2")
    )
    np.savez(tmp_path / "d.npz", id=ids, x=np.asfortranarray(X.astype(">f4")))
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["id"], file["x"] = np.arange(N, dtype=">i8"), X.astype(">f4")
    for name in ("a.npy", "b.npz", "c.npz", "d.npz", "e.h5"):
        source = open_embeddings(tmp_path / name)
        assert source.rows.dtype.isnative
        found, x = read_embeddings(tmp_path / name)
        assert x.dtype.isnative
        assert found.dtype.isnative
        np.testing.assert_allclose(x, X, rtol=1e-3)
        assert all(part.dtype.isnative for part in source.rows.batches(2))
    pairs = [read_embeddings(tmp_path / name) for name in ("a.npy", "b.npz", "d.npz")]
    assert assemble(pairs).embeddings.shape == (3, N, D)


def safetensors(path, **arrays):
    """A file with arrays of dtypes, (name, shape, bytes), that NumPy may not know."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in arrays.items():
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": place}
        data += raw
    text = jatlas.files.formats.atlas_tensors.json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_a_tensor_that_nobody_asks_for_can_be_of_any_dtype(tmp_path):
    path = tmp_path / "a.safetensors"
    ids = ("I64", [N], np.arange(N).tobytes())
    x, scale = ("F32", [N, D], X.tobytes()), ("F8_E4M3", [2], b"\x00\x01")
    safetensors(path, id=ids, x=x, scale=scale, z=("C64", [1], bytes(8)))
    for name in (None, "x"):
        np.testing.assert_array_equal(read_embeddings(path, embeddings=name)[1], X)
    with pytest.raises(
        ValueError, match="scale is F8_E4M3, which is not read here; kn"
    ):
        read_embeddings(path, embeddings="scale")
    safetensors(path, id=ids, x=x, y=("F8_E5M2", [N, 2], bytes(2 * N)))
    with pytest.raises(ValueError, match=r"which of \['x', 'y'\] are the embeddings"):
        read_embeddings(path)


def test_an_archive_with_other_things_in_it_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", id=NAMES, x=X)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "made by hand")
    np.testing.assert_array_equal(read_embeddings(tmp_path / "a.npz")[1], X)


def test_bfloat16_that_lost_its_name_is_recognized(tmp_path):
    x = X.astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "a.id.npy", NAMES)
    np.savez(tmp_path / "b.npz", id=NAMES, x=x)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["id"], file["x"] = np.arange(N), x.view("V2")
    for name in ("a.npy", "b.npz", "c.h5"):
        with pytest.raises(
            ValueError, match=r"most likely bfloat16.*astype\(np.float32"
        ):
            read_embeddings(tmp_path / name)
    save_file({"id": np.arange(N), "x": x}, tmp_path / "d.safetensors")
    np.testing.assert_array_equal(read_embeddings(tmp_path / "d.safetensors")[1], x)


def linear_cka(x, y):
    x, y = (a - a.mean(axis=0) for a in (x, y))
    norms = [np.linalg.norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))]
    return norms[0] ** 2 / (norms[1] * norms[2])


def test_a_large_mean_does_not_hide_what_varies(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = np.tanh(x @ rng.normal(size=(3, 4)))
    np.savez(tmp_path / "x.npz", id=np.arange(40), x=x + 1e7)
    np.savez(tmp_path / "y.npz", id=np.arange(40), x=y)
    few = {"permutations": 3, "measures": ["cka-linear", "self-similarity"]}
    comparison = compare_files([tmp_path / "x.npz", tmp_path / "y.npz"], **few)
    assert comparison.likenesses[0].value == pytest.approx(linear_cka(x, y), abs=1e-5)
    (reason,) = comparison.reasons
    assert reason.startswith("self-similarity: not to be trusted, for 3 of the 3 featu")


def near_by_cosine(x, k):
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -9)
    return cosines, np.argsort(-cosines, axis=1)[:, :k]


@pytest.mark.parametrize(
    ("offset", "dtype"),
    [(10, "f8"), (1e3, "f8"), (1e3, "f4"), (1e4, "f8"), (1e6, "f8")],
)
def test_cosines_beside_a_large_mean_are_those_of_float64(tmp_path, offset, dtype):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 8))
    x = hidden @ rng.normal(size=(8, 16)) + offset
    y = hidden @ rng.normal(size=(8, 12)) + 0.1 * rng.normal(size=(200, 12)) - offset
    paths = [tmp_path / "x.npz", tmp_path / "y.npz"]
    x, y = x.astype(dtype), y.astype(dtype)
    for path, rows in zip(paths, (x, y), strict=True):
        np.savez(path, id=np.arange(200), x=rows)
    x, y = np.float64(x), np.float64(y)
    usual = {"permutations": 1, "neighbors": 5, "bootstrap": 2}
    names = ["neighbors", "self-similarity", "rank-biased"]
    compared = compare_files(paths, measures=names, **usual)
    assert compared.reasons == ()
    got = {one.measure: one.value for one in compared.likenesses}
    (a, near_a), (b, near_b) = near_by_cosine(x, 5), near_by_cosine(y, 5)
    shared = [len(set(i) & set(j)) / 5 for i, j in zip(near_a, near_b, strict=True)]
    assert got["neighbors"] == pytest.approx(np.mean(shared), abs=2e-3)
    for matrix in (a, b):
        np.fill_diagonal(matrix, 1)
    alike = [np.corrcoef(i, j)[0, 1] for i, j in zip(a, b, strict=True)]
    assert got["self-similarity"] == pytest.approx(np.mean(alike), abs=1e-4)
    assert 0.2 < got["rank-biased"] < 0.6
    said = []
    done = translate_file(paths[0], to=paths[1], method="ridge", say=said.append)
    assert done.scores[0].mean_reciprocal_rank[1, 0] > 0.95
    warned = any("cosines between its rows differ by less" in text for text in said)
    assert warned == (offset > 10 and dtype == "f8")


# What a file promises


def promising(path, promise, *, stored=False):
    """Parquet whose first page says that it has so many bytes, unpacked or stored."""
    x = arrow.FixedSizeListArray.from_arrays(np.ones(500, np.float32), 5)
    table = arrow.table({"id": np.arange(100), "x": x})
    parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    with path.open("rb") as stream:
        first = next(parquet_pages.chunks(stream, {"x"}))  # the last before the footer
    data = path.read_bytes()
    header = parquet_pages._Compact(data[first.start : first.start + 99])
    header.take(1), header.signed(), header.take(1)
    if stored:
        header.signed(), header.take(1)
    begin, value = first.start + header.place, header.signed()
    end = first.start + header.place
    assert value > 0
    path.write_bytes(data[:begin] + varint(2 * promise) + data[end:])


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_pages_are_walked_to_their_end(tmp_path):
    x = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    rows = arrow.FixedSizeListArray.from_arrays(x.ravel(), 8)
    table = arrow.table({"id": np.arange(5000), "x": rows, "a.b": np.arange(5000.0)})
    path = tmp_path / "a.parquet"
    for version in ("1.0", "2.0"):
        parquet.write_table(
            table, path, data_page_version=version, data_page_size=4096,
            row_group_size=1700,
        )  # fmt: skip
        with path.open("rb") as stream:
            chunks = list(parquet_pages.chunks(stream, {"x"}))
            pages = [
                p for _, *place in chunks for p in parquet_pages.pages(stream, *place)
            ]
        metadata = parquet.ParquetFile(path).metadata
        assert len(chunks) == metadata.num_row_groups == 3
        for k, chunk in enumerate(chunks):
            theirs = metadata.row_group(k).column(1)
            assert chunk.end - chunk.start == theirs.total_compressed_size
            offsets = (theirs.dictionary_page_offset, theirs.data_page_offset)
            assert chunk.start == min(offset for offset in offsets if offset)
        assert len(pages) > 10
        total = sum(unpacked for unpacked, _ in pages)
        assert x.nbytes < total < 3 * x.nbytes
        parquet_pages.check_pages(path, ["id", "x", "a.b"])


def test_a_page_that_promises_gigabytes_is_refused_before_they_are_taken(tmp_path):
    path = tmp_path / "a.parquet"
    promising(path, 1_800_000_000)
    peak = arrow.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=r"a page of 'x.*1,800,000,000 bytes, and"):
        read_embeddings(path)
    assert arrow.default_memory_pool().max_memory() < max(peak, 2**27)


@pytest.mark.parametrize("stored", [2_000_000_000, 2**40])
def test_a_page_longer_than_its_column_is_refused(tmp_path, stored):
    path = tmp_path / "a.parquet"
    promising(path, stored, stored=True)
    peak = arrow.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=f"a page claims {stored} bytes, more than"):
        read_embeddings(path)
    assert arrow.default_memory_pool().max_memory() < max(peak, 2**24)


@pytest.fixture(params=["lz4", "zstd"])
def packed_file(request, tmp_path):
    """A Feather file in two batches, whose buffers are packed."""
    x = np.zeros((5000, 8), np.float32)
    rows = arrow.FixedSizeListArray.from_arrays(x.ravel(), 8)
    table = arrow.table({"id": np.arange(5000), "x": rows})
    path = tmp_path / "a.feather"
    pyarrow.feather.write_feather(
        table, path, compression=request.param, chunksize=3000
    )
    return path


def test_sizes_of_packed_buffers_are_those_that_arrow_unpacks(packed_file):
    with packed_file.open("rb") as stream:
        size = packed_file.stat().st_size
        sizes = [
            ipc_buffers.promised(stream, message, size)
            for message in ipc_buffers.messages(stream, size)
        ]
    reader = pyarrow.ipc.open_file(packed_file)
    batches = [reader.get_batch(k) for k in range(reader.num_record_batches)]
    assert len(sizes) == len(batches) == 2
    for (unpacked, stored), batch in zip(sizes, batches, strict=True):
        assert unpacked == batch.num_rows * (8 + 8 * 4)
        assert 0 < stored < unpacked / 2
    read, x = read_embeddings(packed_file)
    assert read.tolist() == list(range(5000))
    np.testing.assert_array_equal(x, np.zeros((5000, 8), np.float32))


def test_a_buffer_that_promises_gigabytes_is_refused_before_they_are_taken(packed_file):
    data, claim = packed_file.read_bytes(), (3000 * 8 * 4).to_bytes(8, "little")
    promised = (1_800_000_000).to_bytes(8, "little")
    assert data.count(claim) == 1
    packed_file.write_bytes(data.replace(claim, promised))
    peak = arrow.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=r"a batch of its rows would take 1,800,0"):
        read_embeddings(packed_file)
    with pytest.raises(ValueError, match=r"a batch of its rows would take 1,800,0"):
        read_beside([packed_file], np.arange(3), ["x"])
    assert arrow.default_memory_pool().max_memory() < max(peak, 2**27)


def test_a_data_set_that_is_not_there_takes_no_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("id", (10**9,), "i8", chunks=(1000,))
        file.create_dataset("x", (10**9, 8), "f4", chunks=(1000, 8))
    assert (tmp_path / "a.h5").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"id would take 8,000,000,000 bytes, and 0"):
        read_embeddings(tmp_path / "a.h5")


def test_a_heap_of_texts_that_leads_nowhere_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["id"], file["x"] = NAMES.tolist(), X
    assert open_embeddings(path).ids.tolist() == NAMES.tolist()
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16
    while data[place : place + 2] != b"\0\0":
        place += (
            16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
        )
    data[place + 8 : place + 16] = bytes(8)
    path.write_bytes(data)
    # The library itself would never come back from it.
    with pytest.raises(ValueError, match=rf"what lies at byte {place} leads nowhere"):
        open_embeddings(path)


def test_a_head_that_promises_too_much_takes_no_memory(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 8)}
    )
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        np.savez(tmp_path / "a.npz", id=np.arange(10))
        with zipfile.ZipFile(tmp_path / "a.npz", "a", kind) as archive:
            archive.writestr("x.npy", stream.getvalue())
        with pytest.raises(ValueError, match=r"x.npy has another shape than length"):
            read_embeddings(tmp_path / "a.npz")


HEADS = {
    "no end": b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3",
    "no dict": b"{'descr': '<f4' 'shape'",
    "a call": b"__import__('os').system('touch run')",
    "deep": b"(" * 500,
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 3), }",
    "negative": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -3), }",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_is_no_head_is_the_files_fault(tmp_path, monkeypatch, head):
    monkeypatch.chdir(tmp_path)
    text = head.ljust(118) + b"\n"
    raw = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48)
    (tmp_path / "a.npy").write_bytes(raw)
    np.save(tmp_path / "a.id.npy", np.arange(4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", raw)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"^{tmp_path}/{name}: "):
            read_embeddings(tmp_path / name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [(b"\x02\x00", "a head of 2,147,483,647 bytes"), (b"\x01\x5c", "unknown version")],
)
def test_a_head_of_gigabytes_is_not_read(tmp_path, version, message):
    raw = b"\x93NUMPY" + version + (2**31 - 1).to_bytes(4, "little") + bytes(500)
    (tmp_path / "a.npy").write_bytes(raw)
    np.save(tmp_path / "a.id.npy", np.arange(4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", raw)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
            read_embeddings(tmp_path / name)


def test_an_archive_that_asks_for_a_password_is_the_files_fault(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, id=NAMES, x=X)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: .*(encrypted|password)"):
        read_embeddings(path)


# Ctrl-C


SLOW_JAX = """
import pathlib, time
pathlib.Path(__file__).with_name("begun").touch()
try:
    time.sleep(60)
except BaseException:
    raise ImportError("swallowed")
"""


@pytest.mark.parametrize("code", [["-m", "jatlas", "--help"], ["-c", "import jatlas"]])
def test_stopped_while_packages_are_imported_it_says_so(tmp_path, code):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(SLOW_JAX)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    run = subprocess.Popen(
        [sys.executable, *code],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
    )
    while run.poll() is None and not (tmp_path / "jax" / "begun").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    if code[0] == "-m":
        assert (run.returncode, err) == (130, "stopped; nothing was written\n")
    else:  # a program of one's own is left alone
        assert "ImportError: swallowed" in err


def test_only_the_command_changes_what_ctrl_c_does():
    assert interrupts._is_command(["-m"], ["python", "-m", "jatlas", "merge"])
    script = "/home/me/.local/bin/jatlas"  # the installed command
    assert interrupts._is_command([script, "merge"], ["python", script, "merge"])
    for other in (["python", "-m", "pytest"], ["python", "x.py", "-m", "jatlas"]):
        assert not interrupts._is_command([other[-1]], other)
    assert not interrupts._is_command(["-m"], ["python", "-m", "experiments"])
    assert signal.getsignal(signal.SIGINT) is not interrupts._end


# Mistakes end with 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "a.npz", "a.npz", "--seed", "1" * 30],
        ["merge", "a.npz", "--anchors", "shared:2", "--batch-size", "1" * 15],
        ["merge", "a.npz", "--anchors", "shared:2", "--shrinkage", "0.5"],
        ["merge", "a.npz", "--anchors", "shared:2", "--whiten", "--shrinkage", "2"],
        ["view", "a.npz", "--with", "projector"],
        ["add", "a.npz", "a.npz"],
        ["project", "a.npz", "a.npz"],
    ],
)
def test_every_mistake_is_told_in_a_line_and_ends_with_two(
    tmp_path, monkeypatch, capsys, arguments
):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", id=NAMES, x=X)
    if arguments[0] in ("merge", "add", "project"):
        arguments = [*arguments, "--out", "x.safetensors"]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz"]


def test_a_zero_row_does_not_hide_that_the_others_are_lost():
    far = np.random.default_rng(0).normal(size=(20, 3)) + 1e7
    far[4] = 0
    assert quality.Reach.empty(3).with_rows(far).hidden() == 3
    assert quality.Reach.empty(3).with_rows(far * 0).hidden() == 0


@pytest.mark.parametrize(
    "column",
    [
        arrow.array([["1", "2"]] * 3),
        arrow.array([1, 2, 3], arrow.int16()),
        arrow.array([1, 2, 3], arrow.date32()),
        arrow.array(["a", "b", "c"]).dictionary_encode(),
        arrow.array([{"v": "1"}] * 3),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_nothing_takes_the_place_of_a_column_that_is_meant(tmp_path, column):
    scores = arrow.array([0.1, 0.2, 0.3])
    table = arrow.table({"id": ["a", "b", "c"], "score": scores, "embedding": column})
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(BadFile, match=r"x\.parquet.*'embedding' is .* not read"):
        read_embeddings(tmp_path / "x.parquet")


def test_an_archive_whose_index_lies_elsewhere_is_named(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, id=np.arange(9), embedding=np.ones((9, 4)))
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\5\6")
    data[end + 16 : end + 20] = struct.pack("<I", 5591)
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"x\.npz"):
        read_embeddings(path)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_a_matrix_beside_vectors_of_tokens_or_in_another_group_is_not_guessed(
    tmp_path, suffix
):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(0)
    places = rng.normal(size=(N, 2)).astype(np.float32)
    if suffix == "npz":
        vectors, name = rng.normal(size=(N, 4, 8)), "vectors"
        np.savez(path, id=np.arange(N), xy=places, vectors=vectors)
    else:
        vectors, name = rng.normal(size=(N, 8)), "model/vectors"
        with h5py.File(path, "w") as file:
            file["id"], file["xy"], file[name] = np.arange(N), places, vectors
    with pytest.raises(ValueError, match=rf"which of \[.*{name}.*\] are the embedd"):
        read_embeddings(path)
    assert read_embeddings(path, embeddings="xy")[1].shape == (N, 2)
