"""Charts in files of three formats, written plainly, and their consensus by NumPy."""

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

N = 120
WIDTHS = {"a": 5, "b": 4, "c": 6}
# a and b share 40 samples, b and c 40, a and c none: no sample is in all.
HELD = {"a": np.r_[0:60], "b": np.r_[20:100], "c": np.r_[60:120]}
IDS = np.array([f"doc{n:03d}" for n in range(N)])


def encode(name, rows, noise=0.1):
    """A chart's rows of some samples, in float64: the same ones at every call."""
    rng = np.random.default_rng(ord(name))
    hidden = np.random.default_rng(7).normal(size=(N, 4))
    width = WIDTHS.get(name, 5)
    x = np.tanh(hidden @ rng.normal(size=(4, width)) / 2 + 0.3)
    return (x + noise * rng.normal(size=x.shape))[rows].astype(np.float32)


def write(folder, orders=7):
    """a.npz, b.parquet and c.h5, each in an order of its own."""
    rng = np.random.default_rng(orders)
    paths = {name: folder / f"{name}.npz" for name in HELD}
    paths["b"], paths["c"] = folder / "b.parquet", folder / "c.h5"
    for name, held in HELD.items():
        rows = rng.permutation(held)
        put(paths[name], name, rows)
    return list(paths.values())


def put(path, name, rows):
    """Some samples of a chart as a file."""
    ids, x = IDS[rows], encode(name, rows)
    if path.suffix == ".npz":
        np.savez(path, id=ids, x=x)
    elif path.suffix == ".parquet":
        lists = arrow.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1])
        parquet.write_table(
            arrow.table({"id": ids, "x": lists}), path, row_group_size=9
        )
    else:
        with h5py.File(path, "w") as file:
            file["id"], file["x"] = ids.astype("S"), x
    return path


def consensus(ridge, power, num_features, held=HELD):
    """Each chart's map, as pairs (mean, matrix), by the definition, N by N."""
    count = np.sum([np.isin(np.arange(N), rows) for rows in held.values()], axis=0)
    kernel, charts = np.zeros((N, N)), []
    for name, rows in held.items():
        rows = np.sort(rows[count[rows] > 1])
        x = encode(name, rows).astype(np.float64)
        mean = x.mean(axis=0)
        scale = np.sqrt(np.mean(np.sum((x - mean) ** 2, axis=1)))
        side = (x - mean) / scale
        inverse = np.linalg.inv(side.T @ side + ridge * np.eye(side.shape[1]))
        kernel[np.ix_(rows, rows)] += side @ inverse @ side.T
        charts.append((rows, mean, scale, side, inverse))
    root = np.where(count > 1, 1 / np.sqrt(np.maximum(count, 1)), 0)
    values, vectors = np.linalg.eigh(root[:, None] * kernel * root)
    values, vectors = values[::-1][:num_features], vectors[:, ::-1][:, :num_features]
    consensus = root[:, None] * vectors
    return [
        (mean, inverse @ side.T @ consensus[rows] * values**power / scale)
        for rows, mean, scale, side, inverse in charts
    ]


def mapped(maps, held=HELD):
    """(M, N, K), NaN where absent."""
    rows = np.full((len(maps), N, maps[0][1].shape[1]), np.nan)
    for m, (name, mine) in enumerate(held.items()):
        mean, matrix = maps[m]
        rows[m, mine] = (encode(name, mine) - mean) @ matrix
    return rows
