"""A small page of made-up results, with names that would be markup: for its tests."""

import numpy as np
from PIL import Image

from experiments.data.dataset import Dataset
from experiments.paper import tables
from experiments.paper.page import document
from experiments.paper.page.points import Cell
from experiments.paper.plots import figures
from experiments.runs.settings import titles_of

C, NUM_TRAIN, NUM_TEST = 4, 20, 60
NASTY = "<script>alert(1)</script>"
CLASSES = (NASTY, 'b"&<b>', "class | c", "d</script>")
TITLES = titles_of(["S2_N1", "T2"])
CHARTS = {("A", "S2_N1"): 3, ("C", "T2"): 2}
SETTINGS = {
    "options": {
        "dataset": f"set {NASTY}",
        "settings": ["S2_N1", "T2"],
        "charts": ["cnn"],
        "num_anchors": 8,
        "seeds": [0, 1],
        "num_held_out": None,
    },
    "versions": {"jax": "9.9", "code": "<i>"},
    "device": "cpu: <b>cpu</b>",
}


def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    size = NUM_TRAIN + NUM_TEST
    splits = np.where(np.arange(size) < NUM_TRAIN, "train", "test")
    return Dataset(
        name=f"set {NASTY}",
        images=rng.integers(0, 256, (size, 6, 5, 1)).astype(np.uint8),
        labels=(np.arange(size) % C).astype(np.int32),
        ids=np.array([f"{split}/{i}" for i, split in enumerate(splits)]),
        test=splits == "test",
        class_names=CLASSES,
        superclasses=np.array([0, 1, 0, 1], np.int32),
        superclass_names=("even <b>", "odd"),
        notes=("Made up <b>of noise</b>.",),
    )


def rows() -> list[dict]:
    """Of both settings, protocols and seeds; the concatenation's accuracy is null."""
    rng = np.random.default_rng(1)
    metrics = ("accuracy", "separability", "cka_shared", "cka_novel", "scored_rows")
    return [
        {
            "scenario": scenario,
            "setting": setting,
            "protocol": protocol,
            "space": space,
            "metric": metric,
            "seed": seed,
            "value": None if space == "concat_abs" else float(rng.uniform()),
        }
        for scenario, setting in TITLES
        for protocol in ("oracle", "blind")
        for space in tables.SPACES
        for metric in metrics
        for seed in (0, 1)
    ]


def cells(folder) -> list[Cell]:
    """Two, of all test samples; the first one's third sample has no coordinates."""
    picture = folder / "picture.png"
    Image.new("RGB", (60, 40), "white").save(picture)
    data, made = dataset(), []
    rng = np.random.default_rng(2)
    sample = np.flatnonzero(data.test)
    for (scenario, setting), title in TITLES.items():
        arrays = {"labels": data.labels[sample]}
        for name in figures.DRAWN:
            means = rng.normal(size=(C, 8))[arrays["labels"]]
            noise = 0.5 * rng.normal(size=(NUM_TEST, 8))
            arrays[name] = np.float32(means + noise)
        if scenario == "A":
            arrays["oracle/merged"][2] = np.nan
        presence = rng.random((CHARTS[scenario, setting], NUM_TEST)) < 0.5
        presence[0] |= ~presence.any(axis=0)
        arrays = figures.with_tsne(arrays, CLASSES)
        name = f"{scenario} {setting}"
        made.append(Cell(name, title, arrays, sample, presence, {"t-SNE": picture}))
    return made


def write(folder):
    """The page, and the cells that are in it."""
    shown, results = cells(folder), rows()
    report = tables.report({"settings": SETTINGS, "rows": results})
    path = folder / "report.html"
    pictures = {"accuracy <b>": folder / "picture.png"}
    document.write(path, report, SETTINGS, results, shown, dataset(), pictures)
    return path, shown
