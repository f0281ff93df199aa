"""The scenarios against the paper's rules, counted one by one, and their refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas.merging.pool import anchor_pool
from jatlas.scenarios import (
    Tasks,
    end_to_end,
    part_shared_part_novel,
    same_classes_disjoint_samples,
    totally_disjoint,
)

NUM_CLASSES = 12
# Classes of different sizes, in no order; every sixth sample or so is for the test.
RNG = np.random.default_rng(8)
LABELS = RNG.permutation(np.repeat(np.arange(NUM_CLASSES), 50 + 3 * np.arange(12)))
TEST = RNG.random(LABELS.size) < 1 / 6

THREE_BY_FOUR = (
    (50, 10, 100 / 3, 0),
    (30, 20, 100 / 3, 50),
    (20, 70, 100 / 3, 50),
)
SCENARIOS = {
    "A": (part_shared_part_novel, {"num_shared": 4, "num_novel": 2}, 4),
    "A, nothing shared": (
        part_shared_part_novel,
        {"num_shared": 0, "num_novel": 4},
        3,
    ),
    "B": (same_classes_disjoint_samples, {"num_held_out": 31}, 2),
    "B, three by four": (
        same_classes_disjoint_samples,
        {
            "num_held_out": 10,
            "percentages": THREE_BY_FOUR,
        },
        3,
    ),
    "C": (totally_disjoint, {"num_tasks": 3, "num_held_out": 31}, 3),
    "end to end": (end_to_end, {}, 1),
}


def make(name: str, key=0, labels=LABELS, **other) -> Tasks:
    scenario, options, _ = SCENARIOS[name]
    return scenario(key, labels, **{"test": TEST, **options, **other})


def refused(message: str):
    return pytest.raises(ValueError, match=message)


def same(one: Tasks, other: Tasks) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# What all scenarios promise


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_say_that_they_are_for_the_host(name):
    given = {"labels": jnp.asarray(LABELS), "key": jax.random.key(0), "test": TEST}
    for argument in given:
        with refused(f"runs on the host and reads the values of {argument}"):
            jax.jit(lambda x, argument=argument: make(name, **{argument: x}).seen)(
                jnp.asarray(given[argument])
            )


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_record_has_boolean_arrays_of_the_shapes_said(name):
    tasks, m = make(name), SCENARIOS[name][2]
    shapes = [x.shape for x in tasks]
    n, c = (LABELS.size,), (NUM_CLASSES,)
    assert shapes == [(m, *c), c, (m, *n), (m, *n), (m, *n), n, n]
    assert all(isinstance(x, np.ndarray) and x.dtype == bool for x in tasks)
    assert np.array_equal(tasks.test, TEST)


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_training_sample_of_a_task_is_seen_or_for_validation(name):
    tasks = make(name)
    training = tasks.presence & ~TEST
    assert not (tasks.seen & tasks.validation).any()
    assert np.array_equal(tasks.seen | tasks.validation, training)


@pytest.mark.parametrize("name", SCENARIOS)
def test_held_out_samples_are_for_training_and_in_no_task(name):
    tasks = make(name)
    assert tasks.held_out.sum() == SCENARIOS[name][1].get("num_held_out", 0)
    assert not (tasks.held_out & TEST).any()
    assert not (tasks.held_out & tasks.presence).any()
    # and every other sample is in a task
    assert np.array_equal(tasks.presence.any(axis=0), ~tasks.held_out)
    assert anchor_pool(tasks.seen, "unseen")[tasks.held_out].all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_task_has_and_sees_its_classes_and_no_other(name):
    tasks = make(name)
    for own, present, seen in zip(
        tasks.classes, tasks.presence, tasks.seen, strict=True
    ):
        wanted = np.flatnonzero(own).tolist()
        assert sorted(set(LABELS[present].tolist())) == wanted
        assert sorted(set(LABELS[seen].tolist())) == wanted
    assert np.array_equal(tasks.shared, [all(column) for column in tasks.classes.T])


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_validation_is_the_share_of_each_task_to_the_sample(name, share):
    tasks = make(name, validation_share=share)
    sizes = (tasks.presence & ~TEST).sum(axis=1)
    wanted = [round(share * size) for size in sizes]
    assert tasks.validation.sum(axis=1).tolist() == wanted


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_key_deals_the_same_and_another_key_otherwise(name):
    assert same(make(name, 3), make(name, 3))
    assert not same(make(name, 3), make(name, 4))
    key = jax.random.key(3)
    assert same(make(name, key), make(name, jax.random.key_data(key)))
    assert not same(make(name, key), make(name, jax.random.split(key)[0]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_jax_arrays_and_small_integers_are_labels_too(name):
    small = make(name, labels=LABELS.astype(np.uint8), num_classes=NUM_CLASSES)
    device = make(name, labels=jnp.asarray(LABELS), test=jnp.asarray(TEST))
    assert same(make(name), small)
    assert same(make(name), device)


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_a_test_mask_every_sample_is_for_training(name):
    tasks = make(name, test=None)
    assert not tasks.test.any()
    assert np.array_equal(tasks.seen | tasks.validation, tasks.presence)


# Validation goes by one number a sample


def test_validation_sets_are_those_below_a_threshold_of_one_number():
    tasks = make("A")
    common = tasks.presence.all(axis=0) & ~TEST
    sets = [set(np.flatnonzero(v & common)) for v in tasks.validation]
    for one in sets:
        for other in sets:
            assert one <= other or other <= one


def test_samples_in_several_tasks_are_for_validation_in_all_or_none_nearly_always():
    labels = np.repeat(np.arange(10), 400)
    differing, kept = [], []
    for key in range(10):
        tasks = part_shared_part_novel(key, labels, num_shared=2, num_novel=1)
        common = tasks.presence.all(axis=0)
        some, every = tasks.validation.any(axis=0), tasks.validation.all(axis=0)
        differing.append((some & ~every)[common].mean())
        kept.append(anchor_pool(tasks.seen, "shared")[common].mean())
    # Independent sets of 8 tasks would leave 0.9^8 = 0.43 of the samples as anchors.
    assert np.mean(differing) < 0.03
    assert min(kept) > 0.86


def test_the_same_key_keeps_validation_samples_alike_in_all_scenarios():
    labels = np.tile(np.arange(12), 400)
    options = {"labels": labels, "test": None}
    reference = make("end to end", 5, **options).validation[0]
    other = make("end to end", 6, **options).validation[0]
    for name in ("A", "B", "C"):
        for validation in make(name, 5, **options).validation:
            assert reference[validation].mean() > 0.85
            assert other[validation].mean() < 0.2  # by chance 0.1


def test_validation_is_drawn_uniformly():
    labels = np.zeros(40, int)
    counts = sum(end_to_end(s, labels).validation[0].astype(int) for s in range(2000))
    variance = 2000 * 0.1 * 0.9 * 40 / 39
    # Chi-square with 39 degrees of freedom: mean 39, standard deviation 8.8.
    assert 15 < ((counts - 200) ** 2 / variance).sum() < 75


# Scenario A


@given(
    key=st.integers(0, 2**16),
    shared=st.integers(0, 5),
    novel=st.integers(1, 4),
    num_tasks=st.integers(2, 4),
)
@settings(max_examples=25, deadline=None)
def test_shared_classes_are_in_every_task_and_novel_ones_in_one(
    key, shared, novel, num_tasks
):
    num_classes = shared + novel * num_tasks
    labels = np.tile(np.arange(num_classes), 9)
    test = np.arange(labels.size) >= 6 * num_classes
    tasks = part_shared_part_novel(
        key, labels, num_shared=shared, num_novel=novel, test=test
    )
    held_by = tasks.classes.sum(axis=0)
    assert tasks.classes.shape == (num_tasks, num_classes)
    assert (tasks.classes.sum(axis=1) == shared + novel).all()
    assert sorted(held_by) == [1] * (novel * num_tasks) + [num_tasks] * shared
    assert np.array_equal(tasks.shared, held_by == num_tasks)
    # present where the class of the sample is one of the task's, test samples too
    for n, label in enumerate(labels):
        assert np.array_equal(tasks.presence[:, n], tasks.classes[:, label])


def test_shared_and_novel_classes_are_drawn_uniformly():
    labels = np.repeat(np.arange(6), 20)
    shared, first = np.zeros(6), np.zeros(6)
    for key in range(1200):
        tasks = part_shared_part_novel(key, labels, num_shared=2, num_novel=2)
        shared += tasks.shared
        first += tasks.classes[0] & ~tasks.shared
    for counts in (shared, first):
        assert (abs(counts - 400) < 5 * np.sqrt(1200 * 2 / 9)).all()


def test_anchors_of_scenario_a_are_of_the_shared_classes():
    tasks = make("A")
    pool = np.asarray(anchor_pool(tasks.seen, "shared"))
    assert set(LABELS[pool].tolist()) == set(np.flatnonzero(tasks.shared).tolist())
    assert not (pool & TEST).any()


@pytest.mark.parametrize(
    ("shared", "novel", "tasks"),
    [(80, 10, 2), (60, 10, 4), (40, 10, 6), (20, 10, 8), (20, 5, 16)],
)
def test_the_papers_settings_of_cifar_give_its_number_of_tasks(shared, novel, tasks):
    labels = np.tile(np.arange(100), 10)
    made = part_shared_part_novel(0, labels, num_shared=shared, num_novel=novel)
    assert made.classes.shape == (tasks, 100)


@pytest.mark.parametrize(
    ("shared", "novel", "ratio"), [(4, 3, "2.66667"), (14, 2, "-1"), (12, 1, "0")]
)
def test_classes_that_the_tasks_do_not_fill_are_refused(shared, novel, ratio):
    message = rf"\(12 - {shared}\) / {novel} = {ratio}\."
    with refused(rf"{shared} shared classes and {novel} novel ones.*{message}"):
        make("A", num_shared=shared, num_novel=novel)


def test_one_task_alone_is_refused():
    with refused(r"2 tasks or more; .* \(12 - 10\) / 2 = 1\."):
        make("A", num_shared=10, num_novel=2)


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_classes_must_be_whole_and_not_negative():
    with refused("num_shared must be a whole number of 0 or more, got -2"):
        make("A", num_shared=-2, num_novel=2)
    with refused("num_novel must be a whole number of 1 or more, got 0"):
        make("A", num_shared=4, num_novel=0)
    with refused("num_shared must be a whole number of 0 or more, got 4.0"):
        make("A", num_shared=4.0, num_novel=2)


# Scenario B


def counts_of(tasks: Tasks, where: np.ndarray, labels=LABELS) -> np.ndarray:
    """(M, C): how many samples of each class each task has."""
    num_classes = tasks.classes.shape[1]
    return np.array(
        [
            np.bincount(labels[present & where], minlength=num_classes)
            for present in tasks.presence
        ]
    )


@pytest.mark.parametrize("name", ["B", "B, three by four"])
def test_samples_are_in_one_task_and_counts_are_the_nearest_that_add_up(name):
    tasks = make(name)
    assert tasks.presence.sum(axis=0).max() == 1
    table = np.array(SCENARIOS[name][1].get("percentages", ((80, 20), (20, 80))), float)
    part = np.arange(NUM_CLASSES) // (NUM_CLASSES // table.shape[1])
    for where in (TEST, ~TEST):
        counts = counts_of(tasks, where)
        size = counts.sum(axis=0)
        dealt = np.bincount(LABELS[where & ~tasks.held_out], minlength=NUM_CLASSES)
        assert np.array_equal(size, dealt)
        quotas = table[:, part] * size / 100
        assert (abs(counts - quotas) < 1 - 1e-9).all()
        # No other whole numbers that add up lie nearer.
        above, below = counts > quotas + 1e-9, counts < quotas - 1e-9
        fraction = quotas - np.floor(quotas)
        for c in range(NUM_CLASSES):
            up, down = fraction[above[:, c], c], fraction[below[:, c], c]
            assert not up.size or not down.size or up.min() >= down.max() - 1e-6
    assert np.array_equal(tasks.classes, table[:, part] > 0)


def test_eighty_and_twenty_of_a_hundred_are_exact():
    labels = np.repeat(np.arange(4), 110)
    test = np.arange(440) % 11 == 0
    tasks = same_classes_disjoint_samples(0, labels, num_held_out=0, test=test)
    wanted = np.array([[80, 80, 20, 20], [20, 20, 80, 80]])
    assert np.array_equal(counts_of(tasks, ~test, labels), wanted)
    assert np.array_equal(counts_of(tasks, test, labels), wanted // 10)
    assert tasks.shared.all()


def test_percentages_of_zero_leave_a_task_without_the_class():
    tasks = make("B, three by four")
    assert tasks.classes.sum(axis=1).tolist() == [9, 12, 12]
    assert tasks.shared.tolist() == [True] * 9 + [False] * 3


def test_an_odd_sample_at_equal_percentages_goes_by_lot():
    labels = np.repeat(np.arange(200), 5)
    tasks = same_classes_disjoint_samples(
        0,
        labels,
        percentages=((50,), (50,)),
        num_held_out=0,
        validation_share=0.0,
    )
    first = counts_of(tasks, np.ones(1000, bool), labels)[0]
    assert set(first.tolist()) == {2, 3}
    assert 60 < (first == 3).sum() < 140


def test_who_goes_to_which_task_is_drawn_uniformly():
    labels = np.zeros(20, int)
    taken = sum(
        same_classes_disjoint_samples(
            key, labels, percentages=((25,), (75,)), num_held_out=0
        ).presence[0]
        for key in range(1000)
    )
    assert (abs(taken - 250) < 5 * np.sqrt(1000 * 3 / 16)).all()


@pytest.mark.parametrize("name", ["B", "C"])
def test_held_out_samples_are_drawn_uniformly_over_training(name):
    labels, test = np.tile(np.arange(4), 15), np.arange(60) % 5 == 0
    options = {"labels": labels, "test": test, "num_held_out": 6}
    options |= {"validation_share": 0.0}
    options |= {"num_tasks": 2} if name == "C" else {}
    held = sum(make(name, s, **options).held_out.astype(int) for s in range(1500))
    expected = 1500 * 6 / 48
    variance = expected * (1 - 6 / 48) * 48 / 47
    assert (held[test] == 0).all()
    # Chi-square with 47 degrees of freedom: mean 47, standard deviation 9.7.
    assert 20 < ((held[~test] - expected) ** 2 / variance).sum() < 85


@pytest.mark.parametrize(
    ("percentages", "message"),
    [
        (((80, 20), (20, 70)), r"add up to 100; got .* add up to \[100.0, 90.0\]"),
        (((120, 20), (-20, 80)), r"must not be negative.*-20.0"),
        (((80, 20), (float("nan"), 80)), "add up to"),
        (((80, 20), (20,)), r"rows of one length.*\(\(80, 20\), \(20,\)\)"),
        (((100, 100),), r"2 rows or more.* \(1, 2\).*end_to_end"),
        (((), ()), r"a column a part of the class range; got the shape \(2, 0\)"),
        (((100, 100), (0, 0)), "a task gets 0 per cent of all classes"),
        (((60,) * 5, (40,) * 5), "12 classes cannot be cut into 5 equal parts"),
    ],
)
def test_percentages_that_make_no_deal_are_refused(percentages, message):
    with refused(message):
        make("B", percentages=percentages)


@pytest.mark.usefixtures("unchecked")
def test_percentages_without_rows_are_refused():
    with refused(r"2 rows or more.* got the shape \(2,\)"):
        make("B", percentages=(80, 20))
    with refused("rows of one length"):
        make("B", percentages=())


# Scenario C


@pytest.mark.parametrize("num_tasks", [2, 3, 4, 6, 12])
def test_the_class_range_is_cut_into_equal_consecutive_parts(num_tasks):
    tasks = make("C", num_tasks=num_tasks)
    width = NUM_CLASSES // num_tasks
    for m, own in enumerate(tasks.classes):
        assert np.flatnonzero(own).tolist() == list(range(m * width, (m + 1) * width))
    assert not tasks.shared.any()
    for n, label in enumerate(LABELS):
        wanted = [
            m == label // width and not tasks.held_out[n] for m in range(num_tasks)
        ]
        assert tasks.presence[:, n].tolist() == wanted


def test_tasks_that_do_not_divide_the_classes_are_refused():
    with refused(
        "12 classes cannot be cut into 5 equal parts; num_tasks must divide 12"
    ):
        make("C", num_tasks=5)
    with refused("num_tasks must be a whole number of 2 or more, got 1"):
        make("C", num_tasks=1)
    with refused("12 classes cannot be cut into 13 parts; num_tasks must be 12 or"):
        make("C", num_tasks=13, equal=False)


def test_parts_that_need_not_be_equal_differ_by_one_class_at_most():
    tasks = make("C", num_tasks=5, equal=False)
    assert tasks.classes.sum(axis=1).tolist() == [3, 3, 2, 2, 2]
    owners = [np.flatnonzero(column).tolist() for column in tasks.classes.T]
    assert owners == [[0]] * 3 + [[1]] * 3 + [[2]] * 2 + [[3]] * 2 + [[4]] * 2
    hundred = totally_disjoint(
        0, np.repeat(np.arange(100), 5), num_tasks=3, num_held_out=9, equal=False
    )
    assert hundred.classes.sum(axis=1).tolist() == [34, 33, 33]


@pytest.mark.parametrize("name", ["B", "C"])
def test_more_held_out_than_there_are_for_training_is_refused(name):
    training = int((~TEST).sum())
    with refused(f"cannot hold out {training + 1} of {training} training samples"):
        make(name, num_held_out=training + 1)
    with refused("num_held_out must be a whole number of 0 or more, got -1"):
        make(name, num_held_out=-1)


# The end-to-end reference


def test_the_reference_has_every_sample_and_every_class():
    tasks = make("end to end")
    assert tasks.presence.all()
    assert tasks.classes.all()
    assert tasks.shared.all()


# What all scenarios refuse


@pytest.mark.parametrize("name", SCENARIOS)
def test_labels_out_of_range_are_refused(name):
    with refused(r"labels must lie in 0..3 \(num_classes=4\); got \[4, 5, 6, 7, 8"):
        make(name, num_classes=4)
    with refused(r"labels must lie in 0..11 .* got \[-1\]"):
        make(name, labels=np.where(LABELS == 2, -1, LABELS))


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", [float, bool])
def test_labels_that_are_no_integers_are_refused(name, kind):
    with refused(rf"labels must be a vector of integers .* {kind.__name__}.*\("):
        make(name, labels=LABELS.astype(kind))


@pytest.mark.parametrize("name", SCENARIOS)
def test_labels_must_be_a_vector_and_not_empty(name):
    with refused(r"a vector of integers 0..C-1, \(N,\); got int64\(12, 12\)"):
        make(name, labels=np.eye(12, dtype=int), test=None)
    with refused("there are no samples"):
        make(name, labels=np.zeros(0, int), test=None)


@pytest.mark.parametrize("name", SCENARIOS)
def test_classes_without_a_training_sample_are_refused_by_number(name):
    with refused(r"2 of 12 classes have no training sample: \[3, 7\]"):
        make(name, test=TEST | np.isin(LABELS, [3, 7]))
    with refused(r"4 of 16 classes have no training sample: \[12, 13, 14, 15\]"):
        make(name, num_classes=16)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_test_mask_of_another_shape_or_kind_is_refused(name):
    with refused("test must be boolean; for numbers write `test > 0`"):
        make(name, test=TEST.astype(int))
    with refused(rf"test must have the axes \(N,\), here \({LABELS.size},\)"):
        make(name, test=TEST[1:])


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_validation_share_outside_its_range_is_refused(name, share):
    with refused(rf"validation_share must lie in \[0, 1\), got {share}"):
        make(name, validation_share=share)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_task_left_without_a_class_is_refused_by_number(name):
    # Every class but 0 has many samples, and 0 has one, which goes to validation.
    labels = np.append(LABELS[LABELS != 0], 0)
    options = {"labels": labels, "test": None, "validation_share": 0.99}
    with refused(r"task \d has no training sample left of .* validation_share=0.99"):
        make(name, **options)


def test_a_class_that_is_held_out_whole_is_refused_with_the_numbers():
    labels = np.array([0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    message = (
        r"sample left of \d of its 2 classes: .* 10 training samples 9 are held out"
    )
    with refused(message):
        totally_disjoint(0, labels, num_tasks=2, num_held_out=9)


def test_a_class_too_small_for_the_percentages_is_refused():
    labels = np.append(np.repeat(np.arange(3), 50), [3, 3])
    with refused(r"task 0 has no training sample left of 1 of its 4 classes: \[3\]"):
        same_classes_disjoint_samples(0, labels, num_held_out=0)
