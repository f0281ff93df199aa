"""The server: accepted parts, their atlas, and its head."""

from functools import reduce
from typing import NamedTuple

import numpy as np

import jatlas
from experiments.federated import consensus, coordinates, heads, messages
from experiments.federated.consensus import Map
from experiments.federated.messages import Head, Recipe
from experiments.federated.options import FederatedOptions
from jatlas.running.atlas import AtlasState


class Server(NamedTuple):
    """The state of a round: never changed, only followed by another.

    Attributes:
        recipe: of the round.
        accepted: the clients' parts of the atlas, by their numbers.
    """

    recipe: Recipe
    accepted: dict[int, AtlasState]


def receive(server: Server, sender: int, content: bytes) -> tuple[Server, str]:
    """The state after a message, and a line about it.

    A message that is refused changes nothing, and neither does one of a client whose
    part is there: its first stays.
    """
    try:
        part = messages.read_contribution(content, sender, server.recipe)
    except messages.Refused as refusal:
        return server, f"client {sender} refused: {messages.plain(refusal)}"
    first = server.accepted.get(sender)
    if first is None:
        joined = server._replace(accepted={**server.accepted, sender: part})
        reason = None
        if server.recipe.coordinates == "consensus":
            reason = consensus.obstacle(joined.accepted)
        if reason is not None:
            return server, f"client {sender} refused: {reason}"
        return joined, f"client {sender} joined, with {len(content)} bytes"
    if all(map(np.array_equal, first, part)):
        return server, f"client {sender} sent the same again: counted once"
    return server, f"client {sender} sent other numbers again: its first ones stay"


def merged(server: Server) -> AtlasState:
    """The atlas of all accepted clients, in any order."""
    parts = [part for _, part in sorted(server.accepted.items())]
    return reduce(
        jatlas.running.atlas.combine,
        parts,
        jatlas.running.atlas.empty(*server.recipe.shape),
    )


def public_rows(server: Server) -> np.ndarray:
    """The atlas of the public samples; NaN where nobody sent."""
    if server.recipe.coordinates == "consensus":
        return consensus.merged(consensus.fit(server.accepted), server.accepted)
    return np.asarray(jatlas.running.atlas.value(merged(server)))


def client_maps(server: Server, version: int) -> dict[int, Map]:
    """What each accepted client gets beside the head of this version.

    Its map to consensus coordinates; nothing in other coordinates.
    """
    if server.recipe.coordinates != "consensus":
        return {}
    return consensus.client_maps(
        consensus.fit(server.accepted), server.accepted, version
    )


def head(options: FederatedOptions, server: Server, version: int) -> Head:
    """The accepted clients' head, trained on the public atlas."""
    rows, count = public_rows(server), np.asarray(merged(server).count)
    common = np.all([np.asarray(p.count) > 0 for p in server.accepted.values()], axis=0)
    centre = np.full(rows.shape[1], np.nan, rows.dtype)
    if common.any():
        centre = rows[common].mean(axis=0)
    scale = coordinates.scale(server.recipe, rows, count > 0)
    seen = coordinates.through(scale, rows)
    probe = heads.learn_public(options, server.recipe, seen, count > 0)
    clients = tuple(sorted(server.accepted))
    return Head(version, clients, probe, common, centre, scale)
