"""Clients that share an atlas: what is sent, what is refused, and what comes of it."""

import io
import itertools
import json
import math
import signal
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jatlas
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.federated import (
    client,
    coordinates,
    deal,
    heads,
    measure,
    messages,
    report,
    server,
)
from experiments.federated.experiment import EXPERIMENT
from experiments.federated.messages import Recipe
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports import files, processes, rounds
from experiments.measures import protocols
from experiments.runs import benches, children, compilation, options, provenance, runner

P, A, C, M = 40, 4, 3, 3
RECIPE = Recipe(
    round=5,
    ids=tuple(f"train/{i}" for i in range(P)),
    labels=tuple(i % C for i in range(P)),
    anchors=(3, 0, 9, 7),
    num_classes=C,
    num_clients=M,
    coordinates="plain",
)
WHITE = RECIPE._replace(coordinates="white-nystroem")
FEW = FederatedOptions(settings=("S4_N2",), probe_epochs=2, wait=1)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What is compiled here is used once, on tiny arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def relative(number):
    """(P, A), the coordinates of a client's chart, and (P,), of which it sends a row"""
    rng = np.random.default_rng(number)
    rows = np.tanh(rng.normal(size=(P, A))).astype(np.float32)
    return rows, rng.random(P) < 0.7


def message(number, recipe=RECIPE):
    return messages.contribution(number, recipe, *relative(number))


def received(*sent):
    """The server and its lines after (sender, content)."""
    state, lines = Server(RECIPE, {}), []
    for sender, content in sent:
        state, line = server.receive(state, sender, content)
        lines.append(line)
    return state, lines


def same(a, b):
    """Whether two pytrees are the same bit by bit."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in leaves)


# What is sent


def test_a_client_sends_sums_and_counts_of_public_samples_and_nothing_else():
    with np.load(io.BytesIO(message(2)), allow_pickle=False) as sent:
        arrays = dict(sent)
    rows, presence = relative(2)
    assert set(arrays) == {"client", "round", "recipe", "total", "count"}
    np.testing.assert_array_equal(arrays["total"], np.where(presence[:, None], rows, 0))
    np.testing.assert_array_equal(arrays["count"], presence)
    numbers = sum(x.nbytes for x in arrays.values())
    assert numbers == 4 * P * (A + 1) + 4 + 4 + 32
    assert numbers < len(message(2)) < numbers + 2000


def test_a_recipe_and_a_head_arrive_as_they_were_sent():
    assert messages.unpack_recipe(messages.pack_recipe(RECIPE)) == RECIPE
    state, _ = received((1, message(1)), (3, message(3)))
    head = server.head(FEW, state, 4)
    found = messages.unpack_head(messages.pack_head(head))
    assert (found.version, found.clients, found.scale) == (4, (1, 3), None)
    assert same(found[2:], head[2:])
    turned = head._replace(scale=np.eye(A, dtype=FLOAT32))
    assert same(messages.unpack_head(messages.pack_head(turned)), turned)
    with pytest.raises(messages.Refused, match="it is no head: 'hidden_kernel'"):
        messages.unpack_head(message(1))


# The atlas


def test_the_atlas_is_the_mean_over_the_clients_that_sent_a_row():
    state, lines = received(*((number, message(number)) for number in (1, 2, 3)))
    rows, presence = map(np.stack, zip(*map(relative, (1, 2, 3)), strict=True))
    weights = presence[..., None].astype(np.float64)
    count = weights.sum(axis=0)
    with np.errstate(invalid="ignore"):
        expected = (rows * weights).sum(axis=0) / count
    merged = jatlas.running.atlas.value(server.merged(state))
    np.testing.assert_allclose(merged, expected, rtol=1e-6, atol=1e-7)
    assert lines[0] == f"client 1 joined, with {len(message(1))} bytes"
    head = server.head(FEW, state, 0)
    common = presence.all(axis=0)
    np.testing.assert_array_equal(head.common, common)
    np.testing.assert_allclose(head.centre, expected[common].mean(axis=0), rtol=1e-5)


def test_the_atlas_and_its_head_are_the_same_in_whatever_order_messages_come():
    every = [received(*((k, message(k)) for k in order))[0] for order in ORDERS]
    assert all(same(server.merged(one), server.merged(every[0])) for one in every)
    first, last = (server.head(FEW, one, 0) for one in (every[0], every[-1]))
    assert same(first, last)


ORDERS = list(itertools.permutations((1, 2, 3)))


def changed(**arrays):
    """Client 2's message with other arrays; without those that are None."""

    def make():
        with np.load(io.BytesIO(message(2))) as sent:
            found = dict(sent) | arrays
        stream = io.BytesIO()
        np.savez(stream, **{k: v for k, v in found.items() if v is not None})
        return stream.getvalue()

    return make


