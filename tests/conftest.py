"""What several test files share."""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# There is a process a core already: the threads of a second kind would only wait for
# each other. NumPy reads it when it is imported, and so do the processes of the tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jaxtyping
import numpy as np
import pytest

# Most of the tests' time is XLA's, compiling programs that run once. Without its
# optimizations it takes a quarter of it. `XLA_FLAGS= pytest` compiles as users do.
QUICK_COMPILING = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
)


def _is_known(flags: str) -> bool:
    """Whether XLA starts with these flags: it ends a process for one it lacks."""
    code = "import jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
    environment = {**os.environ, "XLA_FLAGS": flags}
    command = [sys.executable, "-c", code]
    return not subprocess.run(command, env=environment, capture_output=True).returncode


# Read when JAX first asks for its devices. Worker processes have what the first set.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = QUICK_COMPILING if _is_known(QUICK_COMPILING) else ""

# Four devices, for the tests of sharding; arrays lie on the first unless placed.
jax.config.update("jax_num_cpu_devices", 4)

GOLDEN = Path(__file__).parent / "golden" / "digits_s4_n2.npz"
MOST_MEMORY = 2**31  # of a process, before what it compiled is given up


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Of what is compiled for one file only small steps serve the next.

    It is gigabytes in the end, which then go back to the system. To compile the small
    steps anew for each file took a fifth of the time of the experiments' tests.
    """
    yield
    if _memory() > MOST_MEMORY:
        jax.clear_caches()
        with contextlib.suppress(OSError, AttributeError):  # not the library of GNU
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _memory() -> float:
    """Bytes of this process; infinite where the system does not say."""
    file = Path("/proc/self/statm")
    if not file.exists():
        return np.inf
    return int(file.read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """The paper's own functions on scikit-learn's digits.

    3 task charts and an end-to-end one, random two-layer encoders; 4 shared classes and
    2 novel ones a task; 64 anchors. Computed by the public code of Crisostomi et al.
    (2023), none of it ours.
    """
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(params=["one device", "several devices"])
def devices(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Both ways of what is done otherwise where there is one device, as most have."""
    if request.param == "several devices":
        yield request.param
        return
    with monkeypatch.context() as patch:
        patch.setattr(jax, "device_count", lambda *_: 1)
        jax.clear_caches()
        yield request.param
    jax.clear_caches()


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not checked, as with those who use the library.

    Without it a wrong dtype or rank meets jaxtyping's TypeCheckError, which only the
    tests have, before our own message.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def largest_array() -> Callable[..., int]:
    """Size of the largest array that a function's jaxpr makes, loops included."""

    def size(function: Callable, *args: object) -> int:
        return _largest(jax.make_jaxpr(function)(*args).jaxpr)

    return size


def _is_jaxpr(value: object) -> bool:
    return hasattr(value, "eqns")


def _largest(jaxpr: object) -> int:
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [getattr(out.aval, "size", 0) for out in equation.outvars]
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        sizes += [_largest(value) for value in inner if _is_jaxpr(value)]
    return max(sizes)
