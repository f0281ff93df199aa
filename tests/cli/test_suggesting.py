"""A mistyped command or option is answered in a line, with the nearest."""

import pytest

from jatlas.cli.commands import main

OUT = ["--out", "x.parquet"]


def said(capsys, arguments):
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["merge", "a", "--anchor", "x", *OUT, "--batchsize", "2"], "--batch-size?"),
        (["merge", "a", "--coords=relative", *OUT], "--coordinates?"),
        (["merge", "a", "--otu", "x.parquet"], "required: --out; did you mean --out?"),
        (["merge", "a", "--kep", "n", "--smilarity", "x", *OUT],
         "--keep and --similarity?"),
        (["view", "a", "--exprot", "projector"], "--export?"),
        (["mrege", "a", *OUT], "did you mean merge?"),
        (["neighbours", "a", "7"], "did you mean neighbors?"),
    ],
)  # fmt: skip
def test_the_nearest_is_named(capsys, arguments, wanted):
    assert wanted in said(capsys, arguments)


def test_what_is_like_nothing_is_answered_without_a_guess(capsys):
    assert "did you mean" not in said(capsys, ["merge", "a", *OUT, "--zzz", "1"])
    assert "did you mean" not in said(capsys, ["zzzz"])
    text = said(capsys, ["merge", "a"])
    assert text == (
        "error: the following arguments are required: --out; see "
        "python -m jatlas merge --help\n"
    )
    assert "COMMAND" in said(capsys, [])


def test_a_short_form_is_taken_as_before(capsys, tmp_path):
    missing = str(tmp_path / "none.npz")
    short = ["--anch", "shared:9", "--ou", str(tmp_path / "x.parquet")]
    assert main(["merge", missing, *short]) == 2
    assert "No such file" in capsys.readouterr().err
