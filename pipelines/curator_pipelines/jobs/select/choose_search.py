"""How SimCore searches the pool: exactly, by all workers, or over the index of the pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from curator.index import IndexStore, ListTask, ScanLists, select_ivf
from curator.io import public_name
from curator.search import DistributedScan, Floats, PassProgress, ScanTask, TopK
from curator.selection import Rules, Search, Selection, select_each
from curator.store import PartReader, RowReader
from curator.types import Progress
from curator_pipelines.executors import Executor
from curator_pipelines.stages import ListStage, ScanStage

__all__ = ["exact_search", "index_identity", "index_search", "recall_line"]


def exact_search(pool: PartReader, executor: Executor, progress: Progress) -> Search:
    """The search that reads every vector, for all targets in one pass."""
    # One worker alone would be no faster than this process, and would first have to start.
    new_fetch = partial(_scan_by_workers, pool, executor, progress) if executor.workers > 1 else None
    return partial(select_each, pool, progress=progress, new_fetch=new_fetch)


def _scan_by_workers(pool: PartReader, executor: Executor, progress: Progress, centroids: Floats) -> DistributedScan:
    stage = ScanStage(pool.url, centroids)
    passes = PassProgress.of(progress)

    def scan(tasks: Iterable[ScanTask]) -> Iterator[TopK]:
        passes.begin()
        with closing(executor.map(stage, tasks, on_progress=passes)) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

    return DistributedScan(scan, pool.vectors, sorted(pool.finished()), pool.count(), centroids, executor.workers)


def index_identity(url: str) -> Any:
    """What of an index a selection is a function of, as it stands now."""
    index = IndexStore(url)
    return [index.settings(), sorted(index.finished().items())]


def index_search(pool: PartReader, url: str, recall: float, executor: Executor, progress: Progress) -> Search:
    """The search that reads the promising lists of the index at `url`, for one target after another."""

    def search(centroids: Sequence[Floats], rules: Sequence[Rules]) -> list[Selection]:
        return [
            _select_over_index(pool, url, own_centroids, own_rules, recall, executor, progress)
            for own_centroids, own_rules in zip(centroids, rules, strict=True)
        ]

    return search


def _select_over_index(
    pool: PartReader,
    url: str,
    centroids: Floats,
    rules: Rules,
    recall: float,
    executor: Executor,
    progress: Progress,
) -> Selection:
    """`select_ivf`; a warning says where the measured recall is below the one to reach."""
    index, passes = IndexStore(url), PassProgress.of(progress)
    passes.begin()
    selection, measured = select_ivf(
        index.quantiser(),
        index.pieces(),
        centroids,
        rules,
        recall=recall,
        # One worker alone would be no faster than this process, and would first have to start.
        scan=_scan_lists_by_workers(pool, url, executor, centroids) if executor.workers > 1 else None,
        read_rows=RowReader(pool).vectors,
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
    stage = ListStage(url, pool.url, centroids)

    def scan(tasks: Iterable[ListTask]) -> Iterator[TopK]:
        with closing(executor.map(stage, tasks)) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

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
