"""The spaces compared and what is measured on them, against plain NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments import analyses
from experiments.analyses import Cut, Embedded, Space
from jatlas import (
    part_shared_part_novel,
    same_classes_disjoint_samples,
    totally_disjoint,
)

N, D, A, C = 240, 4, 5, 8  # 20 training and 10 test samples a class
LABELS = (np.arange(N) % C).astype(np.int32)
TEST = np.arange(N) >= 160
KEY = jax.random.key(0)
TASKS = {
    "A": part_shared_part_novel(0, LABELS, num_shared=2, num_novel=2, test=TEST),
    "B": same_classes_disjoint_samples(0, LABELS, num_held_out=15, test=TEST),
    "C": totally_disjoint(0, LABELS, num_tasks=2, num_held_out=15, test=TEST),
}
every_scenario = pytest.mark.parametrize("scenario", "ABC")


def is_used(scenario):
    """As in the main job: in A the test split only, else all but what is held out."""
    tasks = TASKS[scenario]
    return tasks.test.copy() if scenario == "A" else ~tasks.held_out


def embeddings(scenario) -> Embedded:
    """Random ones; NaN of samples that are not needed, as in the main job."""
    rng = np.random.default_rng(1)
    tasks, used = TASKS[scenario], is_used(scenario)
    pool = tasks.seen.all(axis=0) if scenario == "A" else tasks.held_out
    anchors = rng.permutation(np.flatnonzero(pool))[:A]
    charts = rng.normal(size=(len(tasks.seen), N, D)).astype(np.float32)
    unneeded = ~used
    unneeded[anchors] = False
    assert unneeded.any()
    charts[:, unneeded] = np.nan
    reference = rng.normal(size=(N, D)).astype(np.float32)
    return Embedded(reference, charts, anchors, tasks.presence, used, C)


def cosines(x, anchors):
    """(N, A) in float64, one number after another."""
    x, anchors = np.float64(x), np.float64(anchors)
    return np.array(
        [[row @ a / np.sqrt((row @ row) * (a @ a)) for a in anchors] for row in x]
    )


def assert_holds(space, rows, samples):
    """The space has these rows of these samples, and zeros up to a multiple of N."""
    real = len(samples)
    assert len(space.rows) == len(space.sample) == -(-real // N) * N
    np.testing.assert_array_equal(space.sample[:real], samples)
    np.testing.assert_allclose(space.rows[:real], rows, rtol=0, atol=2e-6)
    assert (space.sample[real:] == -1).all()
    assert not space.rows[real:].any()


def merged(data, presence):
    """The mean of a sample's cosines over the charts in which it is present."""
    relative = np.array([cosines(x, x[data.anchors]) for x in data.charts])
    return np.array(
        [relative[presence[:, n], n].mean(axis=0) for n in np.flatnonzero(data.used)]
    )


@every_scenario
def test_the_end_to_end_space_and_its_relative_representation(scenario):
    data = embeddings(scenario)
    spaces = analyses.reference_spaces(data)
    assert list(spaces) == ["original_abs", "original_rel"]
    (used,) = np.nonzero(data.used)
    relative = cosines(data.reference, data.reference[data.anchors])
    assert_holds(spaces["original_abs"], data.reference[used], used)
    assert_holds(spaces["original_rel"], relative[used], used)
    found = analyses.relative_reference(data)
    np.testing.assert_allclose(found, relative, rtol=0, atol=2e-6)


@every_scenario
def test_oracle_a_sample_is_embedded_by_the_charts_of_its_tasks(scenario):
    data = embeddings(scenario)
    spaces = analyses.oracle_spaces(data)
    assert list(spaces) == ["jumble_abs", "merged", "original_abs_task"]
    mine = [
        (m, n) for m in range(len(data.charts)) for n in range(N)
        if data.presence[m, n] and data.used[n]
    ]  # fmt: skip
    rows = np.array([data.charts[m, n] for m, n in mine])
    assert_holds(spaces["jumble_abs"], rows, [n for _, n in mine])
    (used,) = np.nonzero(data.used)
    assert_holds(spaces["merged"], merged(data, data.presence), used)


