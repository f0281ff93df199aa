"""Forgetting, the table and the figure, from rows that are made up."""

import numpy as np
import pytest

from experiments.continual import curves
from experiments.continual.forgetting import forgetting

CELL = {"scenario": "C", "setting": "T3", "protocol": "blind", "space": "atlas"}
# Accuracy after step l (rows) on task s (columns).
ACCURACY = np.array([[0.9, 0.0, 0.0], [0.95, 0.8, 0.0], [0.7, 0.85, 1.0]])
SETTINGS = {
    "options": {
        "dataset": "made up",
        "settings": ["T3"],
        "seeds": [0, 1],
        "num_held_out": 20,
        "num_anchors": 8,
    },
    "device": "paper",
}


def row(metric, step, value, **more):
    return CELL | {"seed": 0, "metric": metric, "step": step, "value": value} | more


def of_tasks(accuracy=ACCURACY, **more):
    return [
        row(f"accuracy_task_{s + 1}", step + 1, accuracy[step, s], **more)
        for step in range(3)
        for s in range(step + 1)
    ]


def some_rows():
    rows = [
        row(metric, step, 0.5 + 0.1 * step + 0.02 * seed, seed=seed)
        for metric in ("accuracy", "class_mean_accuracy", "cka")
        for step in (1, 2, 3)
        for seed in (0, 1)
    ]
    rows += [
        row("bytes", step, 1234567, seed=seed) for step in (1, 2) for seed in (0, 1)
    ]
    pixels = {"protocol": "both", "space": "pixels"}
    rows += [row("bytes", step, 784000, **pixels) for step in (1, 2, 3)]
    shared = {"protocol": "both", "space": "end_to_end"}
    return rows + [row("accuracy", step, 0.9, **shared) for step in (1, 2, 3)]


def test_forgetting_is_of_earlier_tasks_and_against_their_best():
    found = {r["step"]: r["value"] for r in forgetting(of_tasks())}
    assert found.keys() == {2, 3}
    assert found[2] == pytest.approx(0.9 - 0.95)  # it may be below zero
    assert found[3] == pytest.approx(((0.95 - 0.7) + (0.8 - 0.85)) / 2)


def test_forgetting_is_of_each_method_and_seed_by_itself():
    rows = of_tasks() + of_tasks(ACCURACY - 0.1 * np.eye(3), seed=1)
    rows += of_tasks(np.ones((3, 3)), protocol="oracle")
    found = forgetting([*rows, row("accuracy", 2, 0.1)])
    last = {(r["protocol"], r["seed"]): r["value"] for r in found if r["step"] == 3}
    assert last["oracle", 0] == 0
    assert last["blind", 0] == pytest.approx(0.1)
    assert last["blind", 1] == pytest.approx(((0.95 - 0.7) + (0.7 - 0.85)) / 2)
    assert len(found) == 6


def test_the_table_has_a_column_a_task_and_says_what_is_missing():
    text = curves.table(SETTINGS, some_rows())
    assert "20 public samples, of which 8 are anchors" in text
    spread = f"{np.std([0.6, 0.62], ddof=1):.3f}"
    line = f"| atlas, blind | 0.610 ± {spread} | 0.710 ± {spread} | 0.810 ± {spread} |"
    assert text.count(line) == 3
    assert "| end-to-end, all tasks so far | 0.900 | 0.900 | 0.900 |" in text
    assert "| atlas: the state | 1,234,567 | 1,234,567 | n/a |" in text
    images = "| public images (all methods) | 784,000 | 784,000 | 784,000 |"
    assert images in text
    assert "oracle |" not in text  # of which there are no rows


def test_the_figure_shows_the_means_in_the_panels_of_their_protocol():
    figure = curves.figure(some_rows())
    blind, oracle, megabytes = (
        [np.asarray(line.get_ydata(), float) for line in axes.lines]
        for axes in (figure.axes[0], figure.axes[1], figure.axes[6])
    )
    end_to_end, atlas = [0.9] * 3, [0.61, 0.71, 0.81]
    np.testing.assert_allclose(blind, [end_to_end, atlas])
    np.testing.assert_allclose(oracle, [end_to_end])
    np.testing.assert_allclose(megabytes[0], [1.234567] * 2)
    np.testing.assert_allclose(megabytes[1], [0.784] * 3)


def test_a_value_that_is_not_defined_is_shown_as_such():
    text = curves.table(SETTINGS, [row("cka", 1, None)])
    assert "| atlas, blind | nan |" in text
    curves.figure([row("cka", 1, None)])
