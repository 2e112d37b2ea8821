"""`curator dedup`: all duplicates of an embedded pool, as a deny list for `curator select`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.io import parquet, public_name, schemas
from curator.selection import DUPLICATE, NEAR_DUPLICATE, Repeats, find_near_duplicates, pool_clusters
from curator.store import PartReader, RowReader
from curator.types import ids_at
from curator_pipelines.config import DedupConfig
from curator_pipelines.jobs.pictures import SHEET
from curator_pipelines.jobs.queries.dedup_sheet import write_dedup_sheet
from curator_pipelines.jobs.queries.search import open_run
from curator_pipelines.run import Reporter

__all__ = ["DedupResult", "find_copies", "run_dedup"]

# So many first halves of hashes are held at a time; a larger pool's hashes are read several times.
HASHES_AT_ONCE = 1 << 25
# Of a sha256.
HEX_DIGITS = 64


@dataclass(frozen=True)
class DedupResult:
    """What `curator dedup` found.

    Attributes:
        rows: the number of samples in the pool.
        copies: the number of samples with the bytes of an earlier one.
        near: the number of samples that are near an earlier one.
        clusters: the number of clusters within which samples were compared.
        deny: the URL of the list.
        sheet: the contact sheet of pairs around the threshold; empty where there is none.
    """

    rows: int
    copies: int
    near: int
    clusters: int
    deny: str
    sheet: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [
            f"{self.rows:,} samples: {self.copies:,} copies, {self.near:,} near duplicates (compared in "
            f"{self.clusters:,} clusters)",
            f"deny list   {self.deny}   (a selection that denies it skips all of them)",
        ]
        if self.sheet:
            lines.append(f"sheet       {self.sheet}   (pairs around the threshold: look at it before you deny)")
        return "\n".join(lines)


def run_dedup(config: DedupConfig, reporter: Reporter) -> DedupResult:
    """Write OUT/dedup/deny.parquet: every sample that repeats an earlier one of the pool.

    Copies (by sha256) are found wherever they are, near duplicates within clusters. The first sample in the
    pool's order stays.

    Raises:
        InputError: no embedded pool.
    """
    run = open_run(config.run)
    rows = run.pool.count()
    clusters = min(config.clusters or max(1, math.isqrt(rows)), rows)
    read_rows = RowReader(run.pool)
    copies, originals = find_copies(run.pool, rows)
    centroids = pool_clusters(run.pool, rows, clusters, config.seed)
    with reporter.stage("dedup", rows, "compared") as progress:
        near = find_near_duplicates(run.pool, read_rows.vectors, centroids, config.dedup, copies, progress)
        progress.done = rows
    url = run.path("dedup", "deny.parquet")
    _write_list(url, run.pool, copies, originals, near)
    sheet = run.path("dedup", SHEET)
    listed = np.concatenate([copies, near.ids])
    is_drawn = write_dedup_sheet(sheet, run.pool, near, listed, config.dedup, reporter)
    return DedupResult(rows, len(copies), len(near.ids), len(centroids), url, public_name(sheet) if is_drawn else "")


def _write_list(
    url: str, store: PartReader, copies: NDArray[np.int64], originals: NDArray[np.int64], near: Repeats
) -> None:
    ids = np.concatenate([copies, near.ids])
    order = np.argsort(ids, kind="stable")
    matches = np.concatenate([originals, near.matches])[order]
    names, match_names = (store.rows(rows, ["shard", "image_path"]) for rows in (ids[order], matches))
    reasons = np.array([DUPLICATE] * len(copies) + [NEAR_DUPLICATE] * len(near.ids), object)[order]
    similarities = np.concatenate([np.full(len(copies), np.nan, np.float32), near.similarities])[order]
    parquet.write_table(
        url,
        schemas.DUPLICATES,
        {
            "shard": names["shard"],
            "key": names["image_path"],
            "id": ids[order],
            "reason": reasons,
            "match": matches,
            "match_shard": match_names["shard"],
            "match_key": match_names["image_path"],
            "similarity": [None if math.isnan(similarity) else similarity for similarity in similarities.tolist()],
        },
    )


def find_copies(store: PartReader, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the samples whose image has the hash of an earlier one.

    Memory: some 100 bytes for each of at most `HASHES_AT_ONCE` samples.

    Returns:
        the ids of these samples, ascending, and for each the id of the first sample with its hash.
    """
    shares = max(1, -(-rows // HASHES_AT_ONCE))
    pairs = [_copies_of_share(store, share, shares) for share in range(shares)]
    ids, originals = (np.concatenate(column) for column in zip(*pairs, strict=True))
    order = np.argsort(ids)
    return ids[order], originals[order]


def _copies_of_share(store: PartReader, share: int, shares: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    halves, id_blocks = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int64)]
    for part, table in store.each_metadata(["sha256"]):
        is_known = np.asarray(table["sha256"].is_valid())
        found = _first_halves(table["sha256"].drop_null())
        in_share = found[:, 0] % np.uint64(shares) == share
        halves.append(found[in_share])
        id_blocks.append(ids_at(part, np.flatnonzero(is_known)[in_share]))
    high, low = np.concatenate(halves).T
    # Stable, and parts and rows ascend: of equal hashes the first is that of the lowest id.
    order = np.lexsort((low, high))
    high, low, ids = high[order], low[order], np.concatenate(id_blocks)[order]
    is_copy = np.zeros(len(ids), bool)
    is_copy[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    firsts = np.maximum.accumulate(np.where(is_copy, 0, np.arange(len(ids))))
    return ids[is_copy], ids[firsts[is_copy]]


def _first_halves(hashes: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Of hex digests the first 128 bits, uint64 (n, 2): no two images of a pool have the same by chance."""
    text = hashes.combine_chunks().cast(pa.binary()).cast(pa.binary(HEX_DIGITS)).buffers()[1]
    digests = np.frombuffer(bytes.fromhex(bytes(text).decode()), ">u8")
    return digests.reshape(len(hashes), -1)[:, :2].astype(np.uint64)
