"""Consensus coordinates of clients: maps, bytes, orders of joining, refusals."""

import io
import itertools
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments.federated import client, consensus, coordinates, messages, server
from experiments.federated import options as federated_options
from experiments.federated.messages import Recipe
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports import files, processes, rounds

P, A, C, M = 40, 4, 3, 3
PLAIN = Recipe(
    round=5,
    ids=tuple(f"train/{i}" for i in range(P)),
    labels=tuple(i % C for i in range(P)),
    anchors=(3, 0, 9, 7),
    num_classes=C,
    num_clients=M,
    coordinates="plain",
)
RECIPE = PLAIN._replace(coordinates="consensus")
FEW = FederatedOptions(settings=("S4_N2",), probe_epochs=2, wait=1)
CLIENTS = (1, 2, 3)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What is compiled here is used once, on tiny arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def relative(number):
    """(P, A), a client's coordinates, and (P,), of which samples it sends a row."""
    hidden = np.random.default_rng(0).normal(size=(P, A))
    rng = np.random.default_rng(number)
    noise = 0.3 * rng.normal(size=(P, A))
    rows = np.tanh(hidden @ rng.normal(size=(A, A)) + noise).astype(np.float32)
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


def every(order=CLIENTS):
    return received(*((number, message(number)) for number in order))[0]


