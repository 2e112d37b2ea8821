"""What the functions of `import curator` return of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from curator.errors import CuratorError

if TYPE_CHECKING:
    from curator.selection import Selection
    from curator_pipelines.jobs.select import Packed, SelectSummary
    from curator_pipelines.run import TargetDirectory

__all__ = ["Coreset", "PackResult", "SelectResult"]


@dataclass(frozen=True)
class Coreset:
    """The chosen images of one target.

    Attributes:
        url: OUT, or OUT/NAME if there are several targets.
        shards: URLs of the output shards; empty where only the manifest was asked for.
        manifest: URL of the manifest.
    """

    url: str
    shards: list[str]
    manifest: str
    _directory: TargetDirectory = field(repr=False, compare=False)

    @cached_property
    def selection(self) -> Selection:
        """The selection, read from OUT when it is first asked for."""
        return _read_selection(self._directory)


@dataclass(frozen=True)
class PackResult:
    """What `curator.pack` did.

    Attributes:
        out: URL of the run directory.
        coresets: target name -> what was chosen for it; the name of an only target is empty.
        warnings: what the user should know.
    """

    out: str
    coresets: dict[str, Coreset]
    warnings: list[str]

    @property
    def selection(self) -> Selection:
        """The selection of an only target."""
        return self._only().selection

    @property
    def shards(self) -> list[str]:
        """URLs of an only target's output shards."""
        return self._only().shards

    @property
    def manifest(self) -> str:
        """URL of an only target's manifest."""
        return self._only().manifest

    def _only(self) -> Coreset:
        if "" not in self.coresets:
            raise CuratorError(f"there are several targets: name one, as in coresets[{next(iter(self.coresets))!r}]")
        return self.coresets[""]


@dataclass(frozen=True)
class SelectResult(PackResult):
    """What `curator.select` did; `str` of it is what the command prints.

    Attributes:
        out: URL of the run directory.
        coresets: target name -> what was chosen for it; the name of an only target is empty.
        warnings: what the user should know.
        summary: counts and times of all stages.
    """

    summary: SelectSummary = field(repr=False)

    def __str__(self) -> str:
        return self.summary.to_text()


def coresets_of(out: str, packed: dict[str, Packed]) -> dict[str, Coreset]:
    """Target name -> what was chosen for it."""
    from curator_pipelines.run import RunDirectory

    run = RunDirectory(out)
    coresets = {}
    for name, result in packed.items():
        directory = run.target_directory(name)
        shards = [directory.path("shards", f"curated-{number:06d}.tar") for number in range(result.shards)]
        coresets[name] = Coreset(directory.url, shards, result.manifest, directory)
    return coresets


def _read_selection(directory: TargetDirectory) -> Selection:
    from curator.io import parquet, schemas
    from curator.selection import (
        Bound,
        NextRows,
        RefusedRound,
        RoundLine,
        Rounds,
        Selection,
        Skipped,
        StopReason,
        Threshold,
        Verdict,
    )
    from curator_pipelines.run import load_selection

    stored = load_selection(directory)
    if stored is None:
        raise CuratorError(f"{directory.url} holds no finished selection any more")

    def read(name: str, schema: Any) -> dict[str, Any]:
        table = parquet.read_table(directory.path("selection", name), schema)
        columns = {column: table[column] for column in table.column_names}
        # Null is what a selector or a filter does not know: NaN and -1 in memory.
        for column, unknown in UNKNOWN.items():
            if column in columns:
                columns[column] = columns[column].fill_null(unknown).to_numpy()
        return columns

    selected = read("selected.parquet", schemas.SELECTED)
    rounds = read("rounds.parquet", schemas.ROUNDS)
    skipped = read("skipped.parquet", schemas.SKIPPED)
    following = read("next.parquet", schemas.NEXT)
    record = stored.record
    return Selection(
        ids=stored.ids,
        scores=stored.scores,
        anchors=stored.anchors,
        rounds=stored.rounds,
        rounds_table=Rounds(**{name: rounds[name] for name in ("round", "mean_score", "ratio", "chosen")}),
        skipped=Skipped(
            skipped["id"],
            skipped["score"],
            skipped["centroid"],
            skipped["round"],
            skipped["reason"].to_pylist(),
            skipped["because"].to_pylist(),
            skipped["match"],
            skipped["similarity"],
        ),
        stop_reason=StopReason(record["stop_reason"]),
        stopped_at=RefusedRound(**record["stopped_at"]) if record["stopped_at"] else None,
        reference_mean=math.nan if record["reference_mean"] is None else record["reference_mean"],
        objective=math.nan if record["objective"] is None else record["objective"],
        candidates=record["candidates"],
        passes=0,
        k=0,
        warnings=record["warnings"],
        next_rows=NextRows(*(following[name] for name in ("id", "score", "centroid", "round"))),
        around_end=[
            RoundLine(**line | {"ratio": math.nan if line["ratio"] is None else line["ratio"]})
            for line in record["around_end"]
        ],
        thresholds=[Threshold(**told) for told in record["thresholds"]],
        recall=record["index"],
        verdict=Verdict(**record["verdict"] | {"bound": Bound(record["verdict"]["bound"])}),
        target_copies=record["target_copies"],
        shards=selected["shard"].to_pylist(),
        keys=selected["key"].to_pylist(),
    )


UNKNOWN = {
    "id": -1,
    "score": math.nan,
    "centroid": -1,
    "round": -1,
    "match": -1,
    "similarity": math.nan,
    "mean_score": math.nan,
    "ratio": math.nan,
    "chosen": 0,
}
