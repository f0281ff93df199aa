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


def cells(text, space):
    line = next(line for line in text.splitlines() if f"`{space}` |" in line)
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_cells_are_mean_and_deviation_oracle_and_blind_side_by_side():
    text = table(some_rows()).split("\n## ")[1]
    assert cells(text, "original_abs") == ["0.805 ± 0.007"] * 2
    assert cells(text, "merged") == ["0.900 ± 0.000", "0.700 ± 0.000"]
    assert cells(text, "mean_abs") == ["n/a", "0.755 ± 0.007"]
    assert "| space | accuracy, oracle | accuracy, blind |" in text


def test_one_seed_has_no_deviation():
    text = table(some_rows(seeds=(0,)))
    assert cells(text, "merged") == ["0.900", "0.700"]


def test_the_words_are_the_differences_seed_by_seed():
    text = table(some_rows())
    assert "atlas is 9.5 ± 0.7 points above the end-to-end space" in text
    assert "end-to-end space is 12.0 ± 0.0 points above where it was" in text
    assert "and the atlas 2.5 ± 0.7 points below that" in text
    assert "(`blind`), the atlas is 10.5 ± 0.7 points below end-to-end" in text
    assert "5.5 ± 0.7 points below the mean of the embeddings" in text
    assert "4.5 ± 0.7 points above their concatenation" in text


def test_where_the_atlas_gains_the_words_say_that_not_all_of_it_is_the_merge_s():
    text = table(some_rows())
    assert (
        "points above the end-to-end space. The gain is not from merging alone: given "
        "only the task, without merging, the end-to-end space is 12.0 ± 0.0 points "
        "above"
    ) in text


def test_where_the_atlas_gains_nothing_the_words_speak_of_no_gain():
    rows = some_rows()
    for row in rows:
        if row["space"] == "merged":
            row["value"] -= 0.15
    text = table(rows)
    assert (
        "the atlas is 5.5 ± 0.7 points below the end-to-end space. Given only the "
        "task, without merging, the end-to-end space is 12.0 ± 0.0 points above "
        "where it was, and the atlas 17.5 ± 0.7 points below that."
    ) in text
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
    assert "their concatenation. What the table does not show" in text


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
    assert "not comparable with their concatenation" in text


def test_what_the_other_control_says_is_said_where_it_was_measured():
    assert "If it learns" not in table(some_rows())
    other = [
        row | {"space": "original_abs_task_embedding", "value": 0.97}
        for row in some_rows()
        if row["space"] == "merged" and row["protocol"] == "oracle"
    ]
    text = table(some_rows() + other)
    assert "learns what the tasks are, the atlas is 7.0 ± 0.0 points below it." in text


def test_charts_of_unequal_dimensions_have_no_mean_to_be_compared_with():
    rows = [row for row in some_rows() if row["space"] != "mean_abs"]
    text = table(rows)
    assert "not comparable with the mean of the embeddings" in text
    assert "`mean_abs`" not in text.split("\n## ")[1]


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
