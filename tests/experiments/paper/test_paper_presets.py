"""The paper's tables as runs: the grid, the anchors, the folder."""

import pytest

from experiments.paper.published_tables import PaperOptions, resolve, subfolder
from experiments.runs import options, settings


def of_table(table, **changes):
    return resolve(PaperOptions(table=table, **changes))


def cells(told, num_classes):
    options.check(told)
    found = settings.chosen(told.settings, told.scenario, told.dataset, num_classes)
    return [s.name for s in found]


def test_shared_is_the_papers_grid_with_as_many_anchors_as_features():
    told = of_table("shared", dataset="cifar100")
    assert (told.dataset, told.scenario, told.num_anchors) == ("cifar100", ("A",), 128)
    assert len(cells(told, 100)) == 8
    assert cells(of_table("shared", dataset="tiny_imagenet"), 200) == [
        "S100_N25",
        "S50_N25",
    ]
    told = of_table("shared", dataset="fashion_mnist")
    assert cells(told, 10) == ["S4_N2", "S2_N2"]


@pytest.mark.parametrize("table", ["disjoint", "total"])
def test_without_common_samples_a_thousand_are_held_out_and_256_taken(table):
    told = of_table(table)
    assert (told.num_anchors, told.held_out) == (256, 1000)


def test_tasks_and_percentages_are_the_users():
    told = of_table("total", settings=("T2", "T3", "T5", "T10"))
    assert cells(told, 100) == ["T2", "T3", "T5", "T10"]
    assert cells(of_table("disjoint", settings=("P60_40",)), 100) == ["P60_40"]
    assert cells(of_table("disjoint"), 100) == ["P80_20"]
    assert cells(of_table("total"), 100) == ["T2"]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [({"num_anchors": 64}, "--num-anchors"), ({"scenario": ("B",)}, "--scenario")],
)
def test_what_a_table_sets_is_not_to_be_told_as_well(changes, flag):
    with pytest.raises(ValueError, match=f"--table shared sets {flag} itself"):
        of_table("shared", **changes)


def test_without_a_table_nothing_is_set():
    told = PaperOptions(num_anchors=7, scenario=("C",))
    assert resolve(told) == told
    assert subfolder(told) == "fashion_mnist_7k"


def test_every_table_and_chart_has_a_folder_of_its_own():
    folders = {
        subfolder(of_table(table, dataset=dataset, charts=charts))
        for table in ("shared", "disjoint", "total")
        for dataset in ("cifar100", "fashion_mnist")
        for charts in (("cnn",), ("cnn", "resnet"))
    }
    assert len(folders) == 12
    assert "cifar100_shared_cnn+resnet" in folders


def test_a_quick_look_sets_what_makes_it_quick():
    told = resolve(PaperOptions(quick=True))
    assert (told.dataset, told.seeds, told.epochs("cnn")) == ("digits", (0,), 10)
    assert cells(told, 10) == ["S4_N2"]
    assert subfolder(told) == "digits_quick"
    with pytest.raises(ValueError, match="--quick sets --seeds itself"):
        resolve(PaperOptions(quick=True, seeds=(1,)))
    with pytest.raises(ValueError, match="--quick sets --table itself"):
        resolve(PaperOptions(quick=True, table="shared"))
