"""The tables, made from what results.json holds and nothing else."""

from typing import Any

import numpy as np

from experiments.runs.rows import in_cell, markdown_table

HEADS = {
    "own": "own chart, own head",
    "own_public": "own chart, head learned alone from the public samples",
    "atlas": "own chart, head of the atlas",
    "atlas_shift": "own chart, head of the atlas, shifted",
    "together": "all charts together, head of the atlas",
    "end_to_end": "end-to-end chart, own head",
    "end_to_end_public": "end-to-end chart, head from the public samples",
}
GROUPS = {"unseen": "classes never seen", "seen": "classes seen", "all": "all classes"}


def table(results: dict[str, Any]) -> str:
    """The accuracies, the bytes and what happened, in Markdown."""
    about, rounds = results["settings"], rounds_of(results)
    seeds = ", ".join(str(each["seed"]) for each in rounds)
    options = about["options"]
    title = (
        f"# Federated: {options['dataset']}, {setting_of(options)}, over "
        f"{options['transport']}, {options['coordinates']} coordinates"
    )
    read = (
        "Accuracy on the test split: mean over clients, then mean ± standard "
        f"deviation over seeds {seeds}."
    )
    parts = [title, _accuracies(results["rows"]), read, bytes_table(rounds)]
    parts += ["\n".join(f"- {note}" for note in about["notes"])]
    parts += ["\n".join(_summary(each) for each in rounds)]
    return "\n\n".join(parts) + "\n"


def rounds_of(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of each round, under their present or older name."""
    return results["units"] if "units" in results else results["rounds"]


def setting_of(options: dict[str, Any]) -> str:
    """Whose tasks the clients have; older results have one setting alone."""
    return options["settings"][0] if "settings" in options else options["setting"]


def _accuracies(rows: list[dict[str, Any]]) -> str:
    lines = []
    for method, name in HEADS.items():
        cells = []
        for group in GROUPS:
            matching = [r for r in rows if (r["method"], r["group"]) == (method, group)]
            cells.append(in_cell(by_seed(matching)))
        lines.append([name, *cells])
    return markdown_table(["", *GROUPS.values()], lines)


def by_seed(rows: list[dict[str, Any]]) -> list[float]:
    """The mean over clients, by seed."""
    values: dict[int, list[float]] = {}
    for row in rows:
        value = np.nan if row["value"] is None else row["value"]
        values.setdefault(row["seed"], []).append(value)
    return [float(np.mean(accuracies)) for accuracies in values.values()]


def bytes_table(rounds: list[dict[str, Any]]) -> str:
    """Bytes sent and received in the last round, against the weights."""
    last = rounds[-1]
    head = ("bytes", "sent", "received", "its chart's weights, once", "sent / weights")
    lines = []
    received = sum(last["received"].values())
    for number, weights in last["weights"].items():
        sent = last["sent"].get(number)
        share = "n/a" if sent is None else f"{sent / weights:.2f}"
        amount = "nothing" if sent is None else f"{sent:,}"
        sizes = (f"{size:,}" for size in (received, weights))
        lines.append([f"client {number}", amount, *sizes, share])
    return markdown_table(head, lines)


def _summary(one: dict[str, Any]) -> str:
    """What happened in a round."""
    return "\n".join([f"- seed {one['seed']}:", *(f"    - {x}" for x in one["lines"])])
