"""Merges and translations that find little are warned of."""

import numpy as np
import pytest

from jatlas.cli.commands import main
from jatlas.files.adding import add_file
from jatlas.files.kinds.doubts import DoubtfulMerge, at_chance
from jatlas.files.kinds.evaluating import evaluate_files
from jatlas.files.merging import merge_files
from jatlas.files.storage import load, save
from jatlas.files.translation.translating import translate_file
from jatlas.merging.scoring import MergeScore

N = 300
HIDDEN = np.random.default_rng(5).normal(size=(N, 8))
CONSENSUS = "--coordinates", "consensus", "--ridge", "1", "--power", "1"


def embed(width):
    rng = np.random.default_rng(width)
    x = HIDDEN @ rng.normal(size=(8, width))
    return (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)


def write(folder, name, ids, rows):
    np.savez(folder / name, id=ids, x=rows)
    return folder / name


@pytest.fixture
def old(tmp_path):
    return write(tmp_path, "old.npz", np.arange(N), embed(12))


def new_of(tmp_path, size, shift=0):
    """Rows of the first samples, under ids that are too high by a shift."""
    return write(tmp_path, "new.npz", np.arange(size) + shift, embed(10)[:size])


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


@pytest.mark.parametrize("out", ["x.parquet", "x/"])
def test_a_merge_at_chance_is_warned_of_to_the_last_line(old, tmp_path, capsys, out):
    shifted, out = new_of(tmp_path, 200, shift=1), f"{tmp_path}/{out}"
    code, text, err = run(capsys, "merge", old, shifted, *CONSENSUS, "--out", out)
    assert code == 0
    assert text.splitlines()[-1].startswith("wrote ")
    assert len(err) == 1  # the last line; said before the work, among the scores
    assert err[0] in text.splitlines()
    assert err[0].startswith(
        "warning: held-out samples are found hardly better than by chance (mean "
    )
    assert "do equal ids mean equal samples?" in err[0]
    # What evaluate says is the same.
    code, text, _ = run(capsys, "evaluate", old, shifted, *CONSENSUS)
    assert code == 0
    assert err[0].removeprefix("warning: ") in text.splitlines()[-1]


def test_a_merge_that_finds_samples_is_not_warned_of(old, tmp_path, capsys):
    new, out = new_of(tmp_path, 200), tmp_path / "x.parquet"
    code, _, err = run(capsys, "merge", old, new, *CONSENSUS, "--out", out)
    assert (code, err) == (0, [])


def test_a_translation_at_chance_is_warned_of(old, tmp_path, capsys):
    shifted, out = new_of(tmp_path, 200, shift=1), tmp_path / "x.parquet"
    arguments = old, "--to", shifted, "--method", "ridge", "--out", out
    code, text, err = run(capsys, "translate", *arguments)
    assert code == 0
    assert len(err) == 1
    assert err[0] in text.splitlines()
    assert "hardly better than by chance" in err[0]
    with pytest.warns(DoubtfulMerge, match="do equal ids mean equal samples"):
        translate_file(old, to=shifted, method="ridge")


def test_a_python_merge_at_chance_is_warned_of_where_it_is_called(old, tmp_path):
    shifted = new_of(tmp_path, 200, shift=1)
    message = "do equal ids mean equal samples"
    with pytest.warns(DoubtfulMerge, match=message) as merged:
        merge_files([old, shifted], coordinates="consensus", power=1.0)
    with pytest.warns(DoubtfulMerge, match=message) as translated:
        translate_file(old, to=shifted, method="ridge")
    assert [each[0].filename for each in (merged, translated)] == [__file__] * 2
    assert translated[0].lineno == merged[0].lineno + 2


def test_few_samples_that_are_found_far_more_often_than_by_chance_are_no_doubt():
    each, off = np.eye(2)[::-1], np.full((2, 2), 0.2)
    score = MergeScore(
        *[np.full((2, 2), 0.18)] * 3, np.full((2, 2), 0.051), off, off, each
    )
    assert at_chance(score, "ab") == ""
    score = score._replace(mean_reciprocal_rank=np.full((2, 2), 0.09))
    assert "hardly better than by chance" in at_chance(score, "ab")


def test_one_file_of_three_whose_ids_are_wrong_is_named(old, tmp_path):
    others = [
        write(tmp_path, "good.npz", np.arange(N), embed(11)),
        new_of(tmp_path, 290, shift=1),
    ]
    options = {"coordinates": "consensus", "ridge": 1.0, "power": 1.0}
    advice = evaluate_files([old, *others], **options).advice
    assert (
        "but new: its samples find those of the others, and are found, hard" in advice
    )
    right = [old, others[0], new_of(tmp_path, 290)]
    assert "chance" not in evaluate_files(right, **options).advice


