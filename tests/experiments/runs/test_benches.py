"""Charts of one kind or of several, trained once and found again."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import jatlas
from experiments.data.catalog import normalize
from experiments.encoders import chart_kinds
from experiments.measures import protocols
from experiments.measures.embedding import embed
from experiments.runs import benches, deals, settings
from experiments.runs.options import Options
from jatlas.charts import training

SETTING, SEED = settings.parse("S4_N2"), 3
KINDS = ("cnn", "narrow")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, tiny, chart):
    """Three charts of two kinds, of 10 and of 6 features, and the end-to-end one."""
    six = partial(jatlas.charts.CNN, (8, 8, 1), 10, num_features=6)
    other = jatlas.charts.with_preprocessing(jatlas.charts.from_module(six), normalize)
    made = {"cnn": chart, "narrow": other}
    folder = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as patch:
        for name, own in made.items():
            kind = chart_kinds.KINDS["cnn"]._replace(
                epochs=1, make=lambda shape, num_classes, own=own: own
            )
            patch.setitem(chart_kinds.KINDS, name, kind)
        options = Options(
            dataset="tiny", charts=KINDS, num_anchors=8, probe_epochs=1, out=folder
        )
        bench = benches.prepare(options, tiny, folder / "parts")
        tasks, _ = deals.deal(bench, SETTING, SEED)
        said = []
        found = benches.charts(
            bench, SETTING, SEED, tasks, lambda *what: said.append(what)
        )
        yield bench, tasks, found, said


def test_kinds_take_turns_and_each_embeds_every_sample(mixed):
    _, _, found, said = mixed
    assert [rows.shape for rows in found] == [(600, 10), (600, 6), (600, 10)]
    assert all(np.isfinite(rows).all() for rows in found)
    assert [what for what, _ in said] == [f"chart {m}/3, epoch 1/1" for m in (1, 2, 3)]


def test_a_chart_is_what_it_is_without_the_others(mixed):
    bench, tasks, found, _ = mixed
    fitted = training.fit_charts(
        benches.key(SEED, SETTING),
        bench.encoders["narrow"].chart,
        bench.dataset.images,
        bench.dataset.labels,
        tasks,
        only=[1],
        max_epochs=1,
        patience=2,
    )
    alone = jatlas.charts.embed(fitted, bench.dataset.images)[0]
    np.testing.assert_array_equal(found[1], alone)


def test_only_a_chart_that_is_missing_is_trained(mixed, monkeypatch):
    bench, tasks, found, _ = mixed
    calls, fit_charts = [], training.fit_charts

    def counted(*args, only, **others):
        calls.append(only)
        return fit_charts(*args, only=only, **others)

    monkeypatch.setattr(training, "fit_charts", counted)
    benches.chart_files(bench, SETTING, SEED, 3)[1].unlink()
    again = benches.charts(bench, SETTING, SEED, tasks, lambda what, share: None)
    assert calls == [[1]]
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_of_unequal_charts_all_spaces_are_made_but_those_that_need_equal_ones(mixed):
    bench, *_ = mixed
    tasks, embedded = embed(bench, SETTING, SEED, lambda what, share: None)
    oracle = protocols.oracle_spaces(embedded, tasks.test)
    blind = protocols.blind_spaces(embedded)
    assert {"jumble_rel", "merged", "original_abs_task"} <= oracle.keys()
    assert {"merged", "merged_nystroem", "concat_abs"} == blind.keys()
    assert not {"jumble_abs", "mean_abs"} & (oracle.keys() | blind.keys())
    for make in (*oracle.values(), *blind.values()):
        space = make()
        assert np.isfinite(space.rows[space.sample >= 0]).all()
    assert blind["concat_abs"]().rows.shape[1] == 10 + 6 + 10
    assert blind["merged"]().rows.shape[1] == 8


def test_images_too_small_for_a_chart_are_refused(tiny):
    small = tiny._replace(images=tiny.images[:, :4, :4])
    with pytest.raises(ValueError, match="images must be 8 x 8 pixels or more"):
        benches.prepare(Options(dataset="tiny", charts=("resnet",)), small, Path())
