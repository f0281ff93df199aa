"""A process per client, with a file per message.

A file is there in full or not at all. The inbox is all that the server knows, so that
a server that is started again goes on with what was sent to the one before. It waits
for nobody for ever: who sends after the head was made is in the next head.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.data import storage
from experiments.federated import client, consensus, deal, messages, server
from experiments.federated.messages import Head, Recipe
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports.rounds import (
    Places,
    Round,
    places,
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
        answered: clients who sent something, or will not any more.
        head: the last that was sent.
        sizes: its bytes, and those of a client's map where there is one, by name.
    """

    server: Server
    read: frozenset[str]
    lines: tuple[str, ...]
    sent: dict[int, int]
    answered: frozenset[int]
    head: Head | None
    sizes: dict[str, int]


# The clients' side


def post(place: Places, number: int, content: bytes) -> None:
    """Put a message into the inbox, beside the client's earlier ones."""
    before = len(list(place.inbox.glob(f"client_{number}_*.npz")))
    file = place.inbox / f"client_{number}_{before + 1}.npz"
    storage.write(file, lambda stream: stream.write(content))


def work() -> None:
    """The process of a client."""
    children.live(_work)


def _work(assignment: dict[str, Any]) -> None:
    compilation.keep_compiled()
    options = from_json(FederatedOptions, assignment["options"])
    number, place = assignment["client"], Places(*map(Path, assignment["places"]))
    recipe = messages.unpack_recipe((place.outbox / "recipe.json").read_bytes())
    dataset = benches.read(options)
    dealt = deal.deal(options, dataset, recipe.round)
    folder = place.private / f"client_{number}"
    trained = client.train(options, dataset, dealt, number, folder)
    post(place, number, client.send(options, trained, recipe))
    alone, version = client.alone(options, trained, recipe), -1
    while version < 0 or not closed(place, version):
        head = newest(place, version)
        if head is not None:
            chart_map = read_map(place, number, head.version)
            scores = alone | client.with_answer(recipe, trained, head, chart_map)
            write_report(place, number, head.version, scores)
            version = head.version
        time.sleep(_PAUSE)


def newest(place: Places, known: int = -1) -> Head | None:
    """The head of the highest version sent, or None if known."""
    files = {int(f.stem.split("_")[1]): f for f in place.outbox.glob("head_*.npz")}
    last = max(files, default=-1)
    return messages.unpack_head(files[last].read_bytes()) if last > known else None


def closed(place: Places, version: int) -> bool:
    """Whether the server has said that this version is the last."""
    file = place.outbox / "closed.json"
    return file.exists() and storage.read_json(file) == version


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
    content = messages.pack_recipe(recipe)
    storage.write(place.outbox / "recipe.json", lambda stream: stream.write(content))
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


def clear(place: Places) -> None:
    """Delete what an earlier server sent: its heads are stale."""
    for folder in (place.outbox, place.reports):
        for file in folder.iterdir():
            file.unlink()


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
    state, began = opened(recipe, place), time.monotonic()
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
    storage.write_json(place.outbox / "closed.json", state.head.version)
    report("the clients measure", 0.8)
    until = time.monotonic() + options.wait
    while any(poll() is None for poll in polls.values()) and time.monotonic() < until:
        time.sleep(_PAUSE)
    reports = read_reports(place, len(polls), state.head.version)
    accepted = list(state.head.clients)
    lines = [*by_client(state.lines), *silent(accepted, reports)]
    sent = dict(sorted(state.sent.items()))
    return Round(lines, accepted, sent, state.sizes, reports)


def by_client(lines: Iterable[str]) -> list[str]:
    """Order the lines between two heads by client, not by arrival.

    >>> by_client(["client 2 joined", "client 1 joined", "head 0 sent"])
    ['client 1 joined', 'client 2 joined', 'head 0 sent']
    """
    heads, ordered = 0, []
    for line in lines:
        heads += line.startswith("head ")
        client = re.match(r"client (\d+) ", line)
        ordered.append((heads, int(client[1]) if client else 0, line))
    return [line for *_, line in sorted(ordered, key=lambda item: item[:2])]


def opened(recipe: Recipe, place: Places) -> State:
    """The initial state, with earlier messages to the server.

    What was refused then is not all that its client has to say: it is waited for.
    """
    state = take(
        State(Server(recipe, {}), frozenset(), (), {}, frozenset(), None, {}), place
    )
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
    for number, chart_map in server.client_maps(state.server, version).items():
        sizes["map"] = send(place.map(number, version), consensus.pack(chart_map))
    sizes["head"] = send(place.outbox / f"head_{version}.npz", messages.pack_head(head))
    line = f"head {version} sent, of clients {list(clients)}, {sizes['head']} bytes"
    return state._replace(head=head, sizes=sizes, lines=(*state.lines, line))


def nothing(lines: Iterable[str]) -> str:
    """Why there is no head, for those who read errors."""
    return f"no client's message could be merged ({'; '.join(lines)})"


def silent(accepted: Iterable[int], reports: Mapping[int, Any]) -> list[str]:
    """The message about merged clients that reported no accuracy."""
    what = "is in the atlas, but ended before it had measured"
    return [f"client {number} {what}" for number in accepted if number not in reports]


def send(file: Path, content: bytes) -> int:
    """Put a message there; its bytes."""
    storage.write(file, lambda stream: stream.write(content))
    return len(content)


def take(state: State, place: Places) -> State:
    """The state after the new files of the inbox."""
    names = {f.name for f in place.inbox.iterdir() if not f.name.startswith(".")}
    for name in sorted(names - state.read):
        match = re.fullmatch(r"client_(\d+)_\d+\.npz", name)
        state = state._replace(read=state.read | {name})
        if match is None:
            line = f"{name} refused: files of clients are named client_1_1.npz"
            state = state._replace(lines=(*state.lines, line))
            continue
        number, file = int(match[1]), place.inbox / name
        size, most = file.stat().st_size, messages.most_bytes(state.server.recipe)
        if size > most:
            line = f"client {number} refused: it is of {size} bytes, not read"
            line += f"; expected {most} at most"
        else:
            after, line = server.receive(state.server, number, file.read_bytes())
            state = state._replace(server=after)
        state = state._replace(
            lines=(*state.lines, line),
            sent={number: size, **state.sent},
            answered=state.answered | {number},
        )
    return state
