"""A parser that answers a mistyped command or option with the nearest."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class SuggestingParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser`, whose errors are a line that names the nearest."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the parent does; what is given is kept for errors."""
        self.given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error in a line with the nearest names; exit."""
        hint = nearest(self, self.given)
        text = " ".join(message.split())
        print(f"error: {text}{hint}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def nearest(parser: argparse.ArgumentParser, given: Sequence[str]) -> str:
    """The names nearest to those given that there are not, in words.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("--batch-size")
    >>> nearest(parser, ["--batchsize", "3", "--out=x"])
    '; did you mean --batch-size?'
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and given:
            command = action.choices.get(given[0])
            if command is not None:
                return nearest(command, given[1:])
            return _asked(_like([given[0]], action.choices))
    known = list(parser._option_string_actions)
    options = [word.split("=")[0] for word in given if word.startswith("--")]
    wrong = [word for word in options if not any(k.startswith(word) for k in known)]
    return _asked(_like(wrong, [k for k in known if k.startswith("--")]))


def _like(words: Sequence[str], known: Any) -> list[str]:
    near = [difflib.get_close_matches(word, list(known), n=1) for word in words]
    return [name for names in near for name in names]


def _asked(names: Sequence[str]) -> str:
    return f"; did you mean {' and '.join(names)}?" if names else ""
