"""Every table and figure of a README is what a published results file says."""

import json
import re
from functools import partial

import numpy as np
import pytest

from experiments.readmes import files, marks, pages

TABLE = """\
| tasks so far | 1 | 2 |
| --- | --- | --- |
| atlas, `merged` | 0.986 ± 0.003 | **-0.883** ± 0.004 |
| [no chart: pixels](a.md) | 2,064,000 | +4.1 [+1.5, +6.6] |
"""
TEXT = f"""\
# Title

<!-- table: x.y -->
{TABLE}<!-- /table -->

The atlas has 0.986<!-- = x.y: atlas, merged: 1 --> and then
0.883<!-- = -x.y: atlas,
merged: 2 --> after 2,064,000<!-- = x.y: no chart: pixels: 1 --> bytes.
"""
EVERY = [
    f"{name}.{table}"
    for name, module in pages.TABLES.items()
    for table in module.TABLES
]
COMMAND = "python -m experiments"
FILES = sorted(files.EXPERIMENTS.glob("*/published/*.json"))


def made(name):
    assert name == "x.y"
    return TABLE


renewed = partial(marks.renewed, make=made)


def with_figure(shown, address):
    return f"there are {shown}<!-- = {address} --> of them"


# The repository


@pytest.mark.parametrize(
    "page", pages.pages(), ids=lambda p: str(p.relative_to(pages.ROOT))
)
def test_a_page_says_what_the_files_say(page):
    text = page.read_text()
    assert marks.renewed(text, pages.table) == text, "run python -m experiments.readmes"


@pytest.mark.parametrize(
    "page", pages.pages(), ids=lambda p: str(p.relative_to(pages.ROOT))
)
def test_a_page_has_no_measured_figure_without_a_mark(page):
    assert marks.unmarked(page.read_text()) == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parts[-3]}/{f.stem}")
def test_a_published_file_says_how_it_came_about(file):
    results = json.loads(file.read_text())
    about = files.about(results)
    assert about.options
    assert {"jax", "numpy", "jatlas", "python"} <= about.versions.keys()
    assert about.device
    told = results.get("published", {})  # not of a file that was copied
    assert told.get("command", COMMAND).startswith(COMMAND)
    assert told.get("seconds", 1) > 0
    assert not re.search(r'"/\w+/', file.read_text()), "a path of some machine"
    assert file.stat().st_size < 1_000_000


@pytest.mark.parametrize("name", EVERY)
def test_every_table_has_figures_or_says_that_there_are_none(name):
    text = pages.table(name)
    if text.startswith("*No results yet"):
        missing = pages.ROOT / re.search(r"`(.*?)`", text)[1]
        assert missing.suffix == ".json"
        assert not missing.exists()
        return
    head, _, *rows = [r for r in text.splitlines() if r.startswith("|")]
    assert rows
    for row in rows:
        cells = row.strip("| ").split(" | ")
        assert len(row.split(" | ")) == len(head.split(" | "))
        assert set(cells[1:]) != {"n/a"}


def test_every_published_file_is_shown_somewhere():
    every = "".join(page.read_text() for page in pages.pages())
    for file in FILES:
        assert f"<!-- table: {file.parts[-3]}.runs -->" in every


def spread(values):
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