def spoilt(place, value):
    """Client 2's sums with this at one place."""

    def make():
        total = np.where(relative(2)[1][:, None], relative(2)[0], 0)
        total[place] = value
        return changed(total=total)()

    return make


SENT = int(np.flatnonzero(relative(2)[1])[0])  # a row that client 2 sends
ABSENT = int(np.flatnonzero(~relative(2)[1])[0])
FLOAT32 = np.float32
BAD = {
    "NaN": (spoilt((SENT, 1), np.nan), f"NaN .* in 1 of 40 .* of train/{SENT}$"),
    "infinity": (spoilt(SENT, -np.inf), "NaN or infinity in 1 of 40 rows"),
    "NaN count": (changed(count=np.full(P, np.nan, FLOAT32)), "count .* in 40 of 40"),
    "half a count": (changed(count=np.full(P, 0.5, FLOAT32)), "count .* in 40 of 40"),
    "negative count": (changed(count=np.full(P, -1, FLOAT32)), "a count that is not 0"),
    "two charts": (changed(count=np.full(P, 2, FLOAT32)), "count .* in 40 of 40"),
    "a thousand times itself": (
        changed(
            total=1000 * np.where(relative(2)[1][:, None], relative(2)[0], 0),
            count=1000 * relative(2)[1].astype(FLOAT32),
        ),
        rf"a count that is not 0 or 1 .* of train/{SENT}$",
    ),
    "a sum without a count": (
        spoilt((ABSENT, 0), 1e-4),
        f"no sum of cosines in 1 of 40 .* of train/{ABSENT}$",
    ),
    "too large": (spoilt((SENT, 0), 1.5), f"no sum of cosines .* of train/{SENT}$"),
    "no rows": (
        changed(total=np.zeros((P, A), FLOAT32), count=np.zeros(P, FLOAT32)),
        "a row of no public sample",
    ),
    "fewer anchors": (
        changed(total=np.zeros((P, 3), FLOAT32)),
        "it has 3 anchors, expected 4",
    ),
    "more anchors": (changed(total=np.zeros((P, 9), FLOAT32)), "9 anchors, expected 4"),
    "other anchors": (
        lambda: message(2, RECIPE._replace(anchors=(0, 3, 9, 7))),
        "other public samples, other anchors or",
    ),
    "other rows": (
        changed(total=np.zeros((P + 1, A), FLOAT32)),
        r"total is float32\(41, 4\), expected float32\(40, 4\)",
    ),
    "other counts": (changed(count=np.ones((P, 1), FLOAT32)), r"count is .*\(40, 1\)"),
    "wide": (changed(total=np.zeros((P, A))), r"total is float64\(40, 4\)"),
    "another client": (lambda: message(3), "it is of client 3, expected 2"),
    "no client": (changed(client=np.int32([2, 2])), r"it is of client \[2 2\]"),
    "many clients": (changed(client=np.eye(9)), "it is of client"),
    "another round": (
        lambda: message(2, RECIPE._replace(round=6)),
        "it is of round 6, expected 5",
    ),
    "weights": (changed(kernel=np.zeros(3)), "it holds .*'kernel'.* expected"),
    "no counts": (changed(count=None), r"it holds \['client', 'recipe', 'round',"),
    "a pickle": (changed(total=np.array([{}], object)), "cannot be read .*pickle"),
    "cut off": (lambda: message(2)[:-100], "it cannot be read"),
    "empty": (lambda: b"", "it cannot be read"),
    "noise": (lambda: bytes(range(256)), "it cannot be read"),
    "a bomb": (changed(total=np.zeros((P, 5000))), "bytes, expected 1600 at most"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_is_refused_and_changes_nobodys_atlas(what):
    make, reason = BAD[what]
    good = [(1, message(1)), (3, message(3))]
    alone, _ = received(*good)
    state, lines = received(good[0], (2, make()), good[1])
    assert lines[1].startswith("client 2 refused: ")
    assert "\n" not in lines[1]
    with pytest.raises(messages.Refused, match=reason):
        messages.read_contribution(make(), 2, RECIPE)
    assert same(server.merged(state), server.merged(alone))
    # Its client may send again, and is then in as if nothing had been.
    state, line = server.receive(state, 2, message(2))
    assert "client 2 joined" in line
    every, _ = received(*((number, message(number)) for number in (1, 2, 3)))
    assert same(server.merged(state), server.merged(every))


def test_a_client_that_is_none_is_refused():
    recipe = RECIPE._replace(num_clients=5)
    assert received((4, message(4, recipe)))[1] == [
        "client 4 refused: the clients are 1 to 3"
    ]


def test_a_message_that_comes_twice_is_counted_once():
    once, _ = received((1, message(1)), (2, message(2)))
    twice, lines = received((1, message(1)), (2, message(2)), (1, message(1)))
    assert lines[2] == "client 1 sent the same again: counted once"
    assert same(server.merged(once), server.merged(twice))
    other = messages.contribution(1, RECIPE, -relative(1)[0], relative(1)[1])
    twice, lines = received((1, message(1)), (2, message(2)), (1, other))
    assert lines[2] == "client 1 sent other numbers again: its first ones stay"
    assert same(server.merged(once), server.merged(twice))


# Heads


def test_the_shift_is_the_papers():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(P, A)).astype(FLOAT32) for _ in range(M)]
    public = rng.permutation(P)
    state = Server(
        RECIPE,
        {
            number: jatlas.running.atlas.add(
                jatlas.running.atlas.empty(P, A), own[public], np.ones(P, bool)
            )
            for number, own in enumerate(rows, start=1)
        },
    )
    head = server.head(FEW, state, 0)
    everywhere = np.ones(P, bool)
    expected = protocols.shifts(rows, np.mean(rows, axis=0), everywhere)
    for own, moved in zip(rows, expected, strict=True):
        one = SimpleNamespace(relative=own, public=public)
        np.testing.assert_allclose(client.shift(one, head), moved, atol=1e-6)


