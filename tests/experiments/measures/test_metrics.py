"""What is measured on the spaces, against plain NumPy, SciPy and scikit-learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from worlds import (
    LABELS,
    TASKS,
    TEST,
    A,
    C,
    N,
    embeddings,
    every_scenario,
    is_used,
    one_row_a_sample,
)

import jatlas
from experiments.measures import clustering, metrics, protocols, splits
from experiments.measures.protocols import Space
from experiments.measures.splits import Cut

KEY = jax.random.key(0)
CORRELATIONS = ("pearson", "spearman", "cosine")

# Metrics. One shape, (N, A), in all of them: it compiles once.


@pytest.fixture(scope="module")
def labelled():
    """Rows in (N, A) about a place of their class's own, and a relative reference."""
    rng = np.random.default_rng(2)
    places = rng.normal(size=(C, A))
    rows = places[LABELS] + 0.5 * rng.normal(size=(N, A))
    relative = rows @ rng.normal(size=(A, A)) + rng.normal(size=(N, A))
    return rows.astype(np.float32), relative.astype(np.float32)


measure = partial(metrics.measure, labels=LABELS, key=KEY, max_epochs=20)
by_classifier = partial(metrics.by_classifier, labels=LABELS, key=KEY, max_epochs=20)


def the_cut(space, scenario):
    """The paper's."""
    found = splits.cuts(0, space, TASKS[scenario], on_test=scenario == "A")
    return {"": found[""]}


def measured(scenario, rows, relative):
    space, tasks = one_row_a_sample(scenario, rows), TASKS[scenario]
    parts = the_cut(space, scenario)
    references = {} if relative is None else {"": relative}
    values = measure(space, parts, references, tasks=tasks)
    return space, parts[""], values


def linear_cka(x, y):
    x, y = (np.float64(z) - np.float64(z).mean(axis=0) for z in (x, y))
    lengths = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return np.linalg.norm(x.T @ y) ** 2 / lengths


def mean_separability(rows, labels, pairs):
    """Distance of two centroids over the mean distance to them, one after another."""
    centroid, spread = {}, {}
    for c in range(C):
        own = np.float64(rows[labels == c])
        centroid[c] = own.mean(axis=0)
        spread[c] = np.mean([np.linalg.norm(row - centroid[c]) for row in own])
    return np.mean(
        [
            np.linalg.norm(centroid[i] - centroid[j]) / ((spread[i] + spread[j]) / 2)
            for i, j in pairs
        ]
    )


@pytest.mark.slow
def test_only_where_some_classes_are_shared_and_some_are_not_there_are_values_of_both(
    labelled,
):
    always = {
        "accuracy", "scored_rows", "probe_epochs", "class_mean_accuracy", "cka",
        "cka_rbf", "separability", *(f"self_similarity_{m}" for m in CORRELATIONS),
        *clustering.NAMES,
    }  # fmt: skip
    of_both = {
        f"{metric}_{kind}"
        for metric in ("accuracy", "cka", "cka_rbf") for kind in ("shared", "novel")
    }  # fmt: skip
    assert measured("A", *labelled)[2].keys() == always | of_both
    assert measured("B", *labelled)[2].keys() == always  # all classes are shared
    assert measured("C", *labelled)[2].keys() == always  # none is


@pytest.mark.slow
@pytest.mark.parametrize("scenario", "AC")
def test_the_relative_reference_is_not_compared_with_itself(labelled, scenario):
    with_others, alone = (
        measured(scenario, labelled[0], relative)[2] for relative in (labelled[1], None)
    )
    assert alone == {
        name: value
        for name, value in with_others.items()
        if not name.startswith(("cka", "self_similarity"))
    }


@every_scenario
def test_cka_is_of_the_test_rows_alone(labelled, scenario):
    rows, relative = labelled
    values = measured(scenario, rows, relative)[2]
    groups = {"": np.ones(N, bool)}
    if scenario == "A":
        shared = TASKS["A"].shared[LABELS]
        groups |= {"_shared": shared, "_novel": ~shared}
    for suffix, group in groups.items():
        own = TEST & group
        expected = linear_cka(rows[own], relative[own])
        assert values[f"cka{suffix}"] == pytest.approx(expected, abs=1e-5)


