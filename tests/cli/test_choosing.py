"""Commands that score kinds of coordinates, and look at what was merged."""

import json
import re

import numpy as np
import pytest

from jatlas.cli.commands import main
from jatlas.files.kinds.nearest import nearest_samples
from jatlas.files.merging import merge_files
from jatlas.files.storage import load, load_recipe, save

N, LINKED = 260, 140
IDS = np.array([f"d{n}" for n in range(N)])
HELD = {"old": np.r_[0:200], "new": np.r_[60:N]}
WIDTHS = {"old": 12, "new": 9}


def encode(name, rows):
    rng = np.random.default_rng(len(name) + ord(name[0]))
    hidden = np.random.default_rng(3).normal(size=(N, 6))
    x = hidden @ rng.normal(size=(6, WIDTHS[name])) + 1
    return (x + 0.2 * rng.normal(size=x.shape))[rows].astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts")
    for name, rows in HELD.items():
        np.savez(folder / f"{name}.npz", id=IDS[rows], x=encode(name, rows))
    return [folder / f"{name}.npz" for name in HELD]


@pytest.fixture(scope="module")
def atlas(files):
    return merge_files(files, anchors="shared:20", batch_size=64)


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, folder, arguments, message):
    before = sorted(folder.iterdir())
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.iterdir()) == before
    return out


@pytest.mark.slow  # the guide on one's own files does it too
def test_auto_scores_all_kinds_and_takes_the_best(files, tmp_path, capsys):
    out = tmp_path / "x.safetensors"
    few = "--anchors", "shared:20", "--out", out
    code, text, err = run(capsys, "merge", *files, *few)
    assert (code, err) == (0, "")
    ranks = {}
    for line in text.splitlines():
        kind = re.match(r"((?:relative|nystroem|consensus).*?)  +(\d\.\d+) ", line)
        if kind:
            ranks[kind[1]] = float(kind[2])
    kinds = [name.split(" --ridge")[0] for name in ranks]
    assert kinds == [
        f"{name}{more}"
        for name in ("relative", "nystroem")
        for more in ("", " --center", " --whiten")
    ] + ["consensus"]
    best = re.search(r"^coordinates: (.*)$", text, flags=re.M)[1]
    assert ranks[best] == max(ranks.values())
    assert load(out).recipe.kind == best.split()[0]
    assert 0.5 < list(ranks.values())[-1] <= 1


def test_evaluate_says_how_well_each_pair_finds_each_other(files, tmp_path, capsys):
    to = tmp_path / "x.json"
    one = "--coordinates", "consensus", "--ridge", "1", "--power", "1", "--out", to
    code, text, err = run(capsys, "evaluate", *files, *one)
    assert (code, err) == (0, "")
    assert "take --coordinates consensus --ridge 1 --power 1" in text
    about = json.loads(to.read_text())
    assert (about["charts"], about["linked"]) == (["old", "new"], LINKED)
    (kind,) = about["kinds"]
    assert kind["coordinates"] == "consensus --ridge 1 --power 1"
    pairs = {(pair["query"], pair["answer"]): pair for pair in kind["pairs"]}
    assert set(pairs) == {("old", "new"), ("new", "old")}
    for (query, answer), pair in pairs.items():
        assert pair["queries"] == LINKED
        assert pair["chance"] < 0.1 < pair["mean_reciprocal_rank"] <= 1
        assert pair["recall_at_1"] <= pair["recall_at_10"]
        line = re.search(rf"^{query} finds {answer} +(\S+) +(\S+)$", text, flags=re.M)
        assert line[1] == f"{pair['mean_reciprocal_rank']:.3f}"
        assert line[2] == f"{pair['chance']:.3f}"
        of_ten = text.partition("\nrecall at 10 ")[2]
        line = re.search(rf"^{query} finds {answer} +(\S+)$", of_ten, flags=re.M)
        assert line[1] == f"{pair['recall_at_10']:.3f}"
    assert "--power 1 (merge then tries no others)" in text.splitlines()[-2]
    assert sorted(tmp_path.iterdir()) == [to]


