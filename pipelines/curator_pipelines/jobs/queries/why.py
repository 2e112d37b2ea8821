"""`curator search --why`: what became of one sample of the pool, and because of what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curator.errors import InputError
from curator.io import npy, parquet, schemas, storage
from curator.search.exact_scores import exact_pairs, margin, propose, row_norms
from curator.search.pool import Floats, Pool
from curator.search.scan import BLOCK_ROWS, blocks
from curator.selection import exact_scores
from curator.store.row_reader import RowReader
from curator_pipelines.config.queries import SearchConfig
from curator_pipelines.jobs.queries.search import find_key, open_run
from curator_pipelines.run.run_directory import RunDirectory, TargetDirectory
from curator_pipelines.run.stored_selection import StoredSelection, load_selection

__all__ = ["Why", "explain"]

CENTROIDS = 5


@dataclass(frozen=True)
class Place:
    """A sample as one centroid sees it.

    Attributes:
        centroid: its number.
        score: of sample and centroid.
        rank: among all rows of the pool, from 1.
        last_score: of the last row credited to the centroid; None if none was.
        last_round: in which that was.
    """

    centroid: int
    score: float
    rank: int
    last_score: float | None
    last_round: int | None


@dataclass(frozen=True)
class Why:
    """What became of a sample.

    Attributes:
        key: of the sample.
        shard: of the sample.
        id: of the sample.
        fate: `chosen`, `skipped` or `not reached`.
        position: place in the order of stored, from 1; None where not chosen.
        round: in which it was chosen or skipped.
        reason: of a sample skipped.
        because: of a sample skipped: the deny list, or what it was too near to.
        similarity: to that.
        last_score: score of the last chosen row of all.
        stop_reason: why the selection ended.
        places: as its best centroids see it, best first.
    """

    key: str
    shard: str
    id: int
    fate: str
    position: int | None
    round: int | None
    reason: str | None
    because: str | None
    similarity: float | None
    last_score: float | None
    stop_reason: str
    places: list[Place]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{self.key}  {self.shard}", self._fate()]
        for place in self.places:
            last = "chose nothing" if place.last_score is None else f"last took {place.last_score:.4f}"
            when = "" if place.last_round is None else f" in round {place.last_round}"
            lines.append(
                f"centroid {place.centroid:4}  score {place.score:.4f}  rank {place.rank:,}  (it {last}{when})"
            )
        return "\n".join(lines)

    def _fate(self) -> str:
        when = "" if self.round is None else f" in round {self.round}"
        if self.fate == "chosen":
            return f"chosen{when}, as number {self.position:,}"
        if self.fate == "skipped":
            near = "" if self.similarity is None else f", similarity {self.similarity:.4f}"
            return f"skipped{when}: {self.reason} {(self.because or '').replace(chr(9), ' ')}{near}"
        last = "" if self.last_score is None else f"; the last chosen has a score of {self.last_score:.4f}"
        return f"not reached: the selection ended before ({self.stop_reason}){last}"


def explain(config: SearchConfig) -> Why:
    """Find a sample in a run's pool, and what the selection did with it.

    Cost: one pass over the pool, to count who stands before it.

    Raises:
        InputError: no such sample, or no finished selection.
    """
    assert config.why is not None
    run = open_run(config.run)
    directory = _results(run, config.target)
    stored = load_selection(directory)
    if stored is None:
        raise InputError(f"{directory.url} holds no finished selection: run curator select first")
    row = find_key(run.pool, config.why, config.shard)
    shard = run.pool.rows(np.array([row]), ["shard"])["shard"][0].as_py()
    position = np.flatnonzero(stored.ids == row)
    table = parquet.read_table(directory.path("selection", "skipped.parquet"), schemas.SKIPPED)
    skipped: dict[str, Any] = next(iter(table.filter(pc.equal(table["id"], row)).to_pylist()), {})
    fate = "chosen" if len(position) else "skipped" if skipped else "not reached"
    chosen_round = int(stored.rounds[position[0]]) if len(position) else -1
    return Why(
        key=config.why,
        shard=shard,
        id=row,
        fate=fate,
        position=int(position[0]) + 1 if len(position) else None,
        round=chosen_round if chosen_round > 0 else skipped.get("round"),
        reason=skipped.get("reason"),
        because=skipped.get("because"),
        similarity=skipped.get("similarity"),
        last_score=float(stored.scores[-1]) if len(stored.scores) and np.isfinite(stored.scores[-1]) else None,
        stop_reason=stored.record["stop_reason"],
        places=_places(directory, stored, row),
    )


def _results(run: RunDirectory, target: str | None) -> TargetDirectory:
    found = {directory.name: directory for directory in run.target_directories()}
    if target is None and len(found) == 1:
        return next(iter(found.values()))
    if target not in found:
        raise InputError(f"--target {target or 'is missing'}: this run has {', '.join(found)}")
    return found[target]


def _places(directory: TargetDirectory, stored: StoredSelection, row: int) -> list[Place]:
    url = directory.path("selection", "centroids.npy")
    if not storage.exists(url):
        return []  # chosen at random
    centroids = npy.read_array(url)
    vector = RowReader(directory.pool).vectors(np.array([row]))
    scores = exact_scores(np.broadcast_to(vector, centroids.shape), centroids)
    best = np.argsort(-scores, kind="stable")[:CENTROIDS]
    ranks = _ranks(directory.pool, centroids[best], scores[best], row)
    places = []
    for centroid, score, rank in zip(best.tolist(), scores[best].tolist(), ranks.tolist(), strict=True):
        mine = np.flatnonzero(stored.centroids == centroid)
        last = mine[-1] if len(mine) else None
        number = None if last is None or stored.rounds[last] < 1 else int(stored.rounds[last])
        places.append(Place(centroid, score, rank, None if last is None else float(stored.scores[last]), number))
    return places


def _ranks(pool: Pool, centroids: Floats, scores: Floats, row: int) -> np.ndarray:
    """The place of a row in the order of each centroid, from 1: only scores near its own are computed exactly."""
    before = np.zeros(len(centroids), np.int64)
    error = np.float32(margin(centroids))
    for part, rows in pool.parts():
        for first, block in blocks(part, rows, len(centroids), BLOCK_ROWS):
            wide = np.asarray(block, np.float32)
            norms = row_norms(wide)
            proposed = propose(wide, norms, centroids)
            above = proposed > scores[:, None] + error
            centroid_of, row_of = np.nonzero(~above & (proposed >= scores[:, None] - error))
            exact = exact_pairs(wide, norms, centroids, row_of, centroid_of)
            own = scores[centroid_of]
            ahead = (exact > own) | ((exact == own) & (first + row_of < row))
            before += above.sum(axis=1) + np.bincount(centroid_of[ahead], minlength=len(centroids))
    return before + 1
