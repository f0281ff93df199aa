"""Saved atlases against the safetensors package and NumPy, and what is refused."""

import errno
import json
import os
import re
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jatlas.files import storage
from jatlas.files.formats import atlas_tensors, whole
from jatlas.files.formats.tensorfile import read_tensors, write_tensors
from jatlas.files.formats.whole import write_whole
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.storage import load, load_recipe, save
from jatlas.merging.transforms import Transform

N, A = 5, 3
NAMES = ["kea", "größer", "猫", "", "owl"]


def recipe_of(rng, **changes):
    anchors = tuple(rng.normal(size=(A, d)).astype(np.float32) for d in (4, 2))
    scale = rng.normal(size=(4, 4)).astype(np.float32), np.ones(2, np.float32)
    transforms = tuple(Transform(np.zeros(len(s), np.float32), s) for s in scale)
    nystroem = Transform(np.zeros(A, np.float32), np.eye(A, dtype=np.float32))
    recipe = Recipe(
        np.array(["kea", "owl", "emu"]),
        anchors,
        transforms,
        nystroem,
        "angular",
        ("a", "b"),
        ("0f" * 32, ""),
        {"jatlas": "0.1.0"},
    )
    return recipe._replace(**changes)


def atlas_of(seed=0, ids=NAMES, dtype=np.float32, **changes):
    rng = np.random.default_rng(seed)
    spread = np.array([0.5, np.nan, 0.0, 0.25, np.nan])
    merged = rng.normal(size=(N, A)).astype(dtype)
    count = np.array([2, 1, 2, 2, 1], np.int32)
    recipe = recipe_of(rng)
    return AtlasFile(np.array(ids), merged, count, spread, recipe)._replace(**changes)


