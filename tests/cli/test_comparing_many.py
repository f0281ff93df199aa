"""`python -m jatlas compare` of three files: the matrix printed, drawn and written."""

import json
import re
import sys
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

from jatlas.cli.commands import main
from jatlas.cli.drawing import page
from jatlas.files.comparison import comparing
from jatlas.files.comparison.clusters import leaf_order
from jatlas.files.comparison.comparing import compare_files
from jatlas.files.comparison.grams import GRAMS, gram_of, grams_tested
from jatlas.files.comparison.measures import MEASURES
from jatlas.files.comparison.results import Comparison, Likeness
from jatlas.metrics import permutation_test

N = 40
QUICK = "--measures", "cka-linear", "--permutations", "9"


def spaces():
    """The first and the last are nearly the same; the second is another."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4))
    y = 0.3 * x @ rng.normal(size=(4, 4)) + rng.normal(size=(N, 4))
    return [np.float32(s) for s in (x, y, x[:, ::-1] + 0.1)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = slice(0, 34), slice(4, 40), slice(0, 40)
    names = ["a.npz", "b.npz", "c.npz"]
    for name, rows, x in zip(names, held, spaces(), strict=True):
        np.savez(name, id=np.arange(N)[rows], x=x[rows])
    return names


def linear_cka(x, y):
    x, y = (np.float64(s) - np.float64(s).mean(axis=0) for s in (x, y))
    norms = [np.linalg.norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))]
    return norms[0] ** 2 / (norms[1] * norms[2])


def test_the_matrix_is_printed_written_and_drawn(files, capsys, tmp_path):
    written = ["x.json", "x.png", "x.html"]
    to = ["--out", written[0], "--picture", written[1], "--page", written[2]]
    assert main(["compare", *files, *QUICK, *to, "--cluster"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "30 samples in all 3 files, 30 of them compared, the same for all pairs"
    )
    common = [s[4:34] for s in spaces()]
    exact = np.array([[linear_cka(x, y) for y in common] for x in common])
    order = [0, 2, 1]
    assert lines[1].split() == ["cka-linear", "a.npz", "c.npz", "b.npz"]
    for line, i in zip(lines[2:5], order, strict=True):
        assert line.split() == [files[i], *(f"{exact[i, k]:.3f}" for k in order)]
    assert "the largest is " in lines[5]
    assert lines[6:] == ["wrote " + ", ".join(written)]
    numbers = json.loads((tmp_path / "x.json").read_text())
    assert (numbers["files"], numbers["order"]) == (files, order)
    measured = numbers["measures"]["cka-linear"]
    np.testing.assert_allclose(measured["values"], exact, atol=1e-5)
    assert measured["p"][0][0] is None
    assert measured["p"][0][2] == pytest.approx(0.1)
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    html = (tmp_path / "x.html").read_text()
    assert html.count("<td style=") == 9
    assert f">{exact[0, 1]:.3f}</td>" in html
    assert "rgb(8, 69, 148); color: white" in html
    assert "the same for all pairs" in html


@pytest.mark.slow
def test_intervals_are_printed_by_pair_and_written(files, capsys, tmp_path):
    more = ["--bootstrap", "20", "--out", "x.json"]
    assert main(["compare", *files, *QUICK, *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = ["measure", "files", "value", "by", "chance", "p", "95", "%"]
    assert lines[5].split() == head
    exact = linear_cka(*(s[4:34] for s in spaces()[:2]))
    row = ["cka-linear", "a.npz", "b.npz", f"{exact:.3f}"]
    assert lines[6].split()[:4] == row
    assert lines[10] == "95 %: intervals from 20 random halves"
    numbers = json.loads((tmp_path / "x.json").read_text())
    measured = numbers["measures"]["cka-linear"]
    low, high = (float(x) for x in lines[6].split()[-3::2])
    assert measured["low"][0][1] == pytest.approx(low, abs=6e-4)
    assert measured["high"][1][0] == pytest.approx(high, abs=6e-4)
    assert low < exact < high


def test_all_pairs_are_measured_on_the_same_samples(files, monkeypatch):
    def sums(x, y):
        return x[:, 0].sum() + 100 * y[:, 0].sum()

    monkeypatch.setattr(comparing, "MEASURES", {"sums": lambda x, y, k: sums})
    found = compare_files(files, samples=9, permutations=1)
    assert (found.common, found.compared, found.files) == (30, 9, tuple(files))
    first = [s[4:34, 0].astype(float) for s in spaces()]
    rows = np.sort(np.random.default_rng(0).permutation(np.arange(4, 34))[:9]) - 4
    totals = [x[rows].sum() for x in first]
    expected = {
        (i, j): totals[i] + 100 * totals[j] for i, j in [(0, 1), (0, 2), (1, 2)]
    }
    for one in found.likenesses:
        assert one.value == pytest.approx(expected[one.files], rel=1e-4)
    assert found.matrix("sums")[2, 1] == found.matrix("sums")[1, 2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "files must be two paths or more"),
        (["b.npz", "--out", "x.txt"], "--out x.txt must end in .json"),
        (["b.npz", "--picture", "x.gif"], "must end in .png or .svg or .pdf"),
        (["b.npz", "--page", "b.npz/x.html"], "it is a file, and no folder"),
        (
            ["b.npz", "--bootstrap", "1"],
            "must be a whole number of 2 or more",
        ),
        (["b.npz", "far.npz"], "4 samples are in all 3 files"),
        (["b.npz", "--samples", "20", "--bootstrap", "9"], "must be 24 at least"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, capsys, more, message):
    np.savez("far.npz", id=np.arange(30, 50), x=np.ones((20, 2)))
    assert main(["compare", "a.npz", *more, "--measures", "neighbors"]) == 2
    assert message in capsys.readouterr().err


def test_what_draws_pictures_is_named_where_it_is_missing(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["compare", *files, *QUICK, "--picture", "x.png"]) == 2
    assert "pip install 'jatlas[plots]'" in capsys.readouterr().err


def test_an_html_page_shows_names_as_they_are():
    one = Likeness("cka", np.nan, 0.1, np.nan)
    found = Comparison(4, 4, (one,), (), ("<a>.npz", "b"))
    html = page({"cka": found.matrix("cka")}, ["<a>.npz", "b"], [0, 1], {}, [])
    assert "&lt;a&gt;.npz" in html
    assert "nan" in html
    assert found.numbers()["measures"]["cka"]["values"] == [[1.0, None], [None, 1.0]]


class Tags(HTMLParser):
    """The tags of a page with their attributes, and whether each is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def luminance(color):
    c = np.array(color) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(c @ [0.2126, 0.7152, 0.0722])


