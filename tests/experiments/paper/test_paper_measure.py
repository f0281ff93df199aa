"""One unit of the main job: its rows, what is kept of it, and what it reports."""

import json
from collections import Counter
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.measures import clustering
from experiments.paper.experiment import EXPERIMENT
from experiments.paper.plots.figures import DRAWN
from experiments.paper.published_tables import PaperOptions as Options
from experiments.runs import benches, deals, runner, settings
from jatlas.charts import training

RUN = ("S4_N2", "P80_20", "T2")  # one of each scenario
CELLS = {name: settings.parse(name) for name in RUN}
BOTH = ("original_abs", "original_rel", "merged", "merged_nystroem")
CONTROLS = ("original_abs_task", "original_abs_task_embedding")
JUMBLES = ("jumble_abs", "jumble_rel")
SPACES = {"oracle": (*BOTH, *JUMBLES, "merged_shift", *CONTROLS)}  # shift in A only
SPACES["blind"] = (*BOTH, "mean_abs", "concat_abs")
OF_THE_PROBE = ("accuracy", "scored_rows", "probe_epochs")
OF_PAIRS = (
    "cka_rbf",
    *(f"self_similarity_{m}" for m in ("pearson", "spearman", "cosine")),
)
CUTS = ("", "_leakfree", "_train_split")  # all but the first in A only
NUM_CHARTS = {"S4_N2": 3, "P80_20": 2, "T2": 2}
SEED = 3
WIDTH = 10  # of the embeddings, and so of the atlas
every_cell = pytest.mark.parametrize("name", RUN)