@pytest.mark.parametrize(
    ("name", "row", "column", "run", "wanted"),
    [
        (
            "paper.accuracy", "atlas, merged", "C T2, blind", "paper/fashion_mnist_7k",
            {"setting": "T2", "protocol": "blind", "space": "merged",
             "metric": "accuracy"},
        ),
        (
            "paper.cka", "mean of embeddings, mean_abs", "A S2_N2, blind",
            "paper/fashion_mnist_7k",
            {"setting": "S2_N2", "space": "mean_abs", "metric": "cka"},
        ),
        (
            "anchors.accuracy_A_S4_N2", "16", "farthest, blind",
            "anchors/fashion_mnist_7k",
            {"setting": "S4_N2", "anchors": 16, "choice": "farthest",
             "protocol": "blind", "metric": "accuracy"},
        ),
        (
            "blind.accuracy_7k", "consensus, M D wide", "C T2",
            "blind/fashion_mnist_7k",
            {"setting": "T2", "method": "consensus", "role": "full", "part": "test",
             "probe": "probe"},
        ),
        (  # of all sets of charts only single ones are kept of this setting
            "blind.one_chart_7k", "consensus with evidence", "B P80_20, drawn",
            "blind/fashion_mnist_7k",
            {"of": "present", "setting": "P80_20", "method": "consensus_evidence",
             "learnt_from": "some"},
        ),
        (
            "continual.forgetting", "atlas, oracle", "3", "continual/fashion_mnist_7k",
            {"space": "atlas", "protocol": "oracle", "step": 3, "metric": "forgetting"},
        ),
        (
            "two_encoders.images_64", "ridge map from the anchors", "recall at 10",
            "two_encoders/default",
            {"pair": "images", "num_anchors": 64, "method": "ridge",
             "metric": "recall_10"},
        ),
        (
            "federated.accuracy", "own chart, head of the atlas",
            "never seen, white-nystroem", "federated/white_nystroem",
            {"method": "atlas", "group": "unseen"},
        ),
        (
            "federated.accuracy", "all charts together, head of the atlas",
            "all classes, consensus", "federated/consensus",
            {"method": "together", "group": "all"},
        ),
        (
            "continual.accuracy", "consensus, blind", "5", "continual/fashion_mnist_7k",
            {"space": "consensus", "protocol": "blind", "step": 5,
             "metric": "accuracy"},
        ),
        (
            "federated.harder", "all charts together, head of the atlas",
            "no common class, plain", "federated/T2",
            {"method": "together", "group": "unseen"},
        ),
    ],
)  # fmt: skip
def test_a_cell_is_the_mean_over_seeds_of_its_rows(name, row, column, run, wanted):
    experiment, _, own = run.partition("/")
    file = files.EXPERIMENTS / experiment / "published" / f"{own}.json"
    by_seed = {}
    for one in json.loads(file.read_text())["rows"]:
        if wanted.items() <= one.items():
            by_seed.setdefault(one["seed"], []).append(one["value"])
    values = [np.mean(found) for found in by_seed.values()]
    assert marks.cell(pages.table(name), row, column) == spread(values)


def test_a_difference_is_paired_by_seed():
    rows = json.loads(
        (
            files.EXPERIMENTS / "paper" / "published" / "fashion_mnist_7k.json"
        ).read_text()
    )["rows"]
    found = {
        (r["space"], r["seed"]): r["value"]
        for r in rows
        if (r["setting"], r["protocol"], r["metric"]) == ("T2", "blind", "accuracy")
    }
    gaps = [100 * (found["merged", s] - found["original_abs", s]) for s in (0, 1, 2)]
    cell = marks.cell(
        pages.table("paper.differences"), "atlas less end-to-end", "C T2, blind"
    )
    assert cell == f"{np.mean(gaps):+.1f} ± {np.std(gaps, ddof=1):.1f}"


def of_run(run, **wanted):
    """The values of a published run by seed, each the mean over its rows."""
    experiment, _, name = run.partition("/")
    file = files.EXPERIMENTS / experiment / "published" / f"{name}.json"
    by_seed = {}
    for row in json.loads(file.read_text())["rows"]:
        if wanted.items() <= row.items():
            by_seed.setdefault(row["seed"], []).append(row["value"])
    return {seed: np.mean(values) for seed, values in by_seed.items()}


CONTINUAL = {"protocol": "blind", "metric": "accuracy", "step": 4}


@pytest.mark.parametrize(
    ("name", "row", "column", "ours", "theirs"),
    [
        (
            "federated.gains", "own chart, head of the atlas", "seen, less plain",
            ("federated/consensus", {"method": "atlas", "group": "seen"}),
            ("federated/plain", {"method": "atlas", "group": "seen"}),
        ),
        (
            "continual.gains", "less concatenation, blind", "4",
            ("continual/fashion_mnist_7k", CONTINUAL | {"space": "consensus"}),
            ("continual/fashion_mnist_7k", CONTINUAL | {"space": "concat"}),
        ),
    ],
)  # fmt: skip
def test_what_consensus_gains_is_paired_by_seed(name, row, column, ours, theirs):
    found, other = (of_run(run, **wanted) for run, wanted in (ours, theirs))
    points = [100 * (found[seed] - other[seed]) for seed in found]
    cell = f"{np.mean(points):+.1f} ± {np.std(points, ddof=1):.1f}"
    assert len(points) == 3
    assert marks.cell(pages.table(name), row, column) == cell


# The marks


