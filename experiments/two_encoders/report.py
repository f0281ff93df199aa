"""Tables of the results, for `table.md` and for READMEs."""

from collections.abc import Callable, Iterable
from typing import Any

from experiments.runs.rows import Rows, in_cell, markdown_table
from experiments.two_encoders import maps
from experiments.two_encoders.tables import chain, change, copies, grown, index
from experiments.two_encoders.tables.index import Counts
from experiments.two_encoders.values import cell_or_nothing, select, values

# What the queries become, and where they are looked for.
TRANSLATED = {
    "procrustes": "Procrustes, the other chart's own gallery",
    "ridge": "ridge map, the other chart's own gallery",
    "rotated": "Procrustes, both turned",
    "completed": "ridge maps both ways, side by side",
    "cca": "whitened CCA with weights, chosen by folds",
    "consensus": "**consensus**",
    "consensus_unit": "**consensus**, unit rows",
}
WAYS = {"ab": "first is old", "ba": "second is old"}


def copies_table(rows: Rows, pair: str, number: int, num_scored: int) -> str:
    """A line a method, a column a metric, of `copies`."""
    mine = select(rows, table="copies", pair=pair, num_anchors=number)
    titles = {key: method.title for key, method in maps.METHODS.items()}
    lines = _lines(mine, titles, copies.METRICS)
    known = copies.chance(num_scored)
    chance = ["chance", *(f"{known[key]:.3f}" for key in copies.METRICS)]
    head = [f"{pair}, {number} anchors", *copies.METRICS.values()]
    return markdown_table(head, [chance, *lines])


def overview(rows: Rows, metric: str = "mrr") -> str:
    """A line a method, a column a pair and number, of `copies`."""
    mine = select(rows, table="copies", metric=metric)
    cells = dict.fromkeys((row["pair"], row["num_anchors"]) for row in mine)
    lines = [
        [
            method.title,
            *(
                in_cell(values(mine, method=key, pair=pair, num_anchors=number))
                for pair, number in cells
            ),
        ]
        for key, method in maps.METHODS.items()
    ]
    heads = [f"{pair}, {number}" for pair, number in cells]
    return markdown_table([copies.METRICS[metric], *heads], lines)


def translation(rows: Rows) -> str:
    """A line a method, a column a cell and direction."""
    mine = [
        row
        for row in select(rows, table="copies")
        if row["metric"] in copies.DIRECTIONS
    ]
    cells = dict.fromkeys(
        (row["pair"], row["num_anchors"], row["metric"]) for row in mine
    )
    # By pair and number, then direction: as the rows of a method stand.
    lines = [
        [
            title,
            *(
                in_cell(
                    values(mine, method=key, pair=pair, num_anchors=number, metric=way)
                )
                for pair, number, way in cells
            ),
        ]
        for key, title in TRANSLATED.items()
    ]
    heads = [
        f"{pair}, {number}, {' to '.join(way[-2:])}" for pair, number, way in cells
    ]
    return markdown_table(["mean reciprocal rank", *heads], lines)


def chain_table(rows: Rows, pair: str, num_scored: int) -> str:
    """A line a method, a column a metric and number, of `chain`."""
    mine = select(rows, table="chain", pair=pair)
    numbers = list(dict.fromkeys(row["num_anchors"] for row in mine))
    columns = [(metric, number) for metric in chain.METRICS for number in numbers]
    lines = [
        [
            title,
            *(
                cell_or_nothing(
                    values(mine, method=key, metric=metric, num_anchors=number)
                )
                for metric, number in columns
            ),
        ]
        for key, title in chain.METHODS.items()
    ]
    known = copies.chance(num_scored) | {"near_mrr": copies.chance(num_scored)["mrr"]}
    chance = ["chance", *(f"{known[metric]:.3f}" for metric, _ in columns)]
    heads = [f"{chain.METRICS[metric]}, {number}" for metric, number in columns]
    return markdown_table([pair, *heads], [chance, *lines])


def index_table(rows: Rows, pair: str, way: str, counts: Counts) -> str:
    """A line a method, a column a metric, of `index`."""
    mine = select(rows, table="index", pair=pair, way=way)
    titles = {key: title for key, (title, _) in index.METHODS.items()}
    known = copies.chance(sum(counts)) | index.fair(counts)
    chance = ["chance, and fair", *(f"{known[key]:.3f}" for key in index.METRICS)]
    head = [f"{pair}, {WAYS[way]}", *index.METRICS.values()]
    return markdown_table(head, [chance, *_lines(mine, titles, index.METRICS)])


def index_overview(rows: Rows, metric: str) -> str:
    """A line a method, a column a pair and way, of `index`."""
    mine = select(rows, table="index", metric=metric)
    cells = dict.fromkeys((row["pair"], row["way"]) for row in mine)
    lines = [
        [
            title,
            *(
                in_cell(values(mine, method=key, pair=pair, way=way))
                for pair, way in cells
            ),
        ]
        for key, (title, _) in index.METHODS.items()
    ]
    heads = [f"{pair}, {WAYS[way]}" for pair, way in cells]
    return markdown_table([index.METRICS[metric], *heads], lines)


