"""What users would run in place of an exact selection, on the same pool; each returns the ids of what it chooses.

All read the pool's float16 parts and keep float32 rows of unit length, as each of these ways asks for. They may take
`MEMORY`; one that needs more ends with None. `python -m benchmarks.select_peers NAME WORK BUDGET` is a whole program
(see `benchmarks.whole_command`). The code of SimCore's authors is asked where `CURATOR_AUTHORS_CODE` names a clone of
it (github.com/sungnyun/openssl-simcore).
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, TopK
from curator.selection import Rules, first_k, run_rounds
from curator.store import PartStore

__all__ = [
    "PEERS",
    "authors_greedy",
    "bloom_filter",
    "duckdb_lists",
    "faiss_flat",
    "published_greedy",
    "within_memory",
]

MEMORY = 14 << 30
# Of the centroids so many are asked of DuckDB, since each is a query of its own.
ASKED = 10
TABLES, BITS = 8, 16
AUTHORS_CODE = os.environ.get("CURATOR_AUTHORS_CODE", "")
# Rows that the authors' code embeds and compares at once.
AUTHORS_BATCH = 512

Ids = NDArray[np.int64]


def within_memory(
    function: Callable[[str, NDArray[np.float32], int], Ids], run: str, centroids: NDArray[np.float32], budget: int
) -> Ids | None:
    """What the function returns; None where it would take more than `MEMORY`."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        return function(run, centroids, budget)
    except MemoryError:
        return None


def published_greedy(run: str, centroids: NDArray[np.float32], budget: int) -> Ids:
    """SimCore, CVPR 2023, Algorithm 1 with a budget: in each round each centroid takes its best row that is left.

    The whole matrix of similarities, each centroid's order by a full sort, and queues. Where several centroids want the
    same row in a round, it is the one with the highest score that gets it.
    """
    ids, rows = _read(run)
    scores = centroids @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")
    taken = np.zeros(len(ids), bool)
    heads = np.zeros(len(order), np.int64)
    chosen: list[int] = []
    while len(chosen) < budget:
        wanted = []
        for centroid, queue in enumerate(order):
            while taken[queue[heads[centroid]]]:
                heads[centroid] += 1
            row = queue[heads[centroid]]
            wanted.append((-scores[centroid, row], row))
        for _, row in sorted(set(wanted)):
            if not taken[row] and len(chosen) < budget:
                taken[row] = True
                chosen.append(row)
    return ids[chosen]


def authors_greedy(run: str, centroids: NDArray[np.float32], budget: int) -> Ids:
    """The authors' own `greedy` (util/sampling.py of their repository), over their matrix of similarities.

    It needs a name that is not among its arguments, `args`, which is set here. In a last round that is more than what
    is left of the budget it draws at random, where ours takes the best.
    """
    import torch

    sys.path.insert(0, str(Path(AUTHORS_CODE, "util")))
    code = importlib.import_module("sampling")
    vars(code)["args"] = SimpleNamespace(stop=False, patience=0)
    ids, rows = _read(run)
    wanted = torch.from_numpy(centroids)
    similarities = [wanted @ some.T for some in torch.from_numpy(rows).split(AUTHORS_BATCH)]
    try:
        chosen = code.greedy(torch.cat(similarities, dim=1).T, sampling_nums=budget)
    except RuntimeError as error:  # so torch says that there is no memory
        raise MemoryError from error
    return ids[np.fromiter(chosen, np.int64)]


def faiss_flat(run: str, centroids: NDArray[np.float32], budget: int) -> Ids:
    """The lists of faiss' `IndexFlatIP`, as long as ours, and the same rounds over them; longer ones where they end."""
    import faiss

    ids, rows = _read(run)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    k = first_k(len(centroids), budget)
    while True:
        scores, places = index.search(centroids, k)
        if (found := _rounds(scores, places.astype(np.int64), len(ids), budget)) is not None:
            return ids[found]
        k *= 2