def test_a_text_that_is_right_stays_as_it_is():
    assert renewed(TEXT) == TEXT
    assert marks.unmarked(TEXT) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("| 0.986 ± 0.003 |", "| 0.987 ± 0.003 |"),
        ("| 0.986 ± 0.003 |", "| 0.986 ± 0.004 |"),
        ("has 0.986<", "has 0.985<"),
        ("\n0.883<", "\n-0.883<"),
        ("2,064,000<", "2,064,001<"),
        (f"{TABLE}<", "<"),
        (f"{TABLE}<", f"{TABLE}{TABLE}<"),
    ],
)
def test_a_wrong_figure_is_put_right(right, wrong):
    assert TEXT.count(right) == 1
    text = TEXT.replace(right, wrong)
    assert renewed(text) == TEXT != text


@pytest.mark.parametrize(
    ("shown", "address", "right"),
    [
        ("0.9", "x.y: atlas, merged: 1", "1.0"),
        ("0.11", "x.y: atlas, merged: 1", "0.99"),
        ("0.1234", "x.y: atlas, merged: 1", "0.986"),
        ("0 ± 1", "x.y: atlas, merged: 1", "1 ± 0"),
        ("0.111 ± 0.222", "x.y: atlas, merged: 1", "0.986 ± 0.003"),
        ("1.0", "x.y: no chart: pixels: 2", "4.1"),
        ("+1.0", "x.y: no chart: pixels: 2", "+4.1"),
        ("1.0", "-x.y: no chart: pixels: 2", "-4.1"),
        ("7", "x.y: no chart: pixels: 1", "2,064,000"),
    ],
)
def test_a_figure_keeps_how_it_was_written(shown, address, right):
    assert renewed(with_figure(shown, address)) == with_figure(right, address)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (with_figure(1, "x.y: atlas: 1"), "'atlas' is not one of"),
        (with_figure(1, "x.y: atlas, merged: 3"), "'3' is not one of"),
        (with_figure(1, "x.y: 1"), "is not 'table: row: column'"),
        (with_figure("1 ± 2", "x.y: no chart: pixels: 2"), "has a spread"),
        (with_figure("some", "x.y: atlas, merged: 1"), "no figure before it"),
        ("<!-- table: x.y -->\n| a |\n", "no end"),
        ("0.1<!-- = x.y: no chart: pixels", None),
        ("<!-- /table -->", "no end"),
    ],
)
def test_a_mark_that_cannot_be_is_named(text, fault):
    if fault is None:  # not a mark at all, and so the figure has none
        text += " and 0.123"
        assert marks.unmarked(text) != []
        return
    with pytest.raises(marks.BadMark, match=fault):
        renewed(text)


@pytest.mark.parametrize(
    "figure", ["0.851 ± 0.002", "12.3 ± 1", "0.830", ".812", "-0.123"]
)
def test_a_figure_without_a_mark_is_found(figure):
    (found,) = marks.unmarked(f"It reaches {figure}, which is much.")
    assert figure in found
    assert len(marks.unmarked(f"| atlas | {figure} |\n\n{TEXT}")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "jax 0.10.2",
        "`0.001` and\n```text\n0.123 ± 0.001\n```\n",
        "shrinkage 0.3",
        "v1.234.5",
    ],
)
def test_what_is_not_measured_needs_no_mark(text):
    assert marks.unmarked(text) == []


def test_marks_in_code_are_left_alone():
    text = (
        "```markdown\n0.1<!-- = no.table: a: b -->\n```\n`<!-- table: no.table -->`\n"
    )
    assert renewed(text) == text


# The tables and the command


def test_a_run_that_is_not_there_is_said_to_be_missing(tmp_path):
    text = pages.table("continual.accuracy", tmp_path / "experiments")
    assert text == (
        "*No results yet: `experiments/continual/published/fashion_mnist_7k.json` is "
        "not there.*"
    )
    with pytest.raises(marks.BadMark, match=r"continual.*No results yet"):
        marks.renewed(
            "0.7<!-- = continual.accuracy: atlas, blind: 5 -->", lambda _: text
        )


