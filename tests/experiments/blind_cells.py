"""Tiny cells, and results of made-up values: what the tests of blind spaces share."""

from typing import Any

import numpy as np

from experiments.blind import cell, evidence, methods
from experiments.blind.cell import Cell
from experiments.blind.present import LEARNED_FROM, subsets
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.scores import PROBES
from experiments.blind.trust import COVERAGE, DOUBTS
from jatlas.scenarios import (
    part_shared_part_novel,
    same_classes_disjoint_samples,
    totally_disjoint,
)

# So that with 2 charts all spaces are 4 or 8 wide, and few probes are compiled.
N, D, C, WIDTH = 320, 4, 4, 8
LABELS = (np.arange(N) % C).astype(np.int32)
TEST = np.arange(N) >= 240
TASKS = {
    "A": part_shared_part_novel(
        0, LABELS, num_shared=1, num_novel=1, test=TEST, validation_share=0.2
    ),
    "B": same_classes_disjoint_samples(
        0, LABELS, num_held_out=40, test=TEST, validation_share=0.2
    ),
    "C": totally_disjoint(
        0, LABELS, num_tasks=2, num_held_out=40, test=TEST, validation_share=0.2
    ),
}
CHARTS = {scenario: len(tasks.seen) for scenario, tasks in TASKS.items()}  # 3, 2, 2


def synthetic(scenario: str) -> Cell:
    """Charts in which the classes that they know lie apart, and all others together.

    Each has axes of its own. There is so much noise that every classifier errs.
    """
    rng = np.random.default_rng(0)
    tasks = TASKS[scenario]
    pool = tasks.seen.all(axis=0) if scenario == "A" else tasks.held_out

    def chart(known: np.ndarray) -> np.ndarray:
        means = rng.normal(size=(C, D)) * known[:, None] + rng.normal(size=D)
        return np.float32(means[LABELS] + rng.normal(size=(N, D)))

    reference = chart(np.ones(C, bool))
    charts = [chart(known) for known in tasks.classes]
    return cell.of(reference, charts, tasks, LABELS, pool, 0)


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, A), in float64."""
    x, y = np.float64(x), np.float64(y)
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    return x @ y.T / norms


def white(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Whitened with the shrunk covariance of these rows, in float64."""
    rest = np.float64(x) - np.float64(x)[where].mean(axis=0)
    covariance = rest[where].T @ rest[where] / where.sum()
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    shrunk = (1 - evidence.SHRINKAGE) * covariance + evidence.SHRINKAGE * target
    values, vectors = np.linalg.eigh(shrunk)
    return rest @ (vectors / np.sqrt(values)) @ vectors.T


def nystroem(rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Rows K^(-1/2), K being the anchors' own and a thousandth, in float64."""
    kernel = (rows[anchors] + rows[anchors].T) / 2
    kernel = kernel + 1e-3 * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    values, vectors = np.linalg.eigh(kernel)
    return rows @ (vectors / np.sqrt(values)) @ vectors.T


def made_up(
    settings: tuple[tuple[str, str], ...] = (("A", "S1_N1"), ("C", "T2")),
    seeds: tuple[int, ...] = (0, 1, 2),
    widths: tuple[int, ...] = (4,),
) -> list[dict[str, Any]]:
    """The rows that `job.unit` gives, of values that are all different."""
    rng = np.random.default_rng(5)
    found = []
    for scenario, name in settings:
        for seed in seeds:
            named = {"scenario": scenario, "setting": name, "seed": seed}
            rows = _accuracies(rng, CHARTS[scenario], widths)
            rows += _present(rng, CHARTS[scenario])
            rows.append(_trust(rng, CHARTS[scenario]))
            found += [named | row for row in rows]
    return found


def _accuracies(
    rng: np.random.Generator, num_charts: int, widths: tuple[int, ...]
) -> list[dict[str, Any]]:
    own = {"end_to_end", "end_to_end_white", "mean", "gcca", "procrustes"}
    width = dict.fromkeys(own, D) | {
        "concat": D * num_charts,
        "evidence_alone": C,
        "end_to_end_evidence": D + C,
        "concat_pca": min(WIDTH, D * num_charts),
    }
    jobs = [(m, "at", width.get(m, WIDTH)) for m in methods.METHODS]
    jobs += [
        (name, "full", D * num_charts) for name, m in methods.METHODS.items() if m.wide
    ]
    jobs += [(name, "curve", w) for name in methods.CURVES for w in widths]
    jobs += [(f"chart{m}", "at", D) for m in range(num_charts)]
    return [
        {
            "of": "accuracy",
            "method": method,
            "role": role,
            "width": wide,
            "probe": probe,
            "part": part,
            "value": float(rng.uniform(0.2, 0.9)),
        }
        for method, role, wide in jobs
        for probe in PROBES
        for part in ("choose", "test")
    ]


def _present(rng: np.random.Generator, num_charts: int) -> list[dict[str, Any]]:
    return [
        {
            "of": "present",
            "method": method,
            "learnt_from": learned,
            "charts": np.flatnonzero(charts).tolist(),
            "value": float(rng.uniform(0.2, 0.9)),
        }
        for learned in LEARNED_FROM
        for method in PRESENT
        for charts in subsets(num_charts)
    ]


def _trust(rng: np.random.Generator, num_charts: int) -> dict[str, Any]:
    of_each = [
        dict(zip(DOUBTS, rng.uniform(size=3).tolist(), strict=True)) for _ in "12"
    ]
    return {
        "of": "trust",
        "temperature": float(rng.uniform(0.5, 2)),
        "calibration_error": float(rng.uniform()),
        "calibration_error_scaled": float(rng.uniform()),
        "errors_found": of_each[0],
        "risk": {score: rng.uniform(size=len(COVERAGE)).tolist() for score in DOUBTS},
        "unknown_found": of_each[1] if num_charts > 2 else {},
    }
