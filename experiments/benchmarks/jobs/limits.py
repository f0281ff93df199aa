"""What the machine can do at best, with nothing else beside it."""

import jax
import jax.numpy as jnp

from experiments.benchmarks import machine, timing
from experiments.benchmarks.measure import Bench, Row
from experiments.benchmarks.timing import Subject

_NUMBERS = 2**23  # copied to new memory: 32 MB


def rows(bench: Bench) -> list[Row]:
    """The one row: rates of products and of copies.

    Copies are in place, and to new memory. New memory is what most results are written
    to. On some machines, virtual ones above all, its first use takes much longer than
    the copying.
    """
    x = jnp.ones(_NUMBERS, jnp.float32)
    copied = jax.jit(jnp.copy)
    subjects = {**machine.rates(), "new": Subject(lambda: copied(x))}
    seconds, _ = timing.in_turns(subjects, bench.repeats, bench.budget)
    work = {**machine.work(), "new": 2.0 * x.nbytes}
    rates = {
        name: timing.middle([work[name] / s for s in timing.known(seconds[name])])
        for name in subjects
    }
    values = {
        "matmul, GFLOP/s": rates["matmul"] / 1e9,
        "copy in place, GB/s": rates["copy"] / 1e9,
        "copy to new memory, GB/s": rates["new"] / 1e9,
    }
    return [
        {
            "name": "machine",
            "size": {},
            "seconds": seconds,
            "machine_work": work,
            "values": values,
            "bars": [],
        }
    ]