@pytest.mark.parametrize("name", ["nowhere.accuracy", "paper.nothing", "paper"])
def test_a_table_that_is_not_there_is_named(name):
    with pytest.raises(marks.BadMark, match=name):
        pages.table(name)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository with one page and no results."""
    folder = tmp_path / "experiments" / "paper"
    folder.mkdir(parents=True)
    monkeypatch.setattr(files, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text("# Nothing\n")
    page = folder / "README.md"
    page.write_text("<!-- table: paper.accuracy -->\n<!-- /table -->\n")
    return tmp_path


def test_of_a_run_that_was_not_finished_whole_seeds_are_taken(tmp_path):
    settings = {"options": {"dataset": "digits"}, "versions": {}, "device": "cpu"}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "parts").mkdir()
    for cell, seed in [
        ("A_S4_N2", 0),
        ("C_T2", 0),
        ("A_S4_N2", 1),
        ("A_S4_N2", 10),
        ("C_T2", 10),
    ]:
        file = tmp_path / "parts" / f"{cell}_seed{seed}.json"
        file.write_text(json.dumps([{"cell": cell, "seed": seed}]))
    found = files.unfinished(tmp_path)
    assert found["settings"]["options"] == {"dataset": "digits", "seeds": [0, 10]}
    assert [(row["seed"], row["cell"]) for row in found["rows"]] == [
        (0, "A_S4_N2"), (0, "C_T2"), (10, "A_S4_N2"), (10, "C_T2"),
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(FileNotFoundError, match="has no parts"):
        files.unfinished(tmp_path / "empty")


def test_a_run_is_published_with_what_the_tables_need_and_shown(house):
    row = {"scenario": "C", "setting": "T2", "protocol": "oracle", "seed": 0}
    rows = [
        row | {"space": "merged", "metric": metric, "value": value}
        for metric, value in {"accuracy": 0.75, "silhouette": 0.5}.items()
    ]
    options = {"dataset": "digits", "out": "/some/where"}
    settings = {"options": options, "versions": {"jax": "1"}, "device": "cpu"}
    source = house / "results.json"
    source.write_text(json.dumps({"settings": settings, "rows": rows}))
    pages.publish(source, "paper/fashion_mnist_7k", "python -m experiments", 60.0)
    file = house / "experiments" / "paper" / "published" / "fashion_mnist_7k.json"
    assert json.loads(file.read_text()) == {
        "published": {
            "command": "python -m experiments",
            "seconds": 60.0,
            "cut": "1 rows that no table shows",
        },
        "settings": settings | {"options": {"dataset": "digits"}},
        "rows": rows[:1],
    }
    page = house / "experiments" / "paper" / "README.md"
    before = page.read_text()
    (said,) = pages.check()
    assert said.startswith("experiments/paper/README.md: ")
    assert page.read_text() == before
    assert pages.renew() == []
    assert "| atlas, `merged` | 0.750 |" in page.read_text()
    assert pages.check() == []


def test_all_faults_of_a_page_are_named(house, monkeypatch):
    monkeypatch.setattr(pages, "table", made)
    page = house / "experiments" / "paper" / "README.md"
    right = TEXT + "".join(
        f"\nline {number} has 0.986<!-- = x.y: atlas, merged: 1 -->.\n"
        for number in (1, 2)
    )
    page.write_text(right)
    assert pages.check() == []
    wrong = right.replace("has 0.986", "has 0.987").replace("| 1 | 2 |", "| 1 |")
    wrong += "0.5<!-- = x.y: nobody: 1 --> and 0.5<!-- = x.y: atlas, merged: 9 -->\n"
    page.write_text(wrong + "<!-- /table -->\n")
    faults = pages.check()
    assert all(f.startswith("experiments/paper/README.md: ") for f in faults)
    assert len(faults) == 7
    for part in (
        "no figure before it", "'nobody' is not one of", "'9' is not one of",
        "line 4, '| tasks so far | 1 |' should be '| tasks so far | 1 | 2 |'",
        "line 10, 'The atlas has 0.987<", "'line 1 has 0.987<", "'line 2 has 0.987<",
    ):  # fmt: skip
        assert sum(part in fault for fault in faults) == 1, part
    assert len(pages.renew()) == 3
    assert page.read_text() == wrong + "<!-- /table -->\n"


def test_a_table_that_gets_more_rows_is_one_fault(house, monkeypatch):
    monkeypatch.setattr(pages, "table", made)
    page = house / "experiments" / "paper" / "README.md"
    first, *_, last = TABLE.splitlines(keepends=True)
    page.write_text(TEXT.replace(TABLE, first + last))
    (fault,) = pages.check()
    assert "line 5" in fault
    assert "0.883" in fault
