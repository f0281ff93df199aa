"""The references compute what jatlas computes: NumPy, from the formulas."""

import math
import sys

import jax
import numpy as np
import pytest

import jatlas
from experiments.benchmarks import measure, reference_measures, references
from experiments.benchmarks.jobs import measures, merge, pairs, reference_probes
from experiments.benchmarks.jobs.cka import spaces
from experiments.benchmarks.measure import Bench

N, D = 60, 7


@pytest.fixture(scope="module")
def pair():
    return spaces(N, D)


def test_merge_is_the_masked_mean_of_relative_spaces():
    x, a, p = merge.data(merge.Case(m=3, n=N, d=D, a=5))
    assert not p.all()
    ours = jatlas.merge(x, a, p)
    np.testing.assert_allclose(references.merge(np, x, a, p), ours, atol=1e-6)


def test_merge_takes_charts_of_different_dimensions():
    case = merge.Case(m=3, n=N, d=D, a=5)
    x, a, p = merge.data(case, [4, 7, 10])
    ours = jatlas.merge(x, a, p)
    np.testing.assert_allclose(references.merge(np, x, a, p), ours, atol=1e-6)


def test_the_data_leave_no_sample_without_a_chart():
    _, _, p = merge.data(merge.Case(m=2, n=500, d=1, a=1))
    assert p.any(axis=0).all()
    assert 0.6 < p.mean() < 0.8


@pytest.mark.parametrize(
    "formula", [references.cka_by_products, references.cka_by_means]
)
def test_linear_cka(pair, formula):
    assert math.isclose(formula(np, *pair), jatlas.cka(*pair), abs_tol=1e-5)


def test_rbf_cka_with_the_median_of_the_papers_code(pair):
    ours = jatlas.cka(*pair, kernel="rbf")
    assert math.isclose(references.rbf_cka(np, *pair), ours, abs_tol=1e-5)


def test_moments_add_up_over_chunks(pair):
    x, y = pair
    parts = [references.moments(np, x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)]
    both = np.concatenate([x, y], axis=1).astype(np.float64)
    np.testing.assert_allclose(sum(parts), both.T @ both, rtol=1e-4, atol=1e-4)


def test_separability_of_all_pairs_and_of_the_first_classes(pair):
    labels = np.arange(N) % 4
    ours = jatlas.separability(pair[0], labels, 4)
    whole = references.separability(np, pair[0], labels, 4, 4)
    np.testing.assert_allclose(whole, ours, rtol=1e-5)
    part = references.separability(np, pair[0], labels, 4, 1)
    np.testing.assert_array_equal(part, whole[:1])


def test_self_similarity(pair):
    ours = jatlas.metrics.self_similarity_correlation(*pair)
    assert math.isclose(references.self_similarity(np, *pair), ours, abs_tol=1e-5)


def test_mutual_neighbours(pair):
    ours = jatlas.metrics.mutual_neighbors(*pair, 5)
    theirs = references.mutual_neighbors(np, *pair, 5)
    assert math.isclose(theirs, ours, abs_tol=1e-6)
    assert 5 / (N - 1) < theirs < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [*measures.IN_FEATURES, *measures.IN_PAIRS],
    ids=lambda case: case.name,
)
def test_published_forms_of_measures(pair, case):
    ours, theirs = float(case.ours(*pair)), case.formula(np, *pair)
    of_counts = {"RSA, Spearman", "Jaccard of neighbors", "rank-biased overlap"}
    of_counts |= {"cycles of neighbors"}
    assert theirs.dtype == np.float32 or case.name in of_counts
    assert math.isclose(theirs, ours, rel_tol=1e-4, abs_tol=1e-5)


@pytest.mark.parametrize("case", measures.IN_ANCHORS, ids=lambda case: case.name)
def test_similarities_to_anchors(pair, case):
    x, anchors = pair[0], pair[1][:20]
    theirs = case.formula(np, x, anchors)
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, case.ours(x, anchors), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_kendalls_correlation_and_the_matrix_of_all_pairs(pair):
    ours = jatlas.metrics.rsa(*pair, method="kendall")
    assert math.isclose(reference_measures.rsa_kendall(*pair), ours, abs_tol=1e-5)
    matrix = reference_measures.cka_matrix(np, np.stack(pair))
    ours = jatlas.metrics.compare_spaces(np.stack(pair)).values["cka"]
    np.testing.assert_allclose(matrix, ours, atol=1e-5)


@pytest.mark.parametrize("form", [pairs.by_neighbors, pairs.by_transport])
def test_simple_forms_find_the_partners_where_enough_pairs_are_known(form):
    arrays, right = pairs.sides(150, 24, 64)
    assert np.mean(form(*arrays) == right) > 0.95
    assert np.mean(form(*(x[:, :2] for x in arrays)) == right) < 0.1


@pytest.mark.slow
def test_grown_anchors_are_right_where_noise_leads_mutual_neighbors_astray():
    row = pairs.grown(Bench(quick=True, repeats=1, torch=None), 300, 8, 64)
    little, much = list(row["values"].values())[:3], list(row["values"].values())[3:]
    assert min(little) > 0.9  # of all forms
    ours, neighbors, _ = much
    assert ours > 0.9
    assert neighbors < 0.5


@pytest.mark.parametrize("formula", [references.merge, references.cka_by_products])
def test_nothing_is_computed_in_float64(pair, formula):
    # The (N, N) form or the stack in a wider dtype would be a crippled reference.
    case = merge.data(merge.Case(m=3, n=N, d=D, a=5))
    arrays = case if formula is references.merge else pair
    assert formula(np, *arrays).dtype == np.float32


@pytest.mark.slow
def test_the_numpy_probe_learns_what_ours_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    space = 2 * np.eye(3, 8, dtype=np.float32)[labels]
    space += rng.standard_normal((400, 8), np.float32)
    logits = reference_probes.in_numpy(space, labels, 3, 5)
    assert logits.dtype == np.float32
    theirs = np.mean(logits.argmax(axis=1) == labels)
    probe = jatlas.fit_probe(jax.random.key(0), space, labels, 3, max_epochs=5)
    ours = np.mean(np.argmax(jatlas.probe_logits(probe, space), axis=1) == labels)
    assert theirs > 0.8
    assert abs(theirs - ours) < 0.03


def test_the_gradient_of_the_numpy_probe_is_that_of_its_loss():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s) for s in ((4, 6), (6,), (6, 3), (3,))]
    x, targets = rng.standard_normal((5, 4)), np.eye(3)[rng.integers(0, 3, 5)]

    def loss():
        hidden, bias, kernel, offset = weights
        logits = np.maximum(x @ hidden + bias, 0) @ kernel + offset
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -np.mean(np.log((shares * targets).sum(axis=1)))

    slopes = reference_probes._slopes(weights, x, targets)
    for weight, slope in zip(weights, slopes, strict=True):
        place = (0,) * weight.ndim
        before, step = weight[place], 1e-6
        weight[place] = before + step
        above = loss()
        weight[place] = before - step
        below = loss()
        weight[place] = before
        assert math.isclose(slope[place], (above - below) / (2 * step), abs_tol=1e-6)


def test_without_torch_numpy_is_what_is_measured_against(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "torch", None)
    bench = Bench(quick=True, repeats=1, torch=references.load_torch(1))
    assert bench.torch is None
    found = measure.by_formula(bench, "means", references.cka_by_means, pair, 1e-5)
    assert list(found) == ["numpy"]
    assert found["numpy"].what == "means, NumPy"
    assert math.isclose(found["numpy"].call(), jatlas.cka(*pair), abs_tol=1e-5)
