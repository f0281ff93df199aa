"""What stands beside the results: options, versions, hashes of code and data."""

import json
from pathlib import Path

import numpy as np

from experiments.data import modules
from experiments.paper.experiment import EXPERIMENT
from experiments.paper.published_tables import PaperOptions as Options
from experiments.runs import provenance, runner


def describe(told, tiny):
    return runner.describe(EXPERIMENT, told, tiny)


def test_what_is_described_is_what_was_chosen_and_can_be_written(tiny):
    options = Options(dataset="digits", seeds=(5,), num_anchors=16, out=Path("x"))
    described = describe(options, tiny)
    assert described.keys() == {
        "experiment", "options", "versions", "device", "notes", "modules"
    }  # fmt: skip
    assert described["options"] == {
        "dataset": "digits",
        "num_training": None,
        "scenario": ["A", "B", "C"],
        "settings": ["S4_N2", "S2_N2", "P80_20", "T2"],
        "charts": ["cnn"],
        "similarity": "cosine",
        "table": None,
        "quick": False,
        "seeds": [5],
        "num_anchors": 16,
        "num_held_out": 16,
        "anchor_choice": "uniform",
        "max_epochs": {"cnn": 20},
        "patience": 2,
        "probe_epochs": 100,
        "probe_patience": 10,
        "feature_size": 64,
    }
    named = {"jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn"}
    assert described["versions"].keys() == named | {"python", "code", "data"}
    assert described["versions"]["numpy"] == np.__version__
    assert json.loads(json.dumps(described)) == described


def test_a_folder_that_moves_is_described_alike(tiny):
    here = Options(out=Path("here"), data_dir=Path("a"), manual_dir=Path("b"))
    there = Options(out=Path("there"))
    assert describe(here, tiny) == describe(there, tiny)


def versions(dataset):
    return describe(Options(), dataset)["versions"]


def test_other_data_are_described_otherwise_and_nothing_else_of_it(tiny):
    images, labels = tiny.images.copy(), tiny.labels.copy()
    images[-1, -1, -1, 0] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    first = versions(tiny)
    others = [
        versions(tiny._replace(images=images)),
        versions(tiny._replace(labels=labels)),
    ]
    assert len({v["data"] for v in (first, *others)}) == 3
    for other in others:
        assert {**other, "data": first["data"]} == first


def test_the_weights_of_a_frozen_encoder_belong_to_what_a_run_is(tiny, monkeypatch):
    options = Options(charts=("cnn", "efficientnet-lite0"))
    before = describe(options, tiny)["versions"]
    monkeypatch.setattr(provenance, "weights_file", lambda variant: Path(__file__))
    after = describe(options, tiny)["versions"]
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"weights of efficientnet-lite0"}


def of_unit(described):
    return runner._claimed(EXPERIMENT, described)


def test_which_cells_there_are_is_no_matter_of_a_cell(tiny):
    first = describe(Options(seeds=(0,), settings=("T2",)), tiny)
    second = describe(Options(seeds=(1, 2), scenario=("B",)), tiny)
    assert first != second
    assert of_unit(first) == of_unit(second)
    assert of_unit(first) != of_unit(
        describe(Options(seeds=(0,), settings=("T2",), patience=3), tiny)
    )


# The code


def test_what_a_function_depends_on_is_found_through_packages():
    found = modules.closure(["experiments.measures.metrics"])
    for name in (
        "jatlas.metrics.alignment",  # of `jatlas.cka`, which two packages pass on
        "jatlas.probes.probe",
        "jatlas._src.arrays",
        "experiments.measures.clustering",
        "experiments.runs.seeds",
    ):
        assert name in found, name
    assert not any(name.startswith(("jatlas.files", "jatlas.cli")) for name in found)
    assert not any(name.startswith("experiments.paper") for name in found)


def test_of_the_main_job_neither_tables_nor_pictures_count():
    found = provenance.code(EXPERIMENT.makers)
    assert {
        "experiments.paper.measure",
        "experiments.runs.benches",
        "experiments.data.catalog",
        "experiments.encoders.features",
        "jatlas.charts.training",
        "jatlas.merging.product",
    } <= found.keys()
    shown = ("experiments.plots", "experiments.runs.terminal", "experiments.paper.t")
    assert not any(name.startswith(shown) for name in found)
    assert "experiments.paper.claims" not in found


def hashes(tmp_path, text):
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
    file.write_text(text)
    return modules.hash_of_file(file)


def test_comments_docstrings_and_layout_are_no_part_of_a_hash(tmp_path):
    plain = hashes(tmp_path, "def f(x):\n    return x + 1\n")
    said = """\"\"\"A module.\"\"\"

# What follows.
def f(
    x,
):
    \"\"\"Add one.\"\"\"
    return (x +  # and
            1)
"""
    assert hashes(tmp_path, said) == plain
    assert hashes(tmp_path, "def f(x):\n    return x + 2\n") != plain
    assert hashes(tmp_path, "def f(y):\n    return y + 1\n") != plain


def test_a_module_of_the_users_own_counts(tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text("def f(x, anchors):\n    return x @ anchors.T")
    monkeypatch.syspath_prepend(tmp_path)
    told = Options(similarity="of_mine:f")
    assert told.comparison is not None
    assert "of_mine" in provenance.code(EXPERIMENT.makers, [told.similarity])
    assert "of_mine" not in provenance.code(EXPERIMENT.makers, ["cosine"])


def test_data_are_hashed_as_they_lie(tiny):
    whole = modules.hash_of_parts([tiny.images, tiny.labels])
    copied = modules.hash_of_parts([tiny.images.tobytes(), tiny.labels.tobytes()])
    assert whole == copied