def test_oracle_a_shared_sample_counts_once_a_task_in_the_naive_merge():
    jumble = analyses.oracle_spaces(embeddings("A"))["jumble_abs"]
    times = np.bincount(jumble.sample[jumble.sample >= 0], minlength=N)
    shared = TASKS["A"].shared[LABELS]
    assert (times[TEST & shared] == 3).all()
    assert (times[TEST & ~shared] == 1).all()
    assert not times[~TEST].any()


@every_scenario
def test_oracle_the_control_is_told_the_tasks_at_the_length_of_an_embedding(scenario):
    data = embeddings(scenario)
    control = analyses.oracle_spaces(data)["original_abs_task"]
    (used,) = np.nonzero(data.used)
    squares = [np.float64(row) @ np.float64(row) for row in data.reference]
    told = np.zeros((used.size, C))
    told[:, : len(data.presence)] = data.presence[:, used].T
    told *= np.sqrt(np.mean(squares))
    assert_holds(control, np.hstack([data.reference[used], told]), used)


@every_scenario
def test_blind_every_chart_embeds_every_sample(scenario):
    data = embeddings(scenario)
    spaces = analyses.blind_spaces(data)
    assert list(spaces) == ["mean_abs", "concat_abs", "merged"]
    (used,) = np.nonzero(data.used)
    charts = np.float64(data.charts[:, used])
    assert_holds(spaces["mean_abs"], sum(charts) / len(charts), used)
    assert_holds(spaces["concat_abs"], np.hstack(list(charts)), used)
    everywhere = np.ones_like(data.presence)
    assert_holds(spaces["merged"], merged(data, everywhere), used)


@every_scenario
def test_what_is_not_used_and_the_held_out_anchors_are_in_no_space(scenario):
    data = embeddings(scenario)
    spaces = [
        *analyses.reference_spaces(data).values(),
        *analyses.oracle_spaces(data).values(),
        *analyses.blind_spaces(data).values(),
    ]
    assert not data.used[data.anchors].any()
    for space in spaces:
        present = np.unique(space.sample[space.sample >= 0])
        np.testing.assert_array_equal(present, np.flatnonzero(data.used))
        assert np.isfinite(space.rows).all()


# Cuts


def one_row_a_sample(scenario, rows=None) -> Space:
    """The space of `rows`, (N, anything), of the used samples."""
    (used,) = np.nonzero(is_used(scenario))
    rows = np.zeros((N, 1), np.float32) if rows is None else rows
    padded = np.zeros_like(rows)
    padded[: used.size] = rows[used]
    return Space(padded, np.pad(used, (0, N - used.size), constant_values=-1))


def numbers(parts: Cut):
    return [np.flatnonzero(part).tolist() for part in parts]


def test_in_a_the_rows_of_the_test_split_are_cut_70_15_15():
    space = one_row_a_sample("A")
    parts = analyses.cut(0, space, TASKS["A"], on_test=True)
    assert [part.sum() for part in parts] == [56, 12, 12]
    assert not (np.sum(parts, axis=0) > 1).any()
    np.testing.assert_array_equal(np.any(parts, axis=0), space.sample >= 0)


def test_in_a_training_rows_are_left_out_of_the_cut():
    space = one_row_a_sample("C")  # has rows of both splits
    parts = analyses.cut(0, space, TASKS["A"], on_test=True)
    for part in parts:
        assert part.any()
        assert TEST[space.sample[part]].all()


def test_in_a_the_naive_merge_is_cut_by_rows_not_by_samples():
    jumble = analyses.oracle_spaces(embeddings("A"))["jumble_abs"]
    parts = analyses.cut(0, jumble, TASKS["A"], on_test=True)
    assert [part.sum() for part in parts] == [84, 18, 18]  # of 20 x 3 + 60
    of_train, of_test = (jumble.sample[part] for part in (parts.train, parts.test))
    assert np.isin(of_test, of_train).any()
    assert not np.isin(of_test, of_train).all()


@pytest.mark.parametrize("scenario", "BC")
def test_in_b_and_c_the_probe_learns_from_training_rows_a_tenth_to_stop_by(scenario):
    space = one_row_a_sample(scenario)
    parts = analyses.cut(0, space, TASKS[scenario], on_test=False)
    assert [part.sum() for part in parts] == [131, 14, 80]  # 160 - 15 held out, and 80
    assert not (np.sum(parts, axis=0) > 1).any()
    test = (space.sample >= 0) & TEST[space.sample]
    np.testing.assert_array_equal(parts.test, test)
    assert (space.sample[parts.train | parts.validation] < 160).all()
    assert (space.sample[parts.train | parts.validation] >= 0).all()


