"""CKA by its definition in NumPy, and spaces: for tests of all forms of it."""

from functools import cache, partial

import jax
import numpy as np

from jatlas.metrics.alignment import cka
from jatlas.running import cka as running_cka

FORMS = [("linear", False), ("linear", True), ("rbf", False), ("rbf", True)]
ALL = np.ones(40, bool)


def hsic(k, l, debiased):  # noqa: E741
    """Gretton et al. (2005), and Song et al. (2012), equation 5, term by term."""
    n = len(k)
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.sum((k @ h) * (h @ l))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    ones = np.ones(n)
    square = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return np.sum(k * l) + square - 2 / (n - 2) * (ones @ k @ l @ ones)


def squared_distances(x):
    return np.sum((x[:, None] - x) ** 2, axis=-1)


def gram(x, kernel, sigma):
    x = np.asarray(x, np.float64)
    if kernel == "linear":
        x = x - x.mean(0)  # changes no value, and saves the digits of a large mean
        return x @ x.T
    squares = squared_distances(x)
    if sigma is None:
        nonzero = np.sort(squares[squares != 0])
        sigma = np.sqrt(nonzero[(len(nonzero) - 1) // 2])
    return np.exp(-squares / (2 * sigma**2))


def reference(x, y, kernel="linear", debiased=False, sigma=(None, None)):
    k, l = gram(x, kernel, sigma[0]), gram(y, kernel, sigma[1])  # noqa: E741
    across, own_x, own_y = (hsic(a, b, debiased) for a, b in ((k, l), (k, k), (l, l)))
    return across / np.sqrt(own_x * own_y)


def related(seed=0, n=40, offset=0.0):
    """Two spaces of 6 and 4 features that have something to do with each other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)) * np.arange(1, 7)
    y = x[:, :4] @ rng.normal(size=(4, 4)) + rng.normal(size=(n, 4))
    return np.float32(x + offset), np.float32(y - offset)


@cache
def compiled(kernel, debiased):
    form = partial(cka, kernel=kernel, debiased=debiased)
    return jax.jit(
        jax.value_and_grad(lambda x, y, where: form(x, y, where=where), (0, 1))
    )


def value_of(form, x, y, where=ALL):
    return float(compiled(*form)(x, y, where)[0])


def both_references(x, y):
    return [reference(x, y, debiased=debiased) for debiased in (False, True)]


@partial(jax.jit, static_argnums=2)
def streamed(x, y, size):
    chunks = [a.reshape(-1, size, a.shape[1]) for a in (x, y)]
    start = running_cka.empty(x.shape[1], y.shape[1], x.dtype)
    return jax.lax.scan(lambda s, c: (running_cka.add(s, *c), None), start, chunks)[0]


def both_values(state):
    return [float(running_cka.value(state, debiased)) for debiased in (False, True)]
