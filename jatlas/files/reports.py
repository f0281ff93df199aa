"""Reports of the functions on files: text, tables, and progress."""

from collections.abc import Callable, Sequence

Progress = Callable[[int, int], None]  # gets how many are done, and of how many
Advance = Callable[[int], None]  # gets how many more are done
Say = Callable[[str], None]


def counted(progress: Progress | None, total: int) -> Advance:
    """A progress callback that counts steps of a total.

    >>> advance = counted(lambda done, total: print(done, "of", total), 5)
    >>> advance(2), advance(3)
    2 of 5
    5 of 5
    (None, None)
    """
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return advance


def quiet(text: str) -> None:
    """What nobody reads."""


def table(rows: Sequence[Sequence[str]], left: int) -> str:
    """Cells in columns: number `left` left-aligned, the others right-aligned.

    >>> print(table([["", "name", "n"], ["0", "a", "12"]], 1))
      name  n
    0 a    12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        " ".join(
            cell.ljust(width) if k == left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
