"""Cells of text in columns, as the commands print them."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], left: int) -> str:
    """Cells in columns, that of number `left` to the left, the others to the right.

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
