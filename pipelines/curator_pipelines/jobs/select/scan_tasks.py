"""Scans by workers that one part which cannot be read does not cost: it is tried again last, and the rest is kept."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from curator.errors import CuratorError
from curator.io import public_name, storage
from curator.search import KeptPass, RowScan, ScanTask, TopK
from curator.store import PartReader
from curator.types import Progress
from curator_pipelines.executors import Executor, FailuresInARow, Outcome

__all__ = ["KeptPasses", "single_parts", "values_retried"]

FILE = "unfinished_scan.npz"
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


class KeptPasses:
    """Keeps what a pass that failed had found, as OUT/unfinished_scan.npz, until that pass is done: a `Keeper`.

    Args:
        pool: the pool that is scanned. Other parts, or parts made anew, are another question.
        row_scan: how rows are scored.
    """

    def __init__(self, pool: PartReader, row_scan: RowScan) -> None:
        self._url = pool.url.removesuffix("pool").rstrip("/") + f"/{FILE}"
        self._basis = (sorted(pool.finished().items()), row_scan)
        self._stands: bool | None = None

    def load(self, question: object) -> KeptPass | None:
        """What is kept of a pass that asks the same; None if there is nothing."""
        if self._stands is False:
            return None
        try:
            data = storage.read_bytes(self._url)
        except FileNotFoundError:
            self._stands = False
            return None
        self._stands = True
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if str(arrays["key"]) != self._key(question):
                return None
            top_ks = tuple(_top_k(arrays, number) for number in range(int(arrays["count"])))
            return KeptPass(frozenset(arrays["parts"].tolist()), top_ks)

    def save(self, question: object, kept: KeptPass) -> None:
        """Keep what was found, in place of whatever was kept before."""
        arrays: dict[str, Any] = {"key": self._key(question), "count": len(kept.top_ks), "parts": sorted(kept.parts)}
        for number, top_k in enumerate(kept.top_ks):
            arrays |= {f"{name}{number}": getattr(top_k, name) for name in FIELDS}
            arrays[f"bounds{number}"] = np.array([top_k.rows, top_k.k, top_k.floor], np.float64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        storage.write_bytes(self._url, buffer.getvalue())
        self._stands = True

    def remove(self) -> None:
        """A pass is done: what was kept of it, or of another, is of no use any more."""
        if self._stands:
            storage.remove(self._url)
            self._stands = False

    def __repr__(self) -> str:
        return public_name(self._url)

    def _key(self, question: object) -> str:
        return hashlib.sha256(pickle.dumps((self._basis, question), protocol=5)).hexdigest()


def _top_k(arrays: Any, number: int) -> TopK:
    rows, k, floor = arrays[f"bounds{number}"].tolist()
    scores, ids, counts, eligible = (arrays[f"{name}{number}"] for name in FIELDS)
    return TopK(scores, ids, counts, eligible, int(rows), int(k), floor)
