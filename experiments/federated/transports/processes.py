"""The messages over jax.distributed: process 0 is the server.

All processes gather all messages, each of which the server alone opens. (So a client
could look at the others' rows of public samples, as it could not with files between.)
Of these processes none may be lost: JAX then ends the others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather

from experiments.data import storage
from experiments.data.dataset import Dataset
from experiments.federated import client, consensus, deal, messages, server
from experiments.federated.messages import Recipe
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports import seals
from experiments.federated.transports.files import Lost, nothing
from experiments.federated.transports.rounds import (
    Places,
    Round,
    empty,
    places,
    read_reports,
    write_report,
)
from experiments.runs import benches, children, compilation, options
from experiments.runs.children import Child, Member
from experiments.runs.terminal import Report


class Assignment(NamedTuple):
    """The part of a process in a round.

    Attributes:
        options: of the run.
        member: how it finds the others, and which of them it is.
        seed: of the round.
        place: the folders of the round.
    """

    options: FederatedOptions
    member: Member
    seed: int
    place: Places


def run(
    options: FederatedOptions, recipe: Recipe, folder: Path, report: Report
) -> Round:
    """A round, each process of which is started here.

    Raises:
        Lost: if a process was lost, or no client's message could be merged.
    """
    place = places(folder, recipe.round)
    empty(place.reports)
    team = children.members(
        recipe.num_clients + 1, timeout=options.timeout, wait=options.wait
    )
    report(f"{len(team)} processes", 0.0)
    started = [start(Assignment(options, one, recipe.round, place)) for one in team]
    codes = children.watch(started)
    if (wrong := children.verdict(started, codes)) is not None:
        raise Lost(wrong)
    result = storage.read_json(place.reports / "server.json")
    if "accepted" not in result:
        raise Lost(nothing(result["lines"]))
    sent = {int(number): size for number, size in result.pop("sent").items()}
    reports = read_reports(place, recipe.num_clients, 0)
    return Round(**result, sent=sent, reports=reports)


def start(assignment: Assignment) -> Child:
    """A process of the round."""
    module = "experiments.federated.transports.processes"
    return children.start(module, to_json(assignment), assignment.member)


def to_json(assignment: Assignment) -> dict[str, Any]:
    """An assignment as JSON."""
    return {
        "options": options.to_json(assignment.options),
        "member": assignment.member._asdict(),
        "seed": assignment.seed,
        "place": list(map(str, assignment.place)),
    }


def from_json(content: dict[str, Any]) -> Assignment:
    """What `to_json` gave."""
    return Assignment(
        options.from_json(FederatedOptions, content["options"]),
        Member(**content["member"]),
        content["seed"],
        Places(*map(Path, content["place"])),
    )


# In the processes


def work() -> None:
    """A process of the round, the server's or a client's."""
    children.live(lambda content: _work(from_json(content)))


def _work(assignment: Assignment) -> None:
    compilation.keep_compiled()
    with children.joined(assignment.member):
        # Before anything that takes its time: who is not there for the first exchange
        # within two minutes is given up.
        process_allgather(np.int32(assignment.seed))
        dataset = benches.read(assignment.options)
        dealt = deal.deal(assignment.options, dataset, assignment.seed)
        if assignment.member.process_id == 0:
            _serve(assignment, dealt.recipe)
        else:
            _take_part(assignment, dataset, dealt)


def _serve(assignment: Assignment, recipe: Recipe) -> None:
    """The server's side."""
    secret = seals.read_secret(assignment.options.secret_file)
    content = messages.pack_recipe(recipe)
    content = broadcast(seals.sealed(secret, seals.of_recipe(recipe.round), content))
    parts = gather(b"", _most(recipe, secret))
    state, lines = Server(recipe, {}), []
    for number, part in enumerate(parts[1:], start=1):
        try:
            part = seals.opened(secret, seals.of_part(recipe.round, number), part)
            state, line = server.receive(state, number, part)
        except messages.Refused as refusal:
            line = f"client {number} refused: {refusal}"
        lines.append(line)
    if not state.accepted:
        broadcast(b"")
        storage.write_json(assignment.place.reports / "server.json", {"lines": lines})
        return
    head = server.head(assignment.options, state, 0)
    about = seals.of_head(recipe.round, 0)
    sent = broadcast(seals.sealed(secret, about, messages.pack_head(head)))
    packed = {
        k: seals.sealed(secret, seals.of_map(recipe.round, 0, k), consensus.pack(one))
        for k, one in server.client_maps(state, 0).items()
    }
    maps = broadcast_maps(recipe, packed).values()
    of_maps = {"map": max(map(len, maps))} if maps else {}
    clients = list(head.clients)
    lines.append(f"head 0 sent, of clients {clients}, {len(sent)} bytes")
    result = {
        "lines": lines,
        "accepted": clients,
        "sent": {number: len(part) for number, part in enumerate(parts) if number},
        "received": {"recipe": len(content), "head": len(sent)} | of_maps,
    }
    storage.write_json(assignment.place.reports / "server.json", result)


def _take_part(assignment: Assignment, dataset: Dataset, dealt: deal.Deal) -> None:
    """A client's side."""
    options, number = assignment.options, assignment.member.process_id
    secret = seals.read_secret(options.secret_file)
    about = seals.of_recipe(assignment.seed)
    content = seals.opened(secret, about, broadcast(b""))
    recipe = messages.unpack_recipe(content)
    folder = assignment.place.private / f"client_{number}"
    trained = client.train(options, dataset, dealt, number, folder)
    about = seals.of_part(recipe.round, number)
    content = seals.sealed(secret, about, client.send(options, trained, recipe))
    gather(content, _most(recipe, secret))
    content = broadcast(b"")
    if not content:  # nobody's rows could be merged
        return
    content = seals.opened(secret, seals.of_head(recipe.round, 0), content)
    head = messages.unpack_head(content)
    packed, chart_map = broadcast_maps(recipe, {}).get(number), None
    if packed:
        about = seals.of_map(recipe.round, 0, number)
        chart_map = consensus.unpack(seals.opened(secret, about, packed))
    scores = client.alone(options, trained, recipe)
    scores |= client.with_answer(recipe, trained, head, chart_map)
    write_report(assignment.place, number, head.version, scores)


def _most(recipe: Recipe, secret: bytes | None) -> int:
    """Bytes of a message; what is longer is cut off."""
    return messages.most_bytes(recipe) + seals.size(secret)


def broadcast_maps(recipe: Recipe, packed: Mapping[int, bytes]) -> dict[int, bytes]:
    """Send the maps of process 0 to all clients.

    Nothing in other than consensus coordinates.
    """
    if recipe.coordinates != "consensus":
        return {}
    clients = range(1, recipe.num_clients + 1)
    return {number: broadcast(packed.get(number, b"")) for number in clients}


def gather(content: bytes, most: int = 2**31 - 1) -> list[bytes]:
    """What each process has to say, in the order of their numbers.

    Of more than `most` bytes only the first are taken.
    """
    sizes = process_allgather(np.int32(len(content))).clip(0, most)
    padded, content = np.zeros(sizes.max(), np.uint8), content[:most]
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    every = process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(every, sizes, strict=True)]


def broadcast(content: bytes) -> bytes:
    """What process 0 has to say; the others give what they like."""
    size = int(broadcast_one_to_all(np.int32(len(content))))
    padded = np.zeros(size, np.int32)
    if jax.process_index() == 0:
        padded[:] = np.frombuffer(content, np.uint8)
    return broadcast_one_to_all(padded).astype(np.uint8).tobytes()