@pytest.mark.parametrize("on_test", [True, False])
def test_spaces_of_the_same_rows_are_cut_alike_and_another_seed_cuts_otherwise(on_test):
    data, tasks = embeddings("C"), TASKS["C"]
    spaces = [
        *analyses.reference_spaces(data).values(),
        *analyses.blind_spaces(data).values(),
        analyses.oracle_spaces(data)["merged"],
    ]
    first, *others = (numbers(analyses.cut(3, s, tasks, on_test)) for s in spaces)
    assert all(other == first for other in others)
    assert numbers(analyses.cut(4, spaces[0], tasks, on_test)) != first


def samples(space, parts: Cut):
    return [sorted(space.sample[part].tolist()) for part in parts]


@every_scenario
def test_spaces_of_one_row_a_sample_are_cut_alike_whatever_their_order(scenario):
    """Wherever the padding is, too."""
    tasks, on_test = TASKS[scenario], scenario == "A"
    space = one_row_a_sample(scenario)
    order = np.random.default_rng(5).permutation(N)
    shuffled = Space(space.rows[order], space.sample[order])
    cuts = [analyses.cut(3, s, tasks, on_test) for s in (space, shuffled)]
    assert samples(shuffled, cuts[1]) == samples(space, cuts[0])
    assert numbers(cuts[1]) != numbers(cuts[0])


@pytest.mark.parametrize("scenario", "BC")
def test_in_b_and_c_the_naive_merge_is_cut_like_the_atlas(scenario):
    spaces = analyses.oracle_spaces(embeddings(scenario))
    jumble, atlas = spaces["jumble_abs"], spaces["merged"]
    assert not np.array_equal(jumble.sample, atlas.sample)  # it goes task by task
    found, expected = (
        samples(space, analyses.cut(3, space, TASKS[scenario], on_test=False))
        for space in (jumble, atlas)
    )
    assert found == expected


# Metrics. One shape, (N, A), in all of them: it compiles once.


@pytest.fixture(scope="module")
def labelled():
    """Rows in (N, A) about a place of their class's own, and a relative reference."""
    rng = np.random.default_rng(2)
    places = rng.normal(size=(C, A))
    rows = places[LABELS] + 0.5 * rng.normal(size=(N, A))
    relative = rows @ rng.normal(size=(A, A)) + rng.normal(size=(N, A))
    return rows.astype(np.float32), relative.astype(np.float32)


measure = partial(analyses.measure, labels=LABELS, key=KEY, max_epochs=20)


def measured(scenario, rows, relative):
    space, tasks = one_row_a_sample(scenario, rows), TASKS[scenario]
    parts = analyses.cut(0, space, tasks, on_test=scenario == "A")
    values = measure(space, parts, relative, tasks=tasks)
    return space, parts, values


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


def test_only_where_some_classes_are_shared_and_some_are_not_there_are_values_of_both(
    labelled,
):
    always = {
        "accuracy", "scored_rows", "probe_epochs", "class_mean_accuracy", "cka",
        "separability",
    }  # fmt: skip
    of_both = {"accuracy_shared", "accuracy_novel", "cka_shared", "cka_novel"}
    assert measured("A", *labelled)[2].keys() == always | of_both
    assert measured("B", *labelled)[2].keys() == always  # all classes are shared
    assert measured("C", *labelled)[2].keys() == always  # none is


