"""Tables and pictures show the rows that they name."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.readmes import marks
from experiments.two_encoders import figures, maps, report
from experiments.two_encoders.tables import chain, change, copies, index
from experiments.two_encoders.values import select

OPTIONS = {"num_samples": 300, "num_pool": 100, "num_documents": (60, 20, 20)} | {
    "num_indexed": 200
}


def value(*of):
    """A number in [0, 1) that belongs to these words."""
    return sum(map(ord, "".join(map(str, of)))) % 997 / 1000


@pytest.fixture(scope="module")
def results():
    rows = []
    for seed in (0, 1):
        for pair in ("sentences", "images"):
            cell = {"pair": pair, "seed": seed}
            for number in (8, 16):
                for name, methods, metrics in (
                    ("copies", maps.METHODS, (*copies.METRICS, *copies.DIRECTIONS)),
                    ("chain", chain.METHODS, chain.METRICS),
                ):
                    known = cell | {"table": name, "num_anchors": number}
                    rows += [
                        known
                        | {"method": m, "metric": k}
                        | {"value": value(pair, seed, number, name, m, k)}
                        for m in methods
                        for k in metrics
                    ]
            for way in ("ab", "ba"):
                known = cell | {"table": "index", "num_anchors": 20, "way": way}
                rows += [
                    known
                    | {"method": m, "metric": k, "value": value(pair, seed, way, m, k)}
                    for m in index.METHODS
                    for k in index.METRICS
                ]
            rows += [
                cell
                | {"table": "change", "num_anchors": number, "way": way}
                | {"method": m, "metric": k}
                | {"value": value(pair, seed, number, way, m, k)}
                for number in (8, 16)
                for way in change.CHANGES[pair]
                for m in change.TITLE_OF
                for k in (*change.METRICS, *change.BEFOREHAND)
            ]
    settings = {"options": OPTIONS | {"seeds": [0, 1]}, "notes": ["A note."]}
    unit = {"table": "copies", "pair": "images", "charts": ["a", "b"], "widths": [6, 9]}
    return {"rows": rows, "settings": settings, "units": [unit]}


@pytest.mark.parametrize(
    ("table", "row", "column", "of"),
    [
        (
            "images_16", "consensus, unit rows", "recall at 1",
            ("images", "{}", 16, "copies", "consensus_unit", "recall_1"),
        ),
        (
            "overview", "Procrustes, both turned", "sentences, 8",
            ("sentences", "{}", 8, "copies", "rotated", "mrr"),
        ),
        (
            "translation", "consensus", "images, 16, b to a",
            ("images", "{}", 16, "copies", "consensus", "mrr_ba"),
        ),
        (
            "chain_sentences", "consensus, neighbours share samples",
            "recall at 10, 16",
            ("sentences", "{}", 16, "chain", "linked", "recall_10"),
        ),
        (
            "index_images_ba", "consensus, power 2", "new only",
            ("images", "{}", "ba", "consensus_2", "new"),
        ),
        (
            "index_mrr", "atlas, plain", "sentences, second is old",
            ("sentences", "{}", "ba", "atlas", "mrr"),
        ),
        (
            "change_sentences_bc", "ridge, queries translated",
            "documents found, 8 %",
            ("sentences", "{}", 16, "bc", "ridge_queries", "found"),
        ),
        (
            "change_beforehand", "TF-IDF to all-MiniLM-L6-v2, 4 %",
            "held-out linked documents found",
            ("sentences", "{}", 8, "ba", "chosen", "held_out"),
        ),
    ],
)  # fmt: skip
def test_a_cell_is_the_mean_of_its_rows(results, table, row, column, of):
    text = report.tables(results)[table]()
    found = [value(*(seed if x == "{}" else x for x in of)) for seed in (0, 1)]
    wanted = f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"
    assert marks.cell(text, row, column) == wanted


def test_what_is_fair_stands_above_the_shares(results):
    text = report.tables(results)["index_images_ab"]()
    assert marks.cell(text, "chance, and fair", "new only") == "0.200"
    assert marks.cell(text, "chance, and fair", "old only among the ten nearest") == (
        "0.600"
    )


def test_all_tables_stand_in_the_text(results):
    text = report.text(results)
    for make in report.tables(results).values():
        assert make() in text
    assert "copies, images: a (D = 6), b (D = 9)" in text
    assert text.endswith("seeds 0, 1. A note.\n")


def test_pictures_have_a_line_or_a_bar_a_method(results):
    of = {
        name: select(results["rows"], table=name)
        for name in ("copies", "chain", "index")
    }
    drawn = (
        figures.copies_figure(of["copies"]),
        figures.chain_figure(of["chain"]),
        figures.index_figure(of["index"], 0.2),
    )
    for figure, panels in zip(drawn, (2, 2, 2), strict=True):
        assert isinstance(figure, Figure)
        assert len(figure.axes) == panels
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(names) == len(set(names)) > 3
        assert not any("*" in name for name in names)