def leaves(value):
    """All arrays, numbers and texts in it, in order."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@pytest.mark.parametrize("ids", [NAMES, [3, -1, 7, 0, 2**40]], ids=["text", "integers"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_loaded_is_what_was_saved(tmp_path, ids, dtype):
    atlas = atlas_of(ids=ids, dtype=dtype)
    save(tmp_path / "x.safetensors", atlas)
    for ours, theirs in zip(
        leaves(load(tmp_path / "x.safetensors")), leaves(atlas), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype
    assert load_recipe(tmp_path / "x.safetensors").versions == {"jatlas": "0.1.0"}


def test_a_recipe_without_transforms_or_names_comes_back_so(tmp_path):
    recipe = Recipe(np.array([7]), (np.ones((1, 2)),))
    save(
        tmp_path / "x.safetensors",
        atlas_of(
            recipe=recipe,
            merged=np.ones((N, 1)),
            count=np.ones(N, int),
            disagreement=np.full(N, np.nan),
        ),
    )
    found = load_recipe(tmp_path / "x.safetensors")
    assert found[2:7] == recipe[2:7]


def test_a_translation_is_saved_with_the_other_transforms(tmp_path):
    atlas = atlas_of()
    save(tmp_path / "plain.safetensors", atlas)
    mean, scale, _ = atlas.recipe.transforms[0]
    moved = Transform(mean, scale[:, :2], np.array([3, 4], np.float32))
    transforms = moved, atlas.recipe.transforms[1]
    recipe = atlas.recipe._replace(transforms=transforms)
    save(tmp_path / "moved.safetensors", atlas._replace(recipe=recipe))
    versions = [
        json.loads(read_tensors(tmp_path / f"{name}.safetensors")[1]["jatlas"])
        for name in ("plain", "moved")
    ]
    # What has no offset can still be read by those who know none.
    assert [about["version"] for about in versions] == [2, 3]
    back = load_recipe(tmp_path / "moved.safetensors").transforms
    np.testing.assert_array_equal(back[0].offset, [3, 4])
    assert back[1].offset is None
    wrong = recipe._replace(transforms=(moved._replace(offset=mean), transforms[1]))
    with pytest.raises(ValueError, match="the offset of the transform of chart 0"):
        save(tmp_path / "x.safetensors", atlas._replace(recipe=wrong))


def test_the_safetensors_package_reads_it(tmp_path):
    atlas = atlas_of()
    save(tmp_path / "x.safetensors", atlas)
    theirs = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(theirs["merged"], atlas.merged)
    np.testing.assert_array_equal(theirs["anchors.1"], atlas.recipe.anchors[1])
    rows = [bytes(row).rstrip(b"\0").decode() for row in theirs["ids"]]
    assert rows == NAMES
    with safe_open(tmp_path / "x.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["jatlas"])["similarity"] == "angular"


def test_the_three_lines_of_numpy_that_are_promised_read_it(tmp_path):
    atlas = atlas_of()
    save(tmp_path / "x.safetensors", atlas)
    lines = re.search(r"three lines.*?\n\n(.*?)\n\n", storage.save.__doc__, re.S)[1]
    assert len(lines.splitlines()) == 3
    scope = {"np": np, "json": json, "open": open, "path": tmp_path / "x.safetensors"}
    exec("\n".join(line.strip() for line in lines.splitlines()), scope)
    np.testing.assert_array_equal(scope["merged"], atlas.merged)


def test_every_dtype_goes_to_the_safetensors_package_and_back(tmp_path):
    dtypes = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
    arrays = {d: np.arange(6).reshape(2, 3).astype(d) for d in dtypes}
    arrays |= {"none": np.zeros((0, 3), "f4"), "scalar": np.array(2.5)}
    arrays["turned"] = np.arange(6.0).reshape(2, 3).T
    with (tmp_path / "ours").open("wb") as stream:
        write_tensors(
            stream, arrays | {"other end": np.arange(3, dtype=">i4")}, {"k": "v"}
        )
    save_file(
        {**arrays, "turned": arrays["turned"].copy()}, tmp_path / "theirs", {"k": "v"}
    )
    for found in (
        load_file(tmp_path / "ours"),
        read_tensors(tmp_path / "theirs").arrays,
    ):
        for name, x in arrays.items():
            np.testing.assert_array_equal(found[name], x)
            assert found[name].dtype == x.dtype
    assert load_file(tmp_path / "ours")["other end"].tolist() == [0, 1, 2]
    assert read_tensors(tmp_path / "theirs").metadata == {"k": "v"}


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    halves = (np.arange(4, dtype="<f4") / 3).view("<u2")[1::2]
    header = b'{"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}'
    (tmp_path / "x").write_bytes(
        len(header).to_bytes(8, "little") + header + halves.tobytes()
    )
    x = read_tensors(tmp_path / "x").arrays["x"].astype(np.float32)
    np.testing.assert_allclose(x, np.arange(4) / 3, rtol=2**-7)


def test_a_file_without_numbers_is_read(tmp_path):
    save_file({"none": np.zeros((0, 3), "f4")}, tmp_path / "x")
    assert read_tensors(tmp_path / "x").arrays["none"].shape == (0, 3)


def bad(**changes):
    return atlas_of()._replace(**changes)


def bad_recipe(**changes):
    return bad(recipe=recipe_of(np.random.default_rng(0), **changes))


NAN = np.full((N, A), np.nan, np.float32)


@pytest.mark.parametrize(
    ("atlas", "message"),
    [
        (bad(merged=NAN), r"NaN or infinity in 5 rows of merged: \[0, 1, 2, 3, 4\]"),
        (bad(merged=np.zeros((N, A), int)), r"merged must be floating point \(5, 3\)"),
        (bad(merged=np.zeros((N, A + 1))), r"merged must be .*\(5, 3\), got .*5, 4"),
        (bad(ids=np.array(["a"] * N)), r"1 occur more.*\['a'\].*rows 0 and 1"),
        (bad(ids=np.arange(5.0)), "ids must be a vector of integers or of text"),
        (bad(ids=np.array(NAMES, object)), "ids must be a vector of integers or of"),
        (bad(count=np.array([2, 1, 2, 2, 0])), r"count must lie in 1..2"),
        (bad(count=np.array([2, 1, 2, 2, 9])), r"got 9 in row 4 \(id"),
        (bad(count=np.ones(N)), "count must be integers"),
        (bad(disagreement=np.zeros(N)), "disagreement must be NaN for a sample in one"),
        (bad(disagreement=np.zeros(N)), r"got 0.0 in row 1 \(id .*of a sample in 1\."),
        (bad(disagreement=np.full(N, np.nan)), "NaN or infinity in 3 rows of disagr"),
        (bad_recipe(similarity=lambda x, a: x), "has no name to be saved by"),
        (bad_recipe(similarity="cosin"), "'cosin' has no name.*cosine, angular"),
        (bad_recipe(anchors=()), "0 charts and 3 anchors"),
        (bad_recipe(anchors=(np.ones((A, 2)), np.ones((2, 2)))), "anchors of chart 1"),
        (bad_recipe(anchor_ids=np.array([1, 1, 2])), "ids of the anchors must differ"),
        (bad_recipe(charts=("a",)), "charts must be 2 texts"),
        (bad_recipe(charts=("a", "a")), "names must differ"),
        (bad_recipe(transforms=(Transform(np.ones(4), np.ones(4)),)), "1 transforms"),
        (bad_recipe(transforms=(Transform(np.ones(4), np.ones(3)),) * 2), "the scale"),
        (bad_recipe(nystroem=Transform(np.ones(A), NAN[:A])), "scale of nystroem"),
    ],
)  # fmt: skip
def test_what_is_no_atlas_is_not_saved(tmp_path, atlas, message):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "x.safetensors", atlas)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path) -> Path:
    save(tmp_path / "x.safetensors", atlas_of())
    return tmp_path / "x.safetensors"


def test_a_file_cut_off_anywhere_is_refused(saved):
    data = saved.read_bytes()
    for size in {*range(0, len(data), 97), 7, 8, 9, len(data) - 1}:
        saved.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"x.safetensors: it is cut off"):
            load(saved)


def test_a_changed_byte_anywhere_is_refused(saved):
    data = saved.read_bytes()
    for place in range(0, len(data), 23):
        changed = bytearray(data)
        changed[place] ^= 1
        saved.write_bytes(changed)
        spaces = data[place : place + 1] == b" "
        if not spaces:  # what fills up the header says nothing
            with pytest.raises(ValueError, match=r"^\S*x.safetensors: "):
                load(saved)


def resigned(path, **changes):
    """The file with another JSON, and a digest that fits it."""
    arrays, metadata, *_ = read_tensors(path)
    arrays = {name: np.array(x) for name, x in arrays.items()}
    text = json.dumps(json.loads(metadata["jatlas"]) | changes)
    metadata = {"jatlas": text, "sha256": atlas_tensors._digest(text, arrays)}
    with path.open("wb") as stream:
        write_tensors(stream, arrays, metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 4}, "of version 4, and only versions 1 to 3 are known"),
        ({"version": "1"}, "of version 1, and"),
        ({"similarity": "os.system"}, "'os.system' has no name"),
        ({"similarity": ["cosine"]}, "has no name"),
        ({"anchors": 3}, "'anchors.2' is missing"),
        ({"anchors": "two"}, "x.safetensors: "),
        ({"charts": [1, 2]}, "charts must be 2 texts"),
        ({"transforms": 1}, "1 transforms of 2 charts"),
    ],
)
def test_a_file_that_says_something_else_is_refused(saved, changes, message):
    resigned(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load(saved)


HEADERS = {
    "no JSON": b"{'a': 1}",
    "a list": b"[1, 2]",
    "deep": b"[" * 10000,
    "a dtype": b'{"x": {"dtype": "F8", "shape": [1], "data_offsets": [0, 8]}}',
    "a shape": b'{"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}',
    "negative": b'{"x": {"dtype": "F64", "shape": [-1, -1], "data_offsets": [0, 8]}}',
    "a hole": b'{"x": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}',
    "outside": b'{"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}',
    "no shape": b'{"x": {"dtype": "F64"}}',
    "not an atlas": b'{"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}',
}  # fmt: skip


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_damaged_header_is_refused(tmp_path, header):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: "):
        load(path)


def test_a_recipe_alone_is_no_atlas(tmp_path):
    recipe = recipe_of(np.random.default_rng(0))
    whole.write_whole({tmp_path / "x.safetensors": atlas_tensors.recipe_writer(recipe)})
    assert load_recipe(tmp_path / "x.safetensors").charts == ("a", "b")
    with pytest.raises(ValueError, match="holds a recipe and no atlas"):
        load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(saved, monkeypatch, fails):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space left") as caught:
        save(saved, atlas_of(seed=1))
    assert str(caught.value).endswith(f"device: '{saved}'")
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@pytest.fixture
def small_files():
    """The system writes no file beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path):
    # A folder of parts is killed in earnest, in test_parted_atlases.
    path = tmp_path / "a [1].safetensors"
    (tmp_path / f"{whole.hidden_name(path)}k1l_ed99.part").write_bytes(b"half")
    names = (".b.k1l_ed99.part", ".a [1].safetensors.part")
    others = {tmp_path / name for name in (*names, ".a [1].safetensors.20261129.part")}
    for other in others:
        other.touch()
    save(path, atlas_of())
    assert set(tmp_path.iterdir()) == {path, *others}


