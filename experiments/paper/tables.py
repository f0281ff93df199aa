"""The rows of the results as a readable table."""

from collections.abc import Sequence
from typing import Any

from experiments.measures.protocols import PROTOCOLS
from experiments.paper import claims, reference, summary, training
from experiments.paper.sections import Report, Section, Table, report_in_markdown
from experiments.runs.rows import Rows, in_cell, of_setting, select, settings_of
from experiments.runs.settings import titles_of

SPACES = {
    "original_abs": "end-to-end",
    "original_rel": "end-to-end, relative",
    "jumble_abs": "naive merge",
    "jumble_rel": "naive merge, relative",
    "mean_abs": "mean of embeddings",
    "concat_abs": "concatenation",
    "merged": "atlas",
    "merged_nystroem": "atlas, Nystroem",
    "merged_shift": "atlas, novel samples shifted",
    "original_abs_task": "end-to-end + task known",
    "original_abs_task_embedding": "end-to-end + task learned",
}
# In the tables in which they stand. That of one cut or one group is there in A only.
METRICS: tuple[dict[str, str], ...] = (
    {
        "accuracy": "accuracy",
        "accuracy_shared": "shared classes",
        "accuracy_novel": "novel classes",
        "class_mean_accuracy": "nearest class mean",
    },
    {
        "accuracy_leakfree": "leak-free",
        "accuracy_leakfree_shared": "leak-free, shared",
        "accuracy_leakfree_novel": "leak-free, novel",
    },
    {
        "accuracy_train_split": "training split",
        "accuracy_train_split_shared": "training split, shared",
        "accuracy_train_split_novel": "training split, novel",
        "class_mean_accuracy_train_split": "training split, nearest class mean",
    },
    {
        "cka": "CKA",
        "cka_shared": "CKA, shared",
        "cka_novel": "CKA, novel",
        "separability": "separability",
    },
    {
        "cka_original_abs": "CKA, absolute",
        "cka_original_abs_shared": "CKA, absolute, shared",
        "cka_original_abs_novel": "CKA, absolute, novel",
    },
    {
        "cka_rbf": "RBF CKA",
        "cka_rbf_shared": "RBF CKA, shared",
        "cka_rbf_novel": "RBF CKA, novel",
        "cka_rbf_original_abs": "RBF CKA, absolute",
    },
    {
        "self_similarity_pearson": "self-similarity, Pearson",
        "self_similarity_spearman": "Spearman",
        "self_similarity_cosine": "cosine",
    },
    {
        "self_similarity_pearson_original_abs": "self-similarity, absolute, Pearson",
        "self_similarity_spearman_original_abs": "absolute, Spearman",
        "self_similarity_cosine_original_abs": "absolute, cosine",
    },
    {
        "silhouette": "silhouette",
        "completeness": "completeness",
        "homogeneity": "homogeneity",
        "mutual_information": "mutual information",
    },
)
_HOW_TO_READ = """\
`oracle` is the paper's protocol: a sample, test samples too, is embedded only by the
charts whose task holds it, which at test time takes knowledge of its class (in B, of
its owner). `blind` knows nothing: every chart embeds every sample, at training and at
test. What does not depend on the protocol stands in both columns. Mean ± standard
deviation over seeds.

- Accuracy is that of the paper's probe, with its patience of 10 epochs unless said
  otherwise, which stops the badly conditioned coordinates of the atlas and of
  `original_rel` early: more patience gives them a point or two. "Nearest class mean" is
  the accuracy of the nearest class mean.
- In A the probe is trained and tested on rows of the test split, as in the paper (70 /
  15 / 15). The jumbles have a row for each chart that embeds a sample, so that its
  copies may lie on both sides of that cut and (`oracle`) shared classes weigh more:
  their accuracy is over another population. "Leak-free" is the same cut with all rows
  of a sample on one side; "training split" is the probe that learns from the training
  split, as the paper's does in B and C.
- `blind` has no jumbles and no shift: every chart embeds every sample, so that a jumble
  would be M rows of each, and a sample without a task has no shift. Their blind
  counterparts are `mean_abs` and `concat_abs`. In B and C each sample has one row in a
  jumble under `oracle`: there `jumble_rel` and `merged` are the same space.
- `original_abs_task` is the control: the end-to-end embedding, and beside it the task's
  one-hot (in A a one for each task of the sample), as long as an embedding.
  `original_abs_task_embedding` is the other: beside it a task embedding, learned with
  the probe (in A the mean of those of the sample's tasks). Only their accuracies are
  shown; the other metrics would measure that length.
- CKA is against `original_rel`, the end-to-end chart's relative space; "absolute" is
  against `original_abs`. It is linear; RBF CKA is as wide as the median distance.
- Self-similarity: the correlation of the cosines among samples in the two spaces. It
  and RBF CKA are of all pairs, and so on 1,000 test samples where there are more.
- Higher separability means classes farther apart. It sets relative spaces beside
  absolute ones, and the projection alone raises it: compare `merged` with
  `original_rel` and `jumble_rel`, not with `original_abs`.
- `merged_shift` is the atlas for federated use: to the novel samples of a chart what
  that chart lacks, on the mean of shared training samples, to the mean of the charts.
- `merged_nystroem` is the atlas times the inverse square root of its anchors' own rows,
  which all charts make: another basis of the same space, in which features are no
  longer nearly copies of each other. No label is used. `python -m experiments.blind`
  compares it with other spaces.
- Silhouette and what stands beside it are of k-means, as many clusters as classes; the
  mutual information is in nats.
"""


