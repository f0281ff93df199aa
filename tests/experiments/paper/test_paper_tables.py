"""The table says what the rows say."""

import pytest

from experiments.paper import tables

SETTINGS = {
    "options": {
        "dataset": "digits",
        "settings": ["S4_N2", "P80_20"],
        "charts": ["cnn"],
        "num_anchors": 8,
        "seeds": [0, 1],
    },
    "versions": {"jax": "9.9"},
    "device": "cpu: cpu (x86_64)",
}
ROW = {"scenario": "A", "setting": "S4_N2"}
ACCURACY = {
    ("oracle", "original_abs"): 0.80,
    ("blind", "original_abs"): 0.80,
    ("oracle", "original_abs_task"): 0.92,
    ("oracle", "merged"): 0.90,
    ("blind", "merged"): 0.70,
    ("blind", "mean_abs"): 0.75,
    ("blind", "concat_abs"): 0.65,
}


def table(rows, **changes):
    settings = SETTINGS | {"options": SETTINGS["options"] | changes}
    return tables.table({"settings": settings, "rows": rows})


def some_rows(seeds=(0, 1)):
    """Accuracies as above, a point more for each seed; merged's stay where they are."""
    return [
        {
            **ROW,
            "protocol": protocol,
            "space": space,
            "metric": "accuracy",
            "seed": seed,
            "value": value + (0.01 * seed if space != "merged" else 0),
        }
        for (protocol, space), value in ACCURACY.items()
        for seed in seeds
    ]


def in_summary(text):
    """The gaps of the first setting, by the heads of the columns."""
    summary = text.split("\n## ")[1]
    assert summary.startswith("Summary\n")
    lines = [line for line in summary.splitlines() if line.startswith("| ")]
    head, _, first, *_ = [line.strip("| ").split(" | ") for line in lines]
    return dict(zip(head, first, strict=True))


def results(rows, **more):
    return {"settings": SETTINGS, "rows": rows, **more}


def cells(text, space):
    line = next(line for line in text.splitlines() if f"`{space}` |" in line)
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_cells_are_mean_and_deviation_oracle_and_blind_side_by_side():
    text = table(some_rows()).split("\n## ")[2]
    assert cells(text, "original_abs") == ["0.805 ± 0.007"] * 2
    assert cells(text, "merged") == ["0.900 ± 0.000", "0.700 ± 0.000"]
    assert cells(text, "mean_abs") == ["n/a", "0.755 ± 0.007"]
    assert "| space | accuracy, oracle | accuracy, blind |" in text


def test_one_seed_has_no_deviation():
    text = table(some_rows(seeds=(0,)))
    assert cells(text, "merged") == ["0.900", "0.700"]


def test_the_summary_is_the_differences_seed_by_seed():
    assert in_summary(table(some_rows())) == {
        "setting": "A S4_N2: 4 classes shared, 2 novel a task",
        "atlas less end-to-end, oracle": "+9.5 ± 0.7",
        "task known less end-to-end, oracle": "+12.0 ± 0.0",
        "atlas less task known, oracle": "\u22122.5 ± 0.7",
        "atlas less end-to-end, blind": "\u221210.5 ± 0.7",
        "atlas less mean of embeddings, blind": "\u22125.5 ± 0.7",
        "atlas less concatenation, blind": "+4.5 ± 0.7",
    }


def test_the_summary_says_each_thing_once_for_all_settings():
    three = ["S4_N2", "S3_N2", "S2_N2"]
    rows = [row | {"setting": name} for name in three for row in some_rows()]
    for row in rows:
        if row["setting"] == "S2_N2" and row["protocol"] == "oracle":
            row["value"] -= 0.15 * (row["space"] == "merged")
    scored = [row | {"metric": "scored_rows", "value": 200.0} for row in rows]
    text = table(rows + scored, settings=three)
    summary = text.split("\n## ")[1]
    assert sum(line.startswith("| A S") for line in summary.splitlines()) == 3
    for said in (
        "With an oracle, the atlas is in 2 of 3 settings above end-to-end.",
        "Given only the task, without merging, end-to-end is in 3 of 3 settings above",
        "The atlas is in 0 of 3 settings above end-to-end with the task known.",
        "Without an oracle, the atlas is in 0 of 3 settings above end-to-end, in 0 of "
        "3 settings above the mean of the embeddings and in 3 of 3 settings above "
        "their concatenation.",
        "standard error",
        "no promise of accuracy",
    ):
        assert summary.count(said) == text.count(said) == 1


