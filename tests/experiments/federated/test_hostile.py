"""A server whose clients are hostile: bounded, and the atlas of the honest ones."""

import json
import os
import re
import threading
import time
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_federated import FEW, RECIPE, A, P, message, received, same, served

from experiments.federated import messages, server
from experiments.federated.options import check
from experiments.federated.transports import files, inbox, processes, rounds, seals
from experiments.runs import options

SECRET = b"0123456789abcdef of all clients"


@pytest.fixture(scope="module", autouse=True)
def quick():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def place(tmp_path):
    return rounds.places(tmp_path / "r ü", RECIPE.round)


@pytest.fixture
def secret_file(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    return tmp_path / "secret"


def sealed(number, by=None, recipe=RECIPE, secret=SECRET):
    """Client `number`'s message, sealed as client `by`."""
    about = seals.of_part(recipe.round, by or number)
    return seals.sealed(secret, about, message(number, recipe))


def put(place, number, content, which=1):
    (place.inbox / f"client_{number}_{which}.npz").write_bytes(content)


def honest():
    """The atlas of clients 1 and 3."""
    return server.merged(received((1, message(1)), (3, message(3)))[0])


# What lies in the inbox


def pipe(place):
    os.mkfifo(place.inbox / "client_2_1.npz")


def link(place):
    (place.inbox / "client_2_1.npz").symlink_to("/dev/zero")


def dangling(place):
    (place.inbox / "client_2_1.npz").symlink_to(place.inbox / "nothing")


def folder(place):
    (place.inbox / "client_2_1.npz").mkdir()


def huge(place):
    with (place.inbox / "client_2_1.npz").open("wb") as stream:
        stream.truncate(2**42)


def half(place):
    put(place, 2, message(2)[: len(message(2)) // 2])


def names(place):
    arrays = {"n" * 200 + str(k): np.int8(k) for k in range(4)}
    put(place, 2, messages.pack_arrays(arrays))


def escape(place):
    arrays = {"client": np.array("\x1b[2J\x1b[31m"), "round": np.int32(5), "count": 0}
    arrays |= {"recipe": np.zeros(32, np.uint8), "total": np.zeros((P, A))}
    put(place, 2, messages.pack_arrays(arrays))


REASONS = {
    pipe: "it is no file, not read",
    link: "it is a link, not read",
    dangling: "it is a link, not read",
    folder: "it is no file, not read",
    huge: r"it is of \d+ bytes, not read",
    half: "it cannot be read",
    names: "it holds",
    escape: r"it is of client \?\[2J\?\[31m, expected 2",
}


@pytest.mark.parametrize("put_there", REASONS, ids=lambda f: f.__name__)
def test_what_is_no_message_is_refused_and_takes_no_time(place, put_there):
    put_there(place)
    for number in (1, 3):
        files.post(place, number, message(number))
    began = time.monotonic()
    state = files.take(files.opened(RECIPE, place), place)
    assert time.monotonic() - began < 5
    assert same(server.merged(state.server), honest())
    (line,) = [line for line in state.lines if line.startswith("client 2")]
    assert re.search("refused: " + REASONS[put_there], line), line
    assert line.isprintable()
    assert len(line) < 350
    # Its client can send again, and is in as if nothing had been.
    files.post(place, 2, message(2))
    state = files.take(state, place)
    every, _ = received(*((number, message(number)) for number in (1, 2, 3)))
    assert same(server.merged(state.server), server.merged(every))


def test_a_file_that_grows_while_it_is_read_is_left(tmp_path, monkeypatch):
    file = tmp_path / "x"
    file.write_bytes(bytes(10))
    stated = os.fstat

    def before(handle):
        about = stated(handle)
        with file.open("ab") as stream:
            stream.write(bytes(10**6))
        return about

    monkeypatch.setattr(rounds.os, "fstat", before)
    with pytest.raises(messages.Refused, match="it grew beyond 20 bytes"):
        rounds.read(file, 20)


def test_many_messages_at_once_are_bounded_in_memory_and_time(place):
    for which in range(1, 3001):
        put(place, 2, b"x" * 3000, which)
        (place.inbox / f"{'z' * 150}{which}\x1b.npz").write_bytes(b"")
        (place.inbox / f"client_{which + 3}_1.npz").write_bytes(b"")
    for number in (1, 3):
        files.post(place, number, message(number))
    tracemalloc.start()
    began = time.monotonic()
    state = files.opened(RECIPE, place)
    for _ in range(20):  # as the server asks again and again
        state = files.take(state, place)
    took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 10
    assert peak < 2e6
    most = inbox.MOST * (RECIPE.num_clients + 1)
    assert len(state.lines) <= most
    assert len(state.read) <= most
    assert set(state.sent) == {1, 2, 3}
    assert all(line.isprintable() for line in state.lines)
    assert same(server.merged(state.server), honest())
    with pytest.raises(messages.Refused, match="client 2 has sent 64 messages"):
        files.post(place, 2, message(2))


def test_a_slow_client_does_not_hold_up_the_others(place):
    for number in (1, 3):
        files.post(place, number, message(number))
    began = time.monotonic()
    polls = {1: lambda: 0, 2: lambda: None, 3: lambda: 0}  # it never ends
    result = served(place, polls, told=replace(FEW, wait=1))
    assert time.monotonic() - began < 30
    assert result.accepted == [1, 3]
    assert "client 2 dropped out: too late" in result.lines
    state = received((1, message(1)), (3, message(3)))[0]
    assert same(files.newest(place), server.head(FEW, state, 0))


def test_a_strangers_byte_does_not_stop_the_server_waiting_for_a_client(place):
    for number in (1, 3):
        files.post(place, number, message(number))
    calls = []

    def trained():
        calls.append(1)
        if len(calls) == 2:  # not before the server began
            put(place, 2, b"x")
        if len(calls) == 6:
            files.post(place, 2, message(2))

    def poll():
        return 0 if (place.outbox / "closed.json").exists() else None

    polls, told = dict.fromkeys((1, 2, 3), poll), replace(FEW, wait=60)
    result = served(place, polls, trained, told)
    assert result.accepted == [1, 2, 3]
    (line,) = [line for line in result.lines if line.startswith("head")]
    assert line.startswith("head 0 sent, of clients [1, 2, 3]")


def test_a_client_that_ended_after_a_refused_message_is_not_waited_for(place):
    put(place, 2, b"x")
    for number in (1, 3):
        files.post(place, number, message(number))
    began = time.monotonic()
    result = served(
        place, dict.fromkeys((1, 2, 3), lambda: 0), told=replace(FEW, wait=60)
    )
    assert time.monotonic() - began < 30
    assert result.accepted == [1, 3]
    line = "client 2 dropped out: it ended, and sent nothing that was accepted"
    assert line in result.lines


def test_a_client_that_lives_on_after_a_refused_message_is_given_up(place):
    for number in (1, 3):
        files.post(place, number, message(number))
    polls = {1: lambda: 0, 2: lambda: None, 3: lambda: 0}
    began = time.monotonic()
    told = replace(FEW, wait=1)
    result = served(place, polls, lambda: put(place, 2, b"x"), told)
    assert time.monotonic() - began < 30
    assert result.accepted == [1, 3]
    assert "client 2 dropped out: too late" in result.lines


def put_folders(place, outside):
    """What a hostile client can leave where files of a round are deleted."""
    (outside / "kept").mkdir(parents=True)
    (place.reports / "client_2.json" / "deep").mkdir(parents=True)
    (place.reports / "client_2.json" / "deep" / "link").symlink_to(outside)
    (place.reports / "client_1.json").symlink_to(outside)
    (place.reports / "client_3.json").symlink_to(outside / "nothing")


def test_folders_that_a_client_left_end_no_later_server(place, tmp_path):
    put_folders(place, tmp_path / "outside")
    (place.outbox / "head_0.npz").mkdir()
    files.clear(place)
    assert not list(place.reports.iterdir())
    assert not list(place.outbox.iterdir())
    assert (tmp_path / "outside" / "kept").is_dir()


def test_folders_that_a_client_left_end_no_later_processes(tmp_path, monkeypatch):
    folder = tmp_path / "rounds"
    place = rounds.places(folder, RECIPE.round)
    put_folders(place, tmp_path / "outside")

    class GoneOn(Exception):
        """The folders were cleared."""

    def gone_on(*args, **more):
        raise GoneOn

    monkeypatch.setattr(processes.children, "members", gone_on)
    with pytest.raises(GoneOn):
        processes.run(FEW, RECIPE, folder, lambda what, share: None)
    assert not list(place.reports.iterdir())
    assert (tmp_path / "outside" / "kept").is_dir()


def test_messages_that_come_while_the_server_looks_are_all_in(place):
    """Several writers at once, hostile ones among them."""

    def write(number):
        for _ in range(10):
            put(place, 2, os.urandom(500), int.from_bytes(os.urandom(1)) % 60 + 1)
        files.post(place, number, message(number))

    threads = [threading.Thread(target=write, args=(k,)) for k in (1, 3)]
    state = files.opened(RECIPE, place)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        state = files.take(state, place)
    state = files.take(state, place)
    assert same(server.merged(state.server), honest())


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 10**5, b"{}", b"[1]", b'{"version": 0, "scores": {"a": 1}}',
     b'{"version": 0, "scores": {"a": {"all": "x"}}}', b" " * 2**21,
     b'{"version": 0, "scores": 3}', b"\xff",
     b'{"version": 0, "scores": {"own": {"all": %s}}}' % (b"9" * 4300),
     b'{"version": 0, "scores": {"own": {"all": Infinity}}}',
     b'{"version": 0, "scores": {"own": {"all": NaN}}}',
     b'{"version": 0, "scores": {"own": {"all": -0.1}}}',
     b'{"version": 0, "scores": {"own": {"all": 1.1}}}',
     b'{"version": 0, "scores": {"own": {"\\u001b[2J": 0.5}}}',
     b'{"version": 0, "scores": {"together": {"all": 0.5}}}',
     b'{"version": 0, "scores": {"| a | b |": {"all": 0.5}}}'],
)  # fmt: skip
def test_a_report_that_is_none_is_as_good_as_none(place, content):
    rounds.write_report(place, 1, 0, {"atlas": {"all": 0.5, "unseen": float("nan")}})
    (place.reports / "client_2.json").write_bytes(content)
    wanted = {1: {"atlas": {"all": 0.5, "unseen": None}}}
    assert rounds.read_reports(place, 3, 0) == wanted


# Seals


def test_a_seal_is_the_hmac_of_rfc_2104_over_what_it_is_about_and_the_message():
    # Python's hmac is not asked: blocks of 64 bytes, as the RFC says.
    import hashlib

    def sha(x):
        return hashlib.sha256(x).digest()

    key = SECRET.ljust(64, b"\0")
    inner = bytes(b ^ 0x36 for b in key) + b"part of client 2 in round 5\0hello"
    wanted = sha(bytes(b ^ 0x5C for b in key) + sha(inner))
    made = seals.sealed(SECRET, seals.of_part(5, 2), b"hello")
    assert made == b"hello" + wanted
    assert seals.opened(SECRET, seals.of_part(5, 2), made) == b"hello"


FORGED = {
    "without a seal": message(2),
    "another secret": sealed(2, secret=b"another secret of 16"),
    "another's seal": sealed(2, by=1),
    "another round": sealed(2, recipe=RECIPE._replace(round=6)),
    "changed": sealed(2)[:500] + b"x" + sealed(2)[501:],
    "half": sealed(2)[:700],
    "a byte more": sealed(2) + b"x",
    "nothing": b"",
    "as a head": seals.sealed(SECRET, seals.of_head(5, 2), message(2)),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_message_is_refused_and_keeps_nobody_out(place, secret_file, what):
    """The forger is the first: without seals its numbers would stay."""
    put(place, 2, FORGED[what])
    for number in (1, 2, 3):
        files.post(place, number, sealed(number))
    told = replace(FEW, secret_file=secret_file)
    result = served(place, dict.fromkeys((1, 2, 3), lambda: 0), told=told)
    assert result.accepted == [1, 2, 3]
    (line,) = [line for line in result.lines if "refused" in line]
    assert line.startswith("client 2 refused: its seal is wrong")
    state, _ = received(*((number, message(number)) for number in (1, 2, 3)))
    head = files.newest(place, -1, (SECRET, RECIPE.round))
    assert same(head, server.head(FEW, state, 0))


def test_a_replayed_message_is_counted_once(place, secret_file):
    for number in (1, 2, 3):
        files.post(place, number, sealed(number))
    files.post(place, 2, sealed(2))
    put(place, 3, sealed(2), 2)  # under another's name
    told = replace(FEW, secret_file=secret_file)
    result = served(place, dict.fromkeys((1, 2, 3), lambda: 0), told=told)
    assert "client 2 sent the same again: counted once" in result.lines
    assert any(line.startswith("client 3 refused: its seal") for line in result.lines)
    state, _ = received(*((number, message(number)) for number in (1, 2, 3)))
    head = files.newest(place, -1, (SECRET, RECIPE.round))
    assert same(head, server.head(FEW, state, 0))


def test_a_client_refuses_what_the_server_did_not_seal(place, secret_file):
    files.post(place, 1, sealed(1))
    told = replace(FEW, secret_file=secret_file)
    served(place, {1: lambda: 0}, told=told)
    seal = SECRET, RECIPE.round
    assert files.newest(place, -1, seal).clients == (1,)
    content = (place.outbox / "head_0.npz").read_bytes()
    for forged in (content[: -seals.SIZE], content, content[:-1] + b"x"):
        (place.outbox / "head_1.npz").write_bytes(forged)  # 0's is no seal of 1
        assert files.newest(place, 0, seal) is None
        assert files.newest(place, -1, seal).version == 0
    (place.outbox / "head_0.npz").write_bytes(content[:-1] + b"x")
    assert files.newest(place, -1, seal) is None


def test_files_that_are_no_head_keep_no_client_from_the_newest(place, secret_file):
    for number in (1, 3):
        files.post(place, number, sealed(number))
    served(place, {1: lambda: 0}, told=replace(FEW, secret_file=secret_file))
    for name in ("head_x.npz", "head_.npz", "head_2_3.npz", "head_07.npz"):
        (place.outbox / name).write_bytes(b"x")
    (place.outbox / "head_²7.npz").write_bytes(b"x")
    seal = SECRET, RECIPE.round
    assert files.newest(place, -1, seal).clients == (1, 3)
    (place.outbox / "head_999.npz").write_bytes(b"x")
    (place.outbox / "head_998.npz").mkdir()
    (place.outbox / "head_997.npz").symlink_to("/dev/zero")
    with (place.outbox / "head_996.npz").open("wb") as stream:
        stream.truncate(2**42)
    assert files.newest(place, -1, seal).clients == (1, 3)
    assert files.newest(place, 0, seal) is None


def test_names_that_are_no_heads_are_skipped_without_a_secret_too(place):
    files.post(place, 1, message(1))
    served(place, {1: lambda: 0})
    for name in ("head_x.npz", "head_2_3.npz"):
        (place.outbox / name).write_bytes(b"x")
    assert files.newest(place).version == 0


def test_a_client_takes_no_recipe_that_was_sealed_for_another_round(
    place, secret_file, monkeypatch
):
    monkeypatch.setattr(files.compilation, "keep_compiled", lambda: None)
    told = replace(FEW, secret_file=secret_file)
    places = list(map(str, place))
    task = {"options": options.to_json(told), "client": 1, "places": places}

    class GoneOn(Exception):
        """The recipe was taken."""

    def gone_on(told):
        raise GoneOn

    monkeypatch.setattr(files.benches, "read", gone_on)
    for number, outcome in ((6, messages.Refused), (5, GoneOn)):
        content = messages.pack_recipe(RECIPE._replace(round=number))
        content = seals.sealed(SECRET, seals.of_recipe(number), content)
        (place.outbox / "recipe.json").write_bytes(content)
        with pytest.raises(outcome):
            files._work(task)


@pytest.mark.parametrize("content", [b"0", b"0\n", b"", b"{", b"[" * 10**5, b"\xff"])
def test_only_the_server_can_say_with_a_secret_that_it_has_ended(
    place, secret_file, content
):
    files.post(place, 1, sealed(1))
    served(place, {1: lambda: 0}, told=replace(FEW, secret_file=secret_file))
    seal = SECRET, RECIPE.round
    assert files.closed(place, 0, seal)
    assert not files.closed(place, 1, seal)
    assert not files.closed(place, 0, (SECRET, 6))
    (place.outbox / "closed.json").write_bytes(content)
    assert not files.closed(place, 0, seal)
    assert files.closed(place, 0) == (content.strip() == b"0")


def test_over_jax_distributed_seals_are_looked_at_too(place, secret_file, monkeypatch):
    told, sent = replace(FEW, secret_file=secret_file), []
    said = processes.Assignment(told, processes.Member(), 5, place)
    parts = [b"", sealed(1), sealed(2, by=1), sealed(3)]
    monkeypatch.setattr(processes, "gather", lambda content, most: parts)
    monkeypatch.setattr(processes, "broadcast", lambda x: sent.append(x) or x)
    processes._serve(said, RECIPE)
    result = json.loads((place.reports / "server.json").read_text())
    assert result["accepted"] == [1, 3]
    assert result["lines"][1].startswith("client 2 refused: its seal is wrong")
    content = seals.opened(SECRET, seals.of_head(5, 0), sent[1])
    assert same(messages.unpack_head(content), server.head(
        FEW, received((1, message(1)), (3, message(3)))[0], 0
    ))  # fmt: skip


def test_what_a_process_says_is_cut_at_the_size_of_a_message():
    assert processes.gather(b"some\x00\xff", 3) == [b"som"]


def test_a_secret_is_long_enough_and_there(tmp_path):
    (tmp_path / "short").write_bytes(b"  fifteen bytes..\n")
    with pytest.raises(ValueError, match=r"--secret-file .*short has 15 bytes; .* 16"):
        check(replace(FEW, secret_file=tmp_path / "short"))
    with pytest.raises(FileNotFoundError):
        check(replace(FEW, secret_file=tmp_path / "none"))
    assert seals.read_secret(None) is None
