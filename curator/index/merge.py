"""Putting pieces together by list, so that a list is read in at most `MOST_RUNS` places.

pieces as they were built, and earlier merges: the runs of the index
more runs than `MOST_RUNS` -> the smallest of them become one merge: pieces that each have all rows of some lists
parts that are gone -> the merges that have them are made anew without them

What a piece tells of its lists, and its share of the sample, stay where they were built; only rows move.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.index.codec import Codec
from curator.index.contents import MergedPiece, list_sizes
from curator.index.pieces import OFFSETS, stored_name, write_rows
from curator.index.store import PIECE_BYTES, IndexStore, Merge
from curator.io import npy, storage
from curator.types import parts_of

__all__ = ["MOST_RUNS", "MergeTask", "merge_lists", "merge_tasks", "next_merge"]

# Places in which a list may have rows: each is a request for these and one for their ids.
MOST_RUNS = 2


@dataclass(frozen=True)
class MergeTask:
    """A piece of a merge to write.

    Attributes:
        merge: the name of the merge.
        number: the number of the piece in it.
        first: its first list.
        last: the list after its last one.
        inputs: the URL of each piece that has rows of these lists, and the parts whose rows are kept; None for all.
    """

    merge: str
    number: int
    first: int
    last: int
    inputs: tuple[tuple[str, NDArray[np.int64] | None], ...]

    def __repr__(self) -> str:
        return f"index lists {self.first} to {self.last - 1}"


def next_merge(index: IndexStore) -> Merge | None:
    """What to put together now; None where every list has its rows in few enough places."""
    identities, merges = index.identities(), index.merges()
    current = [merge.built for merge in merges if merge.is_current(identities)]
    runs = [*current, *({number: own} for number, own in sorted(identities.items()) if not _holds(merges, number, own))]
    built: dict[int, str] = {}
    if len(runs) > MOST_RUNS:
        rows = index.rows_of_pieces()
        runs.sort(key=lambda run: (-sum(rows[number] for number in run), sorted(run)))
        built = {number: own for run in runs[MOST_RUNS - 1 :] for number, own in run.items()}
    if not built and len(current) == len(merges):
        return None
    for merge in merges:
        if not merge.is_current(identities):
            built |= dict(merge.built.items() & identities.items())
    return Merge(_name(built), built, _cuts(index, sorted(built)))


def _holds(merges: Sequence[Merge], number: int, identity: str) -> bool:
    return any(merge.built.get(number) == identity for merge in merges)


def _name(built: dict[int, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(built.items())).encode()).hexdigest()[:16]


def _cuts(index: IndexStore, numbers: Sequence[int]) -> tuple[int, ...]:
    """The lists between which one piece ends and the next begins: each has about `PIECE_BYTES`, or one list."""
    lists = len(index.quantiser().centroids)
    sizes = list_sizes(lists, [index.piece_url(number) for number in numbers])
    ends = np.cumsum(sizes * index.row_bytes())
    cuts = [0]
    while cuts[-1] < lists:
        before = int(ends[cuts[-1] - 1]) if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, before + PIECE_BYTES, side="right"))))
    return tuple(cuts)


def merge_tasks(index: IndexStore, merge: Merge) -> Iterator[MergeTask]:
    """The pieces of a merge that are not written yet, one by one: each names all pieces that it is made of."""
    identities, finished = index.identities(), index.finished()
    older = [own for own in index.merges() if own.built.items() & merge.built.items()]
    loose = [number for number, own in sorted(merge.built.items()) if not _holds(older, number, own)]
    inputs: list[tuple[MergedPiece, NDArray[np.int64] | None]] = []
    inputs += [((index.piece_url(number), 0, merge.cuts[-1]), None) for number in loose]
    for own in older:
        # Under an old number a piece may hold other parts now, so only those that the merge took are kept.
        kept = sorted(part for number, _ in own.built.items() & identities.items() for part in finished[number])
        parts = None if own.is_current(identities) else np.array(kept, np.int64)
        inputs += [(piece, parts) for piece in index.merged_pieces(own)]
    for number, (url, first, last) in enumerate(index.merged_pieces(merge) if merge.built else ()):
        if not storage.exists(storage.join(url, OFFSETS)):
            own_inputs = ((own[0], parts) for own, parts in inputs if own[1] < last and first < own[2])
            yield MergeTask(merge.name, number, first, last, tuple(own_inputs))


def merge_lists(url: str, task: MergeTask, lists: int, codec: Codec | None) -> int:
    """Write a piece of a merge; its offsets go last. Returns the number of its rows. Memory: twice these rows.

    Args:
        url: the URL of its folder.
        task: the lists, and where their rows are.
        lists: the number of all lists of the index.
        codec: of the index.
    """

    def read(url: str, parts: NDArray[np.int64] | None) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        offsets = npy.open_rows(storage.join(url, OFFSETS))[task.first : task.last + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        stored, ids = (npy.open_rows(storage.join(url, name))[rows] for name in (stored_name(codec), "ids.npy"))
        list_of = np.repeat(np.arange(task.first, task.last), np.diff(offsets))
        if parts is None:
            return stored, ids, list_of
        kept = np.isin(parts_of(ids), parts)
        return stored[kept], ids[kept], list_of[kept]

    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        found = list(threads.map(read, *zip(*task.inputs, strict=True)))
    stored, ids, list_of = (np.concatenate(columns) for columns in zip(*found, strict=True))
    del found
    order = np.lexsort((ids, list_of))
    write_rows(url, stored[order], ids[order], np.bincount(list_of, minlength=lists), codec)
    return len(order)