def test_where_the_atlas_gains_the_words_say_that_not_all_of_it_is_the_merge_s():
    assert (
        "With an oracle, the atlas is above end-to-end.\n- The gain is not from "
        "merging alone. Given only the task, without merging, end-to-end is above "
        "where it was."
    ) in table(some_rows())


def test_where_the_task_alone_gains_nothing_the_gain_is_not_said_to_be_its():
    rows = some_rows()
    for row in rows:
        if row["space"] == "original_abs_task":
            row["value"] -= 0.2
    text = table(rows)
    assert "end-to-end is not above where it was." in text
    assert "not from merging alone" not in text


def test_where_the_atlas_gains_nothing_the_words_speak_of_no_gain():
    rows = some_rows()
    for row in rows:
        if row["space"] == "merged":
            row["value"] -= 0.15
    text = table(rows)
    gaps = in_summary(text)
    assert gaps["atlas less end-to-end, oracle"] == "\u22125.5 ± 0.7"
    assert gaps["task known less end-to-end, oracle"] == "+12.0 ± 0.0"
    assert gaps["atlas less task known, oracle"] == "\u221217.5 ± 0.7"
    assert (
        "With an oracle, the atlas is not above end-to-end.\n- Given only the" in text
    )
    assert "not from merging alone" not in text


@pytest.mark.parametrize(("seeds", "error"), [
    ((0,), "2.8"),  # sqrt(0.8 x 0.2 / 200)
    ((0, 1), "2.8"),  # sqrt(0.805 x 0.195 / 200)
])  # fmt: skip
def test_the_words_say_which_gaps_are_chance(seeds, error):
    scored = [
        row | {"metric": "scored_rows", "value": 200.0} for row in some_rows(seeds)
    ]
    text = table(some_rows(seeds) + scored)
    words = (
        f"An accuracy of one seed is on 200 rows, its standard error {error} points:"
    )
    assert words in text


def test_where_the_number_of_rows_is_not_known_nothing_is_said_of_chance():
    text = table(some_rows())
    assert "standard error" not in text
    assert "their concatenation.\n- The tables do not show other data" in text


def test_spaces_that_charts_of_unequal_width_lack_have_a_reason():
    reason = "they need embeddings of one width, and these charts' widths differ."
    lacking = [row for row in some_rows() if row["space"] != "mean_abs"]
    assert reason in table(lacking)
    assert reason in tables.cautions(results(lacking))[-1]
    assert reason not in table(some_rows())
    assert tables.cautions(results(some_rows())) == []


def trained(best, loss, chart=1, seed=0):
    training = {
        "chart": chart, "kind": "cnn", "epochs": 6, "max_epochs": 6, "num_classes": 4,
        "best_epoch": best, "train_loss": 0.1, "validation_loss": loss,
    }  # fmt: skip
    return {"unit": f"A_S4_N2_seed{seed}", "training": [training]}


def test_charts_that_were_still_improving_or_learned_nothing_are_counted():
    units = [trained(6, 0.5), trained(4, 0.75, seed=1), trained(2, 1.38, chart=2)]
    whole = results(some_rows(), units=units)
    first, second = tables.cautions(whole)
    assert first.startswith("1 of 3 charts were stopped by their most epochs while")
    assert second.startswith("1 of 3 charts learned next to nothing: ")
    text = tables.table(whole)
    assert first in text
    assert second in text
    assert "| A S4_N2, chart 1 | cnn | 6, 6 | 6, 4 | 6 | 0.500, 0.750 | 1.386 |" in text
    assert "| A S4_N2, chart 2 | cnn | 6 | 2 | 6 | 1.380 | 1.386 |" in text


