"""The spaces that are compared, against plain NumPy."""

import numpy as np
from worlds import LABELS, TASKS, TEST, C, D, N, embeddings, every_scenario, is_used

import jatlas
from experiments.measures import protocols


def cosines(x, anchors):
    """(N, A) in float64, one number after another."""
    x, anchors = np.float64(x), np.float64(anchors)
    return np.array(
        [[row @ a / np.sqrt((row @ row) * (a @ a)) for a in anchors] for row in x]
    )


def assert_holds(make, rows, samples):
    """The space has these rows of these samples, and zeros up to N or 4 N."""
    space, real = make(), len(samples)
    size = next(size for size in (N, 4 * N) if size >= real)
    assert len(space.rows) == len(space.sample) == size
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
    spaces = protocols.reference_spaces(data)
    assert list(spaces) == ["original_abs", "original_rel"]
    (used,) = np.nonzero(data.used)
    relative = cosines(data.reference, data.reference[data.anchors])
    assert_holds(spaces["original_abs"], data.reference[used], used)
    assert_holds(spaces["original_rel"], relative[used], used)
    found = protocols.relative_reference(data)
    np.testing.assert_allclose(found, relative, rtol=0, atol=2e-6)


@every_scenario
def test_oracle_a_sample_is_embedded_by_the_charts_of_its_tasks(scenario):
    data = embeddings(scenario)
    spaces = protocols.oracle_spaces(data, TEST)
    shift = ["merged_shift"] if scenario == "A" else []
    told = ["original_abs_task", "original_abs_task_embedding"]
    made = ["jumble_abs", "jumble_rel", "merged", "merged_nystroem"]
    assert list(spaces) == [*made, *shift, *told]
    mine = [
        (m, n) for n in range(N) for m in range(len(data.charts))
        if data.presence[m, n] and data.used[n]
    ]  # fmt: skip
    rows = np.array([data.charts[m, n] for m, n in mine])
    assert_holds(spaces["jumble_abs"], rows, [n for _, n in mine])
    relative = [cosines(x, x[data.anchors]) for x in data.charts]
    rows = np.array([relative[m][n] for m, n in mine])
    assert_holds(spaces["jumble_rel"], rows, [n for _, n in mine])
    (used,) = np.nonzero(data.used)
    assert_holds(spaces["merged"], merged(data, data.presence), used)


def test_oracle_a_shared_sample_counts_once_a_task_in_the_naive_merge():
    jumble = protocols.oracle_spaces(embeddings("A"), TEST)["jumble_abs"]()
    times = np.bincount(jumble.sample[jumble.sample >= 0], minlength=N)
    used, shared = is_used("A"), TASKS["A"].shared[LABELS]
    assert (times[used & shared] == 3).all()
    assert (times[used & ~shared] == 1).all()
    assert not times[~used].any()


@every_scenario
def test_oracle_the_control_is_told_the_tasks_at_the_length_of_an_embedding(scenario):
    data = embeddings(scenario)
    control = protocols.oracle_spaces(data, TEST)["original_abs_task"]
    (used,) = np.nonzero(data.used)
    squares = [np.float64(row) @ np.float64(row) for row in data.reference]
    told = np.zeros((used.size, C))
    told[:, : len(data.presence)] = data.presence[:, used].T
    told *= np.sqrt(np.mean(squares))
    assert_holds(control, np.hstack([data.reference[used], told]), used)


@every_scenario
def test_blind_every_chart_embeds_every_sample(scenario):
    data = embeddings(scenario)
    spaces = protocols.blind_spaces(data)
    assert list(spaces) == ["mean_abs", "concat_abs", "merged", "merged_nystroem"]
    (used,) = np.nonzero(data.used)
    charts = np.float64(data.charts[:, used])
    assert_holds(spaces["mean_abs"], sum(charts) / len(charts), used)
    assert_holds(spaces["concat_abs"], np.hstack(list(charts)), used)
    everywhere = np.ones_like(data.presence)
    assert_holds(spaces["merged"], merged(data, everywhere), used)


@every_scenario
def test_nystroem_coordinates_are_those_of_the_kernel_of_all_charts(scenario):
    data = embeddings(scenario)
    everywhere = np.ones_like(data.presence)
    (used,) = np.nonzero(data.used)
    own = [x[data.anchors] for x in data.charts]
    kernel = np.mean([cosines(x, x) for x in own], axis=0)
    kernel += 1e-3 * np.eye(len(kernel))  # the diagonal is one
    values, vectors = np.linalg.eigh(kernel)
    root = (vectors / np.sqrt(values)) @ vectors.T
    for presence, spaces in (
        (data.presence, protocols.oracle_spaces(data, TEST)),
        (everywhere, protocols.blind_spaces(data)),
    ):
        expected = merged(data, presence) @ root
        got = spaces["merged_nystroem"]()
        np.testing.assert_array_equal(got.sample[got.sample >= 0], used)
        np.testing.assert_allclose(got.rows[got.sample >= 0], expected, atol=2e-4)


@every_scenario
def test_what_is_not_used_and_the_held_out_anchors_are_in_no_space(scenario):
    data = embeddings(scenario)
    makes = [
        *protocols.reference_spaces(data).values(),
        *protocols.oracle_spaces(data, TEST).values(),
        *protocols.blind_spaces(data).values(),
    ]
    assert scenario == "A" or not data.used[data.anchors].any()
    for space in (make() for make in makes):
        present = np.unique(space.sample[space.sample >= 0])
        np.testing.assert_array_equal(present, np.flatnonzero(data.used))
        assert np.isfinite(space.rows).all()


