"""Recompute OUT/selection/selected.parquet with a dense matrix, importing nothing of curator's.

By the definition of SimCore's rounds: `python tests/independent_check.py OUT`. Needs N x K numbers of memory.
"""

import glob
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

out = sys.argv[1]
paths = [Path(path) for path in sorted(glob.glob(f"{out}/pool/img_emb/img_emb_*.npy"))]
arrays = [(int(path.name[8:16]), np.load(path)) for path in paths]
ids = np.concatenate([part * 2**32 + np.arange(len(rows)) for part, rows in arrays])
rows = np.concatenate([rows for _, rows in arrays]).astype(np.float64)
centroids = np.load(f"{out}/selection/centroids.npy").astype(np.float64)
dots, squares = np.zeros((len(rows), len(centroids))), np.zeros(len(rows))
for d in range(rows.shape[1]):  # summed over dimensions in index order
    dots += rows[:, d, None] * centroids[None, :, d]
    squares += rows[:, d] ** 2
scores = (dots / np.sqrt(squares)[:, None]).astype(np.float32)

with open(f"{out}/run.json") as file:
    run = json.load(file)["config"]
found = pq.read_table(f"{out}/selection/selected.parquet").to_pydict()
with open(f"{out}/selection/selection.json") as file:
    stop = json.load(file)["stop"]
similarity = pq.read_table(f"{out}/selection/held_out.parquet")["h"].to_numpy().astype(np.float64)
if run["stop"] == "auto" or not (run["stop"] or run["budget"]):
    assert stop == round(np.quantile(similarity, 0.1) / np.median(similarity), 4), "the threshold differs"
else:
    assert stop == (None if run["stop"] in ("off", None) else float(run["stop"])), "the threshold differs"
budget = len(found["id"]) if run["budget"] else None
free, means, chosen = np.ones(len(rows), bool), [], []
while free.any() and (budget is None or len(chosen) < budget):
    masked = np.where(free[:, None], scores, -np.inf)
    best = np.array([min(np.flatnonzero(column == column.max()), key=lambda r: ids[r]) for column in masked.T])
    top = scores[best, np.arange(len(best))]
    means.append(float(np.cumsum(top.astype(np.float64))[-1]) / len(top))
    reference = means[run["reference_round"] - 1] if len(means) >= run["reference_round"] else None
    if stop and reference and reference > 0 and means[-1] < stop * reference:
        break
    picks = {}
    for k in sorted(range(len(best)), key=lambda k: (-top[k], ids[best[k]], k)):
        picks.setdefault(best[k], (ids[best[k]], top[k], k, len(means)))
    chosen += picks.values()
    free[best] = False
expected = chosen[:budget]
assert found["id"] == [int(row[0]) for row in expected], "ids or their order differ"
assert np.array_equal(np.float32(found["score"]), np.float32([row[1] for row in expected])), "scores differ"
assert found["centroid"] == [row[2] for row in expected], "centroids differ"
assert found["round"] == [row[3] for row in expected], "rounds differ"
print(f"identical: {len(expected)} samples in {expected[-1][3]} rounds")