def same(a, b):
    """Whether two pytrees are the same bit by bit."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in leaves)


def whole():
    """The rows (M, P, A), presence (M, P), and `fit_consensus` of these."""
    rows, presence = map(np.stack, zip(*map(relative, CLIENTS), strict=True))
    return rows, presence, jatlas.fit_consensus(rows, presence)


def test_the_servers_maps_are_those_of_fit_consensus_on_the_same_rows():
    rows, presence, fitted = whole()
    state = every()
    maps = server.client_maps(state, 4)
    assert set(maps) == set(CLIENTS)
    for chart, number in enumerate(CLIENTS):
        found = maps[number]
        assert (found.version, found.client) == (4, number)
        assert found.weights.shape == (A, A)
        # Also of rows that the server did not see.
        expected = jatlas.apply_consensus(fitted, chart, jnp.asarray(rows[chart]))
        got = consensus.through(found, rows[chart])
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert got.dtype == np.float32
    expected = jatlas.merge_consensus(fitted, rows, presence)
    np.testing.assert_allclose(server.public_rows(state), expected, atol=1e-5)


def test_the_head_learns_from_the_merged_coordinates_of_what_was_sent():
    head = server.head(FEW, every(), 0)
    rows, presence, fitted = whole()
    merged = np.asarray(jatlas.merge_consensus(fitted, rows, presence))
    assert head.scale is None
    np.testing.assert_array_equal(head.common, presence.all(axis=0))
    expected = merged[head.common].mean(axis=0)
    np.testing.assert_allclose(head.centre, expected, atol=1e-5)
    assert np.isfinite(head.probe.kernel).all()


def test_in_whatever_order_messages_come_maps_and_head_are_the_same():
    states = [every(order) for order in itertools.permutations(CLIENTS)]
    maps = [server.client_maps(state, 0) for state in states]
    assert all(same(one, maps[0]) for one in maps)
    heads = [server.head(FEW, states[place], 0) for place in (0, -1)]
    assert same(*heads)


def test_a_client_sends_no_byte_more_than_in_plain_coordinates():
    opened = []
    for recipe in (PLAIN, RECIPE):
        with np.load(io.BytesIO(message(2, recipe))) as sent:
            opened.append(dict(sent))
    digests = [arrays.pop("recipe") for arrays in opened]
    assert not np.array_equal(*digests)
    assert opened[0].keys() == opened[1].keys()
    assert same(*opened)
    assert len(message(2)) == len(message(2, PLAIN))


def test_a_map_arrives_as_it_was_sent_and_has_so_many_bytes():
    sent = server.client_maps(every(), 7)[2]
    content = consensus.pack(sent)
    found = consensus.unpack(content)
    assert (found.version, found.client) == (7, 2)
    assert same(found, sent)
    numbers = 4 * (A * A + A + 1) + 2 * 4  # weights, mean, scale; version and client
    assert numbers < len(content) < numbers + 2000
    for other in (b"", b"noise", message(2)):
        with pytest.raises(messages.Refused):
            consensus.unpack(other)
    with pytest.raises(messages.Refused, match="it is no map: 'version'"):
        consensus.unpack(message(2))


def test_other_coordinates_have_no_maps():
    state, line = server.receive(Server(PLAIN, {}), 1, message(1, PLAIN))
    assert "joined" in line
    assert server.client_maps(state, 0) == {}
    _, line = server.receive(state, 2, message(2))
    assert "refused" in line


def apart(number, kept, rows=None):
    """A message of the samples `kept` alone."""
    given = relative(number)[0] if rows is None else rows
    return messages.contribution(number, RECIPE, given, np.isin(np.arange(P), kept))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda gone: apart(2, gone), "fewer than 2 of its public samples are also"),
        (lambda gone: apart(2, [*gone, int(HELD[0])]), "fewer than 2 of its public"),
        (
            lambda gone: apart(2, range(P), np.full((P, A), 0.5, np.float32)),
            "of the public samples that others sent are all alike",
        ),
    ],
)
def test_who_cannot_be_joined_is_refused_and_changes_nothing(content, reason):
    gone = np.flatnonzero(~relative(1)[1])  # client 1 has no row of these
    first, _ = received((1, message(1)))
    state, line = server.receive(first, 2, content(gone))
    assert line.startswith("client 2 refused: ")
    assert reason in line
    assert same(server.client_maps(state, 0), server.client_maps(first, 0))
    state, line = server.receive(state, 2, message(2))
    assert "joined" in line
    assert same(server.client_maps(state, 0), server.client_maps(every((1, 2)), 0))


HELD = np.flatnonzero(relative(1)[1])


def a_client(number):
    rows, _ = relative(number)
    labels, all_of = np.array(RECIPE.labels), np.ones(P, bool)
    return client.Client(
        number,
        SimpleNamespace(labels=labels),
        SimpleNamespace(test=all_of, classes=np.ones((1, C), bool)),
        rows,
        rows,
        np.arange(P),
    )


def test_a_client_puts_the_head_on_its_rows_through_its_own_map():
    state, one = every(), a_client(2)
    head, maps = server.head(FEW, state, 0), server.client_maps(state, 0)
    rows = consensus.through(maps[2], one.relative)
    guess = np.asarray(jatlas.probe_logits(head.probe, rows)).argmax(axis=1)
    found = client.with_answer(RECIPE, one, head, maps[2])
    right = (guess == one.dataset.labels).mean()
    assert found["atlas"]["all"] == pytest.approx(right)
    # Whoever was sent no map has nothing to put the head on.
    assert client.with_answer(RECIPE, one, head, None) == {}
    plain = client.with_answer(PLAIN, one, head, None)
    assert plain["atlas"]["all"] == client.with_head(one, head)["atlas"]["all"]


def test_where_all_send_all_the_shift_is_nothing():
    state = Server(RECIPE, {})
    for number in CLIENTS:
        content = apart(number, range(P))
        state, _ = server.receive(state, number, content)
    head, maps = server.head(FEW, state, 0), server.client_maps(state, 0)
    one = a_client(1)
    moved = one._replace(relative=consensus.through(maps[1], one.relative))
    np.testing.assert_allclose(client.shift(moved, head), 0, atol=1e-5)


def test_alone_a_chart_has_the_consensus_of_its_own_public_rows():
    rows, _ = relative(1)
    public = np.arange(0, P, 2)
    fitted = jatlas.fit_consensus(rows[None, public], np.ones((1, len(public)), bool))
    expected = jatlas.apply_consensus(fitted, 0, jnp.asarray(rows))
    found = coordinates.alone(RECIPE, rows, public)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert coordinates.alone(PLAIN, rows, public) is rows


def test_consensus_without_a_shared_sample_is_refused_before_anything_is_done():
    options = replace(FEW, coordinates="consensus", sends="own", settings=("T2",))
    with pytest.raises(ValueError, match="--coordinates consensus joins clients by"):
        federated_options.check(options)
    federated_options.check(replace(options, settings=("S4_N2",)))
    federated_options.check(replace(options, sends="all"))


# Transports


@pytest.fixture
def place(tmp_path):
    return rounds.places(tmp_path, RECIPE.round)


def test_by_files_each_client_gets_its_own_map_beside_the_head(place):
    for number in (1, 3):
        files.post(place, number, message(number))
    ended = dict.fromkeys(CLIENTS, lambda: 0)
    found = files.serve(FEW, RECIPE, place, ended, lambda what, share: None)
    state = every((1, 3))
    head = files.newest(place)
    assert same(head, server.head(FEW, state, 0))
    for number, expected in server.client_maps(state, 0).items():
        assert same(rounds.read_map(place, number, 0), expected)
    assert rounds.read_map(place, 2, 0) is None
    size = len(consensus.pack(server.client_maps(state, 0)[1]))
    assert found.received == {"head": len(messages.pack_head(head)), "map": size}


def test_over_jax_distributed_every_map_follows_the_head(place, monkeypatch):
    assignment, sent = processes.Assignment(FEW, processes.Member(), 5, place), []
    parts = [b"", message(1), b"noise", message(3)]
    monkeypatch.setattr(processes, "gather", lambda content, most: parts)
    monkeypatch.setattr(processes, "broadcast", lambda x: sent.append(x) or x)
    processes._serve(assignment, RECIPE)
    state = every((1, 3))
    _, head, *maps = sent
    assert same(messages.unpack_head(head), server.head(FEW, state, 0))
    wanted = server.client_maps(state, 0)
    assert [bool(one) for one in maps] == [True, False, True]
    for number, content in zip(CLIENTS, maps, strict=True):
        if content:
            assert same(consensus.unpack(content), wanted[number])
    written = (place.reports / "server.json").read_text()
    assert f'"map": {len(maps[0])}' in written
