"""The notebooks run as scripts, show what they say, and are notebooks."""

import runpy
from pathlib import Path

import jax
import jupytext
import nbformat
import numpy as np
import pytest

import jatlas

FOLDER = Path(jatlas.__file__).parents[1] / "experiments/notebooks"
NOTEBOOKS = {file.stem: file for file in sorted(FOLDER.glob("*.py"))}
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """What is compiled here is used once or twice, on small arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def run(name, capsys):
    """What a notebook leaves behind, and what it printed."""
    scope = runpy.run_path(str(NOTEBOOKS[name]), run_name="__main__")
    return scope, capsys.readouterr().out


def test_five_minutes(capsys):
    scope, out = run("five_minutes", capsys)
    atlas, presence = np.asarray(scope["atlas"]), scope["presence"]
    nowhere = ~presence.any(axis=0)
    np.testing.assert_array_equal(np.isnan(atlas).all(axis=1), nowhere)
    assert f"rows of NaN: {nowhere.sum()}\n" in out
    assert scope["value"] > 0.8
    unmerged, merged = (
        int(line.split("%")[0].split()[-1])
        for line in out.splitlines()
        if "% right" in line
    )
    assert unmerged < 25 < 75 < merged


def test_own_embeddings(capsys):
    scope, out = run("own_embeddings", capsys)
    assert scope["right"].mean() > 0.5  # ten classes
    assert all(one.p_value < 0.05 for one in scope["comparison"].likenesses)
    assert "the same rows: True" in out
    assert not scope["folder"].exists()
    new, atlas = scope["new"], scope["atlas"]
    assert new.merged.shape == (200, 128)
    assert not np.isin(new.ids, atlas.ids).any()


@pytest.mark.slow
def test_the_paper_holds_on_small_data_and_so_do_the_honest_words(capsys):
    scope, out = run("paper", capsys)
    end_to_end = scope["accuracy"]["end-to-end"]
    assert end_to_end > 0.9
    assert scope["blind"] < scope["oracle"]
    assert scope["control"] > max(end_to_end, scope["oracle"]) - 0.02
    assert f"{scope['blind']:.3f}" in out.splitlines()[-2]
    assert f"{scope['test'].sum()} test images" in out


def test_a_growing_atlas(capsys):
    scope, out = run("growing_atlas", capsys)
    before, after = np.asarray(scope["before"]), np.asarray(scope["after"])
    known = scope["presence"][:4].any(axis=0)
    assert not known[scope["late"]].any()
    np.testing.assert_array_equal(np.isnan(before).any(axis=1), ~known)
    assert np.isfinite(after).all()
    assert "0 to 7 unchanged: True" in out
    for other in ("together", "at_once"):
        np.testing.assert_allclose(scope[other], after, atol=1e-5)


@pytest.mark.slow  # the import of lancedb takes half of it
def test_a_change_of_model(capsys):
    scope, out = run("change_of_model", capsys)
    assert scope["best"].shape == (100, 10)
    assert scope["recall"]["everything"] == 1
    assert scope["recall"]["merged"] > 0.5  # a search among the re-embedded alone: 0.2
    assert scope["right"]["merged"] > scope["right"]["everything"] - 0.05
    assert scope["hits"].mean() > 0.9
    assert f"recall {scope['recall']['old']:.2f}" in out


def test_every_notebook_is_run_above():
    own = Path(__file__).read_text()
    assert NOTEBOOKS
    assert [name for name in NOTEBOOKS if f'run("{name}", capsys)' not in own] == []


@each_notebook
def test_it_is_a_notebook_of_short_cells_that_begins_with_its_title(name):
    text = NOTEBOOKS[name].read_text()
    notebook = jupytext.reads(text, "py:percent")
    nbformat.validate(nbformat.reads(jupytext.writes(notebook, "ipynb"), as_version=4))
    cells = [(cell.cell_type, cell.source.splitlines()) for cell in notebook.cells]
    kind, first = cells[0]
    assert kind == "markdown"
    assert first[0].startswith("# ")
    titles = [line for _, lines in cells for line in lines if line.startswith("# ")]
    assert titles == first[:1]
    assert sum(kind == "code" for kind, _ in cells) >= 5
    for kind, lines in cells:
        assert 0 < len(lines) <= 40
        if kind == "code":
            compile("\n".join(lines), name, "exec")
    assert 60 <= len(text.splitlines()) <= 150
