"""What the spaces are made of, and that it is nothing of the samples in question."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from blind_cells import CHARTS, LABELS, WIDTH, C, D, N, cosines, nystroem, synthetic
from blind_cells import white as whitened_64

import jatlas
from experiments.blind import evidence, methods, spaces
from experiments.blind.methods import METHODS

KEY = jax.random.key(0)
# The width of those that have one of their own.
OWN = {"concat": 3 * D, "evidence_alone": C, "end_to_end_evidence": 3 * D + C}
OWN |= dict.fromkeys(("end_to_end", "end_to_end_white"), 3 * D)
OWN |= dict.fromkeys(("mean", "gcca", "procrustes"), D)


@pytest.fixture(scope="module")
def own():
    """The reference is as wide as all charts: one probe is compiled for either."""
    cell = synthetic("A")
    others = np.random.default_rng(6).normal(size=(N, 2 * D))
    return replace(cell, reference=np.hstack([cell.reference, np.float32(others)]))


def gram(rows):
    return np.float64(rows) @ np.float64(rows).T


# Chosen by folds, for seconds; chosen of a cell it is in test_blind_consensus.py too.
CHOSEN = pytest.param("consensus_chosen", marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name", [CHOSEN if name == CHOSEN.values[0] else name for name in METHODS]
)
def test_a_space_knows_nothing_of_who_is_tested_or_chosen_by(own, name):
    make = METHODS[name].make
    space = make(own, WIDTH, KEY)
    assert space.shape == (N, OWN.get(name, WIDTH))
    assert np.isfinite(space).all()
    assert space.dtype == np.float32
    others = own.test | own.choose
    labels = np.where(others, (own.labels + 1) % C, own.labels)
    relabelled = make(replace(own, labels=labels), WIDTH, KEY)
    np.testing.assert_array_equal(relabelled, space)

    rng = np.random.default_rng(3)

    def moved(x):
        return np.where(others[:, None], np.float32(rng.normal(size=x.shape) * 5), x)

    elsewhere = replace(
        own, reference=moved(own.reference), charts=[moved(x) for x in own.charts]
    )
    changed = make(elsewhere, WIDTH, KEY)
    np.testing.assert_array_equal(changed[~others], space[~others])
    assert (changed[others] != space[others]).any(axis=1).all()


def test_methods_with_a_width_of_their_own_have_no_curve():
    assert {name for name in METHODS if METHODS[name].wide}.isdisjoint(OWN)
    assert set(methods.CURVES) <= METHODS.keys() - OWN.keys()


def test_anchors_are_the_paper_s_or_as_many_of_each_class(own):
    by_rule = spaces.anchors_by_rule(own, WIDTH, KEY)
    assert own.pool[by_rule].all()
    for scenario in CHARTS:
        cell = synthetic(scenario)
        anchors = spaces.anchors_of_all(cell, WIDTH, KEY)
        assert len(set(anchors)) == WIDTH
        assert (cell.train | cell.tasks.held_out)[anchors].all()
        assert (np.bincount(LABELS[anchors], minlength=C) == WIDTH // C).all()


def test_simple_spaces_are_what_they_are_called(own):
    made = {name: METHODS[name].make(own, 3, KEY) for name in ("mean", "concat")}
    np.testing.assert_array_equal(
        METHODS["end_to_end"].make(own, 3, KEY), own.reference
    )
    np.testing.assert_allclose(made["mean"], sum(own.charts) / 3, atol=1e-6)
    np.testing.assert_array_equal(np.split(made["concat"], 3, axis=1), own.charts)
    rest = np.float64(made["concat"] - made["concat"][own.train].mean(axis=0))
    axes = np.linalg.svd(rest[own.train])[2][:3]
    pca = METHODS["concat_pca"].make(own, 3, KEY)
    np.testing.assert_allclose(gram(pca), gram(rest @ axes.T), atol=1e-4)


def test_end_to_end_spaces_are_those_of_numpy(own):
    anchors = spaces.anchors_by_rule(own, WIDTH, KEY)
    relative = METHODS["end_to_end_rel"].make(own, WIDTH, KEY)
    expected = cosines(own.reference, own.reference[anchors])
    np.testing.assert_allclose(relative, expected, atol=1e-5)
    white = METHODS["end_to_end_white"].make(own, WIDTH, KEY)
    expected = whitened_64(own.reference, own.train)
    np.testing.assert_allclose(white, expected, atol=1e-4)


def test_atlases_are_those_of_numpy(own):
    def atlas(charts, anchors):
        return np.mean([cosines(x, x[anchors]) for x in charts], axis=0)

    rule = spaces.anchors_by_rule(own, WIDTH, KEY)
    of_all = spaces.anchors_of_all(own, WIDTH, KEY)
    by_task = map(whitened_64, own.charts, own.tasks.seen)
    on_all = [whitened_64(x, own.train) for x in own.charts]
    expected = {
        "atlas": atlas(own.charts, rule),
        "atlas_white": atlas(list(by_task), rule),
        "nystroem": nystroem(atlas(own.charts, rule), rule),
        "white_nystroem": nystroem(atlas(on_all, of_all), of_all),
    }
    for name, rows in expected.items():
        found = METHODS[name].make(own, WIDTH, KEY)
        np.testing.assert_allclose(found, rows, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("partial", [False, True])
def test_evidence_is_a_chart_of_a_weight_of_its_own(own, partial):
    rng = np.random.default_rng(1)
    roots = np.sqrt(rng.dirichlet(np.ones(C), N)).astype(np.float32)
    of_anchors = np.sqrt(rng.dirichlet(np.ones(C), WIDTH)).astype(np.float32)
    anchors = spaces.anchors_of_all(own, WIDTH, KEY)
    presence, charts = np.ones((3, N), bool), own.charts
    relative = np.array([cosines(x, x[anchors]) for x in charts])
    if partial:
        presence = rng.random((3, N)) < 0.5
        presence[0] |= ~presence.any(axis=0)
        presence[:, anchors] = True
        # Not looked at: neither is what is said of them above.
        charts = [
            np.where(there[:, None], x, np.float32(np.nan))
            for x, there in zip(charts, presence, strict=True)
        ]
    mean = np.where(presence[..., None], relative, 0).sum(axis=0)
    mean /= presence.sum(axis=0)[:, None]
    share = spaces.EVIDENCE
    expected = (mean + share * cosines(roots, of_anchors)) / (1 + share)
    found = spaces.with_evidence(
        charts, roots, of_anchors, anchors, presence if partial else None
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_atlas_with_evidence_is_made_of_its_parts(own):
    anchors = spaces.anchors_of_all(own, WIDTH, KEY)
    charts = [whitened_64(x, own.train) for x in own.charts]
    roots = METHODS["evidence_alone"].make(own, WIDTH, KEY)
    np.testing.assert_allclose((np.float64(roots) ** 2).sum(axis=1), 1, atol=1e-5)
    share = spaces.EVIDENCE
    parts = [cosines(x, x[anchors]) for x in charts]
    rows = np.mean(parts, axis=0) + share * cosines(roots, roots[anchors])
    expected = nystroem(rows / (1 + share), anchors)
    found = METHODS["evidence"].make(own, WIDTH, KEY)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_evidence_of_training_rows_is_by_probes_that_have_not_learned_them(own):
    """Of random labels nothing can be known, but by heart."""
    rng = np.random.default_rng(2)
    rows = np.float32(rng.normal(size=(N, 3 * D)))
    labels = rng.integers(0, C, N).astype(np.int32)
    # Copies of training rows: probes do not stop before they know some by heart.
    copied = np.flatnonzero(own.train)[: own.stop.sum()]
    rows[own.stop], labels[own.stop] = rows[copied], labels[copied]
    random = replace(own, labels=labels)
    found = np.argmax(evidence.roots(random.fit(KEY, rows), rows), axis=1)
    by_heart = jatlas.fit_probe(
        KEY, rows, labels, C, where=own.train, validation=own.stop
    )
    known = np.asarray(jatlas.probe_logits(by_heart, rows)).argmax(axis=1)
    assert (known == labels)[own.train].mean() > 0.5
    assert abs((found == labels)[own.train].mean() - 1 / C) < 0.1


def test_procrustes_undoes_rotations_shifts_and_scales(own):
    x = np.float64(own.charts[0])
    rng = np.random.default_rng(4)
    turns = [np.linalg.qr(rng.normal(size=(D, D)))[0] for _ in range(3)]
    charts = [
        scale * (x @ turn) + rng.normal(size=D)
        for scale, turn in zip((1, 3, 0.5), turns, strict=True)
    ]
    cell = replace(own, charts=charts)
    rest = x - x[own.train].mean(axis=0)
    expected = gram(rest / np.sqrt((rest[own.train] ** 2).mean()))
    found = gram(METHODS["procrustes"].make(cell, WIDTH, KEY))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    mean = METHODS["mean"].make(cell, WIDTH, KEY)
    assert abs(gram(mean) - expected).max() > 1


def test_gcca_finds_what_charts_have_in_common(own):
    rng = np.random.default_rng(5)
    common = rng.normal(size=N)
    charts = [
        np.outer(common, rng.normal(size=D)) + 0.3 * rng.normal(size=(N, D))
        for _ in range(3)
    ]
    (found,) = METHODS["gcca"].make(replace(own, charts=charts), 1, KEY).T
    assert abs(np.corrcoef(found, common)[0, 1]) > 0.95


def test_evidence_is_trained_once_for_all_spaces_of_a_cell_and_anew_for_another(
    monkeypatch,
):
    own, trained = synthetic("C"), []
    fit = jatlas.probes.fit_crossfit
    monkeypatch.setattr(
        jatlas.probes,
        "fit_crossfit",
        lambda key, rows, *rest, **more: (
            trained.append(rows.shape) or fit(key, rows, *rest, **more)
        ),
    )
    for width in (WIDTH, 4):
        METHODS["evidence"].make(own, width, KEY)
        METHODS["evidence_alone"].make(own, width, KEY)
    assert trained == [own.beside.shape]
    METHODS["evidence_alone"].make(own, WIDTH, jax.random.key(1))
    METHODS["evidence_alone"].make(replace(own), WIDTH, KEY)
    assert len(trained) == 3