@every_scenario
def test_the_other_control_is_given_the_shares_of_its_tasks_row_by_row(scenario):
    data = embeddings(scenario)
    control = protocols.oracle_spaces(data, TEST)["original_abs_task_embedding"]
    (used,) = np.nonzero(data.used)
    shares = np.zeros((used.size, C))
    for row, n in enumerate(used):
        tasks = np.flatnonzero(data.presence[:, n])
        shares[row, tasks] = 1 / len(tasks)
    assert len({tuple(row) for row in shares}) == {"A": 4, "B": 2, "C": 2}[scenario]
    assert_holds(control, np.hstack([data.reference[used], shares]), used)


def test_charts_of_unequal_dimensions_have_no_naive_rows_but_all_else():
    data = embeddings("A")
    rng = np.random.default_rng(8)
    charts = [rng.normal(size=(N, width)).astype(np.float32) for width in (4, 7, 3)]
    mixed = data._replace(charts=charts)
    oracle, blind = protocols.oracle_spaces(mixed, TEST), protocols.blind_spaces(mixed)
    equal = protocols.oracle_spaces(data, TEST), protocols.blind_spaces(data)
    assert set(equal[0]) - set(oracle) == {"jumble_abs"}
    assert set(equal[1]) - set(blind) == {"mean_abs"}
    (used,) = np.nonzero(data.used)
    assert_holds(blind["concat_abs"], np.hstack(charts)[used], used)
    assert_holds(oracle["merged"], merged(mixed, data.presence), used)
    everywhere = np.ones_like(data.presence)
    assert_holds(blind["merged"], merged(mixed, everywhere), used)
    sample, chart = np.nonzero((data.presence & data.used).T)
    relative = [cosines(x, x[data.anchors]) for x in charts]
    rows = [relative[m][n] for m, n in zip(chart, sample, strict=True)]
    assert_holds(oracle["jumble_rel"], np.array(rows), sample)


def test_the_rows_of_the_test_split_stand_by_themselves():
    jumble = protocols.oracle_spaces(embeddings("A"), TEST)["jumble_abs"]()
    found = protocols.rows_of_test(jumble, TASKS["A"])
    own = np.flatnonzero((jumble.sample >= 0) & TEST[jumble.sample])
    assert len(own) == 20 * 3 + 60
    assert found.rows.shape == (320, D)  # 4 times the 80 samples
    np.testing.assert_array_equal(found.rows[:120], jumble.rows[own])
    np.testing.assert_array_equal(found.sample[:120], jumble.sample[own])
    assert (found.sample[120:] == -1).all()
    assert not found.rows[120:].any()


# The shift


def test_the_shifts_are_the_golden_ones(golden):
    charts, present = golden["embeddings"][1:], golden["present"]
    relative = [
        np.asarray(jatlas.relativize(x, x[golden["anchor_ids"]])) for x in charts
    ]
    shared = np.isin(golden["labels"], golden["shared_classes"])
    atlas = np.asarray(jatlas.masked_mean(np.stack(relative), present))
    found = protocols.shifts(relative, atlas, shared)
    np.testing.assert_allclose(found, golden["shifts"], rtol=0, atol=1e-5)


def test_only_novel_samples_are_shifted_by_what_their_chart_lacks_in_training():
    data, tasks = embeddings("A"), TASKS["A"]
    relative = np.array([cosines(x, x[data.anchors]) for x in data.charts])
    common = tasks.shared[LABELS] & ~TEST & data.used
    assert 0 < common.sum() < (tasks.shared[LABELS] & ~TEST).sum()
    gap = (relative.mean(axis=0) - relative)[:, common].mean(axis=1)
    rows = []
    for n in np.flatnonzero(data.used):
        own = np.flatnonzero(data.presence[:, n])
        rows.append(relative[own, n].mean(axis=0) + (len(own) == 1) * gap[own[0]])
    found = protocols.oracle_spaces(data, TEST)["merged_shift"]
    assert_holds(found, np.array(rows), np.flatnonzero(data.used))


def test_without_a_common_training_sample_there_is_no_shift():
    spaces = protocols.oracle_spaces(embeddings("A")._replace(used=TEST), TEST)
    assert "merged_shift" not in spaces


def test_another_similarity_is_that_of_all_relative_spaces():
    """By inner products, in float64."""
    data = embeddings("C")._replace(similarity="inner")
    (used,) = np.nonzero(data.used)
    inner = np.mean(
        [np.float64(x) @ np.float64(x[data.anchors]).T for x in data.charts], axis=0
    )
    space = protocols.blind_spaces(data)["merged"]()
    np.testing.assert_array_equal(space.sample[: used.size], used)
    np.testing.assert_allclose(
        space.rows[: used.size], inner[used], rtol=1e-4, atol=1e-5
    )
    reference = np.float64(data.reference)
    expected = reference @ reference[data.anchors].T
    np.testing.assert_allclose(
        protocols.relative_reference(data), expected, rtol=1e-4, atol=1e-5
    )
    oracle = protocols.oracle_spaces(data, TASKS["C"].test)["jumble_rel"]()
    real = oracle.sample >= 0
    chart = TASKS["C"].presence.argmax(axis=0)[oracle.sample[real]]
    for rows, m, n in zip(oracle.rows[real], chart, oracle.sample[real], strict=True):
        own = np.float64(data.charts[m])
        np.testing.assert_allclose(
            rows, own[data.anchors] @ own[n], rtol=1e-3, atol=1e-4
        )
