"""The paper's tables as runs: the grid, the anchors, the folder."""

from pathlib import Path

import pytest

from experiments.paper.published_tables import Paper, options
from experiments.runs import config


def cells(paper, num_classes):
    told = options(paper)
    config.check(told)
    return [s.name for s in config.chosen(told, num_classes)]


def test_shared_is_the_papers_grid_with_as_many_anchors_as_features():
    told = options(Paper("shared"))
    assert (told.dataset, told.scenario, told.num_anchors) == ("cifar100", ("A",), 128)
    assert len(cells(Paper("shared"), 100)) == 8
    assert cells(Paper("shared", dataset="tiny_imagenet"), 200) == [
        "S100_N25",
        "S50_N25",
    ]
    assert cells(Paper("shared", dataset="fashion_mnist"), 10) == ["S4_N2", "S2_N2"]


@pytest.mark.parametrize("table", ["disjoint", "total"])
def test_without_common_samples_a_thousand_are_held_out_and_256_taken(table):
    told = options(Paper(table))
    assert (told.num_anchors, told.held_out) == (256, 1000)


def test_tasks_and_percentages_are_the_users():
    assert cells(Paper("total", tasks=(2, 3, 5, 10)), 100) == ["T2", "T3", "T5", "T10"]
    assert cells(Paper("disjoint", percentages=(60, 40)), 100) == ["P60_40"]


def test_every_table_and_chart_has_a_folder_of_its_own():
    folders = {
        options(Paper(table, dataset=dataset, chart=chart)).folder
        for table in ("shared", "disjoint", "total")
        for dataset in ("cifar100", "fashion_mnist")
        for chart in ("cnn", "cnn,resnet")
    }
    assert len(folders) == 12
    assert Path("results/paper/cifar100/shared_cnn+resnet") in folders
    assert options(Paper("total", out=Path("x"))).folder == Path("x")
