"""Which rows of the pool a deny list names: looked up once, by the run's workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.store import DenyList, LikelyKeys, PartReader
from curator_pipelines.executors import Executor, InProcessExecutor, usable_cpus
from curator_pipelines.jobs.measure import own_executor
from curator_pipelines.jobs.select.scan_tasks import values_retried
from curator_pipelines.run import Reporter
from curator_pipelines.stages import KeyStage, KeyTask

__all__ = ["denied_ids"]

# Rows of one task: with fewer, handing tasks out would cost as much as doing them.
TASK_ROWS = 1 << 18


def denied_ids(
    denied: DenyList, name: str, pool: PartReader, executor: Executor, reporter: Reporter
) -> NDArray[np.int64]:
    """Ids of the denied samples, int64 and ascending. Entries that match nothing are warned about.

    Args:
        denied: the list.
        name: its URL.
        pool: the parts.
        executor: whose workers look.
        reporter: told how far they are.
    """
    table, ids = denied.table(), [np.empty(0, np.int64)]
    for found in _each(table.join(), pool, executor, reporter):
        ids += [table.denied(hits) for hits in found]
    if unknown := int((~table.matched).sum()):
        unmatched = denied.unmatched(table.matched)
        hint = denied.hint_text(unmatched, _each(LikelyKeys.of(unmatched), pool, executor, reporter))
        reporter.warn(f"{name}: {unknown:,} of {len(denied):,} entries of the deny list match no sample: {hint}")
    return np.unique(np.concatenate(ids))


def _each(
    look: Callable[[int, pa.Table], Any], pool: PartReader, executor: Executor, reporter: Reporter
) -> Iterator[Any]:
    """What `look` says of each part."""
    lengths = pool.lengths()
    executor = own_executor(executor)
    # One worker alone would be no faster than this process, and would first have to start.
    where = executor if executor.workers > 1 else InProcessExecutor(usable_cpus())
    with reporter.stage("deny", sum(lengths.values()), "rows") as progress:
        stage = KeyStage(pool.files(), look)
        for found in values_retried(where, stage, _tasks(lengths), _single_parts, progress):
            yield from found


def _tasks(lengths: Mapping[int, int]) -> Iterator[KeyTask]:
    parts: list[int] = []
    rows = 0
    for part, length in sorted(lengths.items()):
        parts.append(part)
        rows += length
        if rows >= TASK_ROWS:
            yield KeyTask(tuple(parts))
            parts, rows = [], 0
    if parts:
        yield KeyTask(tuple(parts))


def _single_parts(task: KeyTask) -> list[KeyTask]:
    return [KeyTask((part,)) for part in task.parts]
