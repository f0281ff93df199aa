"""Assembly against one dictionary a chart, and every refusal by its message."""

import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas._src.ids import find, in_proportion, union
from jatlas.merging.assembly import anchor_rows, assemble
from jatlas.merging.product import merge


def refused(message: str):
    return pytest.raises(ValueError, match=message)


def charts_of(seed: int, widths=(3, 3, 3), num_ids: int = 12) -> list:
    """Charts of random subsets of the ids 100.., each in its own order."""
    rng = np.random.default_rng(seed)
    charts = []
    for width in widths:
        ids = 100 + rng.permutation(num_ids)[: rng.integers(1, num_ids + 1)]
        charts.append((ids, rng.normal(size=(ids.size, width))))
    return charts


def same_values(spaces, charts) -> bool:
    """Whether each chart's rows stand under their ids, and zeros elsewhere."""
    for m, (ids, x) in enumerate(charts):
        own = dict(zip(np.asarray(ids).tolist(), np.asarray(x), strict=True))
        for n, name in enumerate(spaces.ids.tolist()):
            wanted = own.get(name, np.zeros(np.shape(x)[1]))
            if not np.array_equal(spaces.embeddings[m][n], wanted):
                return False
            if spaces.presence[m, n] != (name in own):
                return False
    return True


@given(seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_every_row_stands_under_its_id_and_zeros_elsewhere(seed):
    charts = charts_of(seed)
    spaces = assemble(charts)
    assert isinstance(spaces.embeddings, np.ndarray)
    assert spaces.embeddings.shape == (3, spaces.ids.size, 3)
    assert spaces.presence.dtype == bool
    assert same_values(spaces, charts)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_charts_of_different_widths_stay_apart(seed):
    charts = charts_of(seed, widths=(2, 5, 2))
    spaces = assemble(charts)
    assert isinstance(spaces.embeddings, tuple)
    assert [x.shape for x in spaces.embeddings] == [
        (spaces.ids.size, width) for width in (2, 5, 2)
    ]
    assert same_values(spaces, charts)


def test_ids_come_in_the_order_of_first_appearance():
    spaces = assemble([([7, 3], np.eye(2)), ([9, 3, 1], np.eye(3)[:, :2])])
    assert spaces.ids.tolist() == [7, 3, 9, 1]
    assert np.issubdtype(spaces.ids.dtype, np.integer)


def test_charts_and_rows_may_come_in_any_order():
    charts = charts_of(1)
    backwards = [(ids[::-1], x[::-1]) for ids, x in charts[::-1]]
    first, second = assemble(charts), assemble(backwards)
    one, other = np.argsort(first.ids), np.argsort(second.ids)
    assert np.array_equal(first.ids[one], second.ids[other])
    assert np.array_equal(first.presence[:, one], second.presence[::-1, other])
    assert np.array_equal(first.embeddings[:, one], second.embeddings[::-1, other])


def test_charts_with_no_sample_in_common_are_assembled():
    spaces = assemble([(["a"], np.ones((1, 2))), (["b"], np.ones((1, 2)))])
    assert spaces.presence.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["a", "bcd"], "U"),
        (np.array(["a", "bcd"], object), "U"),
        ([b"a", b"bcd"], "S"),
        ([4, 2], "i"),
        (range(2), "i"),
        (np.array([4, 2], np.uint8), "u"),
        (np.array([4, 2], object), "i"),
        (jnp.array([4, 2]), "i"),
    ],
)
def test_ids_are_integers_text_or_bytes_and_stay_so(ids, kind):
    spaces = assemble([(ids, np.eye(2)), (ids[:1], np.eye(2)[:1])])
    assert spaces.ids.dtype.kind == kind
    assert spaces.ids.tolist() == np.asarray(ids).tolist()


def test_integer_ids_of_different_sizes_are_the_same_ids():
    charts = [(np.array([200], np.uint8), np.eye(2)[:1]), ([200, 70000], np.eye(2))]
    assert assemble(charts).ids.tolist() == [200, 70000]