@pytest.mark.parametrize("scenario", "AC")
def test_the_relative_reference_is_not_compared_with_itself(labelled, scenario):
    with_others, alone = (
        measured(scenario, labelled[0], relative)[2] for relative in (labelled[1], None)
    )
    assert alone == {
        name: value for name, value in with_others.items() if "cka" not in name
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
    jumble = analyses.oracle_spaces(data)["jumble_abs"]
    rows = rng.normal(size=(N, A)).astype(np.float32)
    parts = analyses.cut(0, jumble, tasks, on_test=True)
    values = measure(Space(rows, jumble.sample), parts, labelled[1], tasks=tasks)
    real = jumble.sample >= 0
    expected = linear_cka(rows[real], labelled[1][jumble.sample[real]])
    assert values["cka"] == pytest.approx(expected, abs=1e-5)


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
def test_class_mean_accuracy_is_of_the_means_of_the_rows_learnt_from(
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
        alone = measure(
            space, parts, labelled[1], tasks=TASKS[scenario], probe_only=True
        )
        assert alone == {name: values[name] for name in own}


def test_accuracy_is_of_the_test_rows_by_kind_of_class(labelled):
    """Shared classes apart, novel ones all in one place."""
    tasks = TASKS["A"]._replace(shared=np.arange(C) < 4)
    shared = tasks.shared[LABELS]
    rows = np.where(shared[:, None], corners(0.05), corners(0.05).mean(axis=0))
    space = one_row_a_sample("C", rows.astype(np.float32))
    parts = analyses.cut(0, space, tasks, on_test=False)
    values = measure(space, parts, None, tasks=tasks)
    assert values["accuracy_shared"] > 0.98
    assert values["accuracy_novel"] == pytest.approx(0.25)  # one of four, always
    both = (values["accuracy_shared"] + values["accuracy_novel"]) / 2
    assert values["accuracy"] == pytest.approx(both)


def test_the_probe_is_scored_on_the_rows_that_are_cut_for_it(labelled):
    """Labels are right on the rows to learn from, and all wrong on half the others."""
    space = one_row_a_sample("C", corners(0.05))
    parts = analyses.cut(0, space, TASKS["C"], on_test=False)
    wrong = np.flatnonzero(parts.test)[::2]
    labels = LABELS.copy()
    labels[space.sample[wrong]] = (labels[space.sample[wrong]] + 1) % C
    values = analyses.measure(space, parts, None, labels, TASKS["C"], KEY, 20)
    assert values["accuracy"] == pytest.approx(0.5, abs=0.02)
    assert values["class_mean_accuracy"] == pytest.approx(0.5, abs=0.02)


def test_the_probe_is_the_library_s_stopped_by_the_validation_rows(labelled):
    """Which are labelled wrong here, so that it is best before it learns much."""
    space = one_row_a_sample("C", labelled[0])
    parts = analyses.cut(0, space, TASKS["C"], on_test=False)
    labels = LABELS.copy()
    stop_by = space.sample[parts.validation]
    labels[stop_by] = (labels[stop_by] + 1) % C
    values = analyses.measure(space, parts, None, labels, TASKS["C"], KEY, 20)
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
    rows = np.where(padding[:, None], np.float32(garbage), space.rows)
    relative = np.where(is_used(scenario)[:, None], labelled[1], np.float32(garbage))
    changed = measure(Space(rows, space.sample), parts, relative, tasks=TASKS[scenario])
    assert changed == values


def test_a_row_that_is_no_number_leaves_no_accuracy_of_its_group(labelled):
    """And none at all if the probe is to learn from it: not the share of class 0."""
    space, parts, values = measured("A", *labelled)
    shared = TASKS["A"].shared[LABELS[space.sample]]
    spoilt = space.rows.copy()
    spoilt[np.flatnonzero(parts.test & ~shared)[0]] = np.nan
    one = measure(Space(spoilt, space.sample), parts, None, tasks=TASKS["A"])
    assert one["accuracy_shared"] == values["accuracy_shared"]
    for name in ("accuracy", "accuracy_novel", "class_mean_accuracy", "separability"):
        assert np.isnan(one[name])
    spoilt = space.rows.copy()
    spoilt[parts.train] = np.nan
    none = measure(Space(spoilt, space.sample), parts, None, tasks=TASKS["A"])
    known = {name for name, value in none.items() if not np.isnan(value)}
    assert known == {"scored_rows", "probe_epochs"}
    assert one["scored_rows"] == none["scored_rows"] == values["scored_rows"]


def test_of_no_rows_there_is_no_accuracy(labelled):
    """All test rows of shared classes are needed to learn from: none is left."""
    space, parts, _ = measured("A", *labelled)
    shared = TASKS["A"].shared[LABELS[space.sample]]
    moved = parts.test & shared
    parts = Cut(parts.train | moved, parts.validation, parts.test & ~moved)
    values = measure(space, parts, None, tasks=TASKS["A"])
    assert np.isnan(values["accuracy_shared"])
    assert values["accuracy"] == values["accuracy_novel"]
