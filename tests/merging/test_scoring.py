"""Scores of merges, and the choice of a consensus, by held-out linked samples."""

import jax.numpy as jnp
import numpy as np
import pytest
from consensus_reference import Reference

from jatlas.merging import choose_consensus, score_merge


def made(num_samples=60, width=6, noise=0.05):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(num_samples, 4))
    charts = hidden @ rng.normal(size=(2, 4, width))
    charts = charts + noise * rng.normal(size=charts.shape)
    return np.float32(charts), np.ones((2, num_samples), bool)


def test_charts_in_one_space_find_each_other_and_noise_does_not():
    charts, both = made()
    same = score_merge(0, lambda x, p, w: [x[0], x[0]], charts, both)
    noise = np.float32(np.random.default_rng(1).normal(size=charts.shape))
    other = score_merge(0, lambda x, p, w: noise, charts, both)
    assert same.mean_reciprocal_rank[0, 1] == 1
    assert other.mean_reciprocal_rank[0, 1] < 0.6
    assert np.isnan(same.mean_reciprocal_rank[0, 0])
    assert same.queries[0, 1] == 60


def test_choosing_takes_a_setting_that_was_offered():
    charts, both = made()
    consensus, score = choose_consensus(
        0, charts, both, ridges=[0.3, 1.0], powers=[1.0], folds=2
    )
    assert any(np.isclose(float(consensus.ridge), x) for x in (0.3, 1))
    assert score.shape == (2, 2)
    assert score[0, 1] > 0.8


def test_the_other_order_of_bytes_changes_nothing():
    charts, both = made()
    options = {"ridges": [1.0], "powers": [1.0], "folds": 2}
    one, expected = choose_consensus(0, charts, both, **options)
    other, score = choose_consensus(0, list(charts.astype(">f4")), both, **options)
    np.testing.assert_array_equal(score, expected)
    np.testing.assert_array_equal(other.weights, one.weights)
    same = score_merge(0, lambda x, p, w: [x[0], x[0]], charts.astype(">f4"), both)
    assert same.mean_reciprocal_rank[0, 1] == 1


def test_bad_input_is_refused():
    charts, both = made()
    bad = charts.copy()
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"chart 1 hold NaN.*\[3\]"):
        choose_consensus(0, bad, both)
    with pytest.raises(ValueError, match="unknown among"):
        choose_consensus(0, charts, jnp.asarray(both), among="none")


# ------------------------------------------------- beside a reference in NumPy


def of_three(num_samples, seed=2):
    """Three noisy charts of different widths, and who has what."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(num_samples, 4))
    charts = [
        np.float32(hidden @ rng.normal(size=(4, d)) + rng.normal(size=(num_samples, d)))
        for d in (5, 6, 7)
    ]
    presence = rng.random((3, num_samples)) < 0.8
    presence[:, :4] = [[True], [False], [False]]
    return charts, presence


def held_out_of(charts, presence, among):
    """The samples that each fold leaves out, by what a merge may learn from."""
    folds = []

    def learned(embeddings, presence, where):
        folds.append(np.flatnonzero(~np.asarray(where)))
        return embeddings_in_one_space

    embeddings_in_one_space = [x[:, :5] for x in charts]
    score_merge(0, learned, charts, presence, folds=3, among=among)
    return folds


def scores_in_numpy(charts, presence, maps_of, folds, among):
    """Reciprocal ranks, shares of the query's chart and queries of each pair."""
    found, sole, fair, queries = np.zeros((4, 3, 3))
    for held_out in folds:
        kept = np.setdiff1d(np.flatnonzero(presence.any(axis=0)), held_out)
        maps = maps_of(np.setdiff1d(np.arange(presence.shape[1]), held_out))
        rows = [maps.apply(m, x) for m, x in enumerate(charts)]
        merged = maps.merge([x[kept] for x in charts], presence[:, kept])
        for i, j in np.argwhere(~np.eye(3, dtype=bool)):
            both = [n for n in held_out if presence[i, n] and presence[j, n]]
            index, alone = rows[j][both], np.zeros(len(both), bool)
            if among == "all":
                index = np.concatenate([index, merged])
                only = presence[i, kept] & (presence[:, kept].sum(axis=0) == 1)
                alone = np.concatenate([alone, only])
            index = index / np.linalg.norm(index, axis=1, keepdims=True)
            for place, n in enumerate(both):
                cosines = index @ rows[i][n]
                found[i, j] += 1 / np.sum(cosines >= cosines[place])
                sole[i, j] += alone[np.argsort(-cosines)[:10]].mean()
                fair[i, j] += alone.mean()
                queries[i, j] += 1
    with np.errstate(invalid="ignore"):
        return found / queries, sole / queries, fair / queries, queries


