"""The rows of the results as a table that a stranger can read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]

SPACES = {
    "original_abs": "end-to-end",
    "original_rel": "end-to-end, relative",
    "jumble_abs": "naive merge",
    "mean_abs": "mean of embeddings",
    "concat_abs": "concatenation",
    "merged": "atlas",
    "original_abs_task": "end-to-end + task told",
}
# In the tables in which they stand.
METRICS: tuple[dict[str, str], ...] = (
    {
        "accuracy": "accuracy",
        "accuracy_shared": "shared classes",
        "accuracy_novel": "novel classes",
        "class_mean_accuracy": "nearest class mean",
    },
    {
        "cka": "CKA",
        "cka_shared": "CKA, shared",
        "cka_novel": "CKA, novel",
        "separability": "separability",
    },
)
_HOW_TO_READ = """\
`oracle` is the paper's protocol: a sample, test samples too, is embedded only by the
charts whose task holds it, which at test time takes knowledge of its class (in B, of
its owner). `blind` knows nothing: every chart embeds every sample, at training and at
test. What does not depend on the protocol stands in both columns. Mean ± standard
deviation over seeds. Accuracy is of the paper's probe, "nearest class mean" of the
nearest class mean, CKA is linear and against `original_rel`, the end-to-end chart's
relative space; higher separability means classes farther apart. In A the probe is
trained and tested on rows of the test split, as in the paper, and the copies of a
shared sample in `jumble_abs` may lie on both sides of its cut.
"""


def table(
    settings: dict[str, Any], rows: Rows, titles: dict[tuple[str, str], str]
) -> str:
    """The whole report in Markdown.

    Args:
        settings: what `config.describe` gave.
        rows: of the results.
        titles: of each (scenario, setting), in the order to be shown.
    """
    options = settings["options"]
    seeds = ", ".join(str(seed) for seed in options["seeds"])
    head = (
        f"# jatlas on {options['dataset']}\n\n{options['num_anchors']} anchors, "
        f"seeds {seeds}; {settings['device']}, "
        f"jax {settings['versions']['jax']}.\n\n{_HOW_TO_READ}"
    )
    sections = [
        _section(scenario, setting, title, rows)
        for (scenario, setting), title in titles.items()
        if any((r["scenario"], r["setting"]) == (scenario, setting) for r in rows)
    ]
    return "\n".join([head, *sections])


def _section(scenario: str, setting: str, title: str, rows: Rows) -> str:
    rows = [r for r in rows if (r["scenario"], r["setting"]) == (scenario, setting)]
    tables = [text for metrics in METRICS if (text := _columns(rows, metrics))]
    return "\n".join(
        [f"## {scenario}, {setting}: {title}\n", *tables, _in_words(rows), ""]
    )


def _columns(rows: Rows, metrics: dict[str, str]) -> str:
    """One table, of those of these metrics that there are; empty if there are none."""
    found = {(r["space"], r["metric"]) for r in rows}
    metrics = {m: name for m, name in metrics.items() if any(m == x for _, x in found)}
    if not metrics:
        return ""
    columns = [(m, protocol) for m in metrics for protocol in ("oracle", "blind")]
    head = [f"{metrics[m]}, {protocol}" for m, protocol in columns]
    lines = [f"| space | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for space, name in SPACES.items():
        if any((space, m) in found for m in metrics):
            cells = [_cell(select(rows, p, space, m)) for m, p in columns]
            lines.append(f"| {name}, `{space}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def select(rows: Rows, protocol: str, space: str, metric: str) -> dict[int, float]:
    """The values by seed; NaN where a run wrote null."""
    wanted = (protocol, space, metric)
    return {
        r["seed"]: float("nan") if r["value"] is None else r["value"]
        for r in rows
        if (r["protocol"], r["space"], r["metric"]) == wanted
    }


def _cell(values: dict[int, float]) -> str:
    if not values:
        return "n/a"
    mean, deviation = _summary(list(values.values()))
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ± {deviation:.3f}"


def _summary(values: Sequence[float]) -> tuple[float, float]:
    deviation = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(deviation)


def _in_words(rows: Rows) -> str:
    """What the table shows and what it does not, from its own numbers."""
    told = _apart(rows, "oracle", "original_abs_task", "original_abs")
    return (
        "*In words:* told by which charts a sample is to be embedded (`oracle`), the "
        f"atlas is {_apart(rows, 'oracle', 'merged', 'original_abs')} the end-to-end "
        "space. That is not the merge's alone: merely told the task, with nothing "
        f"merged, the end-to-end space is {told} where it was, and the atlas "
        f"{_apart(rows, 'oracle', 'merged', 'original_abs_task')} that. Told nothing "
        f"(`blind`), the atlas is {_apart(rows, 'blind', 'merged', 'original_abs')} "
        f"end-to-end, {_apart(rows, 'blind', 'merged', 'mean_abs')} the mean of the "
        f"embeddings and {_apart(rows, 'blind', 'merged', 'concat_abs')} their "
        "concatenation. What the table does not show: other data, encoders or probes; "
        "and a high CKA in it is no promise of accuracy."
    )


def _apart(rows: Rows, protocol: str, space: str, other: str) -> str:
    """How far the accuracy of a space is above or below another's, seed by seed."""
    ours = select(rows, protocol, space, "accuracy")
    theirs = select(rows, protocol, other, "accuracy")
    gaps = [100 * (ours[seed] - theirs[seed]) for seed in ours]
    mean, deviation = _summary(gaps)
    spread = f" ± {deviation:.1f}" if len(gaps) > 1 else ""
    if np.isnan(mean):
        return "not comparable with"
    return f"{abs(mean):.1f}{spread} points {'above' if mean > 0 else 'below'}"
