"""An estimate for a billion samples, from the measured rates."""

from typing import Any, NamedTuple

_FLOAT = 4  # bytes
_HOUR = 3600


class Plan(NamedTuple):
    """A merge to estimate, on devices with equal shares of samples."""

    samples: int = 10**9
    charts: int = 64
    anchors: int = 1024
    features: int = 128
    devices: int = 64
    batch: int = 100_000


class Line(NamedTuple):
    """A figure and where it comes from."""

    what: str
    formula: str
    value: float
    unit: str


def on_paper(plan: Plan, flops: float, copied: float, of_cka: float) -> list[Line]:
    """Memory, traffic and device-hours of a merge and its linear CKA.

    Args:
        plan: the sizes.
        flops: a second, that merge was measured to do.
        copied: bytes a second that were measured to be read or written.
        of_cka: flops a second, that a chunk of linear CKA was measured to do.

    Returns:
        A line a figure. All letters are the paper's; b is the bytes of a float, G the
        number of devices, B the rows of a batch.
    """
    n, m, a, d, devices, batch = plan
    embeddings, presence = _FLOAT * n * m * d, n * m
    anchors, atlas = _FLOAT * m * a * d, _FLOAT * n * a
    stacked = _FLOAT * n * m * a
    moved = embeddings + presence + atlas
    product = 2.0 * n * m * d * a
    scatter = _FLOAT * (a + d) ** 2
    resident = moved / devices + anchors
    # While one batch is worked on the next is sent; what is made stays on the device.
    at_once = 2 * batch * (_FLOAT * (m * d + a) + m) + anchors + atlas / devices
    hours = max(product / flops, moved / copied) / _HOUR
    cka_flops = 2.0 * n * (a**2 + a * d + d**2)
    return [
        Line("embeddings", "b N M D", embeddings, "bytes"),
        Line("presence", "N M", presence, "bytes"),
        Line("anchors, on every device", "b M A D", anchors, "bytes"),
        Line("atlas", "b N A", atlas, "bytes"),
        Line("what is never formed", "b M N A", stacked, "bytes"),
        Line("on each device, all at once", "(b N (M D + A) + N M) / G + b M A D",
             resident, "bytes"),
        Line("on each device, in batches from the host",
             "2 B (b M D + b A + M) + b M A D + b N A / G", at_once, "bytes"),
        Line("read and written by all", "b N (M D + A) + N M", moved, "bytes"),
        Line("between devices, once", "b M A D (G - 1)", anchors * (devices - 1),
             "bytes"),
        Line("flops of merge", "2 N M D A", product, "flops"),
        Line("merge", "max(flops / rate, bytes / rate) / 3600", hours, "device-hours"),
        Line("the same on G devices", "that / G", hours / devices, "hours"),
        Line("linear CKA with a space of D features",
             "2 N (A^2 + A D + D^2) / rate / 3600", cka_flops / of_cka / _HOUR,
             "device-hours"),
        Line("its state, all that devices exchange for it", "b (A + D)^2", scatter,
             "bytes"),
    ]  # fmt: skip


def from_results(jobs: dict[str, Any], plan: Plan | None = None) -> dict[str, Any]:
    """`on_paper` at the rates in the results; empty without them.

    Merge is taken to run at the rate of its largest measured size, CKA at that of a
    chunk of rows.
    """
    if not {"machine", "merge", "cka"} <= set(jobs):
        return {}
    plan = Plan() if plan is None else plan
    flops = _rate(jobs["merge"], "merge")
    of_cka = _rate(jobs["cka"], "linear CKA, a chunk of rows")
    copied = jobs["machine"]["rows"][0]["values"]["copy in place, GB/s"] * 1e9
    return {
        "plan": plan._asdict(),
        "flops a second": flops,
        "bytes a second": copied,
        "flops a second of CKA": of_cka,
        "lines": [line._asdict() for line in on_paper(plan, flops, copied, of_cka)],
    }


def _rate(job: dict[str, Any], name: str) -> float:
    """Median flops a second at a named row's largest size."""
    rows = [row for row in job["rows"] if row["name"] == name]
    largest = max(rows, key=lambda row: row["size"]["N"])
    took = sorted(s for s in largest["seconds"]["ours"] if s is not None)
    return largest["work"]["flops"] / took[len(took) // 2]
