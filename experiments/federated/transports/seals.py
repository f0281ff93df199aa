"""Seals of messages: an HMAC with a shared secret.

Where others can write to the folders between them, a secret closes what is otherwise
taken on trust: a message that was made without it, or for another client, another round
or another head, is refused. The seal, 32 bytes of HMAC-SHA256, stands behind the
message. It hides nothing, and who has the secret can seal for every client.
"""

import hashlib
import hmac
from pathlib import Path

from experiments.federated.messages import Refused

SIZE = 32  # bytes of a seal
FEWEST = 16  # bytes of a secret


def read_secret(file: Path | None) -> bytes | None:
    """The secret in a file, stripped; None without a file.

    Raises:
        ValueError: if it is too short.
        OSError: if it cannot be read.
    """
    if file is None:
        return None
    secret = file.read_bytes().strip()
    if len(secret) < FEWEST:
        raise ValueError(
            f"--secret-file {file} has {len(secret)} bytes; a secret has {FEWEST} or "
            "more, such as those of `openssl rand -hex 32`."
        )
    return secret


def sealed(secret: bytes | None, about: str, content: bytes) -> bytes:
    """A message with its seal; as it is without a secret.

    Args:
        secret: of the server and the clients.
        about: what the message is, in which round, of whom or for whom.
        content: the message.
    """
    return content if secret is None else content + _seal(secret, about, content)


def opened(secret: bytes | None, about: str, content: bytes) -> bytes:
    """The message that `sealed` got.

    Raises:
        Refused: if the seal is not of this secret and of what this is about.
    """
    if secret is None:
        return content
    message, seal = content[:-SIZE], content[-SIZE:]
    if not hmac.compare_digest(seal, _seal(secret, about, message)):
        raise Refused(
            "its seal is wrong: it was made with another secret, or for another "
            "client or round"
        )
    return message


def size(secret: bytes | None) -> int:
    """The bytes that a seal adds."""
    return 0 if secret is None else SIZE


def of_recipe(number: int) -> str:
    """What the seal of the recipe of this round is about."""
    return f"recipe of round {number}"


def of_part(number: int, client: int) -> str:
    """What the seal of a client's message in this round is about."""
    return f"part of client {client} in round {number}"


def of_head(number: int, version: int) -> str:
    """What the seal of a head in this round is about."""
    return f"head {version} in round {number}"


def of_map(number: int, version: int, client: int) -> str:
    """What the seal of a client's map beside a head is about."""
    return f"map of client {client} beside head {version} in round {number}"


def of_closed(number: int) -> str:
    """What the seal of `closed.json` is about."""
    return f"last head in round {number}"


def _seal(secret: bytes, about: str, content: bytes) -> bytes:
    """HMAC-SHA256 of what it is about and the message."""
    return hmac.digest(secret, about.encode() + b"\0" + content, hashlib.sha256)
