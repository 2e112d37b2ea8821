"""A selection over the index of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from curator.index import IndexStore, ListTask, ScanLists, select_ivf
from curator.io.urls import public_name
from curator.selection import Filter, Question, Selection, TopK
from curator.store.row_reader import RowReader
from curator.types import Progress
from curator_pipelines.executors import Executor
from curator_pipelines.run.run_directory import TargetDirectory
from curator_pipelines.stages.index import ListStage

__all__ = ["choose_ivf", "index_identity", "recall_line"]


def index_identity(url: str) -> Any:
    """What of the index a selection is a function of, as it stands now."""
    index = IndexStore(url)
    return [index.settings(), sorted(index.finished().items())]


def choose_ivf(
    directory: TargetDirectory,
    question: Question,
    recall: float,
    new_filter: Callable[[], Filter | None],
    executor: Executor,
    progress: Progress,
) -> Selection:
    """`select_ivf` over a pool's index; says in a warning where the recall asked for is not what was measured."""
    index = IndexStore(directory.index)
    selection, measured = select_ivf(
        index.quantiser(),
        index.pieces(),
        question.centroids,
        recall=recall,
        budget=question.budget,
        stop=question.stop,
        reference_round=question.reference_round,
        new_filter=new_filter,
        # One worker alone would be no faster than this process, and would first have to start.
        scan=_by_workers(executor, directory, question) if executor.workers > 1 else None,
        read_rows=RowReader(directory.pool).vectors,
        progress=progress,
    )
    warnings = list(selection.warnings)
    if measured.high < recall:
        warnings.append(
            f"the index search reached a recall of {measured.estimate:.3f} (95% interval {measured.low:.3f} to "
            f"{measured.high:.3f}), not {recall:g}: give a higher --recall, or --search exact"
        )
    # OUT's own by its name in OUT, so that runs in two places leave the same bytes.
    url = public_name(directory.index.removeprefix(directory.pool.url.removesuffix("pool")))
    used = {"url": url, **(index.settings() or {})}
    return replace(selection, recall=measured.to_json() | {"used": used}, warnings=warnings)


def _by_workers(executor: Executor, directory: TargetDirectory, question: Question) -> ScanLists:
    stage = ListStage(directory.index, directory.pool.url, question.centroids)

    def scan(tasks: Iterable[ListTask]) -> Iterator[TopK]:
        with closing(executor.map(stage, tasks)) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

    return scan


def recall_line(detail: dict[str, Any]) -> str:
    """What was measured, for a person."""
    if detail["proven"]:
        found = "nothing missed, proven by the lists' bounds"
    elif detail["estimate"] is None:
        found = "recall unknown: no row put aside reaches a cut"
    else:
        found = (
            f"recall {detail['estimate']:.3f} measured on {detail['relevant']:,} rows "
            f"({detail['level']:.0%} interval {detail['low']:.3f} to {detail['high']:.3f})"
        )
    extensions = f", extended {detail['extensions']} times" if detail["extensions"] else ""
    return f"{found}; {detail['scanned']:.1%} of the vectors scanned{extensions}"