def test_cka_compares_each_row_of_the_naive_merge_with_its_sample(labelled):
    data, tasks = embeddings("A"), TASKS["A"]
    rng = np.random.default_rng(4)
    jumble = protocols.oracle_spaces(data, TEST)["jumble_abs"]()
    rows = rng.normal(size=(len(jumble.sample), A)).astype(np.float32)
    space, references = Space(rows, jumble.sample), {"": labelled[1]}
    values = measure(space, the_cut(jumble, "A"), references, tasks=tasks)
    real = (jumble.sample >= 0) & TEST[jumble.sample]
    assert real.sum() == 120
    expected = linear_cka(rows[real], labelled[1][jumble.sample[real]])
    assert values["cka"] == pytest.approx(expected, abs=1e-5)
    # All pairs of its rows, several of a sample, would take too long.
    assert not {"cka_rbf", "self_similarity_pearson"} & values.keys()


@every_scenario
def test_separability_is_the_mean_over_the_papers_pairs_of_classes(labelled, scenario):
    shared = np.flatnonzero(TASKS[scenario].shared)
    pairs = [(i, j) for i in range(C) for j in range(C) if i != j]
    if scenario == "A":
        pairs = [(i, j) for i, j in pairs if i not in shared or j not in shared]
        assert len(pairs) == C * (C - 1) - 2
    expected = mean_separability(labelled[0][TEST], LABELS[TEST], pairs)
    values = measured(scenario, *labelled)[2]
    assert values["separability"] == pytest.approx(expected, rel=1e-5)


@every_scenario
def test_class_mean_accuracy_is_of_the_means_of_the_rows_learned_from(
    labelled, scenario
):
    space, parts, values = measured(scenario, *labelled)
    labels = LABELS[space.sample]
    means = [space.rows[parts.train & (labels == c)].mean(axis=0) for c in range(C)]
    right = [
        np.argmin([np.linalg.norm(row - mean) for mean in means]) == label
        for row, label in zip(space.rows[parts.test], labels[parts.test], strict=True)
    ]
    assert values["class_mean_accuracy"] == pytest.approx(np.mean(right))
    assert 0.3 < np.mean(right) < 1


def corners(noise):
    """(N, A) in which the classes are easily told apart, for a probe too."""
    rng = np.random.default_rng(3)
    places = np.array(
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]
    )
    rows = np.concatenate([places, -places])[LABELS] * 1.0
    return (rows + noise * rng.normal(size=(N, A))).astype(np.float32)


def test_a_probe_tells_classes_apart_that_can_be(labelled):
    values = measured("C", corners(0.05), labelled[1])[2]
    assert values["accuracy"] > 0.98
    assert values["class_mean_accuracy"] > 0.98


@every_scenario
def test_it_is_said_on_how_many_rows_an_accuracy_is(labelled, scenario):
    values = measured(scenario, *labelled)[2]
    assert values["scored_rows"] == {"A": 12, "B": 80, "C": 80}[scenario]
    right = values["accuracy"] * values["scored_rows"]
    assert right == pytest.approx(round(right), abs=1e-9)
    assert type(values["scored_rows"]) is type(values["probe_epochs"]) is float


def test_of_the_probe_are_its_accuracies_and_what_they_rest_on(labelled):
    of_both = {"accuracy", "accuracy_shared", "accuracy_novel"}
    for scenario, accuracies in (("A", of_both), ("C", {"accuracy"})):
        space, parts, values = measured(scenario, *labelled)
        own = accuracies | {"scored_rows", "probe_epochs"}
        alone = by_classifier(space, {"": parts}, tasks=TASKS[scenario])
        assert alone == {name: values[name] for name in own}


def test_accuracy_is_of_the_test_rows_by_kind_of_class(labelled):
    """Shared classes apart, novel ones all in one place."""
    tasks = TASKS["A"]._replace(shared=np.arange(C) < 4)
    shared = tasks.shared[LABELS]
    rows = np.where(shared[:, None], corners(0.05), corners(0.05).mean(axis=0))
    space = one_row_a_sample("C", rows.astype(np.float32))
    values = measure(space, the_cut(space, "C"), {}, tasks=tasks)
    assert values["accuracy_shared"] > 0.98
    assert values["accuracy_novel"] == pytest.approx(0.25)  # one of four, always
    both = (values["accuracy_shared"] + values["accuracy_novel"]) / 2
    assert values["accuracy"] == pytest.approx(both)


def test_the_probe_is_scored_on_the_rows_that_are_cut_for_it(labelled):
    """Labels are right on the rows to learn from, and all wrong on half the others."""
    space = one_row_a_sample("C", corners(0.05))
    parts = the_cut(space, "C")[""]
    wrong = np.flatnonzero(parts.test)[::2]
    labels = LABELS.copy()
    labels[space.sample[wrong]] = (labels[space.sample[wrong]] + 1) % C
    values = metrics.measure(space, {"": parts}, {}, labels, TASKS["C"], KEY, 20)
    assert values["accuracy"] == pytest.approx(0.5, abs=0.02)
    assert values["class_mean_accuracy"] == pytest.approx(0.5, abs=0.02)


