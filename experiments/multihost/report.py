"""The results and times of several processes, as a table."""

from typing import Any

from experiments.runs.rows import markdown_table


def table(results: dict[str, Any]) -> str:
    """CKA, accuracy, and rows of each process, in Markdown."""
    lines = [[f"rows of process {m}", f"{n:,}"] for m, n in enumerate(results["rows"])]
    lines += [
        ["CKA", f"{results['cka']:.6f}"],
        ["CKA, debiased", f"{results['cka_debiased']:.6f}"],
        ["CKA, streamed", f"{results['cka_streamed']:.6f}"],
        ["CKA, streamed, debiased", f"{results['cka_streamed_debiased']:.6f}"],
        ["accuracy", f"{results['accuracy']:.4f}"],
    ]
    lines += [
        [f"seconds of {name}", f"{seconds:.3f}"]
        for name, seconds in results["seconds"].items()
    ]
    return markdown_table(["figure", "value"], lines)
