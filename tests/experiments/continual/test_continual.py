"""The command: whole, killed and gone on with, and refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_chart import LINEAR

from experiments.continual import after_task, curves, growing
from experiments.continual.experiment import EXPERIMENT
from experiments.continual.measure import ContinualOptions
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.runs import benches, provenance, runner


@pytest.fixture
def small(tiny, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: LINEAR)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(benches, "load", lambda name, **where: tiny)
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    monkeypatch.setattr(provenance, "code", lambda *a: {"a.module": "0" * 16})
    return ContinualOptions(
        dataset="tiny",
        settings=("T3",),
        seeds=(0,),
        num_public=100,
        num_anchors=10,
        max_epochs=1,
        probe_epochs=5,
        out=tmp_path / "out",
    )


def results(folder):
    """The rows but for seconds, which no two runs share."""
    rows = storage.read_json(folder / "results.json")["rows"]
    return [row for row in rows if row["metric"] != "seconds"]


@pytest.fixture
def made_up(monkeypatch):
    """Steps and values that hang on the task, and on all of the state before.

    Nothing is trained and nothing compiled. Gives the tasks, as they are done.
    """
    called = []

    def step(bench, setting, seed, deal, t, state, report):
        called.append(t)
        before = sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(state))
        rng = np.random.default_rng([seed, t])
        rows = rng.normal(size=(deal.kept.size, 4 + t)).astype(np.float32) + before
        like = bench.encoders["cnn"].chart.init(jax.random.key(t))
        state = growing.State(
            jax.tree.map(lambda leaf: leaf + t + before, state.blind),
            jax.tree.map(lambda leaf: leaf - t + before, state.oracle),
            (*state.concatenated, jnp.asarray(rows)),
            jax.tree.map(lambda leaf: leaf + before, like),
        )
        return growing.Step(state, rows, rows, rows, {"joining": 1.0})

    def measured(bench, seed, deal, t, left):
        about = {"protocol": "blind", "space": "atlas", "step": t + 1}
        names = ["accuracy", "cka", *(f"accuracy_task_{s + 1}" for s in range(t + 1))]
        value = float(left.reference.mean())
        return [about | {"metric": name, "value": value} for name in names]

    monkeypatch.setattr(growing, "step", step)
    monkeypatch.setattr(growing, "warm", lambda bench, deal: None)
    monkeypatch.setattr(after_task, "measured", measured)
    return called


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_gives_the_same(
    small, made_up, capsys, monkeypatch
):
    runner.main(EXPERIMENT, small)
    rows = results(small.out)
    assert made_up == [0, 1, 2]
    assert len({row["value"] for row in rows}) > 3

    other = replace(small, out=small.out.parent / "killed")
    with monkeypatch.context() as patch:
        write_json = storage.write_json

        def killed(path, value):
            if path.name.endswith("task3.json"):  # the state is there, and not the rows
                raise KeyboardInterrupt
            write_json(path, value)

        patch.setattr(storage, "write_json", killed)
        with pytest.raises(SystemExit) as stopped:
            runner.main(EXPERIMENT, other)
    assert stopped.value.code == 130
    assert "goes on from here" in capsys.readouterr().out
    assert not (other.out / "results.json").exists()

    made_up.clear()
    runner.main(EXPERIMENT, other)
    assert made_up == [2]
    assert results(other.out) == rows
    assert len(list(other.out.glob("parts/*"))) == 1

    made_up.clear()
    runner.main(EXPERIMENT, other)
    assert not made_up
    assert results(other.out) == rows


def test_what_is_written_is_made_of_the_results(small, made_up, capsys):
    runner.main(EXPERIMENT, small)
    written = storage.read_json(small.out / "results.json")
    rows = written["rows"]
    lost = [row for row in rows if row["metric"] == "forgetting"]
    assert {row["step"] for row in lost} == {2, 3}
    text = (small.out / "table.md").read_text()
    assert text == curves.table(written["settings"], rows)
    assert text in capsys.readouterr().out
    assert (small.out / "continual.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_charts_are_trained_and_learn(small):
    runner.main(EXPERIMENT, replace(small, max_epochs=20, probe_epochs=60))
    rows = [r for r in results(small.out) if r["step"] == 3]
    accuracy = {
        (r["protocol"], r["space"]): r["value"]
        for r in rows
        if r["metric"] == "accuracy"
    }
    assert accuracy["both", "end_to_end"] > 0.8
    assert accuracy["oracle", "atlas"] > 0.8
    assert accuracy["oracle", "atlas"] > accuracy["blind", "atlas"]
    assert accuracy["both", "finetuned_head"] < accuracy["both", "end_to_end"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": ("Q9",)}, "unknown setting 'Q9'"),
        ({"num_public": 5}, "--num-anchors 10 are taken from --num-public 5"),
        ({"num_public": 399}, "399"),
        ({"seeds": ()}, "--seeds takes one or more"),
        ({"settings": ("T2", "T5")}, "--settings takes one"),
        ({"settings": ("T11",)}, "11"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(small, change, message, capsys):
    with pytest.raises(SystemExit) as refused:
        runner.main(EXPERIMENT, replace(small, **change))
    assert refused.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not small.out.exists()
