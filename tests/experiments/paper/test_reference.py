"""The transcription of the published figures, against the files they were taken from.

tests/golden/paper_results holds the result files of the public code of Crisostomi et
al., "From Charts to Atlas" (2023), as published.
"""

import json
from pathlib import Path

import pytest

from experiments.paper import reference
from experiments.paper.sections import in_markdown

FOLDER = Path(__file__).parents[2] / "golden" / "paper_results"
CHARTS = {
    "vanilla_cnn": "cnn", "from_scratch_cnn": "cnn", "efficient_net": "efficientnet",
}  # fmt: skip
SPACES = {
    "jumble": "jumble_abs",
    "task_onehot_abs": "original_abs_task",
    "task_embed_abs": "original_abs_task_embedding",
}
METRICS = {
    "total_acc": "accuracy",
    "shared_class_acc": "accuracy_shared",
    "non_shared_class_acc": "accuracy_novel",
}
ALONE = {
    "cka_orig_orig_rel_abs": ("original_abs", "cka"),
    "cka_orig_aggr_abs_rel": ("merged", "cka_original_abs"),
    "cka_orig_aggr_rel_rel": ("merged", "cka"),
    "cka_shared": ("merged", "cka_shared"),
    "cka_non_shared": ("merged", "cka_novel"),
    "mean_separability_ours": ("merged", "separability"),
    "mean_separability_naive": ("jumble_abs", "separability"),
    "mean_separability_original": ("original_abs", "separability"),
}


def leaves(node, path=()):
    if not isinstance(node, dict):
        yield path, node
        return
    for name, inner in node.items():
        yield from leaves(inner, (*path, name))


def address(file, path):
    """What a figure of a file is called here."""
    scenario = "ABC"[int(file.name[4]) - 1]
    dataset, chart, *rest = path
    if scenario == "A":
        setting, rest = f"{rest[0]}_{rest[1]}", rest[2:]
    else:
        setting = {"B": "P80_20", "C": "T2"}[scenario]
        rest = rest[1:] if scenario == "C" else rest
    if len(rest) == 1:
        space, metric = ALONE[rest[0]]
    else:
        space, metric = SPACES.get(rest[0], rest[0]), METRICS[rest[1]]
    return dataset, CHARTS[chart], scenario, setting, space, metric


def all_figures():
    return {
        address(file, path): value
        for file in FOLDER.glob("exp_[123]_*.json")
        for path, value in leaves(json.loads(file.read_text()))
    }


def test_every_published_figure_is_there_to_four_digits_and_no_other():
    theirs = all_figures()
    assert len(theirs) == 464
    for where, value in theirs.items():
        assert reference.published(*where) == pytest.approx(value, abs=5.1e-5), where
    found = [path for path, _ in leaves(reference.FIGURES)]
    assert set(found) == set(theirs)


def test_the_accuracies_on_subsets_of_the_classes():
    theirs = json.loads((FOLDER / "exp_class_subsets.json").read_text())
    assert len(reference.CLASS_SUBSETS) == len(theirs) == 4
    for ours, (classes, values) in zip(
        reference.CLASS_SUBSETS, theirs.items(), strict=True
    ):
        assert ours["classes"] == [int(c) for c in classes.split("_")]
        for name, value in values.items():
            assert ours[name] == pytest.approx(value, abs=5.1e-5)


A_TABLE = """
S80_N10 .376 .351 .364 .434 .596 .897 0.82 0.79 1.09
S60_N10 .399 .361 .387 .529 .636 .888 0.82 0.79 1.10
S40_N10 .387 .372 .417 .583 .637 .857 0.82 0.84 1.16
S20_N10 .391 .369 .472 .623 .650 .761 0.83 1.00 1.21
S20_N5 .385 .359 .510 .720 .764 .796 0.83 1.01 1.19
"""
COLUMNS = [
    *((space, "accuracy") for space in ("original_abs", "original_rel", "jumble_abs")),
    ("merged", "accuracy"),
    ("merged", "accuracy_novel"),
    ("merged", "cka"),
    *((s, "separability") for s in ("original_abs", "jumble_abs", "merged")),
]


