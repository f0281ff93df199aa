"""The tables of the benchmark, made of its results alone."""

import math
from typing import Any

from experiments.benchmarks import timing
from experiments.runs.rows import markdown_table

Row = dict[str, Any]

# Processors that others keep busy, from which on a comparison is not fair.
_BUSY = 0.2
_DISTURBED = """\
**Disturbed**: other programs kept processors busy while jobs were measured, {jobs}.
Threads that wait for each other, torch's above all, then take many times as long: the
ratios are not to be trusted."""
_HOW_TO_READ = """\
float32 on the same arrays, in one process, with as many threads for each library. In a
round ours, the references and the machine's own rates have a turn each, another first
every time. A ratio is that of a reference's time to ours in one round: its median, and
in brackets the least and the greatest of so many rounds. Above 1, ours is faster.
**Bold** is where ours is slower.

- *matmul* is the share of the rate of a product of square matrices that ours reaches,
  counting what the job must multiply and add. *copy* is the share of the rate at which
  a large array is read and written in place, counting each input and output once. Both
  rates are measured in the same rounds.
- *temporaries* are the compiler's own figure, beside inputs and output. *peak* is what
  is allocated at most in a call, looked at every millisecond; the output is in it.
"""


def text(results: dict[str, Any], titles: dict[str, str]) -> str:
    """The whole report in Markdown.

    Args:
        results: as in results.json.
        titles: of the jobs, in the order to be shown.
    """
    jobs = {n: results["jobs"][n]["rows"] for n in titles if n in results["jobs"]}
    rows = [row for lines in jobs.values() for row in lines]
    sections = [
        _head(results, [title for n, title in titles.items() if n not in jobs]),
        bars(rows, results["settings"]["options"]["quick"]),
        times(rows),
        growth(rows),
        memory(rows),
        values(rows),
        billion(results["paper"]),
    ]
    return "\n".join(section for section in sections if section)


def _head(results: dict[str, Any], left_out: list[str]) -> str:
    settings = results["settings"]
    machine, versions = settings["machine"], settings["versions"]
    threads = machine["threads"]
    torch = f"torch {versions['torch']}" if versions["torch"] else "no torch"
    parts = [
        f"{machine['device']} ({machine['processor']}), {threads['xla']} threads",
        f"{size(machine['memory_bytes'])} of memory",
        f"jax {versions['jax']}",
        torch,
        f"NumPy {versions['numpy']}",
        f"{settings['options']['repeats']} rounds",
    ]
    lines = ["# What jatlas costs", "", ", ".join(parts) + ".", ""]
    if left_out:
        lines += [f"Not run: {', '.join(left_out)}.", ""]
    disturbed = [
        f"{number(job['others'])} in `{name}`"
        for name, job in results["jobs"].items()
        if (job["others"] or 0) > _BUSY
    ]
    if disturbed:
        lines += [_DISTURBED.format(jobs=", ".join(disturbed)), ""]
    return "\n".join([*lines, _HOW_TO_READ])


def bars(rows: list[Row], quick: bool) -> str:
    """Each bar, what was measured, and whether it is met."""
    lines = []
    for row in rows:
        for bar in row["bars"]:
            limits = [
                f"{sign} {number(bar[key])}"
                for sign, key in (("at least", "least"), ("at most", "most"))
                if bar[key] is not None
            ]
            met = {True: "yes", False: "**no**", None: "not judged"}[bar["met"]]
            cells = (bar["what"], number(bar["value"]), ", ".join(limits), met)
            lines.append((named(row), *cells))
    if not lines:
        return ""
    note = "The sizes of `--quick` are too small to judge by.\n\n" if quick else ""
    head = ("job", "figure", "measured", "bar", "met")
    return f"## Bars\n\n{note}{_table(head, lines)}"


def times(rows: list[Row]) -> str:
    """Ours, each reference, and the shares of the machine's rates."""
    lines, missing = [], set()
    for row in rows:
        if "references" not in row:
            continue
        missing |= set(row["missing"].items())
        ours = [
            named(row),
            _spread(row["seconds"]["ours"]),
            share(row, "matmul", "flops"),
            share(row, "copy", "bytes"),
        ]
        first, *others = _compared(row)
        lines += [[*ours, *first], *([ours[0], "", "", "", *cells] for cells in others)]
    if not lines:
        return ""
    notes = [
        f"- {name} is not measured, for it is not installed: `{install}`\n"
        for name, install in sorted(missing)
    ]
    head = ("job", "ours", "matmul", "copy", "reference", "takes", "times ours")
    return f"## Times\n\n{_table(head, lines)}\n{''.join(notes)}"


def _compared(row: Row) -> list[list[str]]:
    """For each reference: what it does, its time, its ratio to ours."""
    if not row["references"]:
        return [["none", "", ""]]
    lines = []
    for name, one in row["references"].items():
        scale = one["scale"]
        seconds = [None if s is None else scale * s for s in row["seconds"][name]]
        ratios = timing.ratios(row["seconds"], name, scale=scale)
        ratio = timing.middle(ratios)
        cell = f"{number(ratio)} ({number(min(ratios))} to {number(max(ratios))}; "
        cell += f"{len(ratios)})"
        scaled = f", scaled by {number(scale)}" if scale != 1 else ""
        cell = f"**{cell}**" if ratio < 1 else cell
        lines.append([one["what"], _spread(seconds) + scaled, cell])
    return lines


