"""The table says what the rows say."""

import pytest

from experiments import report

SETTINGS = {
    "options": {"dataset": "digits", "num_anchors": 8, "seeds": [0, 1]},
    "versions": {"jax": "9.9"},
    "device": "cpu: cpu (x86_64)",
}
TITLES = {("A", "S4_N2"): "shared", ("B", "P80_20"): "not run"}
ACCURACY = {
    ("oracle", "original_abs"): 0.80,
    ("blind", "original_abs"): 0.80,
    ("oracle", "original_abs_task"): 0.92,
    ("oracle", "merged"): 0.90,
    ("blind", "merged"): 0.70,
    ("blind", "mean_abs"): 0.75,
    ("blind", "concat_abs"): 0.65,
}


def some_rows(seeds=(0, 1)):
    """Accuracies as above, a point more for each seed; merged's stay where they are."""
    return [
        {
            "scenario": "A",
            "setting": "S4_N2",
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
    text = report.table(SETTINGS, some_rows(), TITLES)
    assert cells(text, "original_abs") == ["0.805 ± 0.007"] * 2
    assert cells(text, "merged") == ["0.900 ± 0.000", "0.700 ± 0.000"]
    assert cells(text, "mean_abs") == ["n/a", "0.755 ± 0.007"]
    assert "| space | accuracy, oracle | accuracy, blind |" in text


def test_one_seed_has_no_deviation():
    text = report.table(SETTINGS, some_rows(seeds=(0,)), TITLES)
    assert cells(text, "merged") == ["0.900", "0.700"]


def test_the_words_are_the_differences_seed_by_seed():
    text = report.table(SETTINGS, some_rows(), TITLES)
    assert "atlas is 9.5 ± 0.7 points above the end-to-end space" in text
    assert "end-to-end space is 12.0 ± 0.0 points above where it was" in text
    assert "and the atlas 2.5 ± 0.7 points below that" in text
    assert "(`blind`), the atlas is 10.5 ± 0.7 points below end-to-end" in text
    assert "5.5 ± 0.7 points below the mean of the embeddings" in text
    assert "4.5 ± 0.7 points above their concatenation" in text


def test_a_setting_that_was_not_run_has_no_section():
    text = report.table(SETTINGS, some_rows(), TITLES)
    assert "## A, S4_N2: shared" in text
    assert "not run" not in text


def test_what_is_no_number_is_said_to_be_none():
    rows = some_rows(seeds=(0,))
    for row in rows:
        if row["space"] == "concat_abs":
            row["value"] = None
    text = report.table(SETTINGS, rows, TITLES)
    assert cells(text, "concat_abs") == ["n/a", "nan"]
    assert "not comparable with their concatenation" in text


def test_the_head_says_what_was_run():
    head = report.table(SETTINGS, some_rows(), TITLES).split("##")[0]
    for words in ("digits", "8 anchors, seeds 0, 1", "cpu: cpu (x86_64)", "jax 9.9"):
        assert words in head


@pytest.mark.parametrize(
    ("metric", "name"),
    [(m, name) for table in report.METRICS for m, name in table.items()],
)
def test_every_metric_has_its_columns(metric, name):
    rows = [row | {"metric": metric} for row in some_rows()]
    rows += some_rows()  # the words need accuracies
    text = report.table(SETTINGS, rows, TITLES)
    assert f"{name}, oracle | {name}, blind |" in text
