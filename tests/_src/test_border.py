"""Arrays that JAX takes for something else are refused by name, before it sees them."""

import jax
import numpy as np
import pytest

import jatlas
from jatlas._src import border

X = np.random.default_rng(0).normal(size=(8, 3))
WIDE = np.dtype(np.longdouble).itemsize > 8
UNKNOWN = ["object", "U8", "S8", "datetime64[s]", "V4"]
UNKNOWN += ["longdouble"] if WIDE else []


def foreign(dtype):
    if dtype == "V4":
        return X.astype(np.float32).view("V4")
    if dtype == "datetime64[s]":
        return X.astype(np.int64).astype(dtype)
    return X.astype(dtype)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", UNKNOWN)
def test_arrays_of_unknown_dtypes_are_refused_by_name(dtype):
    x = foreign(dtype)
    with pytest.raises(ValueError, match=r"^anchors is .*\.astype\(np\.float32\)"):
        jatlas.relativize(X, x)
    with pytest.raises(ValueError, match="embeddings"):
        jatlas.merge([x, X], [X[:2], X[:2]], np.ones((2, 8), bool))
    with pytest.raises(ValueError, match="embeddings of chart 0"):
        jatlas.assemble([(np.arange(8), x)])


LABELS = np.arange(8) % 2
PRESENCE = np.ones((2, 8), bool)
KEY = jax.random.key(0)
MASKED = {
    "embeddings": lambda m: jatlas.relativize(m(X), X),
    "anchors": lambda m: jatlas.relativize(X, m(X)),
    "embeddings of fit_whiten": lambda m: jatlas.fit_whiten(m(X)),
    "embeddings of merge": lambda m: jatlas.merge([X, m(X)], [X, X], PRESENCE),
    "presence": lambda m: jatlas.merge([X, X], [X, X], m(PRESENCE)),
    "presence of masked_mean": lambda m: jatlas.masked_mean(
        np.stack([X, X]), m(PRESENCE)
    ),
    "x": lambda m: jatlas.cka(m(X), X),
    "where": lambda m: jatlas.cka(X, X, where=m(PRESENCE[0])),
    "labels": lambda m: jatlas.separability(X, m(LABELS), num_classes=2),
    "labels of fit_probe": lambda m: jatlas.fit_probe(KEY, X, m(LABELS), 2),
    "queries": lambda m: jatlas.metrics.retrieval(m(X), X, k=2),
    "pool": lambda m: jatlas.choose_anchors(0, m(PRESENCE[0]), 2),
    "embeddings of choose_anchors": lambda m: jatlas.choose_anchors(
        0, PRESENCE[0], 2, method="kmeans", embeddings=m(X)
    ),
    "seen": lambda m: jatlas.anchor_pool(m(PRESENCE), "shared"),
    "embeddings of assemble": lambda m: jatlas.assemble([(np.arange(8), m(X))]),
}


def masked(x):
    return np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MASKED)
def test_masked_arrays_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"{name.split(' of ')[0]}.* a masked array"):
        MASKED[name](masked)
    MASKED[name](lambda x: x)


SPACES = {
    "embeddings": lambda x: jatlas.relativize(x, X),
    "anchors": lambda x: jatlas.relativize(X, x),
    "embeddings of fit_whiten": jatlas.fit_whiten,
    "embeddings of merge": lambda x: jatlas.merge([X, x], [X, X], PRESENCE),
    "embeddings of fit_consensus": lambda x: jatlas.fit_consensus([X, x], PRESENCE),
    "x": lambda x: jatlas.cka(x, X),
    "y": lambda x: jatlas.cka(X, x),
    "space": lambda x: jatlas.separability(x, LABELS, num_classes=2),
    "space of fit_probe": lambda x: jatlas.fit_probe(KEY, x, LABELS, 2),
    "gallery": lambda x: jatlas.metrics.retrieval(X, x, k=2),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", SPACES)
def test_a_space_that_float32_does_not_hold_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name.split(' of ')[0]} is float64, and 3"):
        SPACES[name](X + 1e8)
    SPACES[name](X + 10)
    SPACES[name](np.ones_like(X) * 1e8)  # it does not vary at all
    SPACES[name]((X + 1e8).astype(np.float32))  # the caller has rounded it
    with jax.enable_x64(True):
        SPACES[name](X + 1e8)


ROWS = np.random.default_rng(1).normal(size=(60, 4))
FAR = ROWS + 1e8
LOST = {
    "with absent rows": np.concatenate(
        [np.zeros((9, 4)), FAR, np.full((9, 4), np.nan)]
    ),
    "in the other order of bytes": FAR.astype(">f8"),
    "one feature that outweighs the others": np.c_[ROWS, 1.7e9 + np.arange(60.0)],
    "two sessions": FAR + 1e7 * (np.arange(60) < 30)[:, None],
    "an outlier": np.concatenate([FAR, FAR[:1] + 1e9]),
    "one chart of three": np.stack([ROWS, ROWS, FAR]),
    "behind many equal rows": np.concatenate([np.repeat(FAR[:1], 1024, 0), FAR]),
}
KEPT = {
    "zeros": np.zeros((60, 4)),
    "one-hot": np.eye(60),
    "what float32 holds": (1e4 + 0.01 * ROWS).astype(np.float32).astype(np.float64),
    "whole numbers": 1e7 + np.random.default_rng(2).integers(0, 30, (60, 4)) * 1.0,
    "one far feature of many": np.c_[ROWS, 1e6 + 1e-3 * ROWS[:, :1]],
    "equal up to float64": np.ones((60, 4)) + 1e-16 * ROWS,
    "few rows": 1 + 1e-7 * ROWS[:2],
}


@pytest.mark.parametrize("name", LOST)
def test_however_a_lost_space_looks_it_is_refused(name):
    with pytest.raises(ValueError, match="embeddings is float64"):
        border.check_held("embeddings", LOST[name])


@pytest.mark.parametrize("name", KEPT)
def test_a_space_that_float32_tells_apart_is_not_refused(name):
    border.check_held("embeddings", KEPT[name])


@pytest.mark.usefixtures("unchecked")
def test_masked_rows_in_a_list_are_refused():
    rows = np.ma.masked_array(X, mask=X > 1)
    with pytest.raises(ValueError, match="masked array"):
        jatlas.assemble([(np.arange(8), list(rows))])