def test_the_probe_is_the_library_s_stopped_by_the_validation_rows(labelled):
    """Which are labelled wrong here, so that it is best before it learns much."""
    space = one_row_a_sample("C", labelled[0])
    parts = the_cut(space, "C")[""]
    labels = LABELS.copy()
    stop_by = space.sample[parts.validation]
    labels[stop_by] = (labels[stop_by] + 1) % C
    values = metrics.measure(space, {"": parts}, {}, labels, TASKS["C"], KEY, 20)
    probe = jatlas.fit_probe(
        KEY,
        jnp.asarray(space.rows),
        labels[space.sample],
        C,
        where=parts.train,
        validation=parts.validation,
        max_epochs=20,
    )
    assert probe.best_epoch < 10
    assert values["probe_epochs"] == probe.best_epoch + 1
    guess = np.argmax(jatlas.probe_logits(probe, jnp.asarray(space.rows)), axis=1)
    right = guess[parts.test] == labels[space.sample[parts.test]]
    assert values["accuracy"] == right.mean()


@pytest.mark.parametrize("scenario", "AC")
@pytest.mark.parametrize("garbage", [1e30, np.nan])
def test_what_stands_in_the_padding_does_not_matter(labelled, scenario, garbage):
    space, parts, values = measured(scenario, *labelled)
    padding = space.sample < 0
    assert padding.any()
    parts, references = {"": parts}, {}
    rows = np.where(padding[:, None], np.float32(garbage), space.rows)
    references[""] = np.where(
        is_used(scenario)[:, None], labelled[1], np.float32(garbage)
    )
    spoilt = Space(rows, space.sample)
    assert measure(spoilt, parts, references, tasks=TASKS[scenario]) == values


def test_a_row_that_is_no_number_leaves_no_accuracy_of_its_group(labelled):
    """And none at all if the probe is to learn from it: not the share of class 0."""
    space, parts, values = measured("A", *labelled)
    shared = TASKS["A"].shared[LABELS[space.sample]]
    spoilt = space.rows.copy()
    spoilt[np.flatnonzero(parts.test & ~shared)[0]] = np.nan
    cut = {"": parts}
    one = measure(Space(spoilt, space.sample), cut, {}, tasks=TASKS["A"])
    assert one["accuracy_shared"] == values["accuracy_shared"]
    spoilt_too = ("class_mean_accuracy", "separability", *clustering.NAMES)
    for name in ("accuracy", "accuracy_novel", *spoilt_too):
        assert np.isnan(one[name])
    spoilt = space.rows.copy()
    spoilt[parts.train] = np.nan
    none = measure(Space(spoilt, space.sample), cut, {}, tasks=TASKS["A"])
    known = {name for name, value in none.items() if not np.isnan(value)}
    assert known == {"scored_rows", "probe_epochs"}
    assert one["scored_rows"] == none["scored_rows"] == values["scored_rows"]


def test_of_no_rows_there_is_no_accuracy(labelled):
    """All test rows of shared classes are needed to learn from: none is left."""
    space, parts, _ = measured("A", *labelled)
    shared = TASKS["A"].shared[LABELS[space.sample]]
    moved = parts.test & shared
    parts = Cut(parts.train | moved, parts.validation, parts.test & ~moved)
    values = measure(space, {"": parts}, {}, tasks=TASKS["A"])
    assert np.isnan(values["accuracy_shared"])
    assert values["accuracy"] == values["accuracy_novel"]


# All pairs of samples


