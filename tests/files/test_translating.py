"""Files translated into another file's space, in Python and by the command."""

import re

import numpy as np
import pytest
from pyarrow import parquet

from jatlas.cli.commands import main
from jatlas.files.readers import read_embeddings
from jatlas.files.translation.translating import translate_file
from jatlas.merging.transforms import apply_transform

N, D, K = 160, 6, 5
IDS = np.array([f"d{n}" for n in range(N)])
HELD = {"old": np.r_[0:140], "new": np.r_[30:N]}  # 110 in both


def encode(name):
    hidden = np.random.default_rng(3).normal(size=(N, 4))
    rng = np.random.default_rng(len(name) + ord(name[0]))
    x = hidden @ rng.normal(size=(4, {"old": D, "new": K}[name])) + 1
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, rows in HELD.items():
        order = np.random.default_rng(1).permutation(rows)
        np.savez(folder / f"{name}.npz", key=IDS[order], x=encode(name)[order])
    return {name: folder / f"{name}.npz" for name in HELD}


def translated_by(files, method):
    lines, done = [], []
    translated = translate_file(
        files["old"],
        to=files["new"],
        method=method,
        ids="key",
        batch_size=64,
        say=lines.append,
        progress=lambda *numbers: done.append(numbers),
    )
    return translated, "\n".join(lines), done


@pytest.fixture(scope="module")
def result(files):
    return translated_by(files, "ridge")


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_all_old_rows_are_near_their_new_ones(files, result):
    translated, text, done = result
    ids, _ = read_embeddings(files["old"], ids="key")
    np.testing.assert_array_equal(translated.ids, ids)
    places = [int(name[1:]) for name in ids]
    expected = encode("new")[places]  # of those too that the file does not have
    error = np.linalg.norm(translated.embeddings - expected)
    assert error < 0.15 * np.linalg.norm(expected - expected.mean(axis=0))
    assert translated.embeddings.dtype == np.float32
    assert translated.pairs == 110
    assert done[-1] == (2 * (140 + 130) + 140,) * 2
    assert "110 in two or more" in text


def test_real_rows_take_the_place_of_translated_ones(files, result, tmp_path, capsys):
    translated, text, _ = result
    assert "140 rows, 30 of which the new file does not have" in text
    assert "the 110 others are translated too (--real-rows, " in text
    out = tmp_path / "x.npz"
    arguments = files["old"], "--to", files["new"], "--method", "ridge", "--ids", "key"
    code, text, _ = run(capsys, "translate", *arguments, "--real-rows", "--out", out)
    assert code == 0
    assert "the 110 others are the new file's" in text
    ids, rows = read_embeddings(out, ids="key", embeddings="embeddings")
    np.testing.assert_array_equal(ids, translated.ids)
    of_new = dict(zip(*read_embeddings(files["new"], ids="key"), strict=True))
    for name, real, mapped in zip(ids, rows, translated.embeddings, strict=True):
        if name in of_new:
            np.testing.assert_array_equal(real, of_new[name])
        else:  # mapped in batches of other sizes: on some processors off by rounding
            np.testing.assert_allclose(real, mapped, rtol=1e-5)


def test_the_map_takes_other_rows(files, result):
    translated, *_ = result
    _, rows = read_embeddings(files["old"], ids="key")
    again = apply_transform(translated.transform, rows)
    np.testing.assert_allclose(again, translated.embeddings, atol=1e-5)


def test_it_is_the_least_squares_map_of_the_samples_in_both(files):
    (old, x), (new, y) = (read_embeddings(files[n], ids="key") for n in HELD)
    both, here, there = np.intersect1d(old, new, return_indices=True)
    assert both.size == 110
    a, b = np.float64(x[here]), np.float64(y[there])
    weights = np.linalg.lstsq(a - a.mean(axis=0), b - b.mean(axis=0))[0]
    expected = (x - a.mean(axis=0)) @ weights + b.mean(axis=0)
    got = translate_file(files["old"], to=files["new"], ids="key", method="affine")
    np.testing.assert_allclose(got.embeddings, expected, atol=1e-4)
    assert got.method == "affine"
    assert [name.split(":")[0] for name in got.ways] == ["affine", "merged"]