def growth(rows: list[Row]) -> str:
    """The exponents of time by size, and the minimum times."""
    lines = []
    for row in rows:
        if "exponent" in row:
            least = [min(timing.known(row["seconds"][str(s)])) for s in row["sizes"]]
            both = zip(row["sizes"], least, strict=True)
            points = "; ".join(f"{s:,}: {duration(t)}" for s, t in both)
            exponent = f"{row['exponent']:.3f} ± {row['error']:.3f}"
            lines.append((named(row), exponent, _memory_exponent(row), points))
    if not lines:
        return ""
    note = (
        "Time grows as size to the exponent, by least squares on the logarithms of the "
        "least time of each size; ± its standard error. Memory: the same of the "
        "compiler's temporaries.\n\n"
    )
    head = ("job", "time", "memory", "least times")
    return f"## Growth\n\n{note}{_table(head, lines)}"


def _memory_exponent(row: Row) -> str:
    exponent = row.get("memory_exponent")
    return "not measured" if exponent is None else f"{exponent:.2f}"


def memory(rows: list[Row]) -> str:
    """What is allocated beside the inputs."""
    lines = []
    for row in rows:
        sizes = row.get("memory", {})
        if any(value is not None for value in sizes.values()):
            names = ("temporary_bytes", "peak_bytes", "output_bytes")
            lines.append((named(row), *(size(sizes.get(name)) for name in names)))
    if not lines:
        return ""
    return f"## Memory\n\n{_table(('job', 'temporaries', 'peak', 'output'), lines)}"


def values(rows: list[Row]) -> str:
    """What else was found, and how far ours is from the references."""
    lines = []
    for row in rows:
        for what, value in row.get("values", {}).items():
            shown = size(value) if what.endswith("bytes") else number(value)
            lines.append((named(row), what.removesuffix(", bytes"), shown))
        for one in row.get("references", {}).values():
            if one["tolerance"] is not None:
                what = f"largest difference from {one['what']}"
                shown = f"{one['difference']:.1e} (at most {one['tolerance']:.0e})"
                lines.append((named(row), what, shown))
    if not lines:
        return ""
    return f"## Values\n\n{_table(('job', 'what', 'value'), lines)}"


def billion(paper: dict[str, Any]) -> str:
    """The figures of `scale`."""
    if not paper:
        return ""
    units = {"bytes": size, "flops": lambda value: f"{value:.2e}"}
    lines = [
        (
            line["what"],
            f"`{line['formula']}`",
            units[line["unit"]](line["value"])
            if line["unit"] in units
            else f"{number(line['value'])} {line['unit']}",
        )
        for line in paper["lines"]
    ]
    plan = paper["plan"]
    note = (
        f"N = {plan['samples']:,} samples, M = {plan['charts']} charts, "
        f"A = {plan['anchors']:,} anchors, D = {plan['features']} features, float32 "
        f"(b = 4), on G = {plan['devices']} devices like this one, in batches of "
        f"B = {plan['batch']:,}; at the rates measured here, "
        f"{paper['flops a second'] / 1e9:.0f} GFLOP/s in merge and "
        f"{size(paper['bytes a second'])}/s of memory. Nothing is exchanged between "
        "devices in a merge.\n\n"
    )
    head = ("what", "formula", "value")
    return f"## On paper: a billion samples\n\n{note}{_table(head, lines)}"


def share(row: Row, rate: str, kind: str) -> str:
    """Our share of a machine's rate in percent; empty without a model."""
    work = row["work"]
    if not work:
        return ""
    scale = work[kind] / row["machine_work"][rate]
    reached = timing.middle(timing.ratios(row["seconds"], rate, scale=scale))
    return f"{100 * reached:.0f} %"


def duration(seconds: float) -> str:
    """In the unit in which it is between 1 and 1000."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{number(seconds * factor)} {unit}"
    return f"{number(seconds * 1e6)} µs"


def size(count: float | None) -> str:
    """Bytes in the decimal unit that gives 1 to 1000."""
    if count is None:
        return "not measured"
    for power, unit in ((15, "PB"), (12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{number(count / 10**power)} {unit}"
    return f"{count:.0f} B"


def _spread(seconds: list[float | None]) -> str:
    """The median time, and the least and the greatest."""
    measured = timing.known(seconds)
    middle = duration(timing.middle(measured))
    if len(measured) == 1:
        return middle
    return f"{middle} ({duration(min(measured))} to {duration(max(measured))})"


def number(value: float | None) -> str:
    """Three digits, or all of a larger whole number."""
    if value is None or not math.isfinite(value):
        return "not measured"
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def named(row: Row) -> str:
    """What is measured, and at which sizes."""
    sizes = ", ".join(f"{axis}={value:,}" for axis, value in row["size"].items())
    return f"{row['name']}; {sizes}" if sizes else row["name"]


def _table(head: tuple[str, ...], lines: list[Any]) -> str:
    """A Markdown table, with repeated first cells left empty."""
    shown, before = [], None
    for first, *others in lines:
        shown.append(["" if first == before else first, *others])
        before = first
    return markdown_table(head, shown) + "\n"