def test_accuracies_are_of_the_test_split_and_of_its_classes_seen_and_not():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, A)).astype(FLOAT32), np.arange(60) % C
    test, classes = rng.random(60) < 0.5, np.array([True, False, True])
    every = np.ones(60, bool)
    probe = heads.learn(FEW, 0, rows, labels, C, every, np.zeros(60, bool))
    guess = np.asarray(jatlas.probe_logits(probe, rows)).argmax(axis=1)
    found = heads.scores(probe, rows, labels, test, classes)
    groups = {"all": every, "seen": labels != 1, "unseen": labels == 1}
    for group, chosen in groups.items():
        right = (guess == labels)[chosen & test]
        assert found[group] == pytest.approx(right.sum() / len(right))
    of_all = heads.scores(probe, rows, labels, test, np.ones(C, bool))
    assert math.isnan(of_all["unseen"])
    rows[np.flatnonzero(test)[0]] = np.nan
    assert math.isnan(heads.scores(probe, rows, labels, test, classes)["all"])


def test_a_head_learns_from_rows_that_are_known():
    rows = np.eye(C + 1, dtype=FLOAT32)[np.array(RECIPE.labels)]
    known = np.arange(P) % 5 > 0
    kept = heads.learn_public(FEW, RECIPE, rows, known)
    rows[~known] = np.nan
    assert same(heads.learn_public(FEW, RECIPE, rows, known), kept)
    assert np.isfinite(kept.kernel).all()


# Coordinates


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def root(kernel, ridge=1e-3):
    """The inverse square root, in float64."""
    kernel = np.float64(kernel + kernel.T) / 2
    values, vectors = np.linalg.eigh(kernel)
    values = values + ridge * np.trace(kernel) / len(kernel)
    return (vectors / np.sqrt(values)) @ vectors.T


