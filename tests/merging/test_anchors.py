"""The anchor rules and choices against brute force, chi-square and their messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas.merging.anchors import METHODS, choose_anchors
from jatlas.merging.pool import anchor_pool, check_anchors, repeated

NUM_SAMPLES, NUM_CLASSES, WIDTH = 60, 4, 5
POOL = np.arange(NUM_SAMPLES) % 3 != 0  # 40 of 60
LABELS = np.arange(NUM_SAMPLES) % NUM_CLASSES  # 10 of each class in the pool
EMBEDDINGS = np.random.default_rng(3).normal(size=(NUM_SAMPLES, WIDTH))
KNOWN = {"labels": LABELS, "embeddings": EMBEDDINGS}


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """By the definition, one pair at a time."""
    return np.array(
        [
            [x @ a / np.sqrt((x @ x) * (a @ a)) for a in others.astype(np.float64)]
            for x in rows.astype(np.float64)
        ]
    )


def refused(message: str):
    return pytest.raises(ValueError, match=message)


# anchor_pool


@given(seed=st.integers(0, 2**16), share=st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=15, deadline=None)
def test_pool_is_what_all_charts_saw_or_what_none_saw(seed, share):
    seen = np.random.default_rng(seed).random((3, 20)) < share
    for rule, wanted in (("shared", 3), ("unseen", 0)):
        pool = anchor_pool(seen, rule)
        assert np.array_equal(pool, [sum(column) == wanted for column in seen.T])


def test_pool_works_under_jit_and_vmap():
    seen = np.random.default_rng(0).random((2, 3, 20)) < 0.7
    pools = jax.jit(jax.vmap(lambda s: anchor_pool(s, "shared")))(seen)
    assert np.array_equal(pools, seen.all(axis=1))
    assert pools.any()


def test_pool_refuses_an_unknown_rule_naming_the_known():
    with refused("unknown rule 'common'; known are shared, unseen"):
        anchor_pool(np.ones((2, 3), bool), "common")


@pytest.mark.usefixtures("unchecked")
def test_pool_refuses_what_is_no_boolean_matrix():
    with refused("seen must be boolean; for numbers write `seen > 0`"):
        anchor_pool(jnp.ones((2, 3)), "shared")
    with refused(r"number of axes of seen .* got \[2, 1\]. Give \(M, N\)"):
        anchor_pool(jnp.ones(3, bool), "shared")
    with refused("seen has no charts"):
        anchor_pool(jnp.ones((0, 3), bool), "unseen")


def zero_in_some(num_zero=10):
    """Two charts, not of one width; ten of 40 samples are zero in the second."""
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    zero = rng.permutation(40)[:num_zero]
    second[zero] = 0
    return [np.float32(first), np.float32(second)], zero


def test_pool_leaves_out_what_is_zero_in_any_chart():
    charts, zero = zero_in_some()
    first = charts[0].copy()
    first[0, 1] = np.nan
    seen = np.ones((2, 40), bool)
    pool = np.asarray(anchor_pool(seen, "shared", embeddings=charts))
    assert np.array_equal(np.flatnonzero(~pool), np.sort(zero))
    pool = np.asarray(anchor_pool(seen, "shared", embeddings=[first, charts[1]]))
    assert set(np.flatnonzero(~pool)) == {0, *zero.tolist()}
    stacked = np.stack([charts[0], charts[1][:, :3]])
    pool = anchor_pool(~seen, "unseen", embeddings=stacked)
    assert int(pool.sum()) == 30
    assert not np.isin(choose_anchors(0, pool, 16), zero).any()


@pytest.mark.parametrize("method", METHODS)
def test_no_method_draws_a_zero_vector(method):
    (_, x), zero = zero_in_some()
    known = {"labels": np.arange(40) % 2, "embeddings": x}
    with refused(r"only zeros in the embeddings .*\(10 in all\).*`anchor_pool`"):
        choose_anchors(0, np.ones(40, bool), 16, method=method, **known)
    pool = anchor_pool(np.ones((1, 40), bool), "shared", embeddings=x[None])
    assert not np.isin(choose_anchors(0, pool, 8, method=method, **known), zero).any()


@pytest.mark.usefixtures("unchecked")
def test_pool_refuses_embeddings_of_other_charts_or_samples():
    charts, _ = zero_in_some()
    with refused(r"charts M of seen and embeddings must be the same, got \[3, 2\]"):
        anchor_pool(np.ones((3, 40), bool), "shared", embeddings=charts)
    with refused(r"samples N of seen and of chart 0 must be the same, got \[41, 40\]"):
        anchor_pool(np.ones((2, 41), bool), "shared", embeddings=charts)
    with refused("embeddings of chart 1 must be a matrix"):
        anchor_pool(
            np.ones((2, 40), bool), "shared", embeddings=[charts[0], charts[0][:, 0]]
        )


def test_masked_arrays_and_traced_ones_are_refused():
    masked = np.ma.array(POOL, mask=~POOL)
    with refused("pool is a masked array"):
        choose_anchors(0, masked, 3)
    labels = np.ma.array(LABELS, mask=~POOL)
    with refused("labels is a masked array"):
        choose_anchors(0, POOL, 8, method="balanced", labels=labels)
    rows = np.ma.array(EMBEDDINGS, mask=EMBEDDINGS > 2)
    with refused("embeddings is a masked array"):
        choose_anchors(0, POOL, 3, method="kmeans", embeddings=rows)
    everywhere = np.ones((2, 60), bool)
    with refused("anchors is a masked array"):
        check_anchors(np.ma.array([1, 2], mask=[0, 1]), everywhere)
    with refused("presence is a masked array"):
        check_anchors(np.array([1]), np.ma.array(everywhere))
    with refused("seen is a masked array"):
        check_anchors(np.array([1]), everywhere, seen=np.ma.array(everywhere))
    with refused("this function runs on the host and reads the values of pool"):
        jax.jit(lambda pool: choose_anchors(0, pool, 3))(POOL)


# What all methods promise


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_anchors", [1, 7, 40])
def test_anchors_are_different_samples_of_the_pool(method, num_anchors):
    chosen = choose_anchors(0, POOL, num_anchors, method=method, **KNOWN)
    assert chosen.shape == (num_anchors,)
    assert np.issubdtype(chosen.dtype, np.integer)
    assert len(set(chosen.tolist())) == num_anchors
    assert POOL[chosen].all()


@pytest.mark.parametrize("method", METHODS)
def test_same_key_same_anchors_and_another_key_others(method):
    def choose(key):
        return choose_anchors(key, POOL, 12, method=method, **KNOWN).tolist()

    assert choose(5) == choose(5) == choose(np.int64(5))
    assert choose(5) != choose(6)
    assert choose(jax.random.key(5)) == choose(jax.random.key(5))
    assert choose(jax.random.key(5)) != choose(jax.random.key(6))
    first, second = jax.random.split(jax.random.key(5))
    assert choose(first) != choose(second)


@pytest.mark.parametrize("method", METHODS)
def test_a_raw_jax_key_is_the_typed_key(method):
    typed = jax.random.key(9)
    raw = jax.random.key_data(typed)
    chosen = [choose_anchors(k, POOL, 12, method=method, **KNOWN) for k in (typed, raw)]
    assert np.array_equal(*chosen)


@pytest.mark.parametrize("method", METHODS)
def test_what_stands_outside_the_pool_does_not_matter(method):
    labels, embeddings = LABELS.copy(), EMBEDDINGS.copy()
    labels[~POOL], embeddings[~POOL] = -7, np.nan
    plain = choose_anchors(1, POOL, 12, method=method, **KNOWN)
    other = choose_anchors(
        1, POOL, 12, method=method, labels=labels, embeddings=embeddings
    )
    assert np.array_equal(plain, other)


def test_jax_arrays_choose_as_numpy_arrays_do():
    for method in METHODS:
        x = EMBEDDINGS.astype(np.float32)
        host = choose_anchors(2, POOL, 9, method=method, labels=LABELS, embeddings=x)
        device = choose_anchors(
            2,
            jnp.asarray(POOL),
            9,
            method=method,
            labels=jnp.asarray(LABELS),
            embeddings=jnp.asarray(x),
        )
        assert np.array_equal(host, device)


# The methods


def test_uniform_takes_every_sample_and_every_place_alike():
    num_draws, num, size = 4000, 5, int(POOL.sum())
    draws = np.array([choose_anchors(s, POOL, num) for s in range(num_draws)])
    counts = np.array([np.bincount(d, minlength=NUM_SAMPLES) for d in draws.T])
    counts = counts[:, POOL]
    expected = num_draws / size
    # Each place holds a uniform sample: chi-square with 39 degrees of freedom has mean
    # 39 and standard deviation 8.8; and so has the sum over places, once corrected for
    # drawing without replacement.
    for place in counts:
        assert 15 < ((place - expected) ** 2 / expected).sum() < 75
    total = counts.sum(axis=0)
    variance = num_draws * (num / size) * (1 - num / size) * size / (size - 1)
    assert 15 < ((total - num * expected) ** 2 / variance).sum() < 75


def test_uniform_takes_every_pair_alike():
    draws = [frozenset(choose_anchors(s, np.ones(5, bool), 2)) for s in range(3000)]
    counts = np.unique([sorted(d) for d in draws], axis=0, return_counts=True)[1]
    assert counts.size == 10
    assert ((counts - 300) ** 2 / 300).sum() < 30  # 9 degrees of freedom


@given(seed=st.integers(0, 2**16), num=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_balanced_counts_differ_by_one_at_most(seed, num):
    chosen = choose_anchors(seed, POOL, num, method="balanced", labels=LABELS)
    counts = np.bincount(LABELS[chosen], minlength=NUM_CLASSES)
    assert counts.sum() == num
    assert counts.max() - counts.min() <= 1


def test_balanced_draws_who_gets_the_remainder_and_who_is_taken():
    extra, taken = np.zeros(NUM_CLASSES), np.zeros(NUM_SAMPLES)
    for seed in range(800):
        chosen = choose_anchors(seed, POOL, 9, method="balanced", labels=LABELS)
        extra[np.bincount(LABELS[chosen], minlength=NUM_CLASSES) == 3] += 1
        taken[chosen] += 1
    assert extra.sum() == 800
    assert (abs(extra - 200) < 5 * np.sqrt(800 * 0.25 * 0.75)).all()
    expected = 800 * 9 / 40
    assert (abs(taken[POOL] - expected) < 5 * np.sqrt(expected)).all()


def test_balanced_gives_the_remainder_to_classes_that_have_it():
    labels = np.array([0, 1, 1, 2])
    for seed in range(20):  # whoever is drawn, 0 and 2 cannot give two
        chosen = choose_anchors(
            seed, np.ones(4, bool), 4, method="balanced", labels=labels
        )
        assert sorted(chosen) == [0, 1, 2, 3]


def test_balanced_refuses_a_class_too_small_with_the_numbers():
    labels = np.array([0] * 2 + [1] * 9 + [2] * 9)
    pool = np.ones(20, bool)
    with refused(
        "9 balanced anchors over 3 classes need 3 of each.* only 2 of class 0"
    ):
        choose_anchors(0, pool, 9, method="balanced", labels=labels)
    assert choose_anchors(0, pool, 8, method="balanced", labels=labels).size == 8


def test_farthest_goes_step_by_step_to_the_sample_farthest_from_the_chosen():
    chosen = choose_anchors(0, POOL, 10, method="farthest", embeddings=EMBEDDINGS)
    members = np.flatnonzero(POOL)
    for step in range(1, 10):
        to_chosen = cosines(EMBEDDINGS[members], EMBEDDINGS[chosen[:step]]).max(axis=1)
        assert chosen[step] == members[np.argmin(to_chosen)]


def test_farthest_covers_the_pool_within_twice_the_best_angle():
    pool, num = np.arange(NUM_SAMPLES) < 9, 3
    angle = np.arccos(np.clip(cosines(EMBEDDINGS[pool], EMBEDDINGS[pool]), -1, 1))
    subsets = np.array(np.meshgrid(*[range(9)] * num)).reshape(num, -1).T
    best = min(angle[:, subset].min(axis=1).max() for subset in subsets)
    for seed in range(5):
        chosen = choose_anchors(
            seed, pool, num, method="farthest", embeddings=EMBEDDINGS
        )
        reached = angle[:, chosen].min(axis=1).max()
        assert best <= reached <= 2 * best
        # No two anchors are nearer to each other than the farthest sample is to them.
        assert angle[np.ix_(chosen, chosen)][~np.eye(num, dtype=bool)].min() >= reached


@pytest.mark.parametrize("method", ["farthest", "kmeans"])
def test_angles_alone_count_and_not_the_lengths(method):
    scale = 10.0 ** np.linspace(-200, 200, NUM_SAMPLES)[:, None]
    plain = choose_anchors(4, POOL, 8, method=method, embeddings=EMBEDDINGS)
    other = choose_anchors(4, POOL, 8, method=method, embeddings=EMBEDDINGS * scale)
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("method", ["farthest", "kmeans"])
def test_copies_are_taken_once_each(method):
    copies = np.ones((6, 3))
    chosen = choose_anchors(0, np.ones(6, bool), 6, method=method, embeddings=copies)
    assert sorted(chosen) == list(range(6))
    copies[4:] = [[1.0, -1.0, 0.0], [0.0, 1.0, -2.0]]  # and copies come last
    chosen = choose_anchors(0, np.ones(6, bool), 3, method=method, embeddings=copies)
    assert len(set(map(tuple, copies[chosen]))) == 3


def test_kmeans_finds_clusters_that_are_apart():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(6), 15)
    x = np.eye(6)[cluster] + 0.05 * rng.normal(size=(90, 6))
    for seed in range(5):
        chosen = choose_anchors(
            seed, np.ones(90, bool), 6, method="kmeans", embeddings=x
        )
        assert sorted(cluster[chosen]) == list(range(6))


def test_kmeans_anchors_lie_nearer_to_the_samples_than_uniform_ones():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 6))
    pool = np.ones(300, bool)

    def nearness(method, seed):
        chosen = choose_anchors(seed, pool, 20, method=method, embeddings=x)
        return cosines(x, x[chosen]).max(axis=1).mean()

    kmeans = [nearness("kmeans", seed) for seed in range(4)]
    uniform = [nearness("uniform", seed) for seed in range(4)]
    assert min(kmeans) > max(uniform)


# What choose_anchors refuses


@pytest.mark.parametrize("num_anchors", [0, -1, 41])
def test_more_anchors_than_the_pool_or_none_are_refused(num_anchors):
    with refused(
        f"cannot choose {num_anchors} anchors from a pool of 40 of 60 samples"
    ):
        choose_anchors(0, POOL, num_anchors)


def test_an_unknown_method_is_refused_naming_the_known():
    with refused(
        "unknown method 'random'; known are uniform, balanced, farthest, kmeans"
    ):
        choose_anchors(0, POOL, 3, method="random")


def test_what_a_method_needs_must_be_given():
    with refused("method 'balanced' needs labels"):
        choose_anchors(0, POOL, 3, method="balanced", embeddings=EMBEDDINGS)
    for method in ("farthest", "kmeans"):
        with refused(f"method '{method}' needs embeddings"):
            choose_anchors(0, POOL, 3, method=method, labels=LABELS)


def test_labels_and_embeddings_must_be_over_the_same_samples():
    with refused(
        r"number of samples of pool and labels must be the same, got \[60, 59\]"
    ):
        choose_anchors(0, POOL, 3, method="balanced", labels=LABELS[1:])
    with refused(r"samples of pool and embeddings must be the same, got \[60, 40\]"):
        choose_anchors(0, POOL, 3, method="kmeans", embeddings=EMBEDDINGS[POOL])
    with refused("number of axes of labels"):
        choose_anchors(0, POOL, 3, method="balanced", labels=np.eye(NUM_SAMPLES))


@pytest.mark.parametrize("method", ["farthest", "kmeans"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (0.0, "only zeros")],
)
def test_embeddings_without_a_direction_are_refused_by_index(method, value, message):
    x = EMBEDDINGS.copy()
    x[[1, 4]] = value
    with refused(rf"{message} in the embeddings of \[1, 4\]"):
        choose_anchors(0, POOL, 3, method=method, embeddings=x)


def test_embeddings_must_be_a_floating_point_matrix():
    with refused("embeddings must be a matrix"):
        choose_anchors(0, POOL, 3, method="kmeans", embeddings=EMBEDDINGS[:, 0])
    with refused("embeddings must be floating point"):
        choose_anchors(0, POOL, 3, method="kmeans", embeddings=EMBEDDINGS.astype(int))


@pytest.mark.usefixtures("unchecked")
def test_the_pool_must_be_a_boolean_vector():
    with refused("pool must be boolean"):
        choose_anchors(0, np.arange(4), 1)
    with refused(r"number of axes of pool .* got \[1, 2\]"):
        choose_anchors(0, np.ones((2, 4), bool), 1)


# check_anchors

PRESENCE = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 1]], bool)


def test_anchors_that_all_charts_have_pass():
    check_anchors(np.array([2, 0]), PRESENCE)
    check_anchors(jnp.array([2, 0]), jnp.asarray(PRESENCE))


def test_an_absent_anchor_is_refused_by_index_with_the_counts():
    with refused(
        r"2 anchors absent from a chart: \[4, 3\] \(by chart: \[2, 2\] have it\)"
    ):
        check_anchors(np.array([4, 0, 3]), PRESENCE)


def test_ids_name_the_anchors_in_the_message():
    ids = np.array(["ant", "bee", "cat", "dog", "emu"])
    with refused(r"2 anchors absent from a chart: \['emu', 'dog'\]"):
        check_anchors(np.array([4, 0, 3]), PRESENCE, ids=ids)
    with refused(r"1 anchors named more than once: \['cat'\]"):
        check_anchors(np.array([2, 2]), PRESENCE, ids=ids)
    with refused(r"samples of presence and ids must be the same, got \[5, 3\]"):
        check_anchors(np.array([0]), PRESENCE, ids=ids[:3])


def test_the_first_ten_are_named():
    with refused(r"20 anchors absent from a chart: \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\] "):
        check_anchors(np.arange(20), np.zeros((2, 20), bool))


def test_indices_out_of_range_or_repeated_are_refused():
    with refused(r"2 anchors out of range 0..4: \[5, -1\]"):
        check_anchors(np.array([5, 0, -1]), PRESENCE)
    with refused(r"1 anchors named more than once: \[1\]"):
        check_anchors(np.array([1, 0, 1]), PRESENCE)


def test_anchors_that_some_charts_trained_on_are_refused_unless_seen_is_left_out():
    seen = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 0, 0]], bool)
    for fair in ([0], [1], [0, 1]):  # all saw it, or none
        check_anchors(np.array(fair), PRESENCE, seen=seen)
    with refused(
        r"1 anchors seen in training by some charts only: \[2\] \(by chart: \[2, 1"
    ):
        check_anchors(np.array([0, 1, 2]), PRESENCE, seen=seen)
    check_anchors(np.array([0, 1, 2]), PRESENCE)


def test_anchors_must_be_a_vector_of_indices():
    with refused("there are no anchors"):
        check_anchors(np.array([]), PRESENCE)
    with refused(r"must be a vector of indices, got bool\(5,\).*np.flatnonzero"):
        check_anchors(PRESENCE[0], PRESENCE)
    with refused(r"must be a vector of indices, got int\d+\(1, 2\)"):
        check_anchors(np.array([[0, 1]]), PRESENCE)


@pytest.mark.usefixtures("unchecked")
def test_masks_of_another_shape_or_kind_are_refused():
    with refused("number of axes of presence"):
        check_anchors(np.array([0]), PRESENCE[0])
    with refused("presence must be boolean"):
        check_anchors(np.array([0]), PRESENCE.astype(float))
    with refused(r"seen must have the axes \(M, N\), here \(2, 5\)"):
        check_anchors(np.array([0]), PRESENCE, seen=PRESENCE[:, :4])
    with refused("seen must be boolean"):
        check_anchors(np.array([0]), PRESENCE, seen=PRESENCE.astype(int))


# repeated


@given(st.lists(st.integers(0, 5), max_size=12))
@settings(max_examples=25, deadline=None)
def test_repeated_names_what_occurs_twice(values):
    wanted = sorted({v for v in values if values.count(v) > 1})
    assert repeated(np.array(values, int)).tolist() == wanted