def test_many_writers_of_one_file_do_not_lose_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(whole.os, "fsync", lambda handle: None)
    path = tmp_path / "a"

    def write(number):
        content = str(number).encode()
        write_whole({path: lambda stream: stream.write(content)})

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(2000))) == [None] * 2000
    assert [left.name for left in tmp_path.iterdir()] == ["a"]


def test_what_a_living_writer_writes_is_left_alone(tmp_path):
    path = tmp_path / "a.safetensors"
    first, second = tmp_path / "first", b"second"

    def fill(stream):
        """The first writer, in the midst of which another writes the same file."""
        stream.write(b"first")
        write_whole({path: lambda stream: stream.write(second)})
        assert path.read_bytes() == second
        assert len(list(tmp_path.iterdir())) == 2

    # The second file begins when the first is filled, and closed.
    write_whole({path: fill, first: lambda stream: fill_again(path)})
    assert path.read_bytes() == b"first"
    assert set(tmp_path.iterdir()) == {path, first}


def fill_again(path):
    write_whole({path: lambda stream: stream.write(b"third")})


@pytest.mark.usefixtures("small_files")
def test_what_the_system_cannot_write_is_named(tmp_path):
    merged = np.zeros((2000, A), np.float32)
    ones, nan = np.ones(2000, int), np.full(2000, np.nan)
    rows = {"merged": merged, "count": ones, "disagreement": nan}
    with pytest.raises(OSError, match="File too large") as caught:
        save(tmp_path / "x.safetensors", atlas_of(ids=range(2000), **rows))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_but_not_in_a_file(tmp_path):
    save(tmp_path / "a" / "b" / "x.safetensors", atlas_of())
    assert load(tmp_path / "a" / "b" / "x.safetensors").ids.size
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(NotADirectoryError, match="no folder") as caught:
        save(tmp_path / "file" / "b" / "x.safetensors", atlas_of())
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        save(tmp_path / "a.safetensors", atlas_of())
    with pytest.raises(ValueError, match=r"s3:.*safetensors: an atlas .* lie on"):
        save("s3://b/x.safetensors", atlas_of())
    assert not (tmp_path / "file" / "b").exists()


def test_of_two_files_none_is_written_if_one_fails(tmp_path):
    def fails(stream):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole.write_whole(
            {tmp_path / "a": lambda s: s.write(b"1"), tmp_path / "b": fails}
        )
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupt_behind_a_rename_leaves_old_files_or_new(
    tmp_path, monkeypatch, at
):
    paths = [tmp_path / "x.recipe", tmp_path / "x.parquet"]
    write_whole({path: lambda stream: stream.write(b"old") for path in paths})
    replace, calls = os.replace, []

    def interrupted(source, target):
        replace(source, target)
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole({path: lambda stream: stream.write(b"new") for path in paths})
    wanted = b"old" if at == 1 else b"new"
    assert [path.read_bytes() for path in paths] == [wanted] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.parquet", "x.recipe"]
