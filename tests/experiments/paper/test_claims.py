"""The direction facts: all hold of what was published, and are told from others."""

import math
from collections import Counter

import pytest

from experiments.paper import claims, reference
from experiments.paper.claims import CLAIMS
from experiments.paper.sections import in_markdown


def rows_of(figures, protocol="oracle", seed=0):
    return [
        {
            "scenario": scenario, "setting": setting, "protocol": protocol,
            "space": space, "metric": metric, "seed": seed, "value": value,
        }
        for scenario, settings in figures.items()
        for setting, spaces in settings.items()
        for space, metrics in spaces.items()
        for metric, value in metrics.items()
    ]  # fmt: skip


@pytest.mark.parametrize("dataset", ["cifar100", "tiny_imagenet"])
@pytest.mark.parametrize("chart", ["cnn", "efficientnet"])
def test_all_hold_in_every_cell_that_was_published(dataset, chart):
    """Of A 20 cells in all, each with six facts, and the CKA of neighbours."""
    facts = claims.check(rows_of(reference.FIGURES[dataset][chart]))
    assert all(fact.holds for fact in facts), [f for f in facts if not f.holds]
    cells = {"cifar100": 8, "tiny_imagenet": 2}[dataset]
    count = Counter(fact.scenario for fact in facts)
    with_more_shared = {"cifar100": 6, "tiny_imagenet": 1}[dataset]
    assert count == {"A": 6 * cells + with_more_shared, "B": 3, "C": 5}


FIGURES = {
    "A": {
        "S4_N2": {
            "merged": {
                "cka_shared": 0.9, "cka_novel": 0.8, "separability": 3.0,
                "accuracy": 0.9, "cka": 0.8,
            },
            "jumble_abs": {"separability": 2.0, "accuracy": 0.8},
            "original_abs": {
                "separability": 1.0, "accuracy": 0.7, "scored_rows": 100.0,
            },
            "original_rel": {"accuracy": 0.7},
        },
        "S2_N2": {"merged": {"cka": 0.7}},
        "S2_N1": {"merged": {"cka": 0.9}},
    }
}  # fmt: skip


def changed(space, metric, value, setting="S4_N2"):
    rows = rows_of(FIGURES)
    for row in rows:
        if (row["setting"], row["space"], row["metric"]) == (setting, space, metric):
            row["value"] = value
    return rows


def test_each_fact_is_about_its_figures():
    facts = claims.check(rows_of(FIGURES))
    assert [f.holds for f in facts] == [True] * 7
    assert [f.statement for f in facts[:6]] == [c.statement for c in CLAIMS["A"]]
    assert [(f.more, f.less) for f in facts] == [
        (0.9, 0.8), (3, 2), (3, 1), (0.9, 0.7), (0.9, 0.8), (0.7, 0.7), (0.8, 0.7)
    ]  # fmt: skip
    assert facts[6].setting == "S2_N2"
    assert facts[6].statement.endswith("below that of S4_N2")


@pytest.mark.parametrize(("space", "metric", "value", "fails"), [
    ("merged", "cka_shared", 0.8, [0]),  # equal is not enough
    ("merged", "separability", 1.5, [1]),
    ("merged", "separability", 0.5, [1, 2]),
    ("merged", "accuracy", 0.75, [4]),
    ("merged", "accuracy", 0.65, [3, 4]),
    ("original_rel", "accuracy", 0.85, [5]),
])  # fmt: skip
def test_a_fact_that_does_not_hold_is_listed_as_such(space, metric, value, fails):
    facts = claims.check(changed(space, metric, value))
    assert [n for n, fact in enumerate(facts) if not fact.holds] == fails


def test_fewer_shared_classes_are_compared_at_as_many_novel_ones():
    facts = claims.check(changed("merged", "cka", 0.81, setting="S2_N2"))
    assert [fact.setting for fact in facts if fact.holds is False] == ["S2_N2"]
    assert not [fact for fact in facts if fact.setting == "S2_N1"]


def test_what_is_within_chance_is_held_two_standard_errors_wide():
    chance = 2 * math.sqrt(2 * 0.7 * 0.3 / 100)
    below, above = (
        claims.check(changed("original_rel", "accuracy", 0.7 + chance + d))[5]
        for d in (-1e-6, 1e-6)
    )
    assert below.noise == pytest.approx(chance)
    assert (below.holds, above.holds) == (True, False)
    two = changed("original_rel", "accuracy", 0.7) + rows_of(FIGURES, seed=1)
    assert claims.check(two)[5].noise == pytest.approx(chance / math.sqrt(2))


def test_where_every_seed_scores_the_same_rows_more_seeds_are_no_more_rows():
    def noise(*seeds):
        values = {"original_abs": 0.7, "original_rel": 0.6}
        rows = [
            {"scenario": "C", "setting": "T2", "protocol": "oracle", "seed": seed,
             "space": space, "metric": metric, "value": value}
            for seed in seeds
            for space, accuracy in values.items()
            for metric, value in (("accuracy", accuracy), ("scored_rows", 100.0))
        ]  # fmt: skip
        (fact,) = (f for f in claims.check(rows) if f.noise)
        return fact.noise

    assert noise(0) == noise(0, 1, 2) == pytest.approx(2 * math.sqrt(0.42 / 100))


def test_a_figure_is_the_mean_over_seeds():
    rows = rows_of(FIGURES) + [
        row | {"seed": 1, "value": row["value"] + 0.5} for row in rows_of(FIGURES)
    ]
    assert claims.check(rows)[0].more == pytest.approx(1.15)


def test_either_protocol_is_checked_by_its_own_figures():
    rows = rows_of(FIGURES) + [
        row | {"protocol": "blind", "value": -row["value"]} for row in rows_of(FIGURES)
    ]
    facts = [f for f in claims.check(rows) if f.setting == "S4_N2"]
    assert [f.protocol for f in facts] == ["oracle"] * 6 + ["blind"] * 6
    assert [f.holds for f in facts if f.statement == CLAIMS["A"][0].statement] == [
        True, False
    ]  # fmt: skip


def test_what_is_no_number_neither_holds_nor_fails():
    fact = claims.check(changed("merged", "separability", None))[1]
    assert fact.holds is None
    assert "not known: nan against 2.000" in in_markdown(claims.section([fact]))


def test_the_list_counts_and_gives_the_figures():
    rows = changed("merged", "accuracy", 0.75)
    text = in_markdown(claims.section(claims.check(rows)))
    assert "under `oracle` 6 of 7 hold, under `blind` 0 of 0 hold" in text
    name = "accuracy: atlas above naive merge"
    assert (
        f"| A S4_N2 | {name} | **does not hold**: 0.750 against 0.800 | n/a |" in text
    )
    name = "separability: atlas above naive merge"
    assert f"| A S4_N2 | {name} | holds: 3.000 against 2.000 | n/a |" in text
    assert claims.section([]) is None
