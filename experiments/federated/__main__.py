"""Clients share an atlas, not data: `python -m experiments.federated`.

Each client trains a chart on its private samples and sends its relative coordinates of
public samples, as sums and counts, once. The server merges them, trains a head on the
atlas and sends it back; each client puts the head on its own encoder. Measured is, most
of all, the accuracy on classes that the client never saw. On the embedded data and two
cores about a minute a seed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from rich.console import Console

from experiments.data import storage
from experiments.data.dataset import Dataset
from experiments.encoders import chart_kinds
from experiments.federated import deal as dealing
from experiments.federated import reference, report
from experiments.federated.deal import Deal
from experiments.federated.options import Options, check, of_run, to_json
from experiments.federated.transports import files, processes
from experiments.federated.transports.files import Lost
from experiments.federated.transports.rounds import Round
from experiments.runs import benches, config, runner, terminal

TRANSPORTS = {"files": files.run, "processes": processes.run}
NOTES = (
    "A client sends, once, its number, the number of the round, the digest of the "
    "recipe, and of each public sample the sum (A numbers) and the count (one) of its "
    "relative coordinates, in float32. No image, no label of a private sample, no "
    "weight. It receives the recipe (ids and labels of public samples, which are "
    "anchors) and the head, with one mean row for the shift and, of white-nystroem "
    "coordinates, a matrix (A, A) made of the merged rows of the anchors.",
    "white-nystroem: a client whitens its chart by its private samples; what it sends "
    "is cosines all the same, as many.",
    "Of one chart the sum is the client's relative coordinates themselves: the server "
    "sees them. Over jax.distributed every client does. With --sends own the counts "
    "also say which classes a client has.",
    "What a client sends is in plain: who sends is taken on trust, and no noise is "
    "added.",
    "The public samples are held out of every client's benches. The end-to-end chart "
    "is trained on the private samples of all and on the public ones too.",
    "In scenario A the samples of a shared class lie with every client.",
    "Every head is the paper's probe; own heads are trained on private samples, the "
    "others on the public ones.",
)


class Plan(NamedTuple):
    """A run that can be made: everything about it has been checked.

    Attributes:
        options: of the run.
        settings: that stand beside the results.
        dataset: the data.
        deals: of each seed.
    """

    options: Options
    settings: dict[str, Any]
    dataset: Dataset
    deals: dict[int, Deal]


def plan(options: Options) -> Plan:
    """Check the options, read the data, deal them, and take the folder.

    Raises:
        ValueError: if no run can be made of the options, or the folder is another's.
        OSError: if a folder cannot be written.
    """
    check(options)
    dataset = dealing.load(options)
    deals = {seed: dealing.deal(options, dataset, seed) for seed in options.seeds}
    told = config.describe(of_run(options, options.folder, options.charts), dataset)
    own = to_json(options)
    for name in ("out", "data_dir", "manual_dir"):  # folders may be moved
        del own[name]
    own |= {"seeds": list(options.seeds), "max_epochs": told["options"]["max_epochs"]}
    settings = told | {"options": own, "notes": [*told["notes"], *NOTES]}
    storage.claim(options.folder, config.of_cells(settings))
    return Plan(options, settings, dataset, deals)


def round_of(ready: Plan, seed: int, tell: files.Tell) -> dict[str, Any]:
    """A round, from the disk if all its clients were in it, else made.

    A round that lacks a client is made again, so that the client can join late; what
    was trained before is kept.

    Raises:
        Lost: if nothing came of it.
    """
    file = part(ready.options, seed)
    if file.exists() and (known := storage.read_json(file))["complete"]:
        return known
    options, dealt = ready.options, ready.deals[seed]
    run = TRANSPORTS[options.transport]
    found = run(options, dealt.recipe, options.folder, lambda s, w: tell(0.8 * s, w))
    tell(0.8, "the end-to-end chart")
    bench = benches.prepare(
        of_run(options, options.folder, options.kinds[0]), ready.dataset
    )
    others = reference.end_to_end(options, bench, dealt)
    others |= reference.together(options, ready.dataset, dealt, found.accepted)
    made = written(ready, seed, found, others)
    storage.write_json(file, made)
    return made


def part(options: Options, seed: int) -> Path:
    """The file of a round."""
    return options.folder / "parts" / f"federated_seed{seed}.json"


def written(
    ready: Plan, seed: int, found: Round, others: reference.Scores
) -> dict[str, Any]:
    """A round as it is kept: rows, bytes, and what happened."""
    clients = range(1, ready.deals[seed].recipe.num_clients + 1)
    scores = {
        number: found.reports.get(number, {})
        | {method: of[number] for method, of in others.items()}
        for number in clients
    }
    return {
        "seed": seed,
        "complete": found.accepted == list(clients) == sorted(found.reports),
        "accepted": found.accepted,
        "lines": found.lines,
        "sent": found.sent,
        "received": found.received,
        "weights": {k: weights(ready, ready.options.kind(k)) for k in clients},
        "rows": [
            {
                "seed": seed,
                "client": number,
                "method": method,
                "group": group,
                "value": value,
            }
            for number, methods in scores.items()
            for method, groups in methods.items()
            for group, value in groups.items()
        ],
    }


def weights(ready: Plan, kind: str) -> int:
    """The bytes of a chart's weights: what a client would send if it sent these."""
    chart = chart_kinds.chart(kind, ready.dataset)
    leaves = jax.tree.leaves(jax.eval_shape(chart.init, jax.random.key(0)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def rounds_of(ready: Plan, console: Console) -> list[dict[str, Any]]:
    """All rounds, with a bar that says how long is left."""
    seeds = ready.options.seeds
    found = []
    with terminal.bar(console, len(seeds)) as update:
        for done, seed in enumerate(seeds):

            def tell(
                share: float, what: str, done: int = done, seed: int = seed
            ) -> None:
                update(done + share, f"seed {seed}: {what}")

            found.append(round_of(ready, seed, tell))
            for line in found[-1]["lines"]:
                console.print(f"seed {seed}: {line}", markup=False)
    return found


def results_of(ready: Plan, rounds: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds."""
    rounds = list(rounds)
    rows = [row for each in rounds for row in each["rows"]]
    about = [{k: v for k, v in each.items() if k != "rows"} for each in rounds]
    return {"settings": ready.settings, "rounds": about, "rows": rows}


def main(options: Options) -> None:
    """The whole run, as the command makes it."""
    console = Console(highlight=False, soft_wrap=True)
    runner.keep_compiled()
    try:
        ready = plan(options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    with terminal.endings(console):
        try:
            rounds = rounds_of(ready, console)
        except Lost as error:
            sys.exit(f"error: {error}")
        file = options.folder / "results.json"
        storage.write_json(file, results_of(ready, rounds))
        text = report.table(storage.read_json(file))
        storage.write_text(options.folder / "table.md", text)
    console.print(text, markup=False)
    lacking = [str(each["seed"]) for each in rounds if not each["complete"]]
    if lacking:
        console.print(
            f"seeds {', '.join(lacking)} lack a client; by the same command it joins"
        )


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m experiments.federated"))