def test_the_paper_s_table_of_a_by_hand():
    for line in A_TABLE.split("\n")[1:-1]:
        setting, *values = line.split()
        for (space, metric), value in zip(COLUMNS, map(float, values), strict=True):
            found = reference.published("cifar100", "cnn", "A", setting, space, metric)
            assert found == pytest.approx(
                value, abs=0.0051 if metric == "separability" else 6e-4
            )


@pytest.mark.parametrize(("chart", "scenario", "setting", "values"), [
    ("efficientnet", "A", "S80_N10", ".695 .667 .676 .729"),
    ("efficientnet", "A", "S20_N5", ".695 .673 .826 .905"),
    ("cnn", "B", "P80_20", ".445 .425 .406 .403"),
    ("efficientnet-lite0", "B", "P80_20", ".704 .691 .705 .698"),
    ("cnn", "C", "T2", ".439 .421 .502 .488 .446 .520"),
    ("efficientnet", "C", "T2", ".704 .691 .784 .769 .706 .772"),
])  # fmt: skip
def test_the_lines_below_it_by_hand(chart, scenario, setting, values):
    spaces = [*(space for space, _ in COLUMNS[:4]), *SPACES.values()]
    spaces = [*spaces[:4], *spaces[5:]]
    for space, value in zip(spaces, map(float, values.split()), strict=False):
        found = reference.published(
            "cifar100", chart, scenario, setting, space, "accuracy"
        )
        assert found == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize("where", [
    ("fashion_mnist", "cnn", "A", "S80_N10", "merged", "accuracy"),
    ("cifar100", "resnet", "A", "S80_N10", "merged", "accuracy"),
    ("cifar100", "", "A", "S80_N10", "merged", "accuracy"),
    ("cifar100", "cnn", "A", "S4_N2", "merged", "accuracy"),
    ("cifar100", "cnn", "C", "T5", "merged", "accuracy"),
    ("cifar100", "cnn", "A", "S80_N10", "merged", "cka_rbf"),
])  # fmt: skip
def test_what_was_not_published_is_none(where):
    assert reference.published(*where) is None


OPTIONS = {"dataset": "cifar100", "charts": ["cnn"], "num_anchors": 128}


def row(protocol, value, seed=0):
    return {
        "scenario": "A", "setting": "S80_N10", "protocol": protocol, "space": "merged",
        "metric": "accuracy", "seed": seed, "value": value,
    }  # fmt: skip


def test_ours_stand_beside_the_published_under_oracle_with_the_difference():
    rows = [row("oracle", 0.5), row("blind", 0.1), row("oracle", 0.6, seed=1)]
    rows += [row("oracle", 0.9) | {"metric": "cka_rbf"}]
    text = in_markdown(reference.section(OPTIONS, rows))
    lines = [line for line in text.splitlines() if line.startswith("| A")]
    assert lines == ["| A S80_N10 | `merged` | accuracy | 0.550 | 0.434 | +0.116 |"]


@pytest.mark.parametrize("changed", [
    {"dataset": "digits"},
    {"charts": ["cnn", "resnet"]},
    {"num_anchors": 64},
])  # fmt: skip
def test_where_nothing_was_published_nothing_is_said(changed):
    assert reference.section(OPTIONS | changed, [row("oracle", 0.5)]) is None


def test_of_the_other_scenarios_the_anchors_held_out_must_be_the_papers_too():
    rows = [row("oracle", 0.5) | {"scenario": "C", "setting": "T2"}]
    held = OPTIONS | {"num_anchors": 256, "num_held_out": 1000}
    assert "| C T2 |" in in_markdown(reference.section(held, rows))
    assert reference.section(held | {"num_held_out": 256}, rows) is None


def test_of_another_network_it_is_said_that_it_is_one():
    rows = [row("oracle", 0.5)]
    said = "They are of another network: EfficientNet-B0"
    options = OPTIONS | {"charts": ["efficientnet-lite1"]}
    assert said in in_markdown(reference.section(options, rows))
    assert said not in in_markdown(reference.section(OPTIONS, rows))