def test_relative_coordinates_are_of_a_chart_whitened_by_its_own_samples():
    rng = np.random.default_rng(0)
    rows = np.float32(rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)) + 3)
    own, anchors = rng.random(60) < 0.5, np.array([3, 50, 7, 21])
    found = coordinates.relative(RECIPE, rows, own, anchors)
    np.testing.assert_allclose(found, unit(rows) @ unit(rows)[anchors].T, atol=1e-5)
    centre = rows[own].mean(axis=0, dtype=np.float64)
    covariance = np.cov(rows[own].T.astype(np.float64), bias=True)
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / 6 * np.eye(6)
    white = unit((rows - centre) @ root(shrunk, ridge=0))
    found = coordinates.relative(WHITE, rows, own, anchors)
    np.testing.assert_allclose(found, white @ white[anchors].T, atol=1e-4)


def test_the_head_sees_orthonormal_coordinates_of_the_merged_kernel():
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(P, 6)))
    anchors = list(RECIPE.anchors)
    rows = np.float32(vectors @ vectors[anchors].T)
    known = np.ones(P, bool)
    assert coordinates.scale(RECIPE, rows, known) is None
    assert coordinates.through(None, rows) is rows
    found = coordinates.scale(WHITE, rows, known)
    np.testing.assert_allclose(found, root(rows[anchors]), rtol=1e-3, atol=1e-3)
    # An anchor without a row is as if it were none.
    known[anchors[1]] = False
    rows[anchors[1]] = np.nan
    found, left = coordinates.scale(WHITE, rows, known), [0, 2, 3]
    assert not found[1].any()
    assert not found[:, 1].any()
    np.testing.assert_allclose(
        found[np.ix_(left, left)],
        root(rows[anchors][np.ix_(left, left)], ridge=0.75e-3),
        rtol=1e-3,
        atol=1e-3,
    )
    assert not coordinates.scale(WHITE, rows, np.zeros(P, bool)).any()


def test_a_client_looks_through_the_matrix_that_the_head_was_trained_through():
    state = Server(WHITE, {})
    for number in (1, 2, 3):
        state, line = server.receive(state, number, message(number, WHITE))
        assert "joined" in line
    head = server.head(FEW, state, 0)
    assert head.scale.shape == (A, A)
    rows = np.asarray(jatlas.running.atlas.value(server.merged(state)))
    known = np.isfinite(rows).all(axis=1)
    wanted = heads.learn_public(FEW, WHITE, rows @ head.scale, known)
    assert same(head.probe, wanted)
    own, labels = relative(1)[0], np.array(RECIPE.labels)
    every = np.ones(P, bool)
    one = client.Client(
        1,
        SimpleNamespace(labels=labels),
        SimpleNamespace(test=every, classes=np.ones((1, C), bool)),
        own,
        own,
        np.arange(P),
    )
    logits = jatlas.probe_logits(head.probe, own @ head.scale)
    right = np.asarray(logits).argmax(axis=1) == labels
    found = client.with_head(one, head)
    assert found["atlas"]["all"] == pytest.approx(right.mean())
    moved = (own + client.shift(one, head)) @ head.scale
    right = np.asarray(jatlas.probe_logits(head.probe, moved)).argmax(axis=1) == labels
    assert found["atlas_shift"]["all"] == pytest.approx(right.mean())


def test_who_sends_other_coordinates_than_are_asked_for_is_refused():
    assert received((1, message(1, WHITE)))[1] == [
        "client 1 refused: it was made with other public samples, other anchors or "
        "other coordinates"
    ]


# Who has what


@pytest.mark.parametrize("setting", ["S4_N2", "T2"])
def test_no_client_trains_on_a_public_sample_nor_has_anothers(tiny, setting):
    told = FederatedOptions(settings=(setting,), num_public=50, num_anchors=8)
    tasks, recipe = deal.deal(told, tiny, 1)
    public = np.isin(tiny.ids, recipe.ids)
    assert public.sum() == 50
    assert not tiny.test[public].any()
    np.testing.assert_array_equal(np.bincount(recipe.labels), np.full(10, 5))
    np.testing.assert_array_equal(tiny.labels[public], recipe.labels)
    for part in (tasks.presence, tasks.seen, tasks.validation):
        assert not part[:, public].any()
        assert part.any(axis=1).all()
    assert len(set(recipe.anchors)) == 8
    assert max(recipe.anchors) < 50
    other = deal.deal(told, tiny, 2).recipe
    assert set(other.ids) != set(recipe.ids)
    for number, classes in enumerate(tasks.classes, start=1):
        own, mine = deal.client_part(tiny, tasks, number)
        private = ~np.isin(own.ids, recipe.ids) & ~own.test
        assert classes[own.labels[private]].all()
        assert not classes.all()
        assert mine.seen[0].sum() == tasks.seen[number - 1].sum()
        assert not (mine.seen[0] & ~private).any()
        assert set(own.labels[own.test]) == set(range(10))