def test_numbers_stand_out_from_every_color_of_a_cell():
    """By 4.5:1, as WCAG 2.2 asks of text."""
    values = np.append(np.linspace(-0.2, 1.2, 141), np.nan)
    html = page({"cka": np.tile(values, (142, 1))}, ["a"] * 142, range(142), {}, [])
    cells = re.findall(r"rgb\((\d+), (\d+), (\d+)\); color: (\w+)", html)
    assert len(cells) == 142**2
    for *color, ink in set(cells):
        ground = luminance([int(part) for part in color])
        high, low = (1.0, ground) if ink == "white" else (ground, 0.0)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_an_html_page_is_read_without_a_mouse_on_a_phone_and_in_the_dark():
    details = {("cka", 0, 1): ["0.500", "0.100", "0.010", "0.4 to 0.6"]}
    html = page({"cka": np.full((2, 2), 0.5)}, ["<a>", "b"], [0, 1], details, ["note"])
    tags = Tags(html)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
        tags.of("meta")
    )
    assert len(tags.of("main")) == 1
    assert "prefers-color-scheme: dark" in html
    # Tables scroll in boxes that the keyboard reaches and a screen reader names.
    boxes = [box for box in tags.of("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(tags.of("table")) == 2
    for box, table in zip(boxes, tags.of("table"), strict=True):
        assert (box["role"], box["tabindex"]) == ("region", "0")
        assert box["aria-label"] == table["aria-label"] != ""
    assert {heading["scope"] for heading in tags.of("th")} == {"row", "col"}
    # What a mouse finds in a title also stands in a table.
    figures = html[html.index("<details>") :]
    assert '<th scope="row">&lt;a&gt; and b</th>' in figures
    for cell in details["cka", 0, 1]:
        assert f"<td>{cell}</td>" in figures
    assert 'title="value 0.500, by chance 0.100, p 0.010, 95 % 0.4 to 0.6"' in html


def test_groups_stand_together():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.arange(12) % 3)
    noise = rng.uniform(0, 0.1, (12, 12))
    alike = 0.5 * (group[:, None] == group) + (noise + noise.T) / 2
    ordered = group[leaf_order(alike)]
    assert (np.diff(ordered) != 0).sum() == 2
    assert leaf_order(np.ones((1, 1))) == [0]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
def test_a_space_with_itself_has_the_value_one_and_pairs_are_symmetric(name):
    x, y, _ = map(jax.numpy.asarray, spaces())
    for a, b, expected in ((x, x, 1.0), (x, y, None)):
        value = float(MEASURES[name](a, b, 5)(a, b))
        if expected is None:
            expected = MEASURES[name](b, a, 5)(b, a)
        assert value == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * ("rbf" in name)) for name in GRAMS],
)
def test_products_of_matrices_are_the_measure(name):
    x, y, _ = map(jax.numpy.asarray, spaces())
    expected = MEASURES[name](x, y, 5)
    a, b = (gram_of(z, GRAMS[name], 5) for z in (x, y))
    key = jax.random.key(0)
    found = grams_tested(key, a, b, 5)
    exact = permutation_test(key, expected, x, y, permutations=5)
    np.testing.assert_allclose(found.value, exact.value, atol=2e-6)
    np.testing.assert_allclose(found.null, exact.null, atol=2e-6)
    assert np.isnan(gram_of(jax.numpy.ones((9, 2)), GRAMS[name], 5)).any() == (
        name != "neighbors"
    )


@pytest.mark.parametrize("rounding", [0, 1e-7, -1e-7])
@pytest.mark.parametrize("low", [0.3, 0.300005])
def test_equal_similarities_keep_the_order_of_the_files(low, rounding):
    similar = np.array([[1, low, 0.9], [low, 1, low], [0.9, low, 1]])
    similar[0, 1] += rounding
    similar[1, 0] += rounding
    assert leaf_order(similar) == [0, 2, 1]
