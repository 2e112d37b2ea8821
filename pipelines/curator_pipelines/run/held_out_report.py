"""What a target's own images say of a selection: how near they are to each other, and where they rank in the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.io import parquet, schemas
from curator.selection import HeldOut, beats_chance
from curator.types import part_ids
from curator_pipelines.run.run_directory import TargetDirectory

__all__ = ["HeldOutReport"]

TOP = 0.01
# With fewer images no ranks are better than chance by the sign test.
LEAST_FOR_CHANCE = 7


@dataclass(frozen=True, slots=True)
class HeldOutReport:
    """The target's own images, held out.

    Attributes:
        held_out: each of them, seen from the rest of the target.
        tau: the threshold of the stop rule auto; None where the target has too few different images to tell.
        ranks: float64 (rows,), of each among the rows of the pool: see `curator.selection.pool_ranks`.
        sampled: among how many rows of the pool.
    """

    held_out: HeldOut
    tau: float | None
    ranks: NDArray[np.float64]
    sampled: int

    @property
    def better_than_chance(self) -> bool | None:
        """Whether they rank significantly better than random rows would; None where they are too few to tell."""
        return bool(beats_chance(self.ranks)) if len(self.ranks) >= LEAST_FOR_CHANCE else None

    @property
    def median_rank(self) -> float | None:
        """Of their ranks; None where nothing could be held out."""
        return float(np.median(self.ranks)) if len(self.ranks) else None

    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        if self.better_than_chance is not False:
            return []
        return [
            f"this encoder does not find your images: the median of your own held-out images ranks in the first "
            f"{self.median_rank:.1%} of the pool, where chance is 50%. What was chosen may have nothing to do with "
            "them: take another encoder"
        ]

    def to_json(self) -> dict[str, Any]:
        """For selection.json; what could not be measured is None."""
        held = self.held_out
        measured = len(held.rows) > 0
        return {
            "tau": self.tau,
            "quantiles": {
                "q05": held.quantile(0.05) if measured else None,
                "q10": held.quantile(0.1) if measured else None,
                "median": held.median if measured else None,
            },
            "held_out": len(held.rows),
            "folds": len(held.centroids),
            "groups": held.groups,
            "alike": held.alike,
            "finds_yours": {
                "median_rank": self.median_rank,
                "share_in_top_1_percent": float(np.mean(self.ranks <= TOP)) if measured else None,
                "better_than_chance": self.better_than_chance,
                "sampled": self.sampled,
            },
        }

    def write(self, directory: TargetDirectory) -> None:
        """Write held_out.parquet."""
        held = self.held_out
        target = directory.target
        ids = np.concatenate([part_ids(part, rows) for part, rows in sorted(target.lengths().items())])[held.rows]
        samples = target.rows(ids, ["shard", "image_path"])
        parquet.write_table(
            directory.path("selection", "held_out.parquet"),
            schemas.HELD_OUT,
            {
                "row": held.rows.astype(np.int32),
                "shard": samples["shard"].combine_chunks(),
                "key": samples["image_path"].combine_chunks(),
                "fold": held.fold,
                "h": held.similarity,
                "rank": pa.array(self.ranks, mask=np.isnan(self.ranks)),
            },
        )