def test_what_cannot_be_evaluated_is_refused(files, tmp_path, capsys):
    few = tmp_path / "few.npz"
    np.savez(few, id=IDS[:80], x=encode("new", np.r_[0:80]))
    refused(capsys, tmp_path, ["evaluate", files[0], few], "80 samples are in two")
    refused(capsys, tmp_path, ["evaluate", files[0]], "one file has no other")
    to = ["--out", tmp_path / "x.txt"]
    refused(capsys, tmp_path, ["evaluate", *files, *to], "must end in .json")


def test_without_enough_linked_samples_it_is_relative(files, tmp_path, capsys):
    few = tmp_path / "few.npz"
    np.savez(few, id=IDS[:80], x=encode("new", np.r_[0:80]))
    out = "--anchors", "shared:20", "--out", tmp_path / "x.parquet"
    code, text, _ = run(capsys, "merge", files[0], few, *out)
    assert code == 0
    assert "no held-out score: fewer than 100 samples are in two files" in text
    assert "coordinates: relative" in text
    assert load_recipe(tmp_path / "x.parquet").kind == "relative"


def test_one_file_is_not_said_to_be_merged(files, tmp_path, capsys):
    out = "--anchors", "shared:20", "--out", tmp_path / "x.parquet"
    code, text, _ = run(capsys, "merge", files[0], *out)
    assert code == 0
    assert "one file: nothing is merged" in text


def test_centered_charts_are_those_of_numpy(files):
    atlas = merge_files(files, anchors="shared:20", center=True, batch_size=64)
    rows = np.full((2, N, 20), np.nan)
    anchors = [IDS.tolist().index(name) for name in atlas.recipe.anchor_ids.tolist()]
    for m, (name, held) in enumerate(HELD.items()):
        x = encode(name, np.arange(N)).astype(np.float64)
        x -= x[held].mean(axis=0)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        rows[m, held] = x[held] @ x[anchors].T
    wanted = np.nanmean(rows, axis=0)
    order = [IDS.tolist().index(name) for name in atlas.ids.tolist()]
    np.testing.assert_allclose(atlas.merged, wanted[order], atol=1e-5)


def test_neighbors_are_the_nearest_by_cosine(atlas, tmp_path, capsys):
    save(tmp_path / "x.parquet", atlas)
    place = atlas.ids.tolist().index("d100")
    unit = atlas.merged / np.linalg.norm(atlas.merged, axis=1, keepdims=True)
    similar = unit @ unit[place]
    wanted = [n for n in np.argsort(-similar) if n != place][:3]
    code, text, _ = run(capsys, "neighbors", tmp_path / "x.parquet", "d100", "-k", 3)
    assert code == 0
    rows = [line.split() for line in text.splitlines()[2:]]
    assert [row[0] for row in rows] == atlas.ids[wanted].tolist()
    for row, n in zip(rows, wanted, strict=True):
        assert float(row[1]) == pytest.approx(1 - similar[n], abs=1e-4)
        who = [name for name, has in zip(HELD, atlas.presence[n], strict=True) if has]
        assert [word.strip(",") for word in row[2:]] == who
    assert len(nearest_samples(atlas, "d100", k=10**6)) == N - 1


def test_neighbors_of_integers_and_of_nobody(atlas, tmp_path, capsys):
    numbered = atlas._replace(ids=np.arange(N))
    assert nearest_samples(numbered, "7") == nearest_samples(numbered, 7)
    save(tmp_path / "x.safetensors", numbered)
    for name in ("owl", "1.5", str(2**70), "-1"):
        with pytest.raises(
            ValueError, match=r"no sample '.*its 260 ids begin with \[0"
        ):
            nearest_samples(numbered, name)
    refused(capsys, tmp_path, ["neighbors", tmp_path / "x.safetensors", "d1"], "'d1'")
    few = ["neighbors", tmp_path / "x.safetensors", "7", "-k", "0"]
    refused(capsys, tmp_path, few, "k must be")


