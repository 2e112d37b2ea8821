"""`curator search --why`: what the selection did with one sample of the pool, and because of what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curator.errors import Another, InputError, Use
from curator.io import npy, parquet, schemas, storage
from curator.search import BLOCK_ROWS, Floats, Pool, blocks, exact_pairs, exact_scores, margin, propose, row_norms
from curator.store import RowReader
from curator_pipelines.config import SearchConfig
from curator_pipelines.jobs.queries.search import find_key, open_run
from curator_pipelines.run import RunDirectory, StoredSelection, TargetDirectory, load_selection

__all__ = ["CentroidView", "Explanation", "explain"]

# The sample is shown as so many of its nearest centroids see it.
CENTROIDS = 5


@dataclass(frozen=True)
class CentroidView:
    """A sample as one centroid sees it.

    Attributes:
        centroid: the centroid's number.
        score: the similarity of sample and centroid.
        rank: the sample's rank by this score among all rows of the pool, from 1.
        last_score: the score of the last row that the centroid chose; None if it chose none.
        last_round: the round in which it chose that row.
    """

    centroid: int
    score: float
    rank: int
    last_score: float | None
    last_round: int | None

    def to_text(self) -> str:
        """For a person."""
        last = "chose nothing" if self.last_score is None else f"last took {self.last_score:.4f}"
        when = "" if self.last_round is None else f" in round {self.last_round}"
        return f"centroid {self.centroid:4}  score {self.score:.4f}  rank {self.rank:,}  (it {last}{when})"


@dataclass(frozen=True)
class Explanation:
    """What the selection did with a sample.

    Attributes:
        key: the sample's key.
        shard: the name of its shard.
        id: its id.
        fate: `chosen`, `skipped` or `not reached`.
        position: its number in the order of choice, from 1; None where it was not chosen.
        round: the round in which it was chosen or skipped.
        reason: why it was skipped; None where it was not.
        because: the deny list, or the image that it was too near to; None where it was not skipped.
        similarity: its similarity to that image.
        last_score: the score of the last chosen row.
        stop_reason: why the selection ended.
        centroids: the sample as its nearest centroids see it, nearest first.
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
    centroids: list[CentroidView]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        views = [view.to_text() for view in self.centroids]
        return "\n".join([f"{self.key}  {self.shard}", self._fate_text(), *views])

    def _fate_text(self) -> str:
        when = "" if self.round is None else f" in round {self.round}"
        if self.fate == "chosen":
            return f"chosen{when}, as number {self.position:,}"
        if self.fate == "skipped":
            near = "" if self.similarity is None else f", similarity {self.similarity:.4f}"
            because = (self.because or "").replace("\t", " ")
            return f"skipped{when}: {self.reason} {because}{near}"
        last = "" if self.last_score is None else f"; the last chosen row has a score of {self.last_score:.4f}"
        return f"not reached: the selection ended before ({self.stop_reason}){last}"


def explain(config: SearchConfig) -> Explanation:
    """Find a sample in a run's pool, and what the selection did with it.

    Cost: one pass over the pool, to count the rows with a better score.

    Raises:
        InputError: no such sample, or no finished selection.
    """
    assert config.why is not None
    run = open_run(config.run)
    directory = _target_directory(run, config.target)
    stored = load_selection(directory)
    if stored is None:
        raise InputError(f"{directory.url} holds no finished selection", advice="finish the selection first")
    row = find_key(run.pool, config.why, config.shard, field="why")
    positions = np.flatnonzero(stored.ids == row)
    position = int(positions[0]) if len(positions) else None
    skipped = _skipped(directory, row)
    chosen_round = -1 if position is None else int(stored.rounds[position])
    return Explanation(
        key=config.why,
        shard=run.pool.rows(np.array([row]), ["shard"])["shard"][0].as_py(),
        id=row,
        fate="chosen" if position is not None else "skipped" if skipped else "not reached",
        position=None if position is None else position + 1,
        round=chosen_round if chosen_round > 0 else skipped.get("round"),
        reason=skipped.get("reason"),
        because=skipped.get("because"),
        similarity=skipped.get("similarity"),
        last_score=float(stored.scores[-1]) if len(stored.scores) and np.isfinite(stored.scores[-1]) else None,
        stop_reason=stored.record["stop_reason"],
        centroids=_centroid_views(directory, stored, row),
    )


def _skipped(directory: TargetDirectory, row: int) -> dict[str, Any]:
    """The sample's row in skipped.parquet; empty if it has none."""
    table = parquet.read_table(directory.path("selection", "skipped.parquet"), schemas.SKIPPED)
    return next(iter(table.filter(pc.equal(table["id"], row)).to_pylist()), {})


def _target_directory(run: RunDirectory, target: str | None) -> TargetDirectory:
    directories = {directory.name: directory for directory in run.target_directories()}
    if target is None and len(directories) == 1:
        return next(iter(directories.values()))
    if target not in directories:
        names = ", ".join(directories)
        advice = Use("target") if target is None else Another("target")
        raise InputError(f"this run has the targets {names}", field="target", value=target, advice=advice)
    return directories[target]


def _centroid_views(directory: TargetDirectory, stored: StoredSelection, row: int) -> list[CentroidView]:
    url = directory.path("selection", "centroids.npy")
    if not storage.exists(url):
        return []  # chosen at random
    centroids = npy.read_array(url)
    vector = RowReader(directory.pool).vectors(np.array([row]))
    scores = exact_scores(np.broadcast_to(vector, centroids.shape), centroids)
    nearest = np.argsort(-scores, kind="stable")[:CENTROIDS]
    ranks = _ranks(directory.pool, centroids[nearest], scores[nearest], row)
    return [
        CentroidView(centroid, score, rank, *_last_choice(stored, centroid))
        for centroid, score, rank in zip(nearest.tolist(), scores[nearest].tolist(), ranks.tolist(), strict=True)
    ]


def _last_choice(stored: StoredSelection, centroid: int) -> tuple[float | None, int | None]:
    """The score and round of the last row that a centroid chose; the round is None where there are no rounds."""
    positions = np.flatnonzero(stored.anchors == centroid)
    if not len(positions):
        return None, None
    last = positions[-1]
    return float(stored.scores[last]), int(stored.rounds[last]) if stored.rounds[last] >= 1 else None


def _ranks(pool: Pool, centroids: Floats, scores: Floats, row: int) -> NDArray[np.int64]:
    """The rank of a row in the order of each centroid, from 1: only scores near its own are computed exactly."""
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
