"""The text is made of the rows, and of nothing else."""

import re

import numpy as np
import pytest
from blind_cells import made_up

from experiments.blind.methods import METHODS
from experiments.blind.present import LEARNED_FROM
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.report import tables, values
from experiments.blind.report.tables import PROBE_TITLES
from experiments.blind.scores import PROBES
from experiments.blind.trust import DOUBTS

SETTINGS = {
    "options": {"dataset": "tiny", "seeds": [0, 1, 2]},
    "notes": ["Only the first 240 training samples."],
}
A, C = ("A", "S1_N1"), ("C", "T2")


@pytest.fixture(scope="module")
def rows():
    return made_up()


def table(text, head):
    """The lines of the one table with this head, each a list of cells."""
    (found,) = [part for part in text.split("\n\n") if part.startswith(f"| {head}")]
    lines = [line[2:-2].split(" | ") for line in found.strip().splitlines()]
    assert set(lines.pop(1)) == {"---"}
    assert len({len(line) for line in lines}) == 1
    return lines


def over_seeds(values):
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def picked(rows, setting, **wanted):
    """The values of the rows in question, by seed."""
    wanted |= dict(zip(("scenario", "setting"), setting, strict=True))
    return [
        r["value"] for r in rows if all(r.get(name) == v for name, v in wanted.items())
    ]


def on_test(rows, setting, name, probe):
    method, _, role = name.partition(" ")
    about = {"method": method, "role": role or "at", "probe": probe, "part": "test"}
    return picked(rows, setting, **about)