def test_a_projected_batch_names_the_recipe_and_writes_none(atlas, tmp_path, capsys):
    (tmp_path / "index").mkdir()
    (tmp_path / "batches").mkdir()
    save(tmp_path / "index" / "atlas.parquet", atlas)
    np.savez(tmp_path / "q.npz", id=IDS[:9], x=encode("new", np.r_[0:9]))
    to = tmp_path / "batches" / "q.parquet"
    # The chart by the name of its file, as the table of a merge prints it.
    of_new = "--chart", "new.npz", "--out", to
    arguments = tmp_path / "index" / "atlas.parquet", tmp_path / "q.npz", *of_new
    code, text, err = run(capsys, "project", *arguments)
    assert (code, err) == (0, "")
    assert "warning" not in text
    assert "no anchors among them, so that the encoder is not checked" in text
    assert list((tmp_path / "batches").iterdir()) == [to]
    batch = load(to)
    assert batch.ids.tolist() == IDS[:9].tolist()
    np.testing.assert_array_equal(batch.recipe.anchor_ids, atlas.recipe.anchor_ids)
    # Through the batch to the same recipe again.
    again = tmp_path / "q2.parquet"
    code, *_ = run(capsys, "project", to, tmp_path / "q.npz", *of_new[:3], again)
    assert code == 0
    np.testing.assert_array_equal(load(again).merged, batch.merged)
    assert not (tmp_path / "q2.recipe.safetensors").exists()
    recipe = tmp_path / "index" / "atlas.recipe.safetensors"
    save(recipe.with_name("atlas.parquet"), atlas._replace(merged=atlas.merged + 1))
    load(to)  # the same recipe, of another table
    recipe.unlink()
    with pytest.raises(ValueError, match=r"atlas.recipe.safetensors, which must lie"):
        load(to)


def test_a_recipe_of_another_atlas_is_not_named(atlas, files, tmp_path):
    other = merge_files(files, anchors="shared:10", batch_size=64)
    save(tmp_path / "other.safetensors", other)
    with pytest.raises(ValueError, match="is not the recipe of this atlas"):
        save(tmp_path / "x.parquet", atlas, recipe=tmp_path / "other.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["other.safetensors"]


def test_a_viewers_folder_is_made(atlas, tmp_path, capsys):
    save(tmp_path / "x.safetensors", atlas)
    to = "--export", "projector", "--out", tmp_path / "some" / "where"
    assert run(capsys, "view", tmp_path / "x.safetensors", *to)[0] == 0
    assert (tmp_path / "some" / "where" / "vectors.tsv").is_file()


def test_a_missing_file_of_anchors_is_said_to_be_missing(files, tmp_path, capsys):
    out = "--anchors", tmp_path / "anchrs.txt", "--out", tmp_path / "x.parquet"
    message = f"there is no file '{tmp_path / 'anchrs.txt'}'"
    refused(capsys, tmp_path, ["merge", *files, *out], message)


def test_bad_rows_are_refused_before_anything_is_said(files, tmp_path, capsys):
    x = encode("new", HELD["new"])
    x[3, 2] = np.nan
    np.savez(tmp_path / "bad.npz", id=IDS[HELD["new"]], x=x)
    out = "--anchors", "shared:20", "--out", tmp_path / "x.parquet"
    arguments = ["merge", files[0], tmp_path / "bad.npz", *out]
    assert refused(capsys, tmp_path, arguments, "NaN, infinity") == ""


def test_a_rewritten_table_is_warned_of_in_a_line(atlas, tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    save(tmp_path / "x.parquet", atlas)
    table = parquet.read_table(tmp_path / "x.parquet")
    parquet.write_table(table.replace_schema_metadata(), tmp_path / "x.parquet")
    code, _, err = run(capsys, "neighbors", tmp_path / "x.parquet", "d3")
    assert code == 0
    assert err.startswith(f"warning: {tmp_path / 'x.parquet'}: it was written anew")
    assert err.count("\n") == 1
