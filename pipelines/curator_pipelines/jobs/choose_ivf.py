"""A selection over the index of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from curator.index import IndexStore, select_ivf
from curator.selection import Judge, Selection
from curator.selection.pool import Progress
from curator_pipelines.config import SelectConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.index import build_index
from curator_pipelines.progress import Reporter
from curator_pipelines.rundir import RunDirectory

__all__ = ["choose_ivf", "index_identity", "recall_line"]


def index_identity(run: RunDirectory, config: SelectConfig, executor: Executor, reporter: Reporter) -> Any:
    """What of the index a selection is a function of; builds what is missing of it first. None for exact search."""
    if config.search == "exact" or config.selector != "simcore":
        return None
    build_index(run, None, config.seed, executor, reporter)
    index = IndexStore(run.path("index"))
    return [config.recall, index.settings(), sorted(index.finished().items())]


def choose_ivf(
    run: RunDirectory,
    config: SelectConfig,
    centroids: np.ndarray,
    budget: int | None,
    stop: float | None,
    new_judge: Callable[[], Judge | None],
    progress: Progress,
) -> Selection:
    """`select_ivf` over OUT/index; says in a warning where the recall asked for is not what was measured."""
    index = IndexStore(run.path("index"))
    selection, recall = select_ivf(
        index.quantiser(),
        index.shards(),
        centroids,
        recall=config.recall,
        budget=budget,
        stop=stop,
        reference_round=config.reference_round,
        new_judge=new_judge,
        progress=progress,
    )
    warnings = list(selection.warnings)
    if recall.high < config.recall:
        warnings.append(
            f"the index search reached a recall of {recall.estimate:.3f} (95% interval {recall.low:.3f} to "
            f"{recall.high:.3f}), not {config.recall:g}: give a higher --recall, or --search exact"
        )
    return replace(selection, recall=recall.to_json(), warnings=warnings)


def recall_line(detail: dict[str, Any]) -> str:
    """What was measured, for a person."""
    if detail["proven"]:
        found = "nothing missed, proven by the lists' bounds"
    elif detail["estimate"] is None:
        found = "recall unknown: no row put aside reaches a cut"
    else:
        found = (
            f"recall {detail['estimate']:.3f} measured on {detail['wanted']:,} rows "
            f"({detail['level']:.0%} interval {detail['low']:.3f} to {detail['high']:.3f})"
        )
    deepened = f", deepened {detail['deepened']} times" if detail["deepened"] else ""
    return f"{found}; {detail['scanned']:.1%} of the vectors scanned{deepened}"