def test_the_head_says_which_data_and_seeds_and_what_must_be_known(rows):
    text = text_of(rows)
    assert text.startswith("# Blind: tiny\n")
    assert "over seeds 0, 1, 2. Only the first 240 training samples.\n" in text
    titles = ["Goals", "All spaces", "Some charts only", "When not to trust it"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == titles
    assert "nan" not in text


def text_of(rows):
    return tables.text({"settings": SETTINGS, "rows": rows})


@pytest.mark.parametrize("probe", PROBES)
def test_every_space_has_its_accuracies_by_every_classifier(rows, probe):
    head, *lines = table(text_of(rows), PROBE_TITLES[probe])
    assert head == [PROBE_TITLES[probe], "A S1_N1", "C T2"]
    expected = {
        method.title: [over_seeds(on_test(rows, s, name, probe)) for s in (A, C)]
        for name, method in METHODS.items()
    } | {
        f"{method.title}, M D wide": [
            over_seeds(on_test(rows, s, f"{name} full", probe)) for s in (A, C)
        ]
        for name, method in METHODS.items()
        if method.wide
    }
    found = {line[0]: line[1:] for line in lines}
    assert len(found) == len(lines) == len(expected) + 1
    assert found.pop("best single chart")
    assert found == expected


def test_the_best_chart_is_chosen_by_one_part_and_reported_on_the_other(rows):
    rows = [dict(row) for row in rows]
    for row in rows:
        if row.get("method") == "chart0" and row["part"] == "choose":
            row["value"] = 0.95

    def of(chart, seed, part):
        about = {"method": f"chart{chart}", "seed": seed, "part": part}
        (value,) = picked(rows, A, probe="probe", **about)
        return value

    expected, best = {}, {}
    for seed in range(3):
        chosen = max(range(3), key=lambda m: of(m, seed, "choose"))
        expected[seed] = of(chosen, seed, "test")
        best[seed] = max(of(m, seed, "test") for m in range(3))
    assert expected != best  # so that the two cannot be confused
    assert values.values(rows, A, "best_chart", "at", "probe") == expected
    lines = table(text_of(rows), PROBE_TITLES["probe"])
    assert lines[1][:2] == ["best single chart", over_seeds([*expected.values()])]


def test_accuracy_by_charts_is_a_mean_over_sets_then_over_seeds(rows):
    text = text_of(rows)
    for setting, most in ((A, 3), (C, 2)):
        head, *lines = table(text, f"{' '.join(setting)} | learned from rows of")
        assert head[2:] == [f"{size} of {most}" for size in range(1, most + 1)]
        expected = {}
        for method, title in PRESENT.items():
            for learned, words in LEARNED_FROM.items():
                about = {"of": "present", "method": method, "learnt_from": learned}
                expected[title, words] = [
                    over_seeds(
                        [
                            np.mean(of_size(rows, setting, size, seed=seed, **about))
                            for seed in range(3)
                        ]
                    )
                    for size in range(1, most + 1)
                ]
        own = lines.pop()
        assert own[:2] == ["each chart's own probe", "the chart"]
        assert own[2:] == [single_chart_probe(rows, setting), *[""] * (most - 1)]
        assert {(line[0], line[1]): line[2:] for line in lines} == expected


def single_chart_probe(rows, setting):
    """Of each seed the mean over charts of what a chart's own probe is on it."""
    charts = {A: 3, C: 2}[setting]
    of = [on_test(rows, setting, f"chart{m}", "probe") for m in range(charts)]
    return over_seeds(np.mean(of, axis=0))


def of_size(rows, setting, size, **wanted):
    mine = [r for r in rows if len(r.get("charts", ())) == size]
    return picked(mine, setting, **wanted)


def test_trust_is_told_by_doubt(rows):
    lines = table(text_of(rows), "atlas with evidence | A")[1:]
    found = {line[0]: line[1] for line in lines}
    assert len(found) == len(lines) == 4 + 3 * len(DOUBTS)
    mine = [r for r in rows if r["of"] == "trust" and r["scenario"] == "A"]

    def told(what):
        return over_seeds([what(r) for r in mine])

    expected = {
        "temperature, fitted on validation samples": told(lambda r: r["temperature"]),
        "calibration error": told(lambda r: r["calibration_error"]),
        "calibration error at that temperature": told(
            lambda r: r["calibration_error_scaled"]
        ),
        "risk of all": told(lambda r: r["risk"]["probability"][-1]),
    }
    for doubt in DOUBTS:
        expected |= {
            f"errors found by {doubt} (AUC)": over_seeds(
                [r["errors_found"][doubt] for r in mine]
            ),
            f"unknown samples found by {doubt} (AUC)": over_seeds(
                [r["unknown_found"][doubt] for r in mine]
            ),
            f"risk of the half with least doubt by {doubt}": over_seeds(
                [r["risk"][doubt][9] for r in mine]
            ),
        }
    assert found == expected


@pytest.mark.parametrize(
    ("wanted", "is_told"),
    [
        ({"method": "evidence", "role": "at", "part": "test"}, True),
        ({"method": "gcca", "probe": "ridge", "part": "test"}, True),
        ({"method": "atlas", "role": "full", "part": "test"}, True),
        ({"of": "present", "charts": [1]}, True),
        ({"method": "evidence", "part": "choose"}, False),
        ({"method": "evidence", "role": "curve"}, False),
    ],
)
def test_another_value_is_another_text(rows, wanted, is_told):
    before = text_of(rows)
    changed = [
        r | {"value": r["value"] / 2} if wanted.items() <= r.items() else r
        for r in rows
    ]
    assert changed != rows
    assert (text_of(changed) != before) is is_told


def test_what_was_not_measured_is_told_apart(rows):
    """Of two charts no class is one's alone; without an error none can be found."""
    nothing = dict.fromkeys(DOUBTS)
    faultless = [
        r | {"errors_found": nothing} if r.get("errors_found") and r["seed"] < 2 else r
        for r in rows
    ]
    found = {
        line[0]: line[1:] for line in table(text_of(faultless), "atlas with evidence")
    }
    for doubt in DOUBTS:
        unknown = found[f"unknown samples found by {doubt} (AUC)"]
        assert unknown[1] == "n/a" != unknown[0]
        # One seed is left.
        errors = found[f"errors found by {doubt} (AUC)"]
        last = [r["errors_found"][doubt] for r in rows[::-1] if r["of"] == "trust"]
        assert errors[1] == f"{last[0]:.3f}"
    none = [r | {"errors_found": nothing} if r["of"] == "trust" else r for r in rows]
    found = table(text_of(none), "atlas with evidence")
    assert ["errors found by residual (AUC)", "n/a", "n/a"] in found
