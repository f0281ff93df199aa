"""Consensus coordinates in plain NumPy, float64, written from the definition."""

import numpy as np


class Reference:
    """Centred and scaled charts, the consensus G of linked samples, and each map."""

    def __init__(
        self, charts, presence, num_features, ridge=1.0, power=1.0, normalize=False
    ):
        charts = [np.asarray(x, np.float64) for x in charts]
        presence = np.asarray(presence)
        self.normalize = normalize
        fewest = min(2, len(charts))
        samples = np.flatnonzero(presence.sum(axis=0) >= fewest)
        linked = presence[:, samples]
        count = linked.sum(axis=0)
        total = np.zeros((len(samples), len(samples)))
        self.mean, self.scale, maps = [], [], []
        for x, mine in zip(charts, linked, strict=True):
            rows = self.prepared(x[samples[mine]])
            mean = rows.mean(axis=0)
            scale = np.sqrt(((rows - mean) ** 2).sum(axis=1).mean())
            rows = (rows - mean) / scale
            inner = np.linalg.inv(rows.T @ rows + ridge * np.eye(rows.shape[1]))
            place = np.flatnonzero(mine)
            total[np.ix_(place, place)] += rows @ inner @ rows.T
            maps.append((place, inner @ rows.T))
            self.mean.append(mean)
            self.scale.append(scale)
        root = np.diag(count**-0.5)
        values, vectors = np.linalg.eigh(root @ total @ root)
        values, vectors = (
            values[::-1][:num_features],
            vectors[:, ::-1][:, :num_features],
        )
        self.values = values
        self.consensus = root @ vectors
        weight = np.maximum(values, 0) ** power
        self.weights = [back @ self.consensus[place] * weight for place, back in maps]

    def prepared(self, rows):
        if not self.normalize:
            return rows
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def apply(self, chart, rows):
        rows = self.prepared(np.asarray(rows, np.float64))
        moved = (rows - self.mean[chart]) / self.scale[chart]
        return moved @ self.weights[chart]

    def merge(self, charts, presence):
        rows = np.stack([self.apply(m, x) for m, x in enumerate(charts)])
        present = np.asarray(presence)[..., None]
        with np.errstate(invalid="ignore"):
            return np.where(present, rows, 0).sum(axis=0) / present.sum(axis=0)
