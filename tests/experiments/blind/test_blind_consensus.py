"""Consensus coordinates of a cell, against the definition in NumPy."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from blind_cells import WIDTH, C, D, N, synthetic

import jatlas
from experiments.blind import consensus, evidence, methods, present, spaces

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def own():
    return synthetic("A")


@pytest.fixture(scope="module")
def two():
    return synthetic("C")


def per_chart(charts, train, width, ridge=1.0, power=1.0):
    """Each chart's rows, (M, N, width), with variance one where all charts agree."""
    moved, maps = [], []
    for x in charts:
        rows = np.float64(x) - np.float64(x)[train].mean(axis=0)
        rows /= np.sqrt((rows[train] ** 2).sum(axis=1).mean())
        inner = rows[train].T @ rows[train] + ridge * np.eye(rows.shape[1])
        moved.append(rows)
        maps.append(np.linalg.solve(inner, rows[train].T))
    smoothers = sum(x[train] @ back for x, back in zip(moved, maps, strict=True))
    values, vectors = np.linalg.eigh(smoothers / len(charts))
    kept = slice(None, -width - 1, -1)
    # G' diag(c) G = I, times the root of (number of charts) (number of samples)
    common = vectors[:, kept] * np.sqrt(train.sum()) * values[kept] ** power
    return np.stack([x @ back @ common for x, back in zip(moved, maps, strict=True)])


def gram(rows):
    return np.float64(rows) @ np.float64(rows).T


@pytest.mark.parametrize("width", [WIDTH, 3 * D])
def test_the_consensus_space_is_that_of_numpy(own, width):
    found = methods.METHODS["consensus"].make(own, width, KEY)
    assert found.shape == (N, width)
    expected = per_chart(own.charts, own.train, width).mean(axis=0)
    np.testing.assert_allclose(gram(found), gram(expected), atol=2e-4)
    # What all charts agree about would have variance one.
    variance = found[own.train].var(axis=0)
    agreement = own.consensus.agreement[:width]
    np.testing.assert_allclose(variance, agreement**4, rtol=1e-2, atol=1e-5)


def test_with_some_charts_it_is_the_mean_of_those(two):
    rng = np.random.default_rng(0)
    presence = rng.random((2, N)) < 0.5
    presence[0] |= ~presence.any(axis=0)
    rows = per_chart(two.charts, two.train, WIDTH)
    expected = np.where(presence[..., None], rows, 0).sum(axis=0)
    expected /= presence.sum(axis=0)[:, None]
    makers = present._makers(two, WIDTH, KEY, np.ones((2, N), bool))
    found = makers["consensus"](presence)
    np.testing.assert_allclose(gram(found), gram(expected), atol=2e-4)
    assert makers["consensus_full"](presence).shape == (N, 2 * D)


@pytest.mark.parametrize("partial", [False, True])
def test_evidence_is_one_chart_more_of_a_weight_of_its_own(own, partial):
    rng = np.random.default_rng(1)
    roots = np.sqrt(rng.dirichlet(np.ones(C), N)).astype(np.float32)
    presence = np.ones((3, N), bool)
    if partial:
        presence = rng.random((3, N)) < 0.5
        presence[0] |= ~presence.any(axis=0)
    rows = per_chart([*own.charts, roots], own.train, WIDTH)
    mean = np.where(presence[..., None], rows[:3], 0).sum(axis=0)
    mean /= presence.sum(axis=0)[:, None]
    expected = (mean + spaces.EVIDENCE * rows[3]) / (1 + spaces.EVIDENCE)
    fitted = consensus.fit([*own.charts, roots], own.train)
    found = spaces.consensus_with_evidence(
        fitted, own.charts, roots, WIDTH, presence if partial else None
    )
    np.testing.assert_allclose(gram(found), gram(expected), atol=2e-4)


def test_the_consensus_with_evidence_is_made_of_its_parts(two):
    roots = evidence.roots(two.crossfit(KEY), two.beside)
    fitted = consensus.fit([*two.charts, roots], two.train)
    expected = spaces.consensus_with_evidence(fitted, two.charts, roots, WIDTH)
    found = methods.METHODS["consensus_evidence"].make(two, WIDTH, KEY)
    np.testing.assert_array_equal(found, expected)


def test_evidence_of_drawn_charts_makes_a_consensus_of_its_own(two):
    presence = present.drawn(2, N, KEY)
    parts = np.repeat(presence, D, axis=0).T
    fitted = two.fit(KEY, two.beside * parts)
    agreed = consensus.fit([*two.charts, evidence.roots(fitted, two.beside)], two.train)
    roots = evidence.roots(fitted, two.beside * parts)
    expected = spaces.consensus_with_evidence(
        agreed, two.charts, roots, WIDTH, presence
    )
    found = present._makers(two, WIDTH, KEY, presence)["consensus_evidence"](presence)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_a_ridge_and_power_are_chosen_by_training_samples(own):
    chosen = consensus.choose(KEY, own.charts, own.train, WIDTH)
    ridge, power = float(chosen.ridge), float(chosen.agreement_power)
    assert any(np.isclose(ridge, consensus.RIDGES))
    assert any(np.isclose(power, consensus.POWERS))
    expected = per_chart(own.charts, own.train, WIDTH, ridge, power).mean(axis=0)
    found = methods.METHODS["consensus_chosen"].make(own, WIDTH, KEY)
    np.testing.assert_allclose(gram(found), gram(expected), rtol=1e-3, atol=1e-3)


def test_consensus_is_fitted_once_for_all_spaces_of_a_cell(monkeypatch):
    cell, fitted = synthetic("C"), []
    fit = jatlas.fit_consensus
    monkeypatch.setattr(
        jatlas,
        "fit_consensus",
        lambda charts, *rest, **more: (
            fitted.append(len(charts)) or fit(charts, *rest, **more)
        ),
    )
    for width in (WIDTH, 4):
        methods.METHODS["consensus"].make(cell, width, KEY)
        methods.METHODS["consensus_evidence"].make(cell, width, KEY)
    present._makers(cell, WIDTH, KEY, np.ones((2, N), bool))
    assert fitted == [2, 3]
    methods.METHODS["consensus"].make(replace(cell), WIDTH, KEY)
    assert fitted == [2, 3, 2]
