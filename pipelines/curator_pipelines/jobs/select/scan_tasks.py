"""Scans by workers, and what is kept of them.

One part that cannot be read does not cost a scan: it is tried again last, and the rest is kept. Of a scan that is done
its answer is kept, so a pool that has grown is scanned in its new parts alone.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from curator.errors import CuratorError
from curator.io import public_name, storage
from curator.search import CentroidScan, KeptScan, Question, RowScan, ScanTask, TopK
from curator.store import PartReader
from curator.types import Progress
from curator_pipelines.executors import Executor, FailuresInARow, Outcome
from curator_pipelines.run import KEPT_SCANS

__all__ = ["KeptScans", "single_parts", "values_retried"]

# An answer is kept where it is so much smaller than what is read for it.
WORTH = 16
FIELDS = ("scores", "ids", "counts", "eligible")

T = TypeVar("T")
R = TypeVar("R")


def single_parts(task: ScanTask) -> list[ScanTask]:
    """A task of several parts as tasks of one part each, so that a bad one takes no other along."""
    return [replace(task, parts=(part,)) for part in task.parts]


def values_retried(
    executor: Executor,
    stage: Any,
    tasks: Iterable[T],
    split: Callable[[T], Sequence[T]],
    on_progress: Progress | None = None,
) -> Iterator[Any]:
    """The value of every task. Those that fail are cut by `split` and tried once more, when all others are done.

    Raises:
        CuratorError: some failed again, or many in a row alike. All values there are were yielded before.
    """
    failed: list[Outcome[T, Any]] = []
    in_a_row = FailuresInARow()
    with closing(executor.map(stage, tasks, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            if outcome.error is None:
                yield outcome.value
                continue
            failed.append(outcome)
            if in_a_row.add(outcome):
                raise _cannot_scan(failed)
    if not failed:
        return
    again = [piece for outcome in failed for piece in split(outcome.task.payload)]
    failed = []
    with closing(executor.map(stage, again, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            if outcome.error is None:
                yield outcome.value
            else:
                failed.append(outcome)
    if failed:
        raise _cannot_scan(failed)


def _cannot_scan(failed: Sequence[Outcome[Any, Any]]) -> CuratorError:
    first = failed[0]
    more = f", nor could {len(failed) - 1} more" if len(failed) > 1 else ""
    error = CuratorError(
        f"{first.task.payload!r} could not be done{more}, so nothing is chosen: {first.error}",
        advice="make the pool's embeddings readable and run again: what was found in the others is kept",
    )
    error.__cause__ = first.error
    return error


class KeptScans:
    """Keeps what scans found, below OUT: a `Keeper`.

    OUT/kept_scan.npz has the scan with which a selection begins, done or not, and OUT/unfinished_scan.npz a later one
    until it is done. Both hold for any pool that has all of their parts still, as they were.

    Args:
        pool: the pool that is scanned.
        row_scan: how rows are scored.
        say: is told where less is scanned.

    Attributes:
        rows: how many rows need not be scanned, of the last question.
    """

    def __init__(self, pool: PartReader, row_scan: RowScan, say: Callable[[str], None]) -> None:
        self._out = pool.url.removesuffix("pool").rstrip("/")
        self._row_scan, self._say = row_scan, say
        self._identities, self._pool_rows = pool.finished(), pool.count()
        self._stands = False
        self.rows = 0

    def load(self, question: Question) -> KeptScan | None:
        """See `Keeper.load`."""
        self.rows, self._stands = 0, False
        if not question.is_first:
            self._say("the rows found for some centroids have run out: the pool is searched once more, behind them")
        try:
            data = storage.read_bytes(self._url(question))
        except FileNotFoundError:
            return None
        self._stands = True
        try:
            kept = self._read(data, question)
        except (KeyError, ValueError, zipfile.BadZipFile):
            self._say(f"{self._url(question)} is none of this version's, and is made anew")
            return None
        if kept is not None:
            self.rows = kept.top_ks[0].rows
            searched, parts = len(kept.parts), len(self._identities)
            self._say(f"{searched:,} of the {parts:,} parts were searched before, and are not read again")
        return kept

    def _read(self, data: bytes, question: Question) -> KeptScan | None:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if str(arrays["key"]) != self._key(question) or int(arrays["k"]) < question.k:
                return None
            parts = arrays["parts"].tolist()
            identities = [identity.decode() for identity in arrays["identities"].tolist()]
            if any(self._identities.get(part) != own for part, own in zip(parts, identities, strict=True)):
                return None
            top_ks = [_top_k(arrays, number) for number in range(int(arrays["count"]))]
            return KeptScan(frozenset(parts), (top_ks[0].narrowed(question.k), *top_ks[1:]), arrays["lower_bound"])

    def save(self, question: Question, kept: KeptScan, is_finished: bool) -> None:
        """See `Keeper.save`; what was kept before in that place goes."""
        if is_finished and not self._is_of_use(question, kept):
            if self._stands:
                storage.remove(self._url(question))
            return
        arrays: dict[str, Any] = {"key": self._key(question), "k": question.k, "count": len(kept.top_ks)}
        parts = sorted(kept.parts)
        identities = np.array([self._identities[part] for part in parts], "S")
        arrays |= {"parts": np.array(parts, np.int64), "identities": identities, "lower_bound": kept.lower_bound}
        for number, top_k in enumerate(kept.top_ks):
            arrays |= {f"{name}{number}": getattr(top_k, name) for name in FIELDS}
            arrays[f"bounds{number}"] = np.array([top_k.rows, top_k.k, top_k.floor], np.float64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        storage.write_bytes(self._url(question), buffer.getvalue())

    def _is_of_use(self, question: Question, kept: KeptScan) -> bool:
        """Whether an answer may spare another run a scan: where rows are scored by nothing but the centroids."""
        if not (question.is_first and isinstance(self._row_scan, CentroidScan)):
            return False
        size = sum(getattr(top_k, name).nbytes for top_k in kept.top_ks for name in FIELDS)
        return bool(WORTH * size <= 2 * self._pool_rows * self._row_scan.centroids.shape[1])

    def _url(self, question: Question) -> str:
        return f"{self._out}/{KEPT_SCANS[not question.is_first]}"

    def __repr__(self) -> str:
        return public_name(self._out)

    def _key(self, question: Question) -> str:
        asked = (self._row_scan, question._replace(k=0))
        return hashlib.sha256(pickle.dumps(asked, protocol=5)).hexdigest()


def _top_k(arrays: Any, number: int) -> TopK:
    rows, k, floor = arrays[f"bounds{number}"].tolist()
    scores, ids, counts, eligible = (arrays[f"{name}{number}"] for name in FIELDS)
    return TopK(scores, ids, counts, eligible, int(rows), int(k), floor)
