"""The page loads nothing, shows the results' numbers, and takes no data for markup."""

import base64
import gzip
import io
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pages
import pytest
from color_vision import contrast
from pages import NASTY, TITLES
from PIL import Image
from plotly.offline import get_plotlyjs

from experiments.paper import claims, tables
from experiments.paper.page import document
from experiments.paper.plots import figures
from experiments.paper.plots.planes import planes
from experiments.paper.sections import Report, Section, Table

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Read(HTMLParser):
    """All elements with their texts, and tables as lists of lists of texts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.open, self.raw = [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(tag in ("td", "th") for tag, _ in self.open):
            self.tables[-1][-1][-1] += data
        if self.open:
            tag, attrs = self.open[-1]
            key = attrs.get("id", tag)
            self.raw[key] = self.raw.get(key, "") + data

    def text(self, name):
        return self.raw[name]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path, cells = pages.write(tmp_path_factory.mktemp("page"))
    return path, cells, path.read_text()


@pytest.fixture(scope="module")
def read(written):
    return Read(written[2])


@pytest.fixture(scope="module")
def data(read):
    return json.loads(read.text("data"))


# What it loads


def test_it_loads_nothing_from_anywhere(read):
    loads = {"src", "href", "srcset", "poster", "data", "action", "xlink:href"}
    found = [
        (tag, value)
        for tag, attributes in read.elements
        for name, value in attributes.items()
        if name in loads
    ]
    assert {tag for tag, _ in found} == {"img", "a", "link"}
    assert [v for _, v in found if not v.startswith(("data:", "#"))] == []
    assert not re.search(r"@import|url\((?!\$)", read.text("style"))
    (policy,) = (
        attributes["content"]
        for tag, attributes in read.elements
        if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_plotly_is_in_it_whole(read):
    packed = base64.b64decode(read.text("plotly"))
    assert gzip.decompress(packed).decode() == get_plotlyjs()


def test_it_is_small_and_the_same_every_time(written, tmp_path):
    path, _, text = written
    assert path.stat().st_size < 3_000_000
    again, _ = pages.write(tmp_path)
    assert again.read_text() == text


# What it says


def test_its_tables_have_the_numbers_of_the_results(read):
    """Of every setting, protocol and space, by an arithmetic of its own."""
    expected = {}
    for row in pages.rows():
        key = row["scenario"], row["setting"], row["protocol"], row["space"]
        if row["metric"] == "accuracy" and row["value"] is not None:
            expected.setdefault(key, []).append(row["value"])
    (overview,) = (t for t in read.tables if t[0][0] == "accuracy")
    compared = 0
    for line in overview[1:]:
        space = line[0].split(", ")[-1]
        for heading, cell in zip(overview[0][1:], line[1:], strict=True):
            name, protocol = heading.split(", ")
            values = expected.get((*name.split(), protocol, space))
            if values is not None:
                mean, gap = sum(values) / 2, abs(values[0] - values[1]) / 2**0.5
                assert cell == f"{mean:.3f} ± {gap:.3f}"
                compared += 1
    assert compared == len(expected) == 40


def test_it_has_every_table_of_the_markdown(read, written):
    text = tables.table({"settings": pages.SETTINGS, "rows": pages.rows()})
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    lines = [line for line in lines if not line.startswith("| ---")]
    plain = [
        [re.sub(r"[`*]", "", cell).strip() for cell in line.strip("|").split("|")]
        for line in lines
    ]
    in_page = [line for table in read.tables for line in table]
    assert len(plain) > 30
    for line in plain:
        assert line in in_page


def test_its_summary_is_what_the_tables_say_and_which_facts_hold(written):
    text = written[2]
    summary = text[text.index('<section id="summary"') : text.index('id="spaces"')]
    for (scenario, setting), title in TITLES.items():
        assert f"<th scope=row>{scenario} {setting}: {title}</th>" in summary
    for said in ("With an oracle, the atlas is", "no promise of accuracy"):
        assert summary.count(said) == 1
    facts = claims.check(pages.rows())
    for protocol in ("oracle", "blind"):
        mine = [fact for fact in facts if fact.protocol == protocol]
        held = sum(fact.holds is True for fact in mine)
        assert f"Under {protocol}, {held} of {len(mine)} hold" in summary
        assert len(mine) > 2
    assert summary.count(" against ") == sum(not fact.holds for fact in facts)


def test_settings_versions_and_device_are_all_listed(read):
    lines = [line for table in read.tables for line in table]
    for expected in (
        ["dataset", f"set {NASTY}"],
        ["seeds", "0, 1"],
        ["num_held_out", "unset"],
        ["jax", "9.9"],
        ["code", "<i>"],
        ["device", "cpu: <b>cpu</b>"],
    ):
        assert expected in lines


def test_names_from_data_are_text_and_never_markup(read, written):
    text = written[2]
    scripts = [attributes for tag, attributes in read.elements if tag == "script"]
    assert [s.get("id") for s in scripts] == ["data", "sheet", "plotly", None]
    assert {tag for tag, _ in read.elements} & {"b", "i"} == set()
    assert read.text("h1") == f"jatlas on set {NASTY}"
    assert "alert(1)</script>" not in text
    assert "Made up <b>of noise</b>." in read.text("p")


def test_markdown_with_an_image_a_link_or_html_stays_text(written, tmp_path):
    text = "![a](http://a/b.png) [c](http://d) <http://e> <img src=f>"
    table = Table([text], [[text]])
    section = Section(text, [table], notes=text)
    report = Report(text, text, text, table, section, [section], [section])
    made = document.page(report, pages.SETTINGS, [], written[1], pages.dataset(), {})
    sources = [a.get("src", a.get("href")) for _, a in Read(made).elements]
    assert all(s is None or s.startswith(("data:", "#")) for s in sources)


# What a screen reader, a keyboard and the dark make of it


def named(read, tag):
    return [attributes for name, attributes in read.elements if name == tag]


def test_every_landmark_and_table_has_a_name_of_its_own(read):
    ids = {a["id"] for _, a in read.elements if "id" in a}
    for tag in ("nav", "form", "table"):
        assert all(a["aria-label"] for a in named(read, tag))
    for section in named(read, "section"):
        assert section["aria-labelledby"] in ids
    tables = [a["aria-label"] for a in named(read, "table")]
    assert len(set(tables)) == len(tables) > 5
    pictures = [a["alt"] for a in named(read, "img")]
    assert len(set(pictures)) == len(pictures) == 3


def test_headings_go_down_by_one_and_name_every_part_that_folds(read, written):
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert written[2].count("<summary><h3>") == len(named(read, "details")) > 4


def test_cells_have_headings_of_their_column_and_of_their_row(read):
    scopes = [a.get("scope") for a in named(read, "th")]
    assert set(scopes) == {"row", "col"}
    lines = sum(len(table) - 1 for table in read.tables[:-3])  # the settings' have none
    assert scopes.count("row") == lines + sum(map(len, read.tables[-3:]))


def test_the_spaces_take_the_keyboard_and_say_how(read):
    plots = [a for a in named(read, "div") if a.get("class") == "plot"]
    assert [a["tabindex"] for a in plots] == ["0", "0"]
    for plot in plots:
        assert plot["role"] == "application"
        assert plot["aria-labelledby"] == f"{plot['id']}-title"
        assert plot["aria-describedby"] == "keys"
    assert "the arrow keys go to the next sample" in read.text("keys")
    assert "Escape" in read.text("keys")


def test_of_several_settings_all_are_folded_and_of_one_it_is_open(read, written):
    opened = ["open" in a for a in named(read, "details")]
    assert opened == [False, False, False, True, False, False]  # the facts are open
    rows = [row for row in pages.rows() if row["scenario"] == "A"]
    report = tables.report({"settings": pages.SETTINGS, "rows": rows})
    cells, data = written[1][:1], pages.dataset()
    one = document.page(report, pages.SETTINGS, rows, cells, data, {})
    assert ["open" in a for a in named(Read(one), "details")] == [False, *[True] * 3]


def variables(style):
    """The colors of the page by name, in the light, in the dark and on paper."""
    blocks = re.findall(r":root \{([^}]*)\}", style)
    each = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in blocks]
    light, dark, paper = each
    return {"light": light, "dark": light | dark, "paper": light | paper}


def longer(color):
    return color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:])


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_text_and_edges_of_the_page_stand_out_in_the_light_and_in_the_dark(
    read, scheme
):
    colors = {k: longer(v) for k, v in variables(read.text("style"))[scheme].items()}
    for ground in ("ground", "band"):
        for text in ("ink", "faint", "link", "alarm"):
            assert contrast(colors[text], colors[ground]) >= 4.5, text
        assert contrast(colors["edge"], colors[ground]) >= 3
    grounds = {s: variables(read.text("style"))[s]["ground"] for s in ("light", "dark")}
    assert grounds["light"] != grounds["dark"]


def test_marks_on_the_page_stand_out_from_their_paper(data, read):
    script = read.text("script")
    white = re.search(r"\.plot, #legend \{ background: (#fff); \}", read.text("style"))
    assert white
    colors = {color for color, _ in data["looks"]}
    colors |= set(re.findall(r'colour: "(#\w{6})"', script))
    for end in ("FEW", "MANY"):
        r, g, b = re.search(rf"{end} = \[(\d+), (\d+), (\d+)\]", script).groups()
        colors.add(f"#{int(r):02x}{int(g):02x}{int(b):02x}")
    assert len(colors) > 5
    assert min(contrast(color, "#ffffff") for color in colors) >= 3


# What it shows


def test_its_points_are_those_of_the_spaces(data, written):
    cells = written[1]
    assert [cell["name"] for cell in data["cells"]] == ["A S2_N1", "C T2"]
    for shown, cell in zip(data["cells"], cells, strict=True):
        kept = np.arange(pages.NUM_TEST) != (2 if cell.name[0] == "A" else -1)
        spaces = {name: cell.arrays[name][kept] for name in figures.DRAWN}
        for projection in ("own", "shared"):
            for name, plane in planes(spaces, projection).items():
                found = shown["planes"][projection][name]
                xy = np.stack([found["x"], found["y"]], axis=1)
                np.testing.assert_allclose(xy, plane.points, rtol=1e-3)
                assert found["axes"] == list(plane.axes)
        for name in figures.DRAWN:
            found = shown["planes"]["tsne"][name]
            xy = np.stack([found["x"], found["y"]], axis=1)
            expected = cell.arrays[f"tsne/{name}"][kept]
            np.testing.assert_allclose(xy, expected, rtol=1e-3)
        presence = [[c == "1" for c in bits] for bits in shown["presence"]]
        np.testing.assert_array_equal(np.transpose(presence), cell.presence[:, kept])


def test_a_point_has_its_samples_name_class_and_image(data, read):
    made = pages.dataset()
    _, _, packed = read.text("sheet").partition("base64,")
    with Image.open(io.BytesIO(base64.b64decode(packed))) as image:
        sheet = np.asarray(image.convert("L"))
    size = data["sheet"]
    assert (size["width"], size["height"]) == (5, 6)
    assert data["classes"] == list(pages.CLASSES)
    assert data["superclasses"] == ["even <b>", "odd"]
    for cell in data["cells"]:
        assert len(set(cell["samples"])) == len(cell["samples"]) >= 59
        for place in cell["samples"]:
            number = made.ids.tolist().index(data["ids"][place])
            assert data["labels"][place] == made.labels[number]
            row, column = divmod(place, size["columns"])
            shown = sheet[row * 6 : row * 6 + 6, column * 5 : column * 5 + 5]
            np.testing.assert_array_equal(shown, made.images[number, ..., 0])


# What is refused

EMPTY = Report("x", "x", "x", Table(["x"], []), Section("x", []), [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": np.arange(1, 61)}, "labels are not those of these samples"),
        ({"sample": np.arange(5)}, r"same samples; got \[60, 5, 60\]"),
        ({"presence": np.ones((3, 7), bool)}, r"same samples; got \[60, 60, 7\]"),
        ({"arrays": None}, "there is no t-SNE of"),
    ],
    ids=["other samples", "too few", "presence", "t-SNE"],
)
def test_a_cell_that_does_not_belong_together_is_refused(written, change, message):
    first = written[1][0]
    if "arrays" in change:
        bare = {k: v for k, v in first.arrays.items() if not k.startswith("tsne")}
        change = {"arrays": bare}
    cell = first._replace(**change)
    with pytest.raises(ValueError, match=message):
        document.page(EMPTY, pages.SETTINGS, [], [cell], pages.dataset(), {})