def test_the_end_to_end_chart_of_a_seed_is_counted_once():
    units = [trained(6, 0.5, "end-to-end"), trained(6, 0.5, "end-to-end")]
    (sentence,) = tables.cautions(results(some_rows(), units=units))
    assert sentence.startswith("1 of 1 charts")


def test_without_samples_to_stop_by_a_chart_is_not_called_unfinished():
    whole = results(some_rows(), units=[trained(6, None)])
    assert tables.cautions(whole) == []
    assert "| 6 | 6 | 6 | n/a | 1.386 |" in tables.table(whole)


def test_first_of_all_are_the_accuracies_of_all_settings_that_were_run():
    other = [row | {"scenario": "C", "setting": "T2"} for row in some_rows()]
    for row in other:
        row["value"] /= 2
    text = table(some_rows() + other, settings=["S4_N2", "P80_20", "T2"])
    first = text.split("\n## ")[0]
    names = "A S4_N2, oracle | A S4_N2, blind | C T2, oracle | C T2, blind"
    assert f"\n| accuracy | {names} |\n" in first
    expected = ["0.900 ± 0.000", "0.700 ± 0.000", "0.450 ± 0.000", "0.350 ± 0.000"]
    assert cells(first, "merged") == expected
    assert cells(first, "mean_abs") == ["n/a", "0.755 ± 0.007", "n/a", "0.378 ± 0.004"]


def test_a_setting_that_was_not_run_has_no_section():
    text = table(some_rows())
    assert "## A, S4_N2: 4 classes shared, 2 novel a task" in text
    assert "P80_20" not in text
    assert "P80_20" not in text


def test_what_is_no_number_is_said_to_be_none():
    rows = some_rows(seeds=(0,))
    for row in rows:
        if row["space"] == "concat_abs":
            row["value"] = None
    text = table(rows)
    assert cells(text, "concat_abs") == ["n/a", "nan"]
    assert in_summary(text)["atlas less concatenation, blind"] == "n/a"
    assert "their concatenation" not in text


def test_what_the_other_control_says_is_said_where_it_was_measured():
    assert "atlas less task learned" not in table(some_rows())
    other = [
        row | {"space": "original_abs_task_embedding", "value": 0.97}
        for row in some_rows()
        if row["space"] == "merged" and row["protocol"] == "oracle"
    ]
    text = table(some_rows() + other)
    assert in_summary(text)["atlas less task learned, oracle"] == "\u22127.0 ± 0.0"


def test_charts_of_unequal_dimensions_have_no_mean_to_be_compared_with():
    rows = [row for row in some_rows() if row["space"] != "mean_abs"]
    text = table(rows)
    assert "atlas less mean of embeddings, blind" not in in_summary(text)
    assert "the mean of the embeddings" not in text
    assert "`mean_abs`" not in text.split("\n## ")[2]


def test_the_published_figures_and_the_direction_facts_stand_at_the_end():
    rows = [row | {"setting": "S80_N10"} for row in some_rows()]
    told = {"dataset": "cifar100", "num_anchors": 128, "settings": ["S80_N10"]}
    text = table(rows, **told)
    *_, section, beside, facts = text.split("\n## ")
    assert section.startswith("A, S80_N10: 80 classes shared, 10 novel a task")
    assert beside.startswith("Beside the published: cifar100, cnn")
    assert "| `merged` | accuracy | 0.900 | 0.434 | +0.466 |" in beside
    assert facts.startswith("Direction facts")
    assert "atlas above end-to-end | holds: 0.900 against 0.805 |" in facts


def test_the_head_says_what_was_run():
    head = table(some_rows()).split("##")[0]
    for words in (
        "digits",
        "Charts: cnn; 8 anchors, seeds 0, 1",
        "cpu: cpu (x86_64)",
        "jax 9.9",
    ):
        assert words in head


@pytest.mark.parametrize(
    ("metric", "name"),
    [(m, name) for table in tables.METRICS for m, name in table.items()],
)
def test_every_metric_has_its_columns(metric, name):
    rows = [row | {"metric": metric} for row in some_rows()]
    rows += some_rows()  # the words need accuracies
    text = table(rows)
    assert f"{name}, oracle | {name}, blind |" in text
