"""Which rows a probe gets: how many, whose, and never one sample on two sides."""

import numpy as np
import pytest
from worlds import (
    TASKS,
    TEST,
    N,
    embeddings,
    every_scenario,
    one_row_a_sample,
)

from experiments.measures import protocols, splits
from experiments.measures.protocols import Space
from experiments.measures.splits import Cut

RULES = (splits.by_rows, splits.by_samples, splits.training_split)


def jumble_of(scenario) -> Space:
    return protocols.oracle_spaces(embeddings(scenario), TEST)["jumble_abs"]()


def numbers(parts: Cut):
    return [np.flatnonzero(part).tolist() for part in parts]


def test_in_a_the_rows_of_the_test_split_are_cut_70_15_15():
    space = one_row_a_sample("A")
    parts = splits.by_rows(0, space, TASKS["A"])
    assert [part.sum() for part in parts] == [56, 12, 12]
    assert not (np.sum(parts, axis=0) > 1).any()
    test = (space.sample >= 0) & TEST[space.sample]
    np.testing.assert_array_equal(np.any(parts, axis=0), test)


def test_in_a_training_rows_are_left_out_of_the_cut():
    space = one_row_a_sample("C")  # has rows of both splits
    parts = splits.by_rows(0, space, TASKS["A"])
    for part in parts:
        assert part.any()
        assert TEST[space.sample[part]].all()


def test_in_a_the_naive_merge_is_cut_by_rows_not_by_samples():
    jumble = jumble_of("A")
    parts = splits.by_rows(0, jumble, TASKS["A"])
    assert [part.sum() for part in parts] == [84, 18, 18]  # of 20 x 3 + 60
    of_train, of_test = (jumble.sample[part] for part in (parts.train, parts.test))
    assert np.isin(of_test, of_train).any()
    assert not np.isin(of_test, of_train).all()


@pytest.mark.parametrize("scenario", "BC")
def test_in_b_and_c_the_probe_learns_from_training_rows_a_tenth_to_stop_by(scenario):
    space = one_row_a_sample(scenario)
    parts = splits.training_split(0, space, TASKS[scenario])
    assert [part.sum() for part in parts] == [131, 14, 80]  # 160 - 15 held out, and 80
    assert not (np.sum(parts, axis=0) > 1).any()
    test = (space.sample >= 0) & TEST[space.sample]
    np.testing.assert_array_equal(parts.test, test)
    assert (space.sample[parts.train | parts.validation] < 160).all()
    assert (space.sample[parts.train | parts.validation] >= 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_spaces_of_the_same_rows_are_cut_alike_and_another_seed_cuts_otherwise(rule):
    data, tasks = embeddings("C"), TASKS["C"]
    blind = protocols.blind_spaces(data)
    spaces = [
        *protocols.reference_spaces(data).values(),
        *(blind[name] for name in ("mean_abs", "concat_abs", "merged")),
        protocols.oracle_spaces(data, TEST)["merged"],
    ]
    first, *others = (numbers(rule(3, make(), tasks)) for make in spaces)
    assert len(others) == 5
    assert all(other == first for other in others)
    assert numbers(rule(4, spaces[0](), tasks)) != first


def samples(space, parts: Cut):
    return [sorted(space.sample[part].tolist()) for part in parts]


@pytest.mark.parametrize("rule", RULES)
@every_scenario
def test_spaces_of_one_row_a_sample_are_cut_alike_whatever_their_order(scenario, rule):
    """Wherever the padding is, too."""
    space, tasks = one_row_a_sample(scenario), TASKS[scenario]
    order = np.random.default_rng(5).permutation(N)
    shuffled = Space(space.rows[order], space.sample[order])
    found, expected = rule(3, shuffled, tasks), rule(3, space, tasks)
    assert samples(shuffled, found) == samples(space, expected)
    assert numbers(found) != numbers(expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scenario", "BC")
def test_in_b_and_c_the_naive_merge_is_cut_like_the_atlas(scenario, rule):
    spaces = protocols.oracle_spaces(embeddings(scenario), TEST)
    jumble, atlas = spaces["jumble_abs"](), spaces["merged"]()
    np.testing.assert_array_equal(jumble.sample, atlas.sample)
    order = np.random.default_rng(0).permutation(jumble.sample.size)  # of no account
    jumble = protocols.Space(jumble.rows[order], jumble.sample[order])
    found, expected = (
        samples(space, rule(3, space, TASKS[scenario])) for space in (jumble, atlas)
    )
    assert found == expected


@pytest.mark.parametrize("rule", [splits.by_samples, splits.training_split])
@every_scenario
def test_but_for_the_papers_cut_no_sample_is_on_two_sides(scenario, rule):
    """And every row of the samples is in, on the side on which the others have it."""
    data, tasks = embeddings(scenario), TASKS[scenario]
    spaces = protocols.oracle_spaces(data, TEST)
    jumble, atlas = spaces["jumble_rel"](), spaces["merged"]()
    parts = [set(own) for own in samples(jumble, rule(1, jumble, tasks))]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert parts == [set(own) for own in samples(atlas, rule(1, atlas, tasks))]
    for part, own in zip(rule(1, jumble, tasks), parts, strict=True):
        np.testing.assert_array_equal(part, np.isin(jumble.sample, list(own)))


def test_where_a_sample_has_one_row_the_leak_free_cut_is_the_papers():
    space, tasks = one_row_a_sample("A"), TASKS["A"]
    found = splits.cuts(0, space, tasks, on_test=True)
    assert list(found) == ["", "_leakfree", "_train_split"]
    assert numbers(found["_leakfree"]) == numbers(found[""])
    jumble = jumble_of("A")
    of_jumble = splits.cuts(0, jumble, tasks, on_test=True)
    assert numbers(of_jumble["_leakfree"]) != numbers(of_jumble[""])
    expected = numbers(splits.training_split(0, jumble, tasks))
    assert numbers(of_jumble["_train_split"]) == expected


def test_in_b_and_c_the_cut_of_the_training_split_is_the_papers():
    space = one_row_a_sample("C")
    (name, found), *others = splits.cuts(0, space, TASKS["C"], on_test=False).items()
    assert (name, others) == ("", [])
    assert numbers(found) == numbers(splits.training_split(0, space, TASKS["C"]))
