"""What a selection says about its target and its pool: copies, own images, and whether the pool holds the kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, UnusableInput, Use
from curator.search import QueryScan
from curator.selection import (
    LEAST_SHARE,
    OWN_REASONS,
    Bound,
    Nearest,
    Selection,
    Selector,
    Verdict,
    nearest_rows,
    query_rows,
    query_scan,
    target_copies,
    verdict_of,
)
from curator.store import PartReader, RowReader
from curator_pipelines.jobs.select.choose_filters import own_images
from curator_pipelines.run import TargetDirectory

__all__ = ["judge", "target_queries"]


def target_queries(selector: Selector, targets: Sequence[TargetDirectory]) -> list[QueryScan]:
    """For each target the rows whose best pool rows are looked for; none where the selector scores no rows."""
    if not selector.has_scores:
        return []
    return [query_scan(directory.target_vectors) for directory in targets]


def judge(directory: TargetDirectory, selection: Selection, queries: QueryScan | None, median: float) -> Selection:
    """The selection with its verdict and its warnings.

    Args:
        directory: of the target.
        selection: what was chosen.
        queries: the target's, after the selection.
        median: of the target's held-out rows, compared row by row.

    Raises:
        UnusableInput: nothing is left to choose, since the pool holds the target's own images.
    """
    own = sum(reason in OWN_REASONS for reason in selection.skipped.reasons)
    if own and own == len(selection.skipped) and not len(selection):
        raise UnusableInput(
            f"{directory.name + ': ' if directory.name else ''}nothing is left to choose: "
            f"{own:,} of the pool's {selection.candidates:,} images are the target's own",
            advice=(Another("pool"), Use("skip_own", False)),
        )
    nearest, verdict = _verdict(directory, selection, queries, median)
    copies = _copies(directory)
    warnings = [*selection.warnings, *_copies_warning(directory.target, copies), *_doubt(verdict)]
    return replace(selection, nearest=nearest, verdict=verdict, target_copies=len(copies), warnings=warnings)


def _verdict(
    directory: TargetDirectory, selection: Selection, queries: QueryScan | None, median: float
) -> tuple[Nearest, Verdict]:
    nearest = Nearest.unknown()
    if queries is not None and queries.top_k is not None:
        own = own_images(directory)

        def is_own(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.array([rejection is not None for rejection in own.find(ids)], bool)

        nearest = nearest_rows(
            query_rows(directory.target_vectors), queries.top_k, is_own, all_read=selection.recall is None
        )
    return nearest, verdict_of(nearest, median)


def _doubt(verdict: Verdict) -> list[str]:
    if not verdict.doubtful:
        return []
    assert verdict.share is not None
    least = "at least " if verdict.bound is Bound.LOWER else ""
    return [
        f"the pool may hold nothing of this kind, or show it in another way than the target does (in colours, sharper, "
        f"by another camera), and the stop rule auto then tends to end early: for {least}{verdict.share:.0%} of "
        f"{verdict.rows:,} target images it has one nearer than {verdict.median:.4f}, as near as the target's images "
        f"typically are to each other; {LEAST_SHARE:.0%} or more is usual"
    ]


def _copies(directory: TargetDirectory) -> list[tuple[int, int]]:
    target = directory.target
    return target_copies(directory.target_vectors, RowReader(target).hashes(target.ids()))


def _copies_warning(target: PartReader, copies: Sequence[tuple[int, int]]) -> list[str]:
    if not copies:
        return []
    ids = target.ids()
    copy, original = target.rows(ids[list(copies[0])], ["image_path"])["image_path"].to_pylist()
    are = "is a copy of another" if len(copies) == 1 else "are copies of others"
    return [f"{len(copies):,} of the target's {len(ids):,} images {are}, such as {copy} of {original}"]