class Ran(NamedTuple):
    run: runner.Run
    bench: benches.Bench
    rows: dict  # by setting
    said: dict  # by setting, what was reported
    trained: list  # which charts of how many were trained, call by call
    probes: list  # what each probe was told of when to stop


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny, chart) -> Ran:
    """A unit of each scenario, all of one seed, by charts narrower than the paper's."""
    options = Options(
        dataset="tiny",
        num_anchors=WIDTH,
        max_epochs=1,
        probe_epochs=2,
        probe_patience=1,
        out=tmp_path_factory.mktemp("run"),
    )
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
    rows, said, fitted, probes = {}, {}, [], []
    fit_charts, fit_probe = training.fit_charts, jatlas.fit_probe

    def counted(key, chart, images, labels, tasks, **others):
        fitted.append((*others["only"], len(tasks.seen)))
        return fit_charts(key, chart, images, labels, tasks, **others)

    def noted(*args, max_epochs, patience, **others):
        probes.append((max_epochs, patience))
        told = {"max_epochs": max_epochs, "patience": patience}
        return fit_probe(*args, **told, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(chart_kinds.KINDS, "cnn", kind)
        bench = benches.prepare(options, tiny, options.out / "parts")
        run = runner.Run(EXPERIMENT, options, options.out, {}, bench, [])
        patch.setattr(training, "fit_charts", counted)
        patch.setattr(jatlas, "fit_probe", noted)
        for name in RUN:
            said[name] = []
            rows[name] = runner.measure(
                run,
                deals.unit(CELLS[name], SEED),
                lambda *what, to=said[name]: to.append(what),
            )["rows"]
    return Ran(run, bench, rows, said, fitted, probes)


def test_a_chart_is_the_papers_over_images_scaled_as_imagenet(ran, tiny):
    bench = benches.prepare(ran.bench.options, tiny, ran.bench.folder)
    chart = bench.encoders["cnn"].chart
    state = chart.init(jax.random.key(0))
    images = tiny.images[:5]
    images = jnp.asarray(images)
    assert chart.embed(state, images).shape == (5, 128)
    assert chart.logits(state, images).shape == (5, 10)
    bare = jatlas.charts.from_module(partial(jatlas.charts.CNN, (8, 8, 1), 10))
    scaled = jnp.asarray((images / 255 - 0.449) / 0.226, jnp.float32)
    np.testing.assert_allclose(
        chart.embed(state, images), bare.embed(state, scaled), rtol=1e-4, atol=1e-4
    )
    assert bench.encoders["cnn"].inputs is tiny.images  # bytes, and no copy
    assert bench.folder == ran.bench.options.out / "parts"


def expected(scenario):
    """Every (protocol, space, metric) of a scenario."""
    return [
        (protocol, space, metric)
        for protocol, spaces in SPACES.items()
        for space in spaces
        if space != "merged_shift" or scenario == "A"
        for metric in metrics(scenario, space)
    ]


def metrics(scenario, space):
    """Of a space: of the controls the probe's."""
    kinds = ("", "_shared", "_novel") if scenario == "A" else ("",)
    for cut in CUTS if scenario == "A" else ("",):
        yield from (f"accuracy{cut}{kind}" for kind in kinds)
        yield from (f"scored_rows{cut}", f"probe_epochs{cut}")
        if space not in CONTROLS:
            yield f"class_mean_accuracy{cut}"
    if space in CONTROLS:
        return
    yield from ("separability", *clustering.NAMES)
    references = {"original_rel": (), "original_abs": ("",)}
    several_rows = "jumble" in space and scenario == "A"
    for reference in references.get(space, ("", "_original_abs")):
        yield from (f"cka{reference}{kind}" for kind in kinds)
        if not several_rows and space != "concat_abs":
            yield from (f"cka_rbf{reference}{kind}" for kind in kinds)
            yield from (f"{metric}{reference}" for metric in OF_PAIRS[1:])


def test_the_list_of_what_is_expected_is_as_long_as_counted_by_hand():
    """Of the probe 15 in A and 3 in B for a space, 23 and 9 with what else is alone.

    With a reference 9 and 5 are compared, 3 and 1 where all pairs are too many.
    """
    assert len(expected("A")) == 13 * 23 + 30 + 2 * 9 + 6 * 18 + 3 * 6
    assert len(expected("B")) == 12 * 9 + 6 + 2 * 5 + 7 * 10 + 1 * 2
    assert expected("C") == expected("B")


@every_cell
def test_a_unit_has_every_metric_of_every_space_under_both_protocols_once(ran, name):
    found = Counter((r["protocol"], r["space"], r["metric"]) for r in ran.rows[name])
    assert found == Counter(expected(CELLS[name].scenario))


@every_cell
def test_a_row_says_where_it_belongs(ran, name):
    for row in ran.rows[name]:
        assert list(row) == [
            "scenario", "setting", "protocol", "space", "metric", "seed", "value"
        ]  # fmt: skip
        assert row["scenario"] == CELLS[name].scenario
        assert row["setting"] == name
        assert row["seed"] == SEED
        assert type(row["value"]) is float


@every_cell
def test_values_are_finite_and_in_their_range(ran, name):
    unbounded = ("separability", "scored_rows", "probe_epochs", "mutual_information")
    may_be_none = (
        "accuracy",
        "silhouette",
        "self_similarity",
        "mutual",
        "homo",
        "comp",
    )
    for row in ran.rows[name]:
        assert np.isfinite(row["value"]), row
        assert row["value"] > 0 or row["metric"].startswith(may_be_none), row
        assert row["value"] > -1 - 1e-6, row
        if not row["metric"].startswith(unbounded):
            assert row["value"] <= 1 + 1e-6, row


@every_cell
def test_an_accuracy_is_on_the_rows_that_are_left_to_score_it(ran, name):
    """Of the 200 of the test split, in A 15 %; a jumble has a row for each chart."""
    in_a = name == "S4_N2"
    for row in ran.rows[name]:
        of_all = 360 if "jumble" in row["space"] and in_a else 200
        if row["metric"] == "scored_rows":
            assert row["value"] == (0.15 * of_all if in_a else of_all), row
        if row["metric"] == "scored_rows_train_split":
            assert row["value"] == of_all, row
        if row["metric"] == "scored_rows_leakfree":
            assert 30 <= row["value"] <= (90 if of_all > 200 else 30), row
        if row["metric"].startswith("probe_epochs"):
            assert row["value"] in (1, 2), row


def test_every_probe_stops_as_the_options_say(ran):
    """In A two for a space of one row a sample, three for a jumble; else one."""
    assert ran.probes == [(2, 1)] * (10 * 2 + 2 * 3 + 11 + 11)


def values(rows, protocol, space):
    return {
        r["metric"]: r["value"]
        for r in rows
        if (r["protocol"], r["space"]) == (protocol, space)
    }


@every_cell
def test_only_the_end_to_end_spaces_are_alike_under_both_protocols(ran, name):
    rows = ran.rows[name]
    for space in ("original_abs", "original_rel"):
        assert values(rows, "oracle", space) == values(rows, "blind", space)
    assert values(rows, "oracle", "merged") != values(rows, "blind", "merged")


@every_cell
def test_a_finished_unit_is_read_from_the_disk(ran, name, monkeypatch):
    def refuse(*args, **others):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit_charts", refuse)
    again = runner.measure(ran.run, deals.unit(CELLS[name], SEED))
    assert again["rows"] == ran.rows[name]
    file = ran.bench.folder / f"{CELLS[name].scenario}_{name}_seed{SEED}.json"
    assert runner.part(ran.run, deals.unit(CELLS[name], SEED)) == file
    assert json.loads(file.read_text()) == again
    with pytest.raises(AssertionError, match="trained again"):
        runner.measure(ran.run, deals.unit(CELLS[name], SEED + 1))


def test_the_end_to_end_chart_is_trained_once_a_seed(ran):
    of_tasks = [(m, n) for n in (3, 2, 2) for m in range(n)]
    assert ran.trained == [(0, 1), *of_tasks]
    kept = storage.read_arrays(ran.bench.folder / f"reference_seed{SEED}.npz")
    assert kept["embeddings"].shape == (600, WIDTH)
    assert np.isfinite(kept["embeddings"]).all()


def test_nothing_but_finished_parts_is_left(ran):
    names = [f"{CELLS[name].scenario}_{name}_seed{SEED}" for name in RUN]
    files = [f"{name}{ending}" for name in names for ending in (".json", ".npz")]
    found = sorted(file.name for file in ran.bench.folder.iterdir())
    assert found == sorted([*files, f"reference_seed{SEED}.npz"])


@every_cell
def test_pictures_are_drawn_from_the_test_split(ran, name):
    file = f"{CELLS[name].scenario}_{name}_seed{SEED}.npz"
    arrays = storage.read_arrays(ran.bench.folder / file)
    assert arrays.keys() == {*DRAWN, "labels"}
    np.testing.assert_array_equal(arrays["labels"], ran.bench.dataset.labels[400:])
    for space in DRAWN:
        assert arrays[space].shape == (200, WIDTH)
        assert np.isfinite(arrays[space]).all()


@every_cell
def test_progress_goes_from_nothing_to_all_and_never_back(ran, name):
    shares = [share for _, share in ran.said[name]]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= 0.5
    assert shares[-1] == 1.0
    num_charts = NUM_CHARTS[name]
    said = [what for what, _ in ran.said[name] if "end-to-end" not in what]
    assert said == [
        *(f"chart {m}/{num_charts}, epoch 1/1" for m in range(1, num_charts + 1)),
        "measuring",
        "done",
    ]


def test_the_end_to_end_chart_is_reported_where_it_is_trained(ran):
    told = {
        name: [what for what, _ in said if "end-to-end" in what]
        for name, said in ran.said.items()
    }
    assert told == {"S4_N2": ["end-to-end chart, epoch 1/1"], "P80_20": [], "T2": []}


def dealt(bench, name, seed):
    """The tasks and the anchors."""
    tasks, pool = deals.deal(bench, CELLS[name], seed)
    return tasks, deals.choose(bench, CELLS[name], seed, pool)


@every_cell
def test_anchors_are_seen_by_all_charts_or_held_out_of_all(ran, name):
    tasks, anchors = dealt(ran.bench, name, SEED)
    assert len(set(anchors.tolist())) == WIDTH
    assert not tasks.test[anchors].any()
    if name == "S4_N2":
        assert tasks.seen[:, anchors].all()
        assert tasks.shared[ran.bench.dataset.labels[anchors]].all()
    else:
        assert tasks.held_out[anchors].all()
        assert not tasks.presence[:, anchors].any()
        assert not tasks.seen[:, anchors].any()


@every_cell
def test_a_seed_draws_tasks_and_anchors_anew(ran, name):
    first, again, other = (
        dealt(ran.bench, name, seed)[1].tolist() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_anchors_are_drawn_anew_in_every_setting_and_not_as_the_tasks_are(ran):
    """From a key of their own: of pools of the same size, not the same places."""
    options = Options(dataset="tiny", num_anchors=WIDTH, num_held_out=100)
    bench = ran.bench._replace(options=options)
    places = []
    for name in ("P80_20", "T2"):
        tasks, anchors = dealt(bench, name, SEED)
        pool = np.flatnonzero(tasks.held_out)
        assert len(pool) == 100
        places.append(np.searchsorted(pool, anchors).tolist())
    everyone = np.ones(100, bool)
    places.append(np.asarray(jatlas.choose_anchors(SEED, everyone, WIDTH)).tolist())
    assert len({tuple(sorted(p)) for p in places}) == 3


def test_more_held_out_samples_than_anchors_are_all_kept_from_the_charts(ran):
    options = Options(dataset="tiny", num_anchors=WIDTH, num_held_out=100)
    bench = ran.bench._replace(options=options)
    tasks, anchors = dealt(bench, "T2", 0)
    assert tasks.held_out.sum() == 100
    assert tasks.held_out[anchors].all()
    assert len(anchors) == WIDTH


@pytest.mark.parametrize(("name", "message"), [
    ("S4_N2", r"cannot choose 200 anchors from a pool of 1\d\d of 600"),
    ("T2", r"task 0 has no training sample left|cannot hold out"),
])  # fmt: skip
def test_more_anchors_than_there_are_samples_are_refused(ran, name, message):
    num_anchors = 200 if name == "S4_N2" else 400
    bench = ran.bench._replace(options=Options(num_anchors=num_anchors))
    with pytest.raises(ValueError, match=message):
        dealt(bench, name, 0)