def test_text_ids_of_different_lengths_are_not_cut():
    charts = [(["a"], np.eye(2)[:1]), (["abcdef", "a"], np.eye(2))]
    assert assemble(charts).ids.tolist() == ["a", "abcdef"]


@pytest.mark.parametrize(
    ("dtypes", "common"),
    [
        (("float32", "float32"), "float32"),
        (("float32", "float64"), "float64"),
        (("float16", "float32"), "float32"),
        (("bfloat16", "bfloat16"), "bfloat16"),
        (("bfloat16", "float16"), "float32"),
    ],
)
def test_embeddings_come_in_the_dtype_that_holds_all(dtypes, common):
    charts = [([0], np.ones((1, 2)).astype(jnp.dtype(name))) for name in dtypes]
    assert assemble(charts).embeddings.dtype == jnp.dtype(common)


def test_jax_arrays_are_taken_and_the_inputs_left_alone():
    x = np.ones((2, 3), np.float32)
    spaces = assemble([(jnp.arange(2), jnp.asarray(x)), (np.arange(2), x)])
    spaces.embeddings[:] = 5
    assert (x == 1).all()


@pytest.mark.parametrize("widths", [(3, 3, 3), (3, 2, 4)])
def test_merge_takes_what_assemble_gives(widths):
    rng = np.random.default_rng(0)
    anchor_ids = [4, 0, 2]
    charts = []
    for width, own in zip(widths, ([5, 6], [6], [7, 8, 5]), strict=True):
        ids = rng.permutation([0, 2, 4, *own])
        charts.append((ids, rng.normal(size=(ids.size, width)).astype(np.float32)))
    spaces = assemble(charts)
    rows = anchor_rows(spaces, anchor_ids)
    if isinstance(spaces.embeddings, tuple):
        anchors = tuple(x[rows] for x in spaces.embeddings)
    else:
        anchors = spaces.embeddings[:, rows]
    atlas = merge(spaces.embeddings, anchors, spaces.presence)
    for n, name in enumerate(spaces.ids.tolist()):
        relative = []
        for ids, x in charts:
            own = dict(zip(ids.tolist(), x.astype(np.float64), strict=True))
            if name in own:
                u = own[name] / np.linalg.norm(own[name])
                a = np.array([own[i] / np.linalg.norm(own[i]) for i in anchor_ids])
                relative.append(a @ u)
        np.testing.assert_allclose(atlas[n], np.mean(relative, axis=0), atol=1e-6)


# What assemble refuses


def test_no_charts_are_refused():
    with refused("there are no charts to assemble; give one at least"):
        assemble([])


@pytest.mark.usefixtures("unchecked")
def test_a_chart_is_a_pair():
    with refused(r"chart 0 must be a pair \(ids, embeddings\), got a ndarray"):
        assemble((np.arange(2), np.eye(2)))  # one chart, not in a list
    with refused("chart 1 must be a pair .* got a tuple"):
        assemble([([0], np.ones((1, 2))), ([0], np.ones((1, 2)), [1])])


def test_a_chart_without_samples_is_refused():
    with refused("the ids of chart 0 must be a vector, not empty"):
        assemble([([], np.ones((0, 2)))])
    with refused(r"the embeddings of chart 1 are empty, \(1, 0\)"):
        assemble([([0], np.ones((1, 2))), ([0], np.ones((1, 0)))])


def test_another_number_of_ids_than_embeddings_is_refused():
    with refused(r"ids and of embeddings of chart 1 must be the same, got \[2, 3\]"):
        assemble([([0], np.ones((1, 2))), ([0, 1], np.ones((3, 2)))])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_chart_and_id(bad):
    x = np.ones((4, 2), np.float32)
    x[1, 1] = x[3, 0] = bad
    with refused(r"NaN or infinity in 2 embeddings of chart 1: ids \['b', 'd'\]"):
        assemble([(["a"], np.ones((1, 2))), (list("abcd"), x)])
    with refused(
        r"in 20 embeddings of chart 0: ids \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\]\."
    ):
        assemble([(range(20), np.full((20, 2), bad))])


