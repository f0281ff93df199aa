"""What several processes computed together, and how long it took."""

from experiments.readmes.files import Runs
from experiments.runs.rows import markdown_table

RUN = "two_processes"


def values(runs: Runs) -> str:
    """CKA, accuracy, and rows of each process."""
    found = runs[RUN]
    lines = [[f"rows of process {m}", f"{n:,}"] for m, n in enumerate(found["rows"])]
    lines += [
        ["CKA", f"{found['cka']:.6f}"],
        ["CKA, debiased", f"{found['cka_debiased']:.6f}"],
        ["CKA, streamed", f"{found['cka_streamed']:.6f}"],
        ["CKA, streamed, debiased", f"{found['cka_streamed_debiased']:.6f}"],
        ["accuracy", f"{found['accuracy']:.4f}"],
    ]
    lines += [
        [f"seconds of {name}", f"{seconds:.3f}"]
        for name, seconds in found["seconds"].items()
    ]
    return markdown_table(["figure", "value"], lines)


TABLES = {"values": values}