def change_table(rows: Rows, pair: str, way: str, num_indexed: int) -> str:
    """A line a method, a column a metric and share, of `change`."""
    mine = select(rows, table="change", pair=pair, way=way)
    numbers = list(dict.fromkeys(row["num_anchors"] for row in mine))
    columns = [(metric, number) for metric in change.METRICS for number in numbers]
    lines = [
        [
            title,
            *(
                in_cell(values(mine, method=key, metric=metric, num_anchors=number))
                for metric, number in columns
            ),
        ]
        for key, title in change.TITLE_OF.items()
    ]
    heads = [
        f"{change.METRICS[metric]}, {_share(number, num_indexed)}"
        for metric, number in columns
    ]
    return markdown_table([change.TITLES[pair, way], *heads], lines)


def beforehand(rows: Rows, num_indexed: int) -> str:
    """What is known beforehand beside what came out, of `change`."""
    mine = select(rows, table="change", method=change.CHOSEN)
    cells = sorted({(row["pair"], row["way"], row["num_anchors"]) for row in mine})
    metrics = change.BEFOREHAND | change.METRICS
    lines = []
    for pair, way, number in cells:
        cell = select(mine, pair=pair, way=way, num_anchors=number)
        title = f"{change.TITLES[pair, way]}, {_share(number, num_indexed)}"
        lines.append([title, *(in_cell(values(cell, metric=key)) for key in metrics)])
    return markdown_table(["change, re-embedded", *metrics.values()], lines)


def _share(number: int, num_indexed: int) -> str:
    return f"{100 * number / num_indexed:.3g} %"


# What is compared, draw by draw.
GAPS = {
    "consensus less Procrustes, both turned": ("consensus", "rotated"),
    "consensus less Procrustes, unit rows": ("consensus_unit", "rotated_unit"),
    "consensus chosen less CCA chosen": ("consensus_chosen", "cca"),
    "consensus chosen less consensus": ("consensus_chosen", "consensus"),
}
INDEX_GAPS = {
    "consensus, power 2, less Procrustes": ("consensus_2", "procrustes"),
    "consensus chosen less power 2": ("chosen_all", "consensus_2"),
    "consensus chosen less CCA chosen": ("chosen_all", "cca"),
}


def gaps(rows: Rows, table: str) -> str:
    """Differences in the mean reciprocal rank, paired by draw."""
    mine = select(rows, table=table, metric="mrr")
    column = "way" if table == "index" else "num_anchors"
    cells = dict.fromkeys((row["pair"], row[column]) for row in mine)
    lines = []
    for title, (ours, theirs) in (INDEX_GAPS if table == "index" else GAPS).items():
        of = [{"pair": pair, column: value} for pair, value in cells]
        both = [
            zip(
                values(mine, method=ours, **cell),
                values(mine, method=theirs, **cell),
                strict=True,
            )
            for cell in of
        ]
        lines.append([title, *(in_cell([a - b for a, b in each]) for each in both)])
    heads = [f"{pair}, {WAYS.get(value, value)}" for pair, value in cells]
    return markdown_table(["difference", *heads], lines)


def _lines(
    rows: Rows, titles: dict[str, str], metrics: Iterable[str]
) -> list[list[str]]:
    names = list(metrics)
    return [
        [title, *(in_cell(values(rows, method=key, metric=name)) for name in names)]
        for key, title in titles.items()
    ]


def tables(results: dict[str, Any]) -> dict[str, Callable[[], str]]:
    """Tables of a run by name, each made when called."""
    rows, options = results["rows"], results["settings"]["options"]
    num_scored = options["num_samples"] - options["num_pool"]
    counts = Counts(*options["num_documents"])
    made: dict[str, Callable[[], str]] = {}
    cells = dict.fromkeys(
        (row["table"], row["pair"], row["num_anchors"], row.get("way")) for row in rows
    )
    for name, pair, number, way in cells:
        if name == "copies":
            made[f"{pair}_{number}"] = _bound(
                copies_table, rows, pair, number, num_scored
            )
        elif name == "chain":
            made[f"chain_{pair}"] = _bound(chain_table, rows, pair, num_scored)
        elif name == "grown":
            made[f"grown_{pair}"] = _bound(grown.table, rows, pair)
        elif name == "change":
            size = options["num_indexed"]
            made[f"change_{pair}_{way}"] = _bound(change_table, rows, pair, way, size)
            made["change_beforehand"] = _bound(beforehand, rows, size)
        else:
            made[f"index_{pair}_{way}"] = _bound(index_table, rows, pair, way, counts)
    if any(cell[0] == "copies" for cell in cells):
        made |= {"overview": _bound(overview, rows)}
        made |= {"translation": _bound(translation, rows)}
        made |= {"gaps": _bound(gaps, rows, "copies")}
    if any(cell[0] == "index" for cell in cells):
        made |= {
            f"index_{metric}": _bound(index_overview, rows, metric)
            for metric in ("mrr", "new")
        }
        made |= {"index_gaps": _bound(gaps, rows, "index")}
    return made


def _bound(make: Callable[..., str], *given: Any) -> Callable[[], str]:
    return lambda: make(*given)


def text(results: dict[str, Any]) -> str:
    """All tables, and what who reads them must know."""
    settings = results["settings"]
    charts = dict.fromkeys(
        f"{unit['table']}, {unit['pair']}: "
        + ", ".join(
            f"{title} (D = {width})"
            for title, width in zip(unit["charts"], unit["widths"], strict=True)
        )
        for unit in results["units"]
    )
    seeds = ", ".join(map(str, settings["options"]["seeds"]))
    spread = f"Mean ± standard deviation over draws, seeds {seeds}."
    parts = [make() for make in tables(results).values()]
    return "\n\n".join([*parts, *charts, " ".join([spread, *settings["notes"]])]) + "\n"