def test_what_cannot_be_dealt_is_refused(tiny):
    with pytest.raises(ValueError, match="--num-public 401: cannot choose 401"):
        deal.deal(replace(FEW, num_public=401, num_anchors=8), tiny, 0)
    with pytest.raises(ValueError, match="--num-public 400 leaves client 1 without a"):
        deal.deal(replace(FEW, num_public=400, num_anchors=8), tiny, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_public": 0}, "--num-public must be 1 or more, got 0"),
        ({"wait": 0}, "--wait must be 1 or more, got 0"),
        ({"num_anchors": 500}, "--num-anchors 500 is more than --num-public 400"),
        ({"settings": ("P80_20",)}, "--settings P80_20 gives every client every class"),
        ({"settings": ("X",)}, "unknown setting 'X'"),
        ({"seeds": ()}, "--seeds takes one or more"),
        ({"settings": ("T2", "T5")}, "--settings takes one"),
        ({"charts": ("cnn", "rnn")}, "--charts has the unknown"),
    ],
)
def test_options_of_which_no_run_can_be_made_end_in_a_line(
    changes, reason, tmp_path, capsys
):
    told = FederatedOptions(settings=("T2",), out=tmp_path / "out")
    with pytest.raises(SystemExit) as refused:
        runner.main(EXPERIMENT, replace(told, **changes))
    assert refused.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {reason}")
    assert not (tmp_path / "out").exists()


def test_a_process_is_told_the_options_as_they_are():
    told = FederatedOptions(
        seeds=(3,), out=Path("here"), data_dir=Path("there"), charts=("a", "b")
    )
    said = json.loads(json.dumps(options.to_json(told)))
    assert options.from_json(FederatedOptions, said) == told
    assert [told.kind(number) for number in (1, 2, 3)] == ["a", "b", "a"]
    member = processes.Member(coordinator="h:1", num_processes=4, process_id=2)
    whole = processes.Assignment(told, member, 3, rounds.Places(*map(Path, "abcd")))
    assert processes.from_json(processes.to_json(whole)) == whole


# Files


@pytest.fixture
def place(tmp_path):
    return rounds.places(tmp_path, RECIPE.round)


def served(place, polls, act=lambda: None, told=FEW):
    """A round, `act` being called whenever the server says how far it is."""
    return files.serve(told, RECIPE, place, polls, lambda what, share: act())


def until_closed(place):
    """A client's process that ends when the server does."""
    return lambda: 0 if (place.outbox / "closed.json").exists() else None


def head_of(*numbers, version=0):
    state, _ = received(*((number, message(number)) for number in numbers))
    return server.head(FEW, state, version)


def test_a_client_that_drops_out_is_named_and_the_others_have_their_head(place):
    for number in (1, 3):
        files.post(place, number, message(number))
        rounds.write_report(place, number, 0, {"atlas": {"all": 0.5}})
    found = served(place, {1: lambda: 0, 2: lambda: -9, 3: lambda: 0})
    assert found.accepted == [1, 3]
    assert "client 2 dropped out: it ended, and sent nothing" in found.lines
    assert same(files.newest(place), head_of(1, 3))
    assert found.reports == {number: {"atlas": {"all": 0.5}} for number in (1, 3)}
    assert found.sent == {number: len(message(number)) for number in (1, 3)}


