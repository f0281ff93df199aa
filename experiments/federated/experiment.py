"""Can clients share an atlas in place of data?

Each client trains a chart on its private samples and sends its relative coordinates of
public samples, as sums and counts, once. The server merges them, trains a head on the
atlas and sends it back; each client puts the head on its own encoder. Measured is, most
of all, the accuracy on classes that the client never saw.
"""

from experiments.federated import report
from experiments.federated.measure import measure, prepare, units
from experiments.federated.options import FederatedOptions, check
from experiments.runs.experiment import Experiment

NOTES = (
    "A client sends, once, its number, the number of the round, the digest of the "
    "recipe, and of each public sample the sum (A numbers) and the count (one) of its "
    "relative coordinates, in float32. No image, no label of a private sample, no "
    "weight. It receives the recipe (ids and labels of public samples, which are "
    "anchors) and the head, with one mean row for the shift and, of white-nystroem "
    "coordinates, a matrix (A, A) made of the merged rows of the anchors. In consensus "
    "coordinates it receives its own map too, (A, K), of which the server fits one for "
    "each client.",
    "white-nystroem: a client whitens its chart by its private samples; what it sends "
    "is cosines all the same, as many.",
    "Of one chart the sum is the client's relative coordinates themselves: the server "
    "sees them. Over jax.distributed every client does. With --sends own the counts "
    "also say which classes a client has. For consensus coordinates the server needs "
    "the rows of each client, not their sum alone.",
    "What a client sends is in plain: who sends is taken on trust without "
    "--secret-file, and no noise is added.",
    "The public samples are held out of every client's training. The end-to-end chart "
    "is trained on the private samples of all and on the public ones too.",
    "In scenario A the samples of a shared class lie with every client.",
    "Every head is the paper's probe; own heads are trained on private samples, the "
    "others on the public ones.",
)

EXPERIMENT = Experiment(
    name="federated",
    about=(
        "Clients with private data, each with a chart of its own, and one atlas: each "
        "client sends sums and counts over public samples, the server merges them, "
        "trains a head on the atlas, and sends it back; every client puts it on its "
        "own encoder. Writes results.json, and table.md made from it; on the embedded "
        "data and two cores about a minute a seed. If it is interrupted, the same "
        "command goes on where it was; a client that dropped out joins late by it. "
        "--settings takes one, whose tasks the clients have: S4_N2, 4 classes of all "
        "and 2 more of each; T2, two clients without a common class; or others of "
        "scenarios A and C."
    ),
    options=FederatedOptions(settings=("S4_N2",)),
    unused=("scenario", "num_held_out", "similarity"),
    measure=measure,
    report=report.table,
    check=check,
    units=units,
    prepare=prepare,
    notes=NOTES,
    subfolder=lambda options: f"{options.name}_{options.transport}",
)
