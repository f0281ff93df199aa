"""Pages in Markdown: their blocks of code, run in order, and their links."""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from jatlas.cli import commands, progress

ROOT = Path(__file__).parents[1]
COMMAND = "$ python -m jatlas "


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, its text, and its first line."""

    kind: str
    text: str
    line: int


def pages() -> list[Path]:
    """Every page in the repository; a virtual environment in it holds none of ours."""
    folders = ("jatlas", "experiments", "tests", ".github")
    found = [path for name in folders for path in (ROOT / name).glob("**/*.md")]
    return [ROOT / "README.md", *sorted(found)]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: if a fence is not closed.
    """
    found: list[Block] = []
    kind: str | None = None
    lines: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fence = re.fullmatch(r"```([^`]*)", line)
        if fence is None:
            lines.append(line)
        elif kind is None:
            kind, lines, start = fence[1].strip(), [], number + 1
        else:
            found.append(Block(kind, "\n".join([*lines, ""]), start))
            kind = None
    if kind is not None:
        raise ValueError(f"the block that begins in line {start} is not closed")
    return found


def run(page_blocks: Sequence[Block], name: str, scope: dict[str, Any]) -> int:
    """Run a page's Python and its quick commands, in the current folder.

    Blocks share the scope, in order. Output is compared with what the page says.

    Args:
        page_blocks: of one page.
        name: of the page, for tracebacks.
        scope: names that the blocks see, and leave behind.

    Returns:
        How many shapes, printed lines and outputs of commands were compared.

    Raises:
        AssertionError: if one is not what the page says.
    """
    compared = 0
    for block in page_blocks:
        if block.kind == "python":
            compared += run_python(block, name, scope)
        elif block.kind == "console":
            compared += run_console(block, name)
    return compared


def run_python(block: Block, name: str, scope: dict[str, Any]) -> int:
    """Run a block; compare `x = ...  # (3, 2)` and `print(...)  # as printed`."""
    source = "\n" * (block.line - 1) + block.text  # tracebacks say the page's line
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(source, name, "exec"), scope)
    shapes = re.findall(r"^(\w+) = .*  # \(([\d, ]+)\)$", block.text, flags=re.M)
    for variable, shape in shapes:
        expected = tuple(int(size) for size in shape.split(",") if size.strip())
        assert scope[variable].shape == expected, f"{name}: {variable} is not {shape}"
    promised = re.findall(r"^print\(.*\)  # (.*)$", block.text, flags=re.M)
    if promised:
        printed = stream.getvalue().splitlines()
        assert len(printed) == len(promised), f"{name}:{block.line}: {printed}"
        for said, line in zip(promised, printed, strict=True):
            assert alike(said, line), f"{name}: printed {line!r}, promised {said!r}"
    return len(shapes) + len(promised)


def alike(promised: str, printed: str) -> bool:
    """Whether words are equal, and numbers to the decimals that are promised."""
    pairs = promised.split(), printed.split()
    if len(pairs[0]) != len(pairs[1]):
        return False
    return all(_same_word(*pair) for pair in zip(*pairs, strict=True))


def _same_word(promised: str, printed: str) -> bool:
    if found := re.fullmatch(r"-?\d+\.(\d+)", promised):
        with contextlib.suppress(ValueError):
            return f"{float(printed):.{len(found[1])}f}" == promised
    return promised == printed


def run_console(block: Block, name: str) -> int:
    """Run `$ python -m jatlas ...` lines; compare what each prints, but for `...`."""
    compared = 0
    for command, expected in console(block.text):
        if command.startswith("$ mkdir "):
            Path(command.removeprefix("$ mkdir ")).mkdir()
        if not command.startswith(COMMAND) or opens_a_viewer(command):
            continue
        printed = jatlas_command(command.removeprefix(COMMAND))
        if expected:
            message = f"{name}: {command}\nprinted:\n{printed}\npromised:\n{expected}"
            assert matches(expected, printed), message
            compared += 1
    return compared


def opens_a_viewer(command: str) -> bool:
    """Whether a command would not end by itself."""
    return command.startswith(f"{COMMAND}view ") and "--export" not in command


def console(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, lines that go on (backslash) joined, and its output."""
    for part in re.split(r"^(?=\$ )", text, flags=re.M):
        if part.startswith("$ "):
            command, _, output = part.replace("\\\n", "").partition("\n")
            yield re.sub(r"\s+", " ", command), output.strip("\n")


def jatlas_command(arguments: str) -> str:
    """What `python -m jatlas ARGUMENTS` prints, as in a terminal; it must succeed."""
    stream = io.StringIO()
    # No line in between, however slow the machine: pages do not show them.
    never = mock.patch.object(progress, "PAUSE", 1e6)
    with (
        never,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        code = commands.main(shlex.split(arguments, comments=True))
    assert code == 0, stream.getvalue()
    return stream.getvalue()


def matches(expected: str, printed: str) -> bool:
    """Line by line, spaces aside; `...` stands for any text, also of several lines."""
    words = [re.escape(part) for part in re.split(r"\.\.\.", squeezed(expected))]
    return re.fullmatch(".*".join(words), squeezed(printed), flags=re.S) is not None


def squeezed(text: str) -> str:
    """The lines with single spaces, none of them empty."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead, code left out."""
    prose = re.sub(r"^```[^`]*$.*?^```$", "", text, flags=re.M | re.S)
    # Code, but for that which is the whole text of a link.
    prose = re.sub(r"(`[^`\n]*`)(\])?", lambda m: m[2] or "", prose)
    return re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", prose)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    prose = re.sub(r"^```[^`]*$.*?^```$", "", text, flags=re.M | re.S)
    found: dict[str, int] = {}
    names = set()
    for title in re.findall(r"^#+ (.+)$", prose, flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, and to no heading of it."""
    text, found = page.read_text(), []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) or target.is_relative_to(page.parent)
        if not target.exists() or not inside:
            found.append(link)
        elif anchor and target.suffix == ".md":
            found += [link] * (anchor not in anchors(target.read_text()))
    return found