def test_repeated_ids_are_refused_by_name():
    with refused(r"2 ids occur more than once in chart 1: \[3, 8\]"):
        assemble([([3], np.ones((1, 2))), ([8, 3, 1, 3, 8, 8], np.ones((6, 2)))])


def test_ids_of_two_types_are_refused_across_charts_and_in_one():
    one = np.ones((1, 2))
    with refused(r"type of the ids .* got \['integers', 'text'\].*1 and \"1\""):
        assemble([([1], one), (["1"], one)])
    with refused(r"got \['text', 'bytes'\]"):
        assemble([(["1"], one), ([b"1"], one)])
    with refused(r"the ids of chart 0 must be .* got the shape \(2,\) of int, str"):
        assemble([([1, "1"], np.eye(2))])


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([0.0, 1.0], "float"),
        (np.array([0.0, 1.0]), "float64"),
        ([True, False], "bool"),
        ([None, None], "NoneType"),
        ([(0, 1), (2, 3)], "int"),
        ([1, 2**80], "int"),
    ],
)
def test_ids_of_other_types_are_refused(ids, found):
    with refused(f"must be a vector, not empty, of integers.* of {found}"):
        assemble([(ids, np.eye(2))])


def test_integers_that_no_dtype_holds_together_are_refused():
    charts = [(np.array([i], t), np.ones((1, 2))) for i, t in ((-1, "i8"), (2, "u8"))]
    with refused("ids of int64 and uint64 have no common type"):
        assemble(charts)


def test_embeddings_must_be_floating_point_matrices():
    with refused("the embeddings of chart 0 must be floating point"):
        assemble([([0, 1], np.eye(2, dtype=int))])
    with refused("the embeddings of chart 0 must be a matrix"):
        assemble([([0, 1], np.ones(2))])


# anchor_rows


def test_anchor_rows_follow_the_order_of_the_ids():
    charts = charts_of(3)
    charts = [
        (np.append(ids, [7, 5]), np.vstack([x, x[:1], x[:1]])) for ids, x in charts
    ]
    spaces = assemble(charts)
    rows = anchor_rows(spaces, [5, 7])
    assert spaces.ids[rows].tolist() == [5, 7]
    assert (
        rows.tolist() == anchor_rows(spaces, np.array([7, 5], np.uint8))[::-1].tolist()
    )


def test_anchors_that_a_chart_lacks_are_refused_by_id():
    spaces = assemble([(["a", "b", "c"], np.eye(3)), (["c", "d"], np.eye(3)[:2])])
    assert anchor_rows(spaces, ["c"]).tolist() == [2]
    with refused(r"2 anchors absent from a chart: \['d', 'a'\] \(by chart: \[2, 2\]"):
        anchor_rows(spaces, ["d", "c", "a"])
    with refused(r"2 anchors are in no chart: \['z', 'y'\]"):
        anchor_rows(spaces, ["z", "c", "y"])
    with refused(r"1 anchors named more than once: \['c'\]"):
        anchor_rows(spaces, ["c", "c"])
    with refused(r"samples and anchors must be the same, got \['text', 'integers'\]"):
        anchor_rows(spaces, [0])
    with refused("the ids of the anchors must be a vector, not empty"):
        anchor_rows(spaces, [])


def test_anchors_seen_by_some_charts_only_are_refused_where_it_is_known():
    chart = (["cat", "dog", "owl"], np.eye(3))
    spaces = assemble([chart, chart])
    seen = np.array([[True, True, False], [True, False, False]])
    assert anchor_rows(spaces, ["owl", "cat"], seen=seen).tolist() == [2, 0]
    with pytest.raises(
        ValueError, match=r"seen in training by some charts only: .*dog"
    ):
        anchor_rows(spaces, ["dog"], seen=seen)