def test_a_client_that_is_late_joins_in_the_next_head(place):
    for number in (1, 2):
        files.post(place, number, message(number))

    def third():
        if (place.outbox / "head_0.npz").exists() and not list(
            place.inbox.glob("client_3*")
        ):
            files.post(place, 3, message(3))

    found = served(place, dict.fromkeys((1, 2, 3), until_closed(place)), third)
    first = messages.unpack_head((place.outbox / "head_0.npz").read_bytes())
    assert same(first, head_of(1, 2))
    assert same(files.newest(place), head_of(1, 2, 3, version=1))
    assert found.accepted == [1, 2, 3]
    heads_sent = [line for line in found.lines if line.startswith("head")]
    assert [line.split(",")[0] for line in heads_sent] == ["head 0 sent", "head 1 sent"]
    assert files.closed(place, 1)
    assert not files.closed(place, 0)


def test_a_client_that_never_sends_is_given_up(place):
    files.post(place, 1, message(1))
    polls = {1: until_closed(place), 2: until_closed(place)}
    found = served(place, polls, told=replace(FEW, wait=0))
    assert found.accepted == [1]
    assert "client 2 dropped out: too late" in found.lines


def test_a_server_that_is_started_again_goes_on_with_what_was_sent(place):
    files.post(place, 1, message(1))
    files.post(place, 2, BAD["NaN"][0]())
    files.post(place, 3, message(3))
    (place.inbox / ".client_2_2.npz.x.part").write_bytes(b"half of it")
    (place.inbox / "notes.npz").write_bytes(b"")
    over = dict.fromkeys((1, 2, 3), lambda: 0)
    found = served(place, over)
    assert found.accepted == [1, 3]
    assert "notes.npz refused: files of clients are named client_1_1.npz" in found.lines
    files.clear(place)
    assert files.newest(place) is None
    # What was refused is no answer: client 2 is waited for.
    state = files.opened(RECIPE, place)
    assert state.answered == {1, 3}
    for number in (1, 2, 3):
        files.post(place, number, message(number))
    found = served(place, over)
    assert found.accepted == [1, 2, 3]
    assert "client 1 sent the same again: counted once" in found.lines
    assert same(files.newest(place), head_of(1, 2, 3))
    assert "client 2 is in the atlas, but ended before it had measured" in found.lines


def test_a_message_is_not_read_if_its_size_says_that_it_is_none(place):
    files.post(place, 1, message(1))
    with (place.inbox / "client_2_1.npz").open("wb") as stream:
        stream.truncate(2**40)  # none of which is on the disk
    found = served(place, {1: lambda: 0, 2: lambda: 0})
    assert found.accepted == [1]
    assert found.sent[2] == 2**40
    most = 8 * P * (A + 1) + 2**15
    line = f"client 2 refused: it is of {2**40} bytes, not read"
    line += f"; expected {most} at most"
    assert line in found.lines


def test_a_head_that_is_known_is_not_read_again(place):
    (place.outbox / "head_9.npz").write_bytes(messages.pack_head(head_of(1)))
    (place.outbox / "head_10.npz").write_bytes(b"not read")
    assert files.newest(place, 10) is None
    with pytest.raises(messages.Refused):
        files.newest(place, 9)


def test_a_round_without_any_rows_says_why(place):
    files.post(place, 1, BAD["fewer anchors"][0]())
    reason = "client 1 refused: .*; client 2 dropped out"
    with pytest.raises(files.Lost, match=reason):
        served(place, {1: lambda: 0, 2: lambda: 1})
    assert files.newest(place) is None


# jax.distributed


def test_the_server_among_processes_merges_what_it_gathers(place, monkeypatch):
    said, sent = processes.Assignment(FEW, processes.Member(), 5, place), []
    parts = [b"", message(1), BAD["NaN"][0](), message(3)]
    monkeypatch.setattr(processes, "gather", lambda content, most: parts)
    monkeypatch.setattr(processes, "broadcast", lambda x: sent.append(x) or x)
    processes._serve(said, RECIPE)
    assert messages.unpack_recipe(sent[0]) == RECIPE
    assert same(messages.unpack_head(sent[1]), head_of(1, 3))
    found = storage.read_json(place.reports / "server.json")
    assert found["accepted"] == [1, 3]
    assert found["lines"][1].startswith("client 2 refused: NaN or infinity in 1")
    assert found["received"] == {"recipe": len(sent[0]), "head": len(sent[1])}
    parts[1:] = [BAD["NaN"][0](), b""]
    processes._serve(said, RECIPE)
    assert sent[-1] == b""
    assert "accepted" not in storage.read_json(place.reports / "server.json")


