"""The contact sheet of `curator dedup`: pairs around the threshold, to see where it should be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.search import SimilarityJoin, directions, first_in_hash_order
from curator.selection import Repeats
from curator.store import PartReader, RowReader
from curator_pipelines.jobs.queries.query_sheets import NearPair, write_pairs_sheet
from curator_pipelines.run import Reporter

__all__ = ["pairs_below", "write_dedup_sheet"]

# Pairs of each band; how far below the threshold pairs are looked for, and among how many samples that stay.
PAIRS = 24
BELOW = 0.02
LOOKED_AT = 8192


def write_dedup_sheet(
    url: str, store: PartReader, near: Repeats, listed: NDArray[np.int64], threshold: float, reporter: Reporter
) -> bool:
    """Draw the least similar pairs of a list, and the most similar ones that are not on it.

    Args:
        url: where the sheet goes.
        store: the pool.
        near: the near duplicates.
        listed: ids of all that is listed, int64.
        threshold: of the list.
        reporter: told what could not be drawn.

    Returns:
        whether a sheet was written.
    """
    order = np.lexsort((near.ids, near.similarities))[:PAIRS]
    columns = (near.ids[order].tolist(), near.matches[order].tolist(), near.similarities[order].tolist())
    bands = {
        f"Just above {threshold:g}: the left one is listed, the right one stays": [*zip(*columns, strict=True)],
        f"Just below {threshold:g}: both stay": pairs_below(store, listed, threshold),
    }
    looked_at = min(LOOKED_AT, sum(store.lengths().values()))
    title = f"Near duplicates at {threshold:g}: {len(near.ids):,} listed"
    legend = (
        "Side by side: two samples that are about as similar as the threshold asks. Are those above the same picture, "
        "and those below different ones? Below each pair: its similarity and keys. Pairs below the threshold are "
        f"looked for among {looked_at:,} samples."
    )
    return write_pairs_sheet(url, store, title, legend, bands, reporter)


def pairs_below(store: PartReader, listed: NDArray[np.int64], threshold: float) -> list[NearPair]:
    """The most similar pairs below a threshold, among a seeded sample of the samples that stay, best first.

    Cost: the vectors of up to 8,192 rows, and one comparison of each with each.
    """
    ids = first_in_hash_order(store.lengths(), LOOKED_AT)
    ids = ids[~np.isin(ids, listed)]
    if not len(ids):
        return []
    rows = RowReader(store).vectors(ids)
    join = SimilarityJoin(directions(rows))
    join.add(rows)
    query, member, similarity = join.find(rows, threshold - BELOW)
    below = np.flatnonzero((member < query) & (similarity < np.float32(threshold)))
    best = below[np.lexsort((ids[query[below]], -similarity[below]))[:PAIRS]]
    return [*zip(ids[query[best]].tolist(), ids[member[best]].tolist(), similarity[best].tolist(), strict=True)]
