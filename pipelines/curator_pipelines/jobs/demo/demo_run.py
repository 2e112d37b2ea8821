"""`curator demo`: an ordinary selection from real images, with a result that can be seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator.io import storage
from curator.types import Member
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.demo.demo_data import SOLAR, build_demo_data
from curator_pipelines.jobs.select import SelectSummary, run_select
from curator_pipelines.run import Reporter, RunDirectory

__all__ = ["DemoResult", "run_demo"]

# About the share of solar cells in the pool.
BUDGET = "20%"


@dataclass(frozen=True)
class DemoResult:
    """The result of `curator demo`.

    Attributes:
        summary: the summary of the selection.
        chosen: the number of chosen images.
        chosen_solar: the number of chosen images that show solar cells.
        pool: the number of images in the pool.
        pool_solar: the number of images in the pool that show solar cells.
    """

    summary: SelectSummary
    chosen: int
    chosen_solar: int
    pool: int
    pool_solar: int

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"chosen": self.chosen, "chosen_solar": self.chosen_solar, "summary": self.summary.to_json()}

    def to_text(self) -> str:
        """For a person."""
        chosen = f"{self.chosen_solar} of the {self.chosen} chosen ({self.chosen_solar / self.chosen:.1%}) are {SOLAR}"
        pool = f"of the pool {self.pool_solar} of {self.pool} ({self.pool_solar / self.pool:.1%}) are"
        return f"{self.summary.to_text()}\n\n{chosen}; {pool}."


def run_demo(out: str, reporter: Reporter) -> DemoResult:
    """Build the data below `out`, select, and count. A second run uses the data of the first.

    Raises:
        InputError: the extra `demo` is not installed.
    """
    folder = Path(out).absolute()
    data = build_demo_data(folder / "data")
    reporter.say(f"target: {data.target}; pool: {data.pool}")
    config = SelectConfig(
        target=[data.target], pool=[data.pool], out=str(folder / "run"), encoder=["lite0"], budget=BUDGET
    )
    summary = run_select(config, reporter)
    run = RunDirectory(config.out)
    chosen = _chosen_sources(run)
    return DemoResult(
        summary,
        len(chosen),
        chosen.count(SOLAR),
        sum(data.counts.values()),
        data.counts[SOLAR],
    )


def _chosen_sources(run: RunDirectory) -> list[str]:
    """What each chosen image shows, by its label: for counting, never for selecting."""
    from curator_pipelines.run import load_selection

    stored = load_selection(run.target_directory())
    assert stored is not None
    rows = run.pool.rows(stored.ids, ["shard", "members"])
    return [
        _read_label(shard, [Member(**member) for member in members])
        for shard, members in zip(rows["shard"].to_pylist(), rows["members"].to_pylist(), strict=True)
    ]


def _read_label(shard: str, members: list[Member]) -> str:
    label = next(member for member in members if member.ext == "json")
    data = storage.read_range(shard, label.offset, label.offset + label.size)
    return str(json.loads(data)["source"])
