"""A process per client, with a file per message.

A file is there in full or not at all. The inbox is all that the server knows, so that
a server that is started again goes on with what was sent to the one before. It waits
for nobody for ever: who sends after the head was made is in the next head.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.federated import client, consensus, deal, messages, server
from experiments.federated.messages import Head, Recipe, plain
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports import inbox, seals
from experiments.federated.transports.inbox import post
from experiments.federated.transports.lines import by_client, nothing, silent
from experiments.federated.transports.outbox import (
    clear,
    close,
    closed,
    newest,
    send,
    send_head,
)
from experiments.federated.transports.rounds import (
    Places,
    Round,
    places,
    read,
    read_map,
    read_reports,
    write_report,
)
from experiments.runs import benches, children, compilation, terminal
from experiments.runs.children import Child, Member
from experiments.runs.options import from_json, to_json
from experiments.runs.terminal import Report

# A child's exit code; None while it is at work.
Polls = Mapping[int, Callable[[], int | None]]
_PAUSE = 0.05


class Lost(terminal.Stopped):
    """A round of which nothing came."""


class State(NamedTuple):
    """How far the server of a round is.

    Attributes:
        server: what has been accepted.
        read: names of the files of the inbox that have been looked at.
        lines: what has been said.
        sent: bytes that each client sent first.
        answered: clients whose message was accepted, or who are not waited for.
        head: the last that was sent.
        sizes: its bytes, and those of a client's map where there is one, by name.
        secret: of the seals; None if messages have none.
    """

    server: Server
    read: frozenset[str]
    lines: tuple[str, ...]
    sent: dict[int, int]
    answered: frozenset[int]
    head: Head | None
    sizes: dict[str, int]
    secret: bytes | None = None


# The clients' side


def work() -> None:
    """The process of a client."""
    children.live(_work)


def _work(assignment: dict[str, Any]) -> None:
    compilation.keep_compiled()
    options = from_json(FederatedOptions, assignment["options"])
    number, place = assignment["client"], Places(*map(Path, assignment["places"]))
    secret = seals.read_secret(options.secret_file)
    content = (place.outbox / "recipe.json").read_bytes()
    recipe = messages.unpack_recipe(
        seals.opened(secret, seals.of_recipe(place.round), content)
    )
    seal = secret, recipe.round
    dataset = benches.read(options)
    dealt = deal.deal(options, dataset, recipe.round)
    folder = place.private / f"client_{number}"
    trained = client.train(options, dataset, dealt, number, folder)
    about = seals.of_part(recipe.round, number)
    content = client.send(options, trained, recipe)
    post(place, number, seals.sealed(secret, about, content))
    alone, version = client.alone(options, trained, recipe), -1
    while version < 0 or not closed(place, version, seal):
        head = newest(place, version, seal)
        if head is not None:
            chart_map = read_map(place, number, head.version, seal)
            scores = alone | client.with_answer(recipe, trained, head, chart_map)
            write_report(place, number, head.version, scores)
            version = head.version
        time.sleep(_PAUSE)


# The server's side


def run(
    options: FederatedOptions, recipe: Recipe, folder: Path, report: Report
) -> Round:
    """A round: clients started, their messages merged, heads sent, reports read.

    Raises:
        Lost: if there is no client whose message could be merged.
    """
    place = places(folder, recipe.round)
    clear(place)
    secret = seals.read_secret(options.secret_file)
    content = messages.pack_recipe(recipe)
    content = seals.sealed(secret, seals.of_recipe(recipe.round), content)
    send(place.outbox / "recipe.json", content)
    clients = range(1, recipe.num_clients + 1)
    team = {number: start(options, place, number) for number in clients}
    try:
        polls = {number: child.process.poll for number, child in team.items()}
        outcome = serve(options, recipe, place, polls, report)
        return outcome._replace(received={"recipe": len(content), **outcome.received})
    finally:
        children.end(list(team.values()))


def start(options: FederatedOptions, place: Places, number: int) -> Child:
    """The process of a client."""
    assignment = {
        "options": to_json(options),
        "client": number,
        "places": list(map(str, place)),
    }
    return children.start(
        "experiments.federated.transports.files", assignment, Member()
    )


def serve(
    options: FederatedOptions,
    recipe: Recipe,
    place: Places,
    polls: Polls,
    report: Report,
) -> Round:
    """Merge messages and send heads until all clients end.

    A head is sent whenever it is of more clients.

    Raises:
        Lost: if there is no client whose message could be merged.
    """
    secret = seals.read_secret(options.secret_file)
    state, began = opened(recipe, place, secret), time.monotonic()
    while True:
        passed = time.monotonic() - began
        state = listened(state, place, polls, last=passed > 2 * options.wait)
        waiting = set(polls) - state.answered
        heard = 1 - len(waiting) / len(polls)
        report(f"waiting for {sorted(waiting)}", 0.8 * heard)
        if not waiting or passed > options.wait:
            state = published(options, state, place)
        if not waiting:
            break
        time.sleep(_PAUSE)
    if state.head is None:
        raise Lost(nothing(state.lines))
    close(place, state.head.version, (secret, recipe.round))
    report("the clients measure", 0.8)
    until = time.monotonic() + options.wait
    while any(poll() is None for poll in polls.values()) and time.monotonic() < until:
        time.sleep(_PAUSE)
    reports = read_reports(place, len(polls), state.head.version)
    accepted = list(state.head.clients)
    lines = [*by_client(state.lines), *silent(accepted, reports)]
    sent = dict(sorted(state.sent.items()))
    return Round(lines, accepted, sent, state.sizes, reports)


def opened(recipe: Recipe, place: Places, secret: bytes | None = None) -> State:
    """The initial state, with earlier messages to the server.

    What was refused then is not all that its client has to say: it is waited for.
    """
    begun = Server(recipe, {}), frozenset(), (), {}, frozenset(), None, {}, secret
    state = take(State(*begun), place)
    return state._replace(answered=frozenset(state.server.accepted))


def listened(state: State, place: Places, polls: Polls, *, last: bool) -> State:
    """The state after new messages and lost clients.

    Args:
        state: before.
        place: of the round.
        polls: by client; who has ended will send nothing.
        last: whether those who have not sent are given up.
    """
    over = {number for number, poll in polls.items() if poll() is not None}
    state = take(state, place)
    late = set(polls) - over if last else set()
    for what, those in (("it ended, and sent nothing", over), ("too late", late)):
        for number in sorted(those - state.answered):
            what += " that was accepted" * (number in over and number in state.sent)
            line = f"client {number} dropped out: {what}"
            state = state._replace(
                lines=(*state.lines, line), answered=state.answered | {number}
            )
    return state


def published(options: FederatedOptions, state: State, place: Places) -> State:
    """The state after a head was sent, if its clients are new."""
    clients, head = tuple(sorted(state.server.accepted)), state.head
    if not clients or (head is not None and head.clients == clients):
        return state
    version = 0 if head is None else head.version + 1
    head = server.head(options, state.server, version)
    sizes = {}  # maps go first: a client looks for its own once there is a head
    of_round = state.server.recipe.round
    for number, chart_map in server.client_maps(state.server, version).items():
        about = seals.of_map(of_round, version, number)
        content = seals.sealed(state.secret, about, consensus.pack(chart_map))
        sizes["map"] = send(place.map(number, version), content)
    about = seals.of_head(of_round, version)
    content = seals.sealed(state.secret, about, messages.pack_head(head))
    sizes["head"] = send_head(place, version, content)
    line = f"head {version} sent, of clients {list(clients)}, {sizes['head']} bytes"
    return state._replace(head=head, sizes=sizes, lines=(*state.lines, line))


def take(state: State, place: Places) -> State:
    """The state after the new files of the inbox."""
    num_clients = state.server.recipe.num_clients
    for name in inbox.strangers(place, num_clients):
        if name not in state.read and len(state.read) < inbox.MOST * (num_clients + 1):
            line = f"{plain(name)} refused: files of clients are named client_1_1.npz"
            read = state.read | {name}
            state = state._replace(read=read, lines=(*state.lines, line))
    for number, file in inbox.arrived(place, num_clients):
        if file.name not in state.read:
            state = heard(state, number, file)
    return state


def heard(state: State, number: int, file: Path) -> State:
    """The state after a client's file.

    If it is refused the client is still waited for: anybody can have put it there.
    """
    recipe, size = state.server.recipe, 0
    try:
        size = file.lstat().st_size
        content = read(file, messages.most_bytes(recipe) + seals.size(state.secret))
        about = seals.of_part(recipe.round, number)
        message = seals.opened(state.secret, about, content)
        after, line = server.receive(state.server, number, message)
    except (messages.Refused, OSError) as refusal:
        after, line = state.server, f"client {number} refused: {plain(refusal)}"
    return state._replace(
        server=after,
        read=state.read | {file.name},
        lines=(*state.lines, line),
        sent={number: size, **state.sent},
        answered=state.answered | ({number} & set(after.accepted)),
    )