def rbf_cka(x, y):
    """As the paper's code: the lower median of the squared distances that are not 0."""

    def kernel(z):
        z = np.float64(z)
        squares = ((z[:, None] - z[None]) ** 2).sum(axis=2)
        apart = np.sort(squares[squares > 0])
        return np.exp(-squares / (2 * apart[(apart.size - 1) // 2]))

    centre = np.eye(len(x)) - 1 / len(x)
    k, m = (centre @ kernel(z) @ centre for z in (x, y))
    return (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())


def test_rbf_cka_is_as_wide_as_the_median_distance_of_either_space(labelled):
    rows, relative = labelled
    values = measured("A", rows, relative)[2]
    shared = TASKS["A"].shared[LABELS]
    for suffix, group in (
        ("", shared | True),
        ("_shared", shared),
        ("_novel", ~shared),
    ):
        own = TEST & group
        expected = rbf_cka(rows[own], relative[own])
        assert values[f"cka_rbf{suffix}"] == pytest.approx(expected, abs=1e-4)
    assert values["cka_rbf"] != pytest.approx(values["cka"], abs=1e-3)


def test_self_similarities_are_correlated_row_by_row_on_the_test_split(labelled):
    values = measured("C", *labelled)[2]
    pairs = list(zip(*(cosines(z[TEST]) for z in labelled), strict=True))
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    expected = {
        "pearson": np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]),
        "spearman": np.mean([stats.spearmanr(a, b)[0] for a, b in pairs]),
        "cosine": np.mean(cosine),
    }
    for method in CORRELATIONS:
        found = values[f"self_similarity_{method}"]
        assert found == pytest.approx(expected[method], abs=1e-4)


@pytest.mark.slow
def test_of_many_rows_all_pairs_are_of_some_the_same_in_every_space(
    labelled, monkeypatch
):
    monkeypatch.setattr(metrics, "MOST_OF_PAIRS", 50)
    one, other = (
        metrics.on_device(
            protocols.rows_of_test(one_row_a_sample("C", z), TASKS["C"]), LABELS
        )
        for z in labelled
    )
    chosen = metrics._drawn(one, 50, 0)
    assert len(chosen.sample) == 50 == len(np.unique(chosen.sample))
    assert chosen.sample.tolist() == metrics._drawn(other, 50, 0).sample.tolist()
    assert chosen.sample.tolist() != metrics._drawn(one, 50, 1).sample.tolist()
    values = metrics.alignment(one, {"": labelled[1]}, TASKS["C"])
    part, like = (z[chosen.sample] for z in labelled)
    pairs = zip(cosines(part), cosines(like), strict=True)
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert values["self_similarity_pearson"] == pytest.approx(expected, abs=1e-4)
    whole = linear_cka(labelled[0][TEST], labelled[1][TEST])
    assert values["cka"] == pytest.approx(whole, abs=1e-5)


def cosines(rows):
    unit = np.float64(rows) / np.linalg.norm(np.float64(rows), axis=1, keepdims=True)
    return unit @ unit.T


def test_a_concatenation_is_too_long_for_all_pairs(labelled):
    space = protocols.rows_of_test(
        one_row_a_sample("C", np.tile(labelled[0], 2)), TASKS["C"]
    )
    rows = metrics.on_device(space, LABELS)
    values = metrics.alignment(rows, {"": labelled[1]}, TASKS["C"])
    expected = linear_cka(labelled[0][TEST], labelled[1][TEST])  # twice the same
    assert values == {"cka": pytest.approx(expected, abs=1e-5)}


def test_a_space_is_compared_with_both_references_but_not_with_itself(labelled):
    references = {"": labelled[1], "_original_abs": labelled[0]}
    assert metrics.compared_with("merged", references) == references
    assert list(metrics.compared_with("original_abs", references)) == [""]
    assert metrics.compared_with("original_rel", references) == {}
    space = one_row_a_sample("B", labelled[0])
    values = measure(space, the_cut(space, "B"), references, tasks=TASKS["B"])
    assert values["cka_original_abs"] == pytest.approx(1, abs=1e-5)
    assert values["self_similarity_spearman_original_abs"] == pytest.approx(1, abs=1e-5)
    assert values["cka"] < 0.99


# Several cuts


def test_each_cut_has_its_ending_and_one_that_is_the_same_is_measured_once(
    labelled, monkeypatch
):
    space = one_row_a_sample("A", labelled[0])
    all_cuts = splits.cuts(0, space, TASKS["A"], on_test=True)
    fits = []
    fit = jatlas.fit_probe

    def counted(*args, where, **others):
        fits.append(int(where.sum()))
        return fit(*args, where=where, **others)

    monkeypatch.setattr(jatlas, "fit_probe", counted)
    values = measure(space, all_cuts, {}, tasks=TASKS["A"])
    assert fits == [56, 135]  # of the 80 test samples; of 150 training ones
    for name, rows in (("", 12), ("_leakfree", 12), ("_train_split", 80)):
        assert values[f"scored_rows{name}"] == rows
        one = measure(space, {"": all_cuts[name]}, {}, tasks=TASKS["A"])
        for metric in ("accuracy", "class_mean_accuracy", "probe_epochs"):
            assert values[f"{metric}{name}"] == one[metric]
        for kind in ("_shared", "_novel"):
            assert values[f"accuracy{name}{kind}"] == one[f"accuracy{kind}"]
