"""What is said of a round."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


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


def nothing(lines: Iterable[str]) -> str:
    """Why there is no head, for those who read errors."""
    return f"no client's message could be merged ({'; '.join(lines)})"


def silent(accepted: Iterable[int], reports: Mapping[int, Any]) -> list[str]:
    """The message about merged clients that reported no accuracy."""
    what = "is in the atlas, but ended before it had measured"
    return [f"client {number} {what}" for number in accepted if number not in reports]
