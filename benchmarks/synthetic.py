"""Embeddings like those of a web-scale pool, of any size: clusters within clusters, fitted to real embeddings.

A real pool has no one scale: clusters are of very different sizes and widths, and each falls into smaller ones.
So the mixture is a tree. A node splits in two of uneven shares; each half moves away from the other, and what is left
of the node's variance is spread below. The figures here make 10,000 synthetic rows resemble the embeddings of 10,069
real images (EfficientNet-Lite0, by PCA brought to as many dimensions); `python -m benchmarks.synthetic` compares them.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEAN = 0.55
"""Length of the mean of all unit rows."""
KEPT = 0.87
"""Share of a node's variance that its halves keep."""
UNEVEN = 8.0
"""A half's share is Beta(UNEVEN, UNEVEN)."""
WIDER = 0.13
"""Deviation of the logarithm of how much wider a half is than its parent."""
STEEP, FLAT = 1.1, 0.55
"""Variance of dimension i falls like i^-STEEP between the largest clusters, like i^-FLAT within the smallest."""
LEAF_ROWS = 12


@dataclass(frozen=True)
class Mixture:
    """Where rows are drawn from.

    Attributes:
        centres: float32 (leaves, d).
        shares: float64 (leaves,), of all rows; neighbours in this order share ancestors.
        widths: float32 (leaves,), root of a leaf's variance.
        shape: float32 (d,), a leaf's deviation by dimension, of length 1.
    """

    centres: NDArray[np.float32]
    shares: NDArray[np.float64]
    widths: NDArray[np.float32]
    shape: NDArray[np.float32]

    def draw(self, count: int, seed: int, leaves: slice = slice(None)) -> NDArray[np.float16]:
        """Unit rows (count, d), of all leaves or of some that lie side by side."""
        random = np.random.default_rng(seed)
        shares = self.shares[leaves]
        of = random.choice(len(shares), count, p=shares / shares.sum())
        rows = random.standard_normal((count, len(self.shape)), np.float32) * self.shape
        rows *= self.widths[leaves][of][:, None]
        rows += self.centres[leaves][of]
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def make_mixture(rows: int, dim: int, seed: int) -> Mixture:
    """A mixture for a pool of so many rows: the larger, the finer."""
    random = np.random.default_rng(seed)
    k = max(1, round(math.log2(rows / LEAF_ROWS)))
    centres = np.zeros((1, dim), np.float32)
    centres[0, -1] = MEAN  # in a dimension that carries little else
    shares, widths = np.ones(1), np.full(1, math.sqrt(1 - MEAN**2), np.float32)
    for level in range(k):
        shape = _shape(dim, STEEP + (FLAT - STEEP) * level / k)
        half = random.beta(UNEVEN, UNEVEN, len(shares))
        shares = np.stack([shares * half, shares * (1 - half)], axis=1).ravel()
        away = random.standard_normal((len(centres), dim), np.float32) * shape
        away *= (widths * math.sqrt(1 - KEPT))[:, None]
        # The two halves' weighted mean stays where it was.
        ratio = np.sqrt((1 - half) / half).astype(np.float32)[:, None]
        centres = np.stack([centres + away * ratio, centres - away / ratio], axis=1).reshape(-1, dim)
        widths = np.repeat(widths, 2) * math.sqrt(KEPT) * np.exp(random.normal(0, WIDER, len(shares)))
        widths = widths.astype(np.float32)
    return Mixture(centres, shares, widths, _shape(dim, FLAT))


def draw_target(mixture: Mixture, count: int, seed: int) -> NDArray[np.float16]:
    """A target: unit rows (count, d) from three subtrees, each with about a hundredth of the pool."""
    leaves = len(mixture.shares)
    wide = max(1, leaves // 128)
    places = np.random.default_rng(seed).choice(leaves // wide, 3, replace=False)
    cuts = np.diff(np.linspace(0, count, 4).astype(int))
    drawn = [
        mixture.draw(n, seed + i, slice(p * wide, (p + 1) * wide))
        for i, (n, p) in enumerate(zip(cuts, places, strict=True))
    ]
    return np.concatenate(drawn)


def _shape(dim: int, slope: float) -> NDArray[np.float32]:
    variance = np.arange(1, dim + 1, dtype=np.float64) ** -slope
    return np.sqrt(variance / variance.sum()).astype(np.float32)


def reduced(rows: NDArray[np.float16], dim: int) -> NDArray[np.float32]:
    """Unit rows in their `dim` principal directions, the mean's included."""
    wide = rows.astype(np.float32)
    _, vectors = np.linalg.eigh(wide.T @ wide)
    wide = wide @ vectors[:, ::-1][:, :dim]
    unit: NDArray[np.float32] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _describe(rows: NDArray[np.float32]) -> str:
    """What an index feels of a pool: spectrum, cluster sizes and widths, distances to neighbours."""
    import faiss

    mean = rows.mean(axis=0)
    variance = np.sort(np.linalg.eigvalsh(np.cov((rows - mean).T)))[::-1]
    spectrum = (np.cumsum(variance) / variance.sum())[[0, 7, 31]]
    found = [f"mean {np.linalg.norm(mean):.2f}", "first 1, 8, 32 directions hold " + _list(spectrum)]
    for clusters in (64, 256):
        means = faiss.Kmeans(rows.shape[1], clusters, niter=20, spherical=True, seed=0, min_points_per_centroid=1)
        means.train(rows)
        of = means.index.search(rows, 1)[1][:, 0]
        sizes = np.bincount(of, minlength=clusters)
        sums = np.zeros((clusters, rows.shape[1]))
        np.add.at(sums, of, rows)
        lengths = np.linalg.norm(sums, axis=1)
        inside = 1 - (lengths**2 / np.maximum(sizes, 1)).sum() / len(rows)
        widths = np.sqrt(np.maximum(0, 1 - (lengths / np.maximum(sizes, 1))[sizes > 4] ** 2))
        found.append(
            f"{clusters} clusters: within {inside / variance.sum():.3f} of the variance, sizes "
            f"{_list(np.quantile(sizes, [0.1, 0.5, 0.9, 1]), 0)}, widths {_list(np.quantile(widths, [0.1, 0.5, 0.9]))}"
        )
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    near = index.search(rows[:2000], 101)[0]
    found.append(f"cosine of neighbour 1 {_list(np.quantile(near[:, 1], [0.1, 0.5, 0.9]))}")
    found.append(f"of neighbour 100 {_list(np.quantile(near[:, 100], [0.1, 0.5, 0.9]))}")
    return "\n  ".join(found)


def _list(values: NDArray[np.float64], digits: int = 3) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def main() -> None:
    """Compare real embeddings (a folder of img_emb_*.npy) with as many synthetic rows."""
    real = np.concatenate([np.load(path) for path in sorted(Path(sys.argv[1]).glob("img_emb_*.npy"))])
    for dim in (128, 512):
        print(f"real, {dim} dimensions\n  {_describe(reduced(real, dim))}")
        rows = make_mixture(len(real), dim, 0).draw(len(real), 0).astype(np.float32)
        print(f"synthetic, {dim} dimensions\n  {_describe(rows)}", flush=True)


if __name__ == "__main__":
    main()