def duckdb_lists(run: str, centroids: NDArray[np.float32], budget: int) -> Ids | None:
    """The lists of the first `ASKED` centroids, by a query each over a table in memory; chooses nothing."""
    import duckdb
    import pyarrow as pa

    _, rows = _read(run)
    dim, k = rows.shape[1], first_k(len(centroids), budget)
    database = duckdb.connect()
    found = pa.table({"row": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), dim)})
    database.register("arrow_rows", found)
    database.execute(
        f"CREATE TABLE pool AS SELECT row_number() OVER () AS id, row::FLOAT[{dim}] AS row FROM arrow_rows"
    )
    best = f"SELECT id FROM pool ORDER BY array_inner_product(row, $1::FLOAT[{dim}]) DESC LIMIT {k}"
    for centroid in centroids[:ASKED]:
        database.execute(best, [centroid.tolist()]).fetchnumpy()
    return None


def bloom_filter(run: str, centroids: NDArray[np.float32], budget: int) -> Ids:
    """In the manner of BloomCoreset (arXiv 2412.16942): hashes of the target ask which rows are looked at at all.

    A row passes that has a code of 16 signs of random projections in common with a target row, in one of eight tables;
    of those that pass, the rows with the best similarity to a centroid are taken.
    """
    ids, rows = _read(run)
    target: NDArray[np.float32] = np.load(Path(run, "target.npy")).astype(np.float32)
    planes = np.random.default_rng(0).standard_normal((rows.shape[1], TABLES * BITS), np.float32)
    powers = 1 << np.arange(BITS)
    passed = np.zeros(len(rows), bool)
    held = np.zeros((TABLES, 1 << BITS), bool)
    for table, codes in enumerate(_codes(target, planes, powers)):
        held[table, codes] = True
    for start in range(0, len(rows), 65536):
        for table, codes in enumerate(_codes(rows[start : start + 65536], planes, powers)):
            passed[start : start + 65536] |= held[table, codes]
    places = np.flatnonzero(passed)
    best = np.concatenate([(centroids @ rows[some].T).max(axis=0) for some in np.array_split(places, 64)])
    return ids[places[np.argsort(-best, kind="stable")[:budget]]]


def _codes(rows: NDArray[np.float32], planes: NDArray[np.float32], powers: Ids) -> Ids:
    signs = (rows @ planes > 0).reshape(len(rows), TABLES, BITS)
    codes: Ids = (signs @ powers).T
    return codes


def _rounds(scores: NDArray[np.float32], places: Ids, rows: int, budget: int) -> Ids | None:
    """SimCore's rounds over the lists; None where one of them ends before the budget is reached."""
    k = scores.shape[1]
    top_k = TopK(scores, places, np.full(len(scores), k), np.full(len(scores), rows), rows, k)

    def fetch(lines: Ids, cursors: Cursors, more: int) -> TopK:
        if np.isfinite(cursors.scores).any():
            raise EOFError
        return top_k

    try:
        return run_rounds(fetch, len(scores), Rules(budget=budget, k=k)).ids
    except EOFError:
        return None


def _read(run: str) -> tuple[Ids, NDArray[np.float32]]:
    parts = list(PartStore(f"{run}/pool").parts())
    ids = np.concatenate([(np.int64(part) << 32) + np.arange(len(rows)) for part, rows in parts])
    rows = np.empty((len(ids), parts[0][1].shape[1]), np.float32)
    np.concatenate([rows for _, rows in parts], out=rows, casting="same_kind")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return ids, rows


# Those that choose the whole budget.
PEERS = {"published_greedy": published_greedy, "faiss_flat": faiss_flat, "bloom_filter": bloom_filter}
if AUTHORS_CODE:
    PEERS["authors_greedy"] = authors_greedy


def main() -> None:
    """Choose, and write the keys of what was chosen to WORK/NAME.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, work, budget = sys.argv[1:]
    target = np.load(f"{work}/target/img_emb/img_emb_0.npy").astype(np.float32)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    ids = PEERS[name](f"{work}/out", target, int(budget))
    keys = []
    for part, path in enumerate(sorted(Path(work, "ready", "metadata").glob("*.parquet"))):
        column = pq.read_table(path)["image_path"]
        keys.append(column.take(pa.array(ids[ids >> 32 == part] & 0xFFFFFFFF)).combine_chunks())
    pq.write_table(pa.table({"key": pa.concat_arrays(keys)}), f"{work}/{name}.parquet")


if __name__ == "__main__":
    main()
