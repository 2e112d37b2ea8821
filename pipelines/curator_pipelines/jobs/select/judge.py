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
    hold_out,
    nearest_rows,
    query_rows,
    query_scan,
    target_copies,
    verdict_of,
)
from curator.store import PartReader, RowReader
from curator_pipelines.jobs.select.choose_filters import all_vectors, own_images
from curator_pipelines.run import TargetDirectory

__all__ = ["judge", "target_queries"]


def target_queries(selector: Selector, targets: Sequence[TargetDirectory]) -> list[QueryScan]:
    """For each target the rows whose best pool rows are looked for; none where the selector scores no rows."""
    if not selector.has_scores:
        return []
    return [query_scan(all_vectors(directory.target)) for directory in targets]


def judge(directory: TargetDirectory, selection: Selection, queries: QueryScan | None) -> Selection:
    """The selection with its verdict and its warnings.

    Args:
        directory: of the target.
        selection: what was chosen.
        queries: the target's, after the selection.

    Raises:
        UnusableInput: nothing is left to choose, since the pool holds the target's own images.
    """
    own = sum(reason in OWN_REASONS for reason in selection.skipped.reasons)
    if own and not len(selection):
        raise UnusableInput(
            f"{directory.name + ': ' if directory.name else ''}nothing is left to choose: "
            f"{own:,} of the pool's {selection.candidates:,} images are the target's own",
            advice=(Another("pool"), Use("skip_own", False)),
        )
    nearest, verdict = _verdict(directory, selection, queries)
    copies = _copies(directory.target)
    warnings = [*selection.warnings, *_copies_warning(directory.target, copies), *_doubt(verdict)]
    return replace(selection, nearest=nearest, verdict=verdict, target_copies=len(copies), warnings=warnings)


def _verdict(directory: TargetDirectory, selection: Selection, queries: QueryScan | None) -> tuple[Nearest, Verdict]:
    vectors = all_vectors(directory.target)
    nearest = Nearest.unknown()
    if queries is not None and queries.top_k is not None:
        own = own_images(directory)

        def is_own(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.array([rejection is not None for rejection in own.find(ids)], bool)

        nearest = nearest_rows(query_rows(vectors), queries.top_k, is_own, all_read=selection.recall is None)
    # Rows against rows, whatever the centroids; and the same rows whatever the seed.
    return nearest, verdict_of(nearest, hold_out(vectors, None, 0).median)


def _doubt(verdict: Verdict) -> list[str]:
    if not verdict.doubtful:
        return []
    assert verdict.share is not None
    least = "at least " if verdict.bound is Bound.LOWER else ""
    return [
        f"the pool may hold nothing of this kind: for {least}{verdict.share:.0%} of {verdict.rows:,} target images it "
        f"has one nearer than {verdict.median:.4f}, as near as the target's images typically are to each other; "
        f"{LEAST_SHARE:.0%} or more is usual"
    ]


def _copies(target: PartReader) -> list[tuple[int, int]]:
    return target_copies(all_vectors(target), RowReader(target).hashes(target.ids()))


def _copies_warning(target: PartReader, copies: Sequence[tuple[int, int]]) -> list[str]:
    if not copies:
        return []
    ids = target.ids()
    copy, original = target.rows(ids[list(copies[0])], ["image_path"])["image_path"].to_pylist()
    are = "is a copy of another" if len(copies) == 1 else "are copies of others"
    return [f"{len(copies):,} of the target's {len(ids):,} images {are}, such as {copy} of {original}"]
