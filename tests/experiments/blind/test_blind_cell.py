"""Who learns what: the parts of a cell have nothing in common."""

from itertools import combinations

import numpy as np
import pytest
from blind_cells import C, synthetic

from experiments.blind import cell
from experiments.blind.measure import BlindOptions
from experiments.runs import benches
from experiments.runs.benches import Bench
from experiments.runs.settings import parse
from jatlas.scenarios import Tasks


@pytest.mark.parametrize("scenario", "ABC")
def test_parts_are_disjoint_and_no_task_chart_has_learned_what_stops_or_chooses(
    scenario,
):
    own = synthetic(scenario)
    parts = [own.train, own.stop, own.choose, own.test]
    for one, other in combinations([*parts, own.tasks.held_out], 2):
        assert not (one & other).any()
    whole = np.logical_or.reduce(parts)
    np.testing.assert_array_equal(whole, own.tasks.presence.any(axis=0))
    seen = own.tasks.seen.any(axis=0)
    assert not (seen & ~own.train).any()
    for part in parts:
        assert set(own.labels[part]) == set(range(C))
    assert not (own.pool & ~(own.train | own.tasks.held_out)).any()
    assert own.num_classes == C


def test_a_validation_sample_that_another_chart_has_learned_from_is_for_training():
    both = np.ones((2, 3), bool)
    seen = np.array([[True, False, False], [True, True, False]])
    none = np.zeros(3, bool)
    tasks = Tasks(both, both.all(axis=0), both, seen, ~seen, none, none)
    own = cell.of(none, [], tasks, none, none, 0)
    np.testing.assert_array_equal(own.train, [True, True, False])
    np.testing.assert_array_equal(own.stop | own.choose, [False, False, True])


def test_validation_samples_are_halved_anew_by_each_seed():
    own = synthetic("B")
    held = own.stop | own.choose
    again = [
        cell.of(own.reference, own.charts, own.tasks, own.labels, own.pool, seed)
        for seed in (0, 1)
    ]
    np.testing.assert_array_equal(again[0].stop, own.stop)
    np.testing.assert_array_equal(again[1].stop | again[1].choose, held)
    assert (again[1].stop != own.stop).any()
    assert 0.25 < own.stop.sum() / held.sum() < 0.75


def test_a_cell_is_that_of_the_setting_and_its_progress_that_of_both_trainings(
    tiny, tmp_path, monkeypatch
):
    setting, told = parse("S4_N2"), []
    bench = Bench(BlindOptions(num_anchors=8), tiny, {}, tmp_path)

    def fake(name, num):
        def embeddings(bench, *which):
            which[-1](name, 0.5)
            rows = np.zeros((num, tiny.labels.size, 2), np.float32)
            return list(rows) if num > 1 else rows[0]

        return embeddings

    monkeypatch.setattr(benches, "reference", fake("end-to-end", 1))
    monkeypatch.setattr(benches, "charts", fake("charts", 3))
    own = cell.embed(bench, setting, 1, lambda *what: told.append(what))
    assert [what for what, _ in told] == ["end-to-end", "charts"]
    assert [share for _, share in told] == pytest.approx([0.1, 0.6])
    assert len(own.charts) == 3 == len(own.tasks.seen)
    assert own.num_classes == 10
    np.testing.assert_array_equal(own.test, tiny.test)
    np.testing.assert_array_equal(own.labels, tiny.labels)
    np.testing.assert_array_equal(own.pool, own.tasks.seen.all(axis=0))
