"""Where the chosen images come from, against what the pool is made of: by shard, by folder, or by a sidecar's field."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.io import printable, public_name, storage
from curator.store import PartReader
from curator.types import parts_of
from curator_pipelines.jobs.report.target_record import SAMPLED_ROWS, TargetRecord, in_hash_order

__all__ = ["Origin", "Origins", "origins"]

LINES = 20
# Sidecars read of the chosen and of the pool each, and the seconds for them.
SIDECARS = 1000
SECONDS = 20.0
THREADS = 16
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Origin:
    """One place that images come from.

    Attributes:
        name: the shard, the folder, or the field's value.
        chosen: how many of the chosen rows looked at.
        share: of the chosen rows looked at.
        of_pool: the same of the pool.
    """

    name: str
    chosen: int
    share: float
    of_pool: float


@dataclass(frozen=True)
class Origins:
    """Where the chosen come from.

    Attributes:
        by: `shard`, `folder`, or the field.
        lines: the places with the most chosen rows first.
        more: how many places there are beyond these.
        chosen: how many chosen rows were looked at.
        of_pool: how many of the pool.
    """

    by: str
    lines: Sequence[Origin]
    more: int
    chosen: int
    of_pool: int


def origins(target: TargetRecord, field: str | None) -> list[Origins]:
    """By shard, by folder where keys have folders, and by a field of the `.json` members where one is named."""
    pool, sample = target.directory.pool, target.pool_sample
    names = {part.part: public_name(part.url) for part in pool.registered()}
    lengths = {names[part]: rows for part, rows in pool.lengths().items()}
    chosen = Counter(names[part] for part in parts_of(target.selection.ids).tolist())
    results = [_origins("shard", chosen, Counter(lengths))]
    some = in_hash_order(target.selection.ids, SAMPLED_ROWS)
    folders = [_folders(pool, ids) for ids in (some, sample)]
    if len(folders[1]) > 1:
        results.append(_origins("folder", *folders))
    if field is not None:
        values = [_values(pool, in_hash_order(ids, SIDECARS), field) for ids in (target.selection.ids, sample)]
        results.append(_origins(field, *values))
    return results


def _origins(by: str, chosen: Counter[str], pool: Counter[str]) -> Origins:
    total, of_pool = chosen.total(), pool.total()
    names = sorted(chosen | pool, key=lambda name: (-chosen[name], -pool[name], name))
    lines = [
        Origin(printable(name), chosen[name], chosen[name] / max(total, 1), pool[name] / max(of_pool, 1))
        for name in names[:LINES]
    ]
    return Origins(by, lines, len(names) - len(lines), total, of_pool)


def _folders(pool: PartReader, ids: NDArray[np.int64]) -> Counter[str]:
    keys = pool.rows(ids, ["image_path"])["image_path"].to_pylist()
    return Counter(key.rpartition("/")[0] for key in keys)


def _values(pool: PartReader, ids: NDArray[np.int64], field: str) -> Counter[str]:
    """The field's value in the sidecar of each row; `unknown` without one, and where it cannot be read in time."""
    end = time.monotonic() + SECONDS

    def value(row: dict[str, Any]) -> str:
        member = next((member for member in row["members"] or () if member["ext"] == "json"), None)
        if member is None or time.monotonic() > end:
            return UNKNOWN
        try:
            data = storage.read_range(
                urls.get(row["shard"], row["shard"]), member["offset"], member["offset"] + member["size"]
            )
            found = json.loads(data)
            return str(found.get(field, UNKNOWN)) if isinstance(found, dict) else UNKNOWN
        except Exception:  # every filesystem has errors of its own
            return UNKNOWN

    rows, urls = pool.rows(ids, ["shard", "members"]).to_pylist(), pool.moved_urls()
    return Counter(_side_by_side(value, rows))


def _side_by_side(function: Callable[[dict[str, Any]], str], rows: Iterable[dict[str, Any]]) -> list[str]:
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(function, rows))