_CUT = " The paper's cut in A scores 15 % of the test rows of the setting's classes."


def table(results: dict[str, Any]) -> str:
    """The whole report in Markdown, of what results.json holds."""
    return report_in_markdown(report(results))


def report(results: dict[str, Any]) -> Report:
    """The whole report, of what results.json holds."""
    settings, rows = results["settings"], results["rows"]
    options = settings["options"]
    seeds = ", ".join(str(seed) for seed in options["seeds"])
    about = (
        f"Charts: {', '.join(reference.kinds(options))}; "
        f"{options['num_anchors']} anchors, "
        f"seeds {seeds}; {settings['device']}, jax {settings['versions']['jax']}."
    )
    notes = [
        *training.warnings(results),
        *_missing(rows),
        *settings.get("notes", ()),
        _HOW_TO_READ.strip(),
    ]
    titles = titles_of(options["settings"])
    titles = {key: title for key, title in titles.items() if of_setting(rows, key)}
    beside = [training.section(results), reference.section(options, rows)]
    beside.append(claims.section(claims.check(rows)))
    return Report(
        f"jatlas on {options['dataset']}",
        about,
        "\n\n".join(notes),
        overview(rows, titles),
        summary.section(rows, titles),
        [_section(key, title, rows) for key, title in titles.items()],
        [*filter(None, beside)],
    )


def overview(rows: Rows, titles: dict[tuple[str, str], str]) -> Table:
    """The accuracies of all settings in one table."""
    columns = [(key, protocol) for key in titles for protocol in PROTOCOLS]
    head = [f"{s} {name}, {protocol}" for (s, name), protocol in columns]
    lines = [
        [f"{name}, `{space}`"]
        + [
            in_cell(select(of_setting(rows, key), protocol, space, "accuracy").values())
            for key, protocol in columns
        ]
        for space, name in SPACES.items()
    ]
    if any(r["metric"] == "scored_rows" for r in rows):
        lines.append(["*rows scored, one a sample*", *_counts(rows, columns)])
    return Table(["accuracy", *head], lines)


def _counts(rows: Rows, columns: Sequence[tuple[tuple[str, str], str]]) -> list[str]:
    """The number of rows that one seed's accuracy is on, by column."""
    scored = (
        select(of_setting(rows, key), protocol, "original_abs", "scored_rows").values()
        for key, protocol in columns
    )
    return [f"{min(counts):.0f}" if counts else "n/a" for counts in scored]


def cautions(results: dict[str, Any]) -> list[str]:
    """What one must know beside the accuracies, in words."""
    rows = results["rows"]
    noises = [
        f"{' '.join(key)}: {sentence}{_CUT if key[0] == 'A' else ''}"
        for key in settings_of(rows)
        for sentence in summary.noise({key: of_setting(rows, key)})
    ]
    return [*noises, *training.warnings(results), *_missing(rows)]


def _missing(rows: Rows) -> list[str]:
    """Why two spaces are missing, where they are."""
    spaces = {r["space"] for r in rows if r["protocol"] == "blind"}
    reason = (
        "The naive merge and the mean of embeddings are missing: they need embeddings "
        "of one width, and these charts' widths differ."
    )
    return [reason] if "concat_abs" in spaces and "mean_abs" not in spaces else []


def _section(setting: tuple[str, str], title: str, rows: Rows) -> Section:
    rows = of_setting(rows, setting)
    tables = [table for metrics in METRICS if (table := _columns(rows, metrics))]
    return Section(f"{', '.join(setting)}: {title}", tables)


def _columns(rows: Rows, metrics: dict[str, str]) -> Table | None:
    """One table of those of these metrics that exist, or None."""
    measured = {(r["space"], r["metric"]) for r in rows}
    metrics = {
        m: name for m, name in metrics.items() if any(m == x for _, x in measured)
    }
    if not metrics:
        return None
    columns = [(m, protocol) for m in metrics for protocol in PROTOCOLS]
    head = [f"{metrics[m]}, {protocol}" for m, protocol in columns]
    lines = [
        [f"{name}, `{space}`"]
        + [in_cell(select(rows, p, space, m).values()) for m, p in columns]
        for space, name in SPACES.items()
        if any((space, m) in measured for m in metrics)
    ]
    return Table(["space", *head], lines)