def test_a_process_that_is_alone_gathers_and_hears_itself():
    assert processes.gather(b"some\x00\xff") == [b"some\x00\xff"]
    assert processes.broadcast(b"some\x00\xff") == b"some\x00\xff"


# A whole run


class Threads:
    """Clients at work in threads of this process instead of in processes."""

    def __init__(self):
        self.lost = set()

    def start(self, told, place, number):
        found = {
            "options": options.to_json(told),
            "client": number,
            "places": list(map(str, place)),
        }
        act = bool if number in self.lost else lambda: files._work(found)
        thread = threading.Thread(target=act)
        thread.start()
        process = SimpleNamespace(
            poll=lambda: None if thread.is_alive() else 0,
            kill=lambda: None,
            wait=thread.join,
        )
        return children.Child(None, process, thread, deque())


@pytest.fixture
def small(tiny, chart, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(benches, "load", lambda name, **where: tiny)
    for module in (runner, compilation):
        monkeypatch.setattr(module, "keep_compiled", lambda: None)
    monkeypatch.setattr(provenance, "code", lambda *a: {"a.module": "0" * 16})
    whole = np.random.default_rng(3).normal(size=(600, 10)).astype(FLOAT32)
    monkeypatch.setattr(benches, "reference", lambda bench, seed, report: whole)
    threads = Threads()
    monkeypatch.setattr(files, "start", threads.start)
    return threads, FederatedOptions(
        dataset="tiny",
        settings=("T2",),
        seeds=(0,),
        num_public=50,
        num_anchors=10,
        max_epochs=1,
        probe_epochs=2,
        coordinates="white-nystroem",
        out=tmp_path / "out",
    )


@pytest.mark.slow
def test_a_run_lets_a_lost_client_join_by_the_same_command(small, capsys, monkeypatch):
    threads, told = small
    threads.lost = {2}
    runner.main(EXPERIMENT, told)
    said = capsys.readouterr().out
    assert "C T2, seed 0: client 2 dropped out" in said
    assert "not complete: C T2, seed 0; the same command goes on" in said
    found = storage.read_json(told.out / "results.json")
    assert found["units"][0]["accepted"] == [1]
    assert {r["client"] for r in found["rows"] if r["method"] == "atlas"} == {1}

    fitted = benches.training.fit_charts
    again = []
    monkeypatch.setattr(
        benches.training,
        "fit_charts",
        lambda *args, **rest: again.append(1) or fitted(*args, **rest),
    )
    threads.lost = set()
    runner.main(EXPERIMENT, told)
    assert len(again) == 1  # client 2's chart, and nothing twice
    found = storage.read_json(told.out / "results.json")
    (last,) = found["units"]
    assert last["accepted"] == [1, 2]
    assert last["complete"]
    rows = {(r["client"], r["method"], r["group"]): r["value"] for r in found["rows"]}
    assert len(rows) == 2 * len(report.HEADS) * len(report.GROUPS)
    assert all(0 <= value <= 1 for value in rows.values())
    for number in (1, 2):  # half of the test split is of classes that it has seen
        parts = [rows[number, "atlas", group] for group in ("seen", "unseen")]
        assert rows[number, "atlas", "all"] == pytest.approx(np.mean(parts))
    text = (told.out / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert f"| client 1 | {last['sent']['1']:,} |" in text

    def refuse(*args, **rest):
        raise AssertionError("made again")

    monkeypatch.setattr(files, "run", refuse)
    monkeypatch.setitem(measure.TRANSPORTS, "files", refuse)
    runner.main(EXPERIMENT, told)
    assert storage.read_json(told.out / "results.json")["rows"] == found["rows"]


def test_weights_are_counted_in_bytes(small, tiny):
    convolutions = (25 * 1 * 16 + 16) + (25 * 16 * 32 + 32)
    linear = (2 * 2 * 32 * 10 + 10) + (10 * 10 + 10)
    assert measure.weights("cnn", tiny) == 4 * (convolutions + linear)


def test_to_count_weights_no_image_is_looked_at(tiny, monkeypatch):
    """Of a frozen encoder's projector either, whose features take minutes."""
    monkeypatch.setattr(
        chart_kinds, "prepare", lambda *args, **more: pytest.fail("looked")
    )
    kind = "efficientnet-lite0"
    chart = chart_kinds.KINDS[kind].make((1280,), 10)
    state = jax.eval_shape(chart.init, jax.random.key(0))
    expected = sum(4 * leaf.size for leaf in jax.tree.leaves(state))
    assert measure.weights(kind, tiny) == expected > 4 * 1280


def test_a_table_is_of_means_over_clients_and_deviations_over_seeds():
    values = {(0, 1): 0.2, (0, 2): 0.4, (1, 1): 0.4, (1, 2): 0.6}
    rows = [
        {"seed": s, "client": k, "method": "atlas", "group": "unseen", "value": v}
        for (s, k), v in values.items()
    ]
    one = {"lines": ["a line"], "received": {"recipe": 1, "head": 2}}
    one |= {"sent": {"1": 1500}, "weights": {"1": 3000, "2": 3000}}
    told = {"dataset": "tiny", "settings": ["T2"], "transport": "files"}
    told["coordinates"] = "plain"
    text = report.table(
        {
            "settings": {"options": told, "notes": ["a note"]},
            "units": [{"seed": s, **one} for s in (0, 1)],
            "rows": rows,
        }
    )
    cell = f"0.400 ± {math.sqrt(0.02):.3f}"
    assert "T2, over files, plain coordinates" in text
    assert f"| {report.HEADS['atlas']} | {cell} | n/a | n/a |" in text
    assert "| client 1 | 1,500 | 3 | 3,000 | 0.50 |" in text
    assert "| client 2 | nothing | 3 | 3,000 | n/a |" in text
    assert "- seed 1:\n    - a line" in text


# Real processes

DIGITS = FederatedOptions(
    dataset="digits",
    settings=("T2",),
    seeds=(0,),
    num_public=100,
    num_anchors=16,
    max_epochs=1,
    probe_epochs=3,
)


@pytest.mark.slow
def test_real_processes_give_the_same_by_files_and_over_jax_distributed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (runner, compilation):
        monkeypatch.setattr(module, "keep_compiled", lambda: None)
    real = files.start

    def killed(told, place, number):
        child = real(told, place, number)
        if number == 1:
            child.process.send_signal(signal.SIGKILL)
        return child

    by_files = replace(DIGITS, out=tmp_path / "files")
    monkeypatch.setattr(files, "start", killed)
    runner.main(EXPERIMENT, by_files)
    first = storage.read_json(by_files.out / "results.json")
    assert first["units"][0]["accepted"] == [2]
    monkeypatch.setattr(files, "start", real)
    runner.main(EXPERIMENT, by_files)
    over = replace(DIGITS, transport="processes", out=tmp_path / "processes")
    runner.main(EXPERIMENT, over)
    found = [storage.read_json(o.out / "results.json") for o in (by_files, over)]
    assert found[0]["rows"] == found[1]["rows"]
    assert found[0]["units"][0]["sent"] == found[1]["units"][0]["sent"]
    assert found[1]["units"][0]["complete"]


@pytest.mark.slow
def test_a_process_of_jax_distributed_that_is_lost_is_named(
    tmp_path, monkeypatch, capsys
):
    told = replace(DIGITS, transport="processes", out=tmp_path / "out")
    for module in (runner, compilation):
        monkeypatch.setattr(module, "keep_compiled", lambda: None)
    real = processes.start

    def killed(one):
        child = real(one)
        if one.member.process_id == 2:
            child.process.send_signal(signal.SIGKILL)
        return child

    monkeypatch.setattr(processes, "start", killed)
    with pytest.raises(SystemExit) as stopped:
        runner.main(EXPERIMENT, told)
    assert stopped.value.code == 2
    assert "process 2 of 3 was ended by SIGKILL" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


def test_what_happened_is_told_by_client_whoever_came_first():
    first = ["client 2 joined", "a.npz refused: files", "client 1 joined"]
    again = ["client 3 joined", "client 1 sent the same again: counted once"]
    told = files.by_client([*first, "head 0 sent", *again, "head 1 sent"])
    wanted = [first[1], first[2], first[0], "head 0 sent", again[1], again[0]]
    assert told == [*wanted, "head 1 sent"]
    swapped = [*first[::-1], "head 0 sent", *again[::-1], "head 1 sent"]
    assert files.by_client(swapped) == told
