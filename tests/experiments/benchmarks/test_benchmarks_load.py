"""The merge in chunks: what it makes, the formula of its memory, and its command."""

import io
import json
import re

import markdown_pages as pages
import numpy as np
import pytest
from rich.console import Console

from experiments.benchmarks import __main__ as job
from experiments.benchmarks import load
from experiments.benchmarks.load import Plan

GUIDE = pages.ROOT / "experiments/guides/your_own_pipeline.md"
FEW = Plan(samples=50, chunk=20, charts=3, anchors=4, features=5, classes=6)


def test_a_chunk_is_the_same_whenever_it_is_made():
    world = load.make_world(FEW)
    first, again, other = (load.make_chunk(world, number, 20) for number in (3, 3, 4))
    for one, same, another in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, another)
    assert first.embeddings.shape == (3, 20, 5)
    assert first.embeddings.dtype == np.float32
    assert first.presence.shape == (3, 20)
    assert first.labels.max() < 6


def test_the_parts_have_every_sample_once(tmp_path):
    values = load.merge_in_chunks(FEW, tmp_path)
    parts = [np.load(part) for part in sorted(tmp_path.iterdir())]
    assert [part.shape for part in parts] == [(20, 4), (20, 4), (10, 4)]
    world = load.make_world(FEW)
    for number, part in enumerate(parts):
        known = load.make_chunk(world, number, len(part)).presence.any(axis=0)
        np.testing.assert_array_equal(np.isfinite(part).all(axis=1), known)
    assert 0 < values["linear CKA of the atlas and the hidden factors"] < 1


# One chunk that is sent at once, one in two pieces, and one whose metric is larger.
@pytest.mark.parametrize(
    "plan", [Plan(chunk=5_000), Plan(), Plan(charts=16)], ids=["whole", "pieces", "few"]
)
def test_the_formula_is_that_of_the_guide(plan):
    n, (_, _, M, A, D, _) = plan.chunk, plan
    rows = n if 4 * n * M * D <= 2**26 else 2 * (2**26 // (4 * M * D))
    names = {"n": n, "M": M, "A": A, "D": D, "max": max}
    names |= {"sent": 4 * rows * M * D, "made": 4 * A * (n + rows * (rows != n))}
    (shown,) = re.findall(r"^ {4}(440e6 .*)$", GUIDE.read_text("utf-8"), re.MULTILINE)
    product = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", shown)
    assert eval(product, names) == load.formula(plan)


@pytest.mark.slow
def test_of_small_sizes_the_command_writes_the_peak_and_the_formula(tmp_path):
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    options = job.Options(only=("load",), quick=True, out=tmp_path)
    job.main(job.plan(options), console)
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    (row,) = results["jobs"]["load"]["rows"]
    assert row["size"] == {"N": 4000, "chunk": 200, "M": 12, "A": 64, "D": 32, "C": 20}
    peak, expected = (
        row["values"]["peak, bytes"],
        row["values"]["by the formula, bytes"],
    )
    assert 0.7 <= peak / expected <= 1.2
    assert row["values"]["linear CKA of the atlas and the hidden factors"] > 0.5
    assert [bar["met"] for bar in row["bars"]] == [None]