@pytest.mark.parametrize(("num_samples", "among"), [(20, "linked"), (70, "all")])
def test_the_choice_is_that_of_maps_refitted_for_each_fold(num_samples, among):
    # Of 20 samples fewer are linked than there are features, of 70 more.
    charts, presence = of_three(num_samples)
    folds = held_out_of(charts, presence, among)
    linked = np.flatnonzero(presence.sum(axis=0) >= 2)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), linked)
    assert (linked.size < 5 + 6 + 7) == (num_samples == 20)
    settings = [(ridge, power) for ridge in (0.3, 3.0) for power in (0.5, 3.0)]
    exact, means = {}, {}
    for setting in settings:

        def maps_of(some, setting=setting):
            mine = [x[some] for x in charts]
            return Reference(mine, presence[:, some], 6, *setting)

        scores = scores_in_numpy(charts, presence, maps_of, folds, among)
        exact[setting] = scores[0]
        means[setting] = np.nansum(scores[0] * scores[3]) / scores[3].sum()
    options = {"num_features": 6, "folds": 3, "among": among}
    for setting in settings:
        one = {"ridges": setting[:1], "powers": setting[1:]}
        _, score = choose_consensus(0, charts, presence, **one, **options)
        np.testing.assert_allclose(score, exact[setting], atol=1e-3)
    consensus, score = choose_consensus(
        0, charts, presence, ridges=(0.3, 3.0), powers=(0.5, 3.0), **options
    )
    best = max(settings, key=means.get)
    assert (float(consensus.ridge), float(consensus.agreement_power)) == pytest.approx(
        best
    )
    whole = Reference(charts, presence, 6, *best)
    np.testing.assert_allclose(
        np.abs(consensus.weights[0]), np.abs(whole.weights[0]), atol=1e-4
    )


@pytest.mark.parametrize("num_samples", [20, 70])
def test_the_number_of_features_is_chosen_too(num_samples):
    charts, presence = of_three(num_samples, seed=3)
    folds = held_out_of(charts, presence, "linked")
    settings = [(power, width) for power in (0.5, 2.0) for width in (2, 6, 4)]
    means, scores = {}, {}
    for power, width in settings:

        def maps_of(some, power=power, width=width):
            mine = [x[some] for x in charts]
            return Reference(mine, presence[:, some], width, 1.0, power)

        found, _, _, queries = scores_in_numpy(
            charts, presence, maps_of, folds, "linked"
        )
        scores[power, width] = found
        means[power, width] = np.nansum(found * queries) / queries.sum()
    assert len({round(mean, 3) for mean in means.values()}) == len(settings)
    options = {"ridges": (1.0,), "folds": 3}
    for power in (0.5, 2.0):
        best = max((2, 6, 4), key=lambda width, power=power: means[power, width])
        consensus, score = choose_consensus(
            0, charts, presence, powers=(power,), num_features=[2, 6, 4], **options
        )
        assert consensus.agreement.shape == (best,)
        np.testing.assert_allclose(score, scores[power, best], atol=1e-3)
    consensus, _ = choose_consensus(
        0, charts, presence, powers=(0.5, 2.0), num_features=(2, 6, 4), **options
    )
    power, width = max(settings, key=means.get)
    assert consensus.agreement.shape == (width,)
    assert float(consensus.agreement_power) == pytest.approx(power)


@pytest.mark.parametrize(
    ("given", "words"),
    [((), "a number or several"), ((2, 0), "num_features"), ((2, 99), "num_features")],
)
def test_numbers_of_features_out_of_range_are_refused(given, words):
    charts, presence = of_three(20)
    with pytest.raises(ValueError, match=words):
        choose_consensus(0, charts, presence, num_features=given)


@pytest.mark.parametrize("among", ["linked", "all"])
def test_scores_and_shares_are_those_of_numpy(among):
    charts, presence = of_three(60)
    folds = held_out_of(charts, presence, among)

    class Cut:
        """Coordinates that are the first five features."""

        def __init__(self, some):
            pass

        def apply(self, chart, rows):
            return np.float64(rows[:, :5])

        merge = Reference.merge

    exact = scores_in_numpy(charts, presence, Cut, folds, among)
    cut = [x[:, :5] for x in charts]
    score = score_merge(0, lambda *_: cut, charts, presence, folds=3, among=among)
    given = (
        score.mean_reciprocal_rank,
        score.sole_share,
        score.fair_share,
        score.queries,
    )
    for ours, theirs in zip(given, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (score.fair_share[0, 1] > 0) == (among == "all")
