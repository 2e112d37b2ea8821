"""`curator dedup`: all duplicates of an embedded pool, as a deny list for `curator select`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curator.io import parquet, schemas
from curator.selection.near_duplicate_filters import DUPLICATE, NEAR_DUPLICATE
from curator.selection.pool_dedup import find_near_duplicates, pool_clusters
from curator.store.part_reader import PartReader
from curator.store.row_reader import RowReader
from curator_pipelines.config.queries import DedupConfig
from curator_pipelines.jobs.queries.search import open_run
from curator_pipelines.run.progress import Reporter

__all__ = ["DedupResult", "find_copies", "run_dedup"]

HASHES_AT_ONCE = 1 << 25
"""First halves of hashes held at a time; a larger pool's hashes are read several times."""


@dataclass(frozen=True)
class DedupResult:
    """What `curator dedup` found.

    Attributes:
        rows: samples of the pool.
        copies: of them, those with the bytes of an earlier one.
        near: those near to an earlier one.
        clusters: in which they were compared.
        deny: the list.
    """

    rows: int
    copies: int
    near: int
    clusters: int
    deny: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        return (
            f"{self.rows:,} samples: {self.copies:,} copies, {self.near:,} near duplicates (compared in "
            f"{self.clusters:,} clusters)\nlist        {self.deny}   (use as --deny {self.deny})"
        )


def run_dedup(config: DedupConfig, reporter: Reporter) -> DedupResult:
    """Write OUT/dedup/deny.parquet: every sample that an earlier one of the pool makes superfluous.

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
    ids = np.concatenate([copies, near.ids])
    order = np.argsort(ids, kind="stable")
    matches = np.concatenate([originals, near.matches])[order]
    ours, theirs = (run.pool.rows(some, ["shard", "image_path"]) for some in (ids[order], matches))
    reasons = np.array([DUPLICATE] * len(copies) + [NEAR_DUPLICATE] * len(near.ids), object)[order]
    similarity = np.concatenate([np.full(len(copies), np.nan, np.float32), near.similarities])[order]
    url = run.path("dedup", "deny.parquet")
    parquet.write_table(
        url,
        schemas.DUPLICATES,
        {
            "shard": ours["shard"].combine_chunks(),
            "key": ours["image_path"].combine_chunks(),
            "id": ids[order],
            "reason": reasons,
            "match": matches,
            "match_shard": theirs["shard"].combine_chunks(),
            "match_key": theirs["image_path"].combine_chunks(),
            "similarity": [None if math.isnan(one) else one for one in similarity.tolist()],
        },
    )
    return DedupResult(rows, len(copies), len(near.ids), len(centroids), url)


def find_copies(store: PartReader, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose image has the hash of an earlier one, and the first that has it; both int64, by id.

    Memory: some 100 bytes for each of at most `HASHES_AT_ONCE` samples.
    """
    shares = max(1, -(-rows // HASHES_AT_ONCE))
    found = [_copies_of_share(store, share, shares) for share in range(shares)]
    ids, firsts = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(ids)
    return ids[order], firsts[order]


def _copies_of_share(store: PartReader, share: int, shares: int) -> tuple[np.ndarray, np.ndarray]:
    hashes, ids = [np.empty(0, "S64")], [np.empty(0, np.int64)]
    for part in sorted(store.finished()):
        column = store.metadata(part, ["sha256"])["sha256"].combine_chunks()
        known = np.flatnonzero(np.asarray(column.is_valid()))
        text = np.asarray(column.take(known).to_numpy(zero_copy_only=False), "S64")
        mine = np.array([int(prefix, 16) % shares == share for prefix in text.astype("S8")], bool)
        hashes.append(text[mine])
        ids.append((np.int64(part) << 32) + known[mine])
    everything, numbers = np.concatenate(hashes), np.concatenate(ids)
    _, first, inverse = np.unique(everything, return_index=True, return_inverse=True)
    # The first place of a hash is its lowest id: parts come in order.
    originals = numbers[first][inverse] if len(numbers) else numbers
    again = originals != numbers
    return numbers[again], originals[again]