@pytest.mark.parametrize("mask", [False, True, "rows"])
def test_masked_arrays_are_refused_not_filled(mask):
    x = np.ma.masked_greater(np.array([[1.0, 2.0], [3.0, 9.97e36]]), 1e30)
    x.mask = np.array([[False] * 2, [True] * 2]) if mask == "rows" else mask
    with refused("the embeddings of chart 1 is a masked array.*Leave the masked rows"):
        assemble([(["a"], np.ones((1, 2))), (["a", "b"], x)])
    ids = np.ma.array([1, 2], mask=[False, True])
    with refused("the ids of chart 0 is a masked array"):
        assemble([(ids, np.ones((2, 2)))])
    spaces = assemble([(np.array([1, 2]), np.ones((2, 2)))])
    with refused("the ids of the anchors is a masked array"):
        anchor_rows(spaces, ids)


def test_the_other_order_of_bytes_is_native_in_the_end():
    x = np.arange(6.0).reshape(3, 2)
    big = assemble([(np.array([5, 6, 7], ">i4"), x.astype(">f4"))] * 2)
    small = assemble([(np.array([5, 6, 7]), x.astype("<f4"))] * 2)
    assert big.ids.dtype.isnative
    assert big.embeddings.dtype.isnative
    np.testing.assert_array_equal(big.ids, small.ids)
    np.testing.assert_array_equal(big.embeddings, small.embeddings)
    text = assemble([(np.array(["a", "b"], ">U3"), x[:2].astype(">f4"))])
    assert text.ids.tolist() == ["a", "b"]
    assert anchor_rows(big, np.array([6], ">i8")).tolist() == [1]


def test_one_long_id_does_not_fill_the_memory():
    names = [f"id {n}" for n in range(4000)]
    names[7] = "x" * 50_000
    x = np.ones((4000, 2), np.float32)
    with refused("ids of chart 0 are too long: id 7, .*'xxxx.* has 50000 characters"):
        assemble([(names, x)])
    names[7] = "x" * 5_000  # 80 MB
    assert assemble([(names, x)]).ids[7] == names[7]


def test_one_long_id_of_another_chart_does_not_fill_the_memory():
    short = np.array([f"id {n}" for n in range(4000)])
    long = np.array([*short[:39], "x" * 50_000])
    x = np.ones((4000, 2), np.float32)
    message = "the id in row 39 of chart 1 has 50,000 characters .*xxx.*[28]00,.*bytes"
    for coded in (False, True):
        names = [np.strings.encode(ids) if coded else ids for ids in (short, long)]
        tracemalloc.start()
        with refused(message):
            assemble([(names[0], x), (names[1], x[:40])])
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["U", "S"])
def test_ids_that_charts_share_take_their_room_once(kind):
    draw = np.random.default_rng(0)
    sizes = 2 ** np.arange(13)
    names = [f"{n} " + "é" * int(draw.choice(sizes[:4])) for n in range(2000)]
    long = [*names[5:20], *(f"{n}"[0] * int(n) for n in sizes), "", "é"]
    charts = [draw.permutation(some) for some in (names, names, long)]
    if kind == "S":
        charts = [np.strings.encode(ids, "utf-8") for ids in charts]
    else:  # in one array they would be out of proportion
        lengths = [np.strings.str_len(ids) for ids in charts]
        assert not in_proportion(np.concatenate(lengths), 4)
    ids, places = union(charts)
    every = [name for some in charts for name in some.tolist()]
    wanted = list(dict.fromkeys(every))
    assert ids.tolist() == wanted
    index = {name: n for n, name in enumerate(wanted)}
    for some, place in zip(charts, places, strict=True):
        assert place.tolist() == [index[name] for name in some.tolist()]


def test_texts_of_any_widths_are_found():
    draw = np.random.default_rng(0)
    texts = ["", *("ab"[n % 2] * (n % 7) + str(n) for n in range(40)), "é", "é" * 9]
    for size in (1, 5, 20):
        for most in (1, 4, 40):
            ids = np.array(sorted(draw.permutation(texts)[:size], key=len))
            wanted = np.array([some[:most] for some in draw.permutation(texts)])
            among = {name: n for n, name in enumerate(ids.tolist())}
            expected = [among.get(name, -1) for name in wanted.tolist()]
            assert find(ids, wanted).tolist() == expected
