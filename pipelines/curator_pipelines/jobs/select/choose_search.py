"""How selectors read the pool: exactly, by all workers, or over the index of the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from curator.index import IndexStore, ListTask, ScanLists, select_ivf
from curator.io import public_name
from curator.search import (
    CentroidScan,
    Cursors,
    DistributedScan,
    Floats,
    PassProgress,
    QueryScan,
    RowScan,
    Scanned,
    ScanTask,
    TopK,
)
from curator.selection import NewScan, Rules, ScanRows, Search, Selection, select_each
from curator.store import PartReader, RowReader
from curator.types import Progress
from curator_pipelines.executors import Executor, InProcessExecutor, usable_cpus
from curator_pipelines.jobs.select.scan_tasks import KeptScans, single_parts, values_retried
from curator_pipelines.stages import ListStage, ScanStage

__all__ = ["exact_scan", "exact_search", "index_identity", "index_search", "recall_line"]


def exact_search(
    pool: PartReader,
    executor: Executor,
    progress: Progress,
    say: Callable[[str], None],
    queries: Sequence[QueryScan] = (),
) -> Search:
    """The search that reads every vector, for all targets in one pass; the queries of each ride along the first."""

    def new_fetch(centroids: Floats) -> DistributedScan:
        return _scan_by_tasks(pool, executor, progress, say, queries, CentroidScan(centroids))

    return partial(select_each, pool, progress=progress, new_fetch=new_fetch, queries=queries)


def exact_scan(
    pool: PartReader,
    executor: Executor,
    progress: Progress,
    say: Callable[[str], None],
    queries: Sequence[QueryScan] = (),
) -> NewScan:
    """The same for a selector that scores rows in its own way."""

    def new_scan(row_scan: RowScan) -> ScanRows:
        def scan(cursors: Cursors, k: int, total: int) -> TopK:
            unanswered = [query for query in queries if query.top_k is None]
            for query in unanswered:
                query.begin()
            top_k = _scan_by_tasks(pool, executor, progress, say, unanswered, row_scan)(cursors, k, total)
            for query in unanswered:
                query.end()
            return top_k

        return scan

    return new_scan


def _scan_by_tasks(
    pool: PartReader,
    executor: Executor,
    progress: Progress,
    say: Callable[[str], None],
    queries: Sequence[QueryScan],
    row_scan: RowScan,
) -> DistributedScan:
    reading = [scan for scan in queries if scan.reading and len(scan.left)]
    stage = ScanStage(pool.files(), row_scan, tuple(scan.left for scan in reading))
    passes, keeper = PassProgress.of(progress), KeptScans(pool, row_scan, say)
    # One worker alone would be no faster than this process, and would first have to start.
    where = executor if executor.workers > 1 else InProcessExecutor(usable_cpus())

    def scan(tasks: Iterable[ScanTask]) -> Iterator[Scanned]:
        passes.begin()
        passes({"rows": keeper.rows})
        yield from values_retried(where, stage, tasks, single_parts, passes)

    parts = sorted(pool.finished())
    return DistributedScan(scan, pool.vectors, parts, pool.count(), row_scan, where.workers, reading, keeper)


def index_identity(url: str) -> Any:
    """What of an index a selection is a function of, as it stands now."""
    index = IndexStore(url)
    return [index.settings(), sorted(index.finished().items())]


def index_search(
    pool: PartReader,
    url: str,
    recall: float,
    executor: Executor,
    progress: Progress,
    queries: Sequence[QueryScan] = (),
) -> Search:
    """The search that reads the promising lists of the index at `url`, for one target after another.

    The queries of a target are answered from the lists that its selection needed.
    """

    def search(centroids: Sequence[Floats], rules: Sequence[Rules]) -> list[Selection]:
        own_queries: Sequence[QueryScan | None] = queries or [None] * len(centroids)
        return [
            _select_over_index(pool, url, *own, recall, executor, progress)
            for own in zip(centroids, rules, own_queries, strict=True)
        ]

    return search


def _select_over_index(
    pool: PartReader,
    url: str,
    centroids: Floats,
    rules: Rules,
    queries: QueryScan | None,
    recall: float,
    executor: Executor,
    progress: Progress,
) -> Selection:
    """`select_ivf`; a warning says where the measured recall is below the one to reach."""
    index, passes = IndexStore(url), PassProgress.of(progress)
    passes.begin()
    selection, measured = select_ivf(
        index.open(),
        centroids,
        rules,
        recall=recall,
        # One worker alone would be no faster than this process, and would first have to start.
        new_scan=partial(_scan_lists_by_workers, pool, url, executor) if executor.workers > 1 else None,
        read_rows=RowReader(pool).vectors,
        queries=queries,
        progress=passes,
    )
    warnings = list(selection.warnings)
    if measured.high < recall:
        warnings.append(
            f"the index search reached a recall of {measured.estimate:.3f} (95% interval {measured.low:.3f} to "
            f"{measured.high:.3f}), not {recall:g}: give a higher recall, or take the exact search"
        )
    # OUT's own by its name in OUT, so that runs in two places leave the same bytes.
    name = public_name(url.removeprefix(pool.url.removesuffix("pool")))
    detail = measured.to_json() | {"used": {"url": name, **(index.settings() or {})}}
    return replace(selection, recall=detail, warnings=warnings)


def _scan_lists_by_workers(pool: PartReader, url: str, executor: Executor, centroids: Floats) -> ScanLists:
    stage = ListStage(url, pool.files(), centroids)

    def scan(tasks: Iterable[ListTask]) -> Iterator[TopK]:
        yield from values_retried(executor, stage, tasks, lambda task: [task])

    return scan


def recall_line(detail: dict[str, Any]) -> str:
    """What was measured, for a person."""
    if detail["proven"]:
        words = "nothing missed, proven by the lists' bounds"
    elif detail["estimate"] is None:
        words = "recall unknown: no row put aside reaches a lower bound"
    else:
        words = (
            f"recall {detail['estimate']:.3f} measured on {detail['relevant']:,} rows "
            f"({detail['level']:.0%} interval {detail['low']:.3f} to {detail['high']:.3f})"
        )
    extensions = f", extended {detail['extensions']} times" if detail["extensions"] else ""
    return f"{words}; {detail['scanned']:.1%} of the vectors scanned{extensions}"