@pytest.mark.slow
def test_the_best_is_taken_and_the_merge_stands_beside_it(files):
    translated, text, _ = translated_by(files, "auto")
    ranks = {
        name: float(rank)
        for name, rank in re.findall(r"^(\w+|merged: .*?)  +(\d\.\d{3}) ", text, re.M)
    }
    *methods, merged = translated.ways
    assert methods == ["ridge", "orthogonal", "affine", "relative"]
    assert re.fullmatch(r"merged: consensus --ridge \S+ --power \S+", merged)
    assert set(translated.ways) <= set(ranks)
    assert ranks[translated.method] == max(ranks[name] for name in methods)
    for name, score in zip(translated.ways, translated.scores, strict=True):
        assert ranks[name] == round(score.mean_reciprocal_rank[1, 0], 3)
        # A rotation is not enough: the two are a linear map and noise apart.
        if name not in ("orthogonal", "relative"):
            assert score.mean_reciprocal_rank[1, 0] > 10 * score.chance[1, 0]
    assert translated.summary in text


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_the_command_writes_what_the_function_gives(
    files, result, tmp_path, capsys, suffix
):
    out = tmp_path / "made" / f"x.{suffix}"
    arguments = "translate", files["old"], "--to", files["new"], "--ids", "key"
    code, text, err = run(
        capsys, *arguments, "--out", out, "--method", result[0].method
    )
    assert (code, err) == (0, "")
    assert text.splitlines()[-1] == f"wrote {out}"
    ids, rows = read_embeddings(out, ids="key")
    np.testing.assert_array_equal(ids, result[0].ids)
    np.testing.assert_allclose(rows, result[0].embeddings, atol=1e-6)
    if suffix == "npz":
        with np.load(out) as arrays:
            np.testing.assert_array_equal(arrays["scale"], result[0].transform.scale)


def test_columns_of_the_old_file_stand_beside_its_rows(files, tmp_path, capsys):
    ids, rows = read_embeddings(files["old"], ids="key")
    titles = np.char.add("title of ", ids)
    arrays = {"title": titles, "charts": np.arange(ids.size)}
    x = rows.copy()
    x[3] = np.nan  # is left out, with its title
    np.savez(tmp_path / "old.npz", mean=ids, x=x, **arrays)
    out = tmp_path / "out.parquet"
    code, _, err = run(
        capsys, "translate", tmp_path / "old.npz", "--to", files["new"], "--out", out,
        "--ids", "mean", "key", "--drop-invalid", "--method", "affine",
        "--keep", "title", "charts",
    )  # fmt: skip
    assert (code, err) == (0, "")
    table = parquet.read_table(out)
    assert table.column_names == ["id", "embeddings", "title", "charts"]
    left = np.delete(np.arange(ids.size), 3)
    assert table["id"].to_pylist() == ids[left].tolist()
    assert table["title"].to_pylist() == titles[left].tolist()
    assert table["charts"].to_pylist() == left.tolist()


KEPT = {
    "embeddings": ("x.parquet", "--keep embeddings: the table has a column of that"),
    "titel": ("x.parquet", "--keep titel: no file has such a column; they have ['key'"),
    "key": ("x.npz", "--keep takes an --out that ends in .parquet"),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_column_that_cannot_be_kept_is_refused_first(
    files, tmp_path, capsys, monkeypatch, name
):
    def translated(*_, **__):
        raise AssertionError("the translation has begun")

    monkeypatch.setattr("jatlas.cli.translation.translate_file", translated)
    out, message = KEPT[name]
    given = ("--to", files["new"], "--out", tmp_path / out, "--ids", "key")
    code, _, err = run(capsys, "translate", files["old"], *given, "--keep", name)
    assert code == 2
    assert message in err


def test_few_pairs_are_translated_without_a_score(files, tmp_path):
    ids, rows = read_embeddings(files["new"], ids="key")
    np.savez(tmp_path / "few.npz", id=ids[:40], x=rows[:40])
    lines = []
    paths = {"path": files["old"], "to": tmp_path / "few.npz"}
    got = translate_file(**paths, ids=["key", "id"], say=lines.append)
    assert (got.method, got.ways) == ("ridge", ())
    assert "no held-out score: fewer than 100 samples are in both files" in lines
    assert "warning: 34 samples are in two files or more" in "\n".join(lines)


REFUSED = {
    "an input": ("--out", "{old}", "would be written over"),
    "another ending": ("--out", "x.csv", "must end in .parquet or .npz"),
    "itself": ("--to", "{old}", "a file is given twice"),
    "a copy": ("--to", "{copy}", "both are of one encoder, and there is nothing"),
    "no common ids": ("--to", "{others}", "have 0 samples in common, and 20 are"),
    "numbers for ids": ("--to", "{numbers}", "integers"),
    "ids that repeat": ("--to", "{twice}", "twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_and_nothing_written(files, tmp_path, capsys, case):
    ids, rows = read_embeddings(files["old"], ids="key")
    paths = {"old": files["old"]}
    for name, other in (
        ("copy", ids[::-1]),
        ("others", np.char.add("x", ids)),
        ("numbers", np.arange(ids.size)),
        ("twice", np.r_[ids[:-1], ids[:1]]),
    ):
        paths[name] = tmp_path / f"{name}.npz"
        x = rows[::-1] if name == "copy" else rows
        np.savez(paths[name], key=other, x=x)
    option, value, message = REFUSED[case]
    before = sorted(tmp_path.iterdir())
    options = {"--to": str(files["new"]), "--out": str(tmp_path / "made" / "x.npz")}
    options[option] = value.format(**paths)
    if case == "another ending":
        options["--out"] = str(tmp_path / value)
    given = [word for pair in options.items() for word in pair]
    code, _, err = run(capsys, "translate", files["old"], *given, "--ids", "key")
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before
