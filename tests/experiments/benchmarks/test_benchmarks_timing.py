"""Timings, ratios, bars, memory and exponents: what the tables stand on."""

import math
import os

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import machine, measure, memory, scale, timing
from experiments.benchmarks.jobs import growth
from experiments.benchmarks.measure import Bench, Disagreement, Reference, Work
from experiments.benchmarks.timing import Subject


class Clock:
    """A clock that goes on only when a subject works."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        del seconds

    def subject(self, name, seconds):
        def call():
            self.now += seconds
            self.log.append(name)
            return name

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


@pytest.fixture
def bench(clock, monkeypatch):
    """Comparisons in which nothing is timed but the fake subjects."""
    rates = {
        "matmul": Subject(clock.subject("matmul", 2.0)),
        "copy": Subject(clock.subject("copy", 1.0)),
    }
    monkeypatch.setattr(measure.machine, "rates", lambda: rates)
    monkeypatch.setattr(measure.machine, "work", lambda: {"matmul": 2, "copy": 3})
    return Bench(quick=False, repeats=3, torch=None)


def once(clock, name, seconds):
    return Subject(clock.subject(name, seconds))


# Turns


def test_every_round_another_begins(clock):
    subjects = {name: once(clock, name, 2.0) for name in "abc"}
    seconds, values = timing.in_turns(subjects, 3, math.inf)
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab"  # first those not timed
    assert seconds == {name: [2.0, 2.0, 2.0] for name in "abc"}
    assert values == {name: name for name in "abc"}


def test_a_short_call_is_repeated_until_the_clock_can_tell(clock):
    subjects = {"short": once(clock, "short", timing.SHORTEST / 4)}
    seconds, _ = timing.in_turns(subjects, 2, math.inf)
    # Each of the two turns begins with a call that is not timed.
    assert len(clock.log) == 2 + 2 * (1 + 4)
    np.testing.assert_allclose(seconds["short"], timing.SHORTEST / 4)


def test_what_would_exceed_the_budget_is_left_out_but_timed_once(clock):
    subjects = {"a": once(clock, "a", 3.0), "b": once(clock, "b", 1.0)}
    seconds, _ = timing.in_turns(subjects, 4, 5.0)
    assert seconds == {"a": [3.0, None, None, None], "b": [1.0, 1.0, 1.0, 1.0]}
    assert timing.known(seconds["a"]) == [3.0]


def test_what_takes_minutes_is_warmed_up_on_something_else(clock):
    long = Subject(clock.subject("long", 90.0), clock.subject("warm", 1.0))
    seconds, values = timing.in_turns({"long": long}, 2, 5.0)
    assert clock.log == ["warm", "long"]
    assert (seconds, values) == ({"long": [90.0, None]}, {"long": "long"})


def test_ratios_are_of_one_round_and_of_the_whole_work():
    seconds = {"ours": [1.0, 2.0, None, 1.0], "other": [3.0, None, 5.0, 5.0]}
    assert timing.ratios(seconds, "other") == [3.0, 5.0]
    assert timing.ratios(seconds, "other", scale=10) == [30.0, 50.0]
    assert timing.ratios(seconds, "ours", under="other") == [1 / 3, 1 / 5]
    assert timing.middle([5.0, 3.0, 40.0]) == 5.0
    assert math.isnan(timing.middle([]))


# Comparisons


def test_a_bar_is_of_the_faster_of_torch_and_numpy():
    seconds = {"ours": [1.0, 1.0], "torch": [3.0, 3.0], "numpy": [2.0, 5.0]}
    row = {"seconds": seconds, "references": {"torch": {}, "numpy": {}, "dot": {}}}
    assert measure.barred(row) == "torch"
    seconds["numpy"] = [2.0, 2.0]
    assert measure.barred(row) == "numpy"
    del row["references"]["numpy"]
    assert measure.barred(row) == "torch"


def test_a_row_holds_every_timing_and_what_was_compared(clock, bench):
    other = Reference("a loop", clock.subject("other", 6.0), scale=2.0)
    ours = clock.subject("ours", 3.0)
    row = measure.compare(
        bench, "job", {"N": 4}, ours, {"loop": other}, work=Work(8, 9)
    )
    assert row["seconds"] == {
        "ours": [3.0, 3.0, None],  # the budget of a subject is 8 seconds
        "loop": [6.0, None, None],
        "matmul": [2.0, 2.0, 2.0],
        "copy": [1.0, 1.0, 1.0],
    }
    assert row["references"]["loop"]["what"] == "a loop"
    assert row["machine_work"] == {"matmul": 2, "copy": 3}
    assert row["work"] == {"flops": 8, "bytes": 9}
    assert measure.ratio(row, "loop") == 4.0
    assert "pip install" in row["missing"]["torch"]


@pytest.mark.parametrize(
    ("theirs", "difference"),
    [
        ([1.0, math.nan, 3.0], 0.0),
        ([1.5], 0.5),  # the leading part
        ([1.0, math.nan, 2.0], 1.0),
        ([1.0, 2.0, 3.0], math.nan),
        ([math.nan, math.nan, 3.0], math.nan),
        ([1.0, math.nan, 3.0, 4.0], math.nan),
    ],
)
def test_results_are_compared_where_both_are_and_nan_must_be_nan(theirs, difference):
    ours = jnp.array([1.0, jnp.nan, 3.0])
    found = measure._difference(ours, np.array(theirs))
    np.testing.assert_equal(found, difference)


@pytest.mark.parametrize("theirs", [1.1, math.nan])
def test_what_disagrees_is_no_comparison(clock, bench, theirs):
    def result(value):
        clock.now += 1.0
        return np.array(value)

    found = {"numpy": Reference("the formula", lambda: result(theirs), 1e-3)}
    message = "job .*: ours and the formula differ by .* One of the two is wrong"
    with pytest.raises(Disagreement, match=message):
        measure.compare(bench, "job", {"N": 4}, lambda: result(1.0), found)
    found = {
        "numpy": found["numpy"]._replace(tolerance=0.11 if theirs == 1.1 else None)
    }
    row = measure.compare(bench, "job", {"N": 4}, lambda: result(1.0), found)
    assert list(row["references"]) == ["numpy"]


@pytest.mark.parametrize(
    ("value", "least", "most", "met"),
    [
        (0.8, 0.75, None, True),
        (0.7, 0.75, None, False),
        (0.1, None, 0.15, True),
        (0.2, None, 0.15, False),
        (1.2, 0.9, 1.1, False),
        (None, 0.75, None, False),
        (math.nan, None, 0.15, False),
    ],
)
def test_a_bar_is_met_or_not_and_what_is_not_measured_meets_none(
    value, least, most, met
):
    for quick, expected in ((False, met), (True, None)):
        row = {"bars": []}
        bench = Bench(quick=quick, repeats=1, torch=None)
        measure.add_bar(bench, row, "a figure", value, least=least, most=most)
        assert row["bars"][0]["met"] is expected


# Memory


def test_the_peak_of_a_call_is_seen_though_it_is_freed():
    def call():
        for _ in range(3):
            np.ones(2**24).sum()  # 128 MB, and gone
        return 0

    found = memory.peak(call)
    if memory.allocated() is None:  # not glibc
        assert found is None
    else:
        assert 130e6 < found < 150e6


def test_temporaries_are_those_of_the_compiled_function():
    def gram(x):
        inner = x @ x.T
        return jnp.sum(jnp.sort(inner, axis=1)[:, 0])

    x = jnp.ones((500, 3))
    assert memory.temporaries(gram, x) >= 4 * 500 * 500
    assert memory.temporaries(lambda x: x + 1, x) == 0
    assert memory.size({"a": x, "b": [x]}) == 2 * 4 * 1500


# The machine


def test_what_others_do_is_all_work_less_that_of_this_process(monkeypatch, tmp_path):
    ticks = os.sysconf("SC_CLK_TCK")
    stat = tmp_path / "stat"
    monkeypatch.setattr(machine, "_STAT", stat)
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    monkeypatch.setattr(machine.os, "times", lambda: (clock.now, 0.0, 0.0, 0.0, 0.0))
    with machine.others() as found:
        pass
    assert found == {"busy": None}  # no such file on this system
    stat.write_text(f"cpu  {10 * ticks} {20 * ticks} {30 * ticks} 7 8 9\ncpu0 1 2 3\n")
    with machine.others() as found:
        clock.now += 4.0  # this process works all the time
        stat.write_text(f"cpu  {15 * ticks} {21 * ticks} {30 * ticks} 7 8 9\n")
    assert found == {"busy": (6 - 4) / 4}


# Growth


def test_an_exponent_is_the_slope_of_the_logarithms():
    sizes = [1000, 3000, 10_000, 30_000, 100_000]
    found = growth.fit(sizes, [2e-6 * size**1.5 for size in sizes])
    assert math.isclose(found.exponent, 1.5, abs_tol=1e-12)
    assert found.error < 1e-12


def test_the_error_of_an_exponent_is_that_of_least_squares():
    sizes = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    seconds = sizes * np.exp([0.1, -0.2, 0.15, 0.0, -0.1])
    slope, covariance = np.polyfit(np.log(sizes), np.log(seconds), 1, cov=True)
    found = growth.fit(sizes, seconds)
    assert math.isclose(found.exponent, slope[0], rel_tol=1e-9)
    assert math.isclose(found.error, covariance[0, 0] ** 0.5, rel_tol=1e-9)


def test_two_points_make_no_exponent():
    with pytest.raises(ValueError, match="three sizes or more, got 2"):
        growth.fit([1, 2], [1.0, 2.0])


@pytest.mark.parametrize("sweep", growth.SWEEPS)
def test_sweeps_go_over_two_decades_in_five_steps_or_more(sweep):
    assert len(sweep.sizes) >= 5
    assert max(sweep.sizes) == 100 * min(sweep.sizes)


@pytest.mark.parametrize("sweep", growth.SHORTER)
def test_shorter_sweeps_have_an_error_and_no_bar(sweep):
    assert len(sweep.sizes) >= 3
    assert max(sweep.sizes) >= 8 * min(sweep.sizes)
    assert sweep.expected is None


def test_memory_grows_as_the_compiler_says():
    def outer(x):
        return jnp.sum((x[:, None] * x) @ x)

    sweep = growth.Sweep(
        "outer", "N", (2000, 4000, 8000), {},
        lambda N: growth.Made(outer, [jnp.ones(N)]),
    )  # fmt: skip
    row = growth._swept(measure.Bench(False, 1, None), sweep)
    assert len(row["temporary_bytes"]) == len(row["seconds"]) == 3
    taken = row["temporary_bytes"]
    slope = np.polyfit(np.log(sweep.sizes), np.log(taken), 1)[0] if all(taken) else None
    assert row["memory_exponent"] == (slope and pytest.approx(slope))


# On paper


def test_on_paper_is_arithmetic_on_the_rates():
    plan = scale.Plan(
        samples=1000, charts=3, anchors=5, features=2, devices=4, batch=10
    )
    lines = {line.what: line for line in scale.on_paper(plan, 100.0, 1e9, 50.0)}
    value = {what: line.value for what, line in lines.items()}
    assert value["embeddings"] == 1000 * 3 * 2 * 4
    assert value["atlas"] == 1000 * 5 * 4
    assert value["what is never formed"] == 3 * 1000 * 5 * 4
    whole = (24_000 + 20_000 + 3000) / 4 + 3 * 5 * 2 * 4
    assert value["on each device, all at once"] == whole
    both = 2 * 10 * (24 + 20 + 3) + 120
    assert value["on each device, in batches from the host"] == both + 20_000 / 4
    of_cka = value["linear CKA with a space of D features"]
    assert of_cka == pytest.approx(2000 * (25 + 10 + 4) / 50 / 3600)
    assert value["flops of merge"] == 2 * 1000 * 3 * 2 * 5
    assert value["merge"] == 60_000 / 100 / 3600
    assert value["the same on G devices"] == value["merge"] / 4
    # Where memory is slower than arithmetic, it is memory that counts.
    slow = {line.what: line for line in scale.on_paper(plan, 1e12, 10.0, 1.0)}
    assert slow["merge"].value == 47_000 / 10 / 3600


def test_on_paper_takes_the_rate_of_the_largest_merge():
    def row(name, n, seconds):
        return {
            "name": name,
            "size": {"N": n},
            "work": {"flops": 1e9 * n},
            "seconds": {"ours": [*seconds, None]},
        }

    rates = {"copy in place, GB/s": 8.0}
    jobs = {
        "machine": {"rows": [{"values": rates}]},
        "merge": {
            "rows": [row("merge", 100, [1.0]), row("merge", 200, [4.0, 2.0, 5.0])]
        },
        "cka": {"rows": [row("linear CKA, a chunk of rows", 10, [2.0])]},
    }
    found = scale.from_results(jobs)
    assert found["flops a second"] == 200e9 / 4.0
    assert found["bytes a second"] == 8e9
    assert found["flops a second of CKA"] == 5e9
    for left_out in jobs:
        rest = {name: job for name, job in jobs.items() if name != left_out}
        assert scale.from_results(rest) == {}
