"""Where the line falls: target, first chosen, last chosen, first not chosen, and the pool as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.search import exact_scores
from curator_pipelines.jobs.pictures import Picture, Strip, band_of, write_sheet
from curator_pipelines.jobs.report.target_record import TargetRecord, in_hash_order

__all__ = ["chosen_picture", "strips", "write_line_sheet"]

WIDTH = 24
# Whose scores are similarities to the nearest centroid, so that any row can be given one.
BY_SIMILARITY = ("simcore", "knn")


def strips(target: TargetRecord) -> list[Strip]:
    """The strips of the line, from the target to the pool, up to 24 pictures each."""
    chosen = target.selection
    count = len(chosen.ids)
    first = min(WIDTH, count)
    # A small selection has no last ones that are not among the first.
    last = range(max(first, count - WIDTH), count)
    rows = target.next_rows.slice(0, WIDTH).to_pylist()
    following = [
        Picture("pool", row["id"], row["score"], f"place {place:,}") for place, row in enumerate(rows, count + 1)
    ]
    all_strips = [
        Strip("Your images", _of_target(target), f"{len(target.target_ids):,} in all; these are drawn at random"),
        Strip("The first chosen", [chosen_picture(target, place) for place in range(first)]),
        Strip("The last chosen", [chosen_picture(target, place) for place in last]),
        Strip("The first not chosen", following, "what a later end would have added"),
        Strip("The pool as it is", _of_pool(target), "drawn at random; scores are of the best centroid"),
    ]
    return [strip for strip in all_strips if strip.pictures]


def write_line_sheet(url: str, target: TargetRecord, line: Sequence[Strip]) -> bool:
    """Draw the strips, with their pictures, as a contact sheet; returns whether there was one to draw."""
    record = target.record
    name = f" for {target.directory.name}" if target.directory.name else ""
    title = f"Chosen{name}: {record['count']:,} of {record['candidates']:,}, by {record['selector']}"
    scores = (
        "the similarity to the centroid that it was chosen for, or to the best one"
        if record["selector"] in BY_SIMILARITY
        else f"that of {record['selector']}"
    )
    turn = " its round," if (target.selection.rounds > 0).any() else ""
    legend = f"Below each image: its score ({scores}), its place in the order of choice,{turn} and its key."
    return write_sheet(url, title, legend, [band_of(strip) for strip in line])


def chosen_picture(target: TargetRecord, place: int, of: str = "pool") -> Picture:
    """The chosen sample at a place of the order of choice, as a picture of the set `of`."""
    chosen = target.selection
    score = float(chosen.scores[place])
    turn = int(chosen.rounds[place])
    note = f"place {place + 1:,}" + (f", round {turn:,}" if turn > 0 else "")
    return Picture(of, int(chosen.ids[place]), score if math.isfinite(score) else None, note)


def _of_target(target: TargetRecord) -> list[Picture]:
    ids = in_hash_order(target.target_ids, WIDTH)
    return [Picture("target", row) for row in ids.tolist()]


def _of_pool(target: TargetRecord) -> list[Picture]:
    ids = in_hash_order(target.pool_sample, WIDTH, seed=1)
    scores = best_scores(target, ids)
    chosen = set(target.selection.ids.tolist()) & set(ids.tolist())
    return [
        Picture("pool", row, score, "chosen" if row in chosen else "")
        for row, score in zip(ids.tolist(), scores, strict=True)
    ]


def best_scores(target: TargetRecord, ids: NDArray[np.int64]) -> Sequence[float | None]:
    """The score of each of these pool rows with its best centroid; None from a selector that scores otherwise."""
    if not len(ids) or not len(target.centroids) or target.record["selector"] not in BY_SIMILARITY:
        return [None] * len(ids)
    vectors = target.pool_rows.vectors(ids)
    return [
        float(exact_scores(np.broadcast_to(vector, target.centroids.shape), target.centroids).max())
        for vector in vectors
    ]