def test_a_merge_by_too_few_samples_says_how_many_are_needed(old, tmp_path, capsys):
    out = tmp_path / "x.parquet"
    few = new_of(tmp_path, 60)
    code, _, err = run(capsys, "merge", old, few, "--out", out)
    assert code == 0
    assert len(err) == 1
    assert err[0].startswith("warning: 60 samples are in two files or more: what is")
    assert "100 are needed for a held-out score" in err[0]
    assert load(out).recipe.kind == "consensus"
    out.unlink()
    very_few = new_of(tmp_path, 15)
    code, _, err = run(capsys, "merge", old, very_few, "--out", out)
    assert code == 2
    assert not out.exists()
    assert err[0].startswith("error: 15 samples are in two files or more")
    assert "20 for add and translate" in err[0]
    assert "With --coordinates consensus" in err[0]
    code, _, err = run(capsys, "merge", old, very_few, *CONSENSUS, "--out", out)
    assert code == 0
    assert err[-1].startswith("warning: 15 samples")


def test_one_file_of_three_that_hardly_shares_samples_is_named(old, tmp_path):
    others = [write(tmp_path, "good.npz", np.arange(N), embed(11))]
    ids = np.r_[np.arange(7), np.arange(1000, 1193)]
    others.append(write(tmp_path, "new.npz", ids, embed(10)[:200]))
    options = {"coordinates": "consensus", "ridge": 1.0, "power": 1.0}
    with pytest.warns(DoubtfulMerge, match=r"^new: 7 of its samples are in another"):
        merge_files([old, *others], **options)


def test_a_translation_by_too_few_gives_advice_that_helps(old, tmp_path):
    with pytest.raises(ValueError, match="have 15 samples in common") as refused:
        translate_file(old, to=new_of(tmp_path, 15))
    assert "Embed more of the same samples" in str(refused.value)
    assert "Name a sample alike" not in str(refused.value)
    with pytest.raises(ValueError, match="Name a sample alike in both"):
        translate_file(old, to=new_of(tmp_path, 15, shift=1000))


def disjoint(tmp_path, width):
    """Rows of samples 100 to 199 by another file of some model."""
    x = embed(width)[100:200]
    return write(tmp_path, "later.npz", np.arange(100, 200), x)


def test_a_known_model_as_a_new_chart_is_warned_of(old, tmp_path, capsys):
    new, out = new_of(tmp_path, 100), tmp_path / "x.parquet"
    assert main(["merge", str(old), str(new), *CONSENSUS, "--out", str(out)]) == 0
    capsys.readouterr()
    same, other = disjoint(tmp_path, 10), tmp_path / "y.parquet"
    code, text, err = run(capsys, "add", out, same, "--out", other)
    assert code == 0
    assert "a new chart, 2: 100 samples, 0 of them new" in text
    assert err[0].startswith("warning: later: its rows go to the same places by the")
    assert "chart 1, 'new': are both of one encoder?" in err[-1]
    with pytest.warns(DoubtfulMerge, match="later: .* of chart 1, 'new'"):
        merge_files([old, new, same], coordinates="consensus", ridge=1.0, power=1.0)


def test_another_model_of_the_same_width_is_not_warned_of(old, tmp_path, capsys):
    new, out = new_of(tmp_path, 100), tmp_path / "x.parquet"
    assert main(["merge", str(old), str(new), *CONSENSUS, "--out", str(out)]) == 0
    capsys.readouterr()
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))
    x = (embed(10) @ turn)[100:200]
    another = write(tmp_path, "other.npz", np.arange(100, 200), x)
    code, _, err = run(capsys, "add", out, another, "--out", tmp_path / "y.parquet")
    assert (code, err) == (0, [])


def test_models_alike_that_share_other_samples_than_are_kept_are_told_apart(tmp_path):
    # Of 256 ids that are kept of each chart, spread over its own, none is common.
    size = 1200
    hidden = np.random.default_rng(6).normal(size=(size, 8))
    drawn = np.random.default_rng(7)
    hub, one = (hidden @ drawn.normal(size=(8, width)) for width in (12, 10))
    near = one + 0.3 * drawn.normal(size=one.shape)
    paths = [
        write(tmp_path, f"{name}.npz", ids, x[ids].astype(np.float32))
        for name, ids, x in (
            ("hub", np.arange(size), hub),
            ("one", np.arange(1000), one),
            ("near", np.arange(1, 1001), near),
        )
    ]
    options = {"coordinates": "consensus", "ridge": 1.0, "power": 1.0}
    known = merge_files(paths, **options).recipe.consensus.known_ids
    assert np.intersect1d(known[1], known[2]).size < 2
    save(tmp_path / "two.parquet", merge_files(paths[:2], **options))
    add_file(load(tmp_path / "two.parquet"), paths[2])


def test_models_alike_that_share_samples_are_told_apart_by_these(old, tmp_path):
    near = embed(12) + 0.3 * np.random.default_rng(2).normal(size=(N, 12))
    alike = write(tmp_path, "near.npz", np.arange(N), near.astype(np.float32))
    merge_files([old, alike], coordinates="consensus", ridge=1.0, power=1.0)
