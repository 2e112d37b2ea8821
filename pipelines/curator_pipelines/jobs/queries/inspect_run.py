"""`curator inspect OUT`: how far a run is, from what stands in its directory. Takes no lock, writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from curator.errors import InputError
from curator.io import parquet, schemas, storage
from curator.io.run_lock import current_holder
from curator.io.urls import absolute
from curator_pipelines.run.progress import LAST_BAD, duration
from curator_pipelines.run.progress_file import read_progress
from curator_pipelines.run.run_directory import RunDirectory

__all__ = ["RunState", "StageState", "inspect_run", "is_run"]


@dataclass(frozen=True)
class StageState:
    """One stage of a run.

    Attributes:
        name: the stage.
        state: `waiting`, `running`, `done` or `stopped`.
        parts: finished parts or output shards; None where that is not what it makes.
        of: how many there will be; None if unknown.
        seconds: it took, if it is done.
        detail: in words.
    """

    name: str
    state: str
    parts: int | None = None
    of: int | None = None
    seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class RunState:
    """What can be seen of a run from outside.

    Attributes:
        out: the run directory.
        holder: who works on it now; empty if nobody does.
        stages: in their order.
        progress: what the running stage last said: done, total, unit, bad, per_second, eta (seconds), at.
        bad: ledger reason -> count, of what is committed; of a running stage, see `progress`.
        last: the last ledger lines.
    """

    out: str
    holder: str
    stages: list[StageState]
    progress: dict[str, Any] | None
    bad: dict[str, int] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{'run':11} {self.out}", f"{'held by':11} {self.holder or 'nobody'}"]
        for stage in self.stages:
            parts = f", {stage.parts:,} of {stage.of:,} parts" if stage.parts is not None and stage.of else ""
            took = f", {duration(stage.seconds)}" if stage.seconds is not None else ""
            detail = f"; {stage.detail}" if stage.detail else ""
            lines.append(f"{stage.name:11} {stage.state}{parts}{took}{detail}")
        counts = ", ".join(f"{reason}: {count:,}" for reason, count in self.bad.items())
        lines.append(f"{'bad':11} {counts or (self.progress or {}).get('bad') or 'none'}")
        if not self.holder and any(stage.state == "stopped" for stage in self.stages):
            lines.append("stopped before its end: run the same command again to go on")
        return "\n".join(lines + [f"  {line}" for line in self.last])


def is_run(url: str) -> bool:
    """True for a run directory: it has a run.json."""
    return "::" not in url and "@" not in url[:1] and storage.exists(storage.join(absolute(url), "run.json"))


def inspect_run(url: str) -> RunState:
    """Look at a run directory.

    Cost: two small files, and one listing a set; the ledger, where no stage is running.

    Raises:
        InputError: it is none, or of another format version.
    """
    run = RunDirectory(absolute(url))
    if not run.record:
        raise InputError(f"{run.url} is no run directory: it has no run.json")
    holder = current_holder(run.url)
    progress = read_progress(run.url) if holder else None
    recorded = run.record.get("stages", {})
    names = _stage_names(run)
    running = next((name for name in names if recorded.get(name, {}).get("state") == "running"), None)
    stages = []
    for name in names:
        # Behind the stage that runs stands what an earlier run left.
        behind = running is not None and names.index(name) > names.index(running)
        stages.append(_stage(run, name, {} if behind else recorded.get(name, {}), holder is not None, progress))
    bad, last = _ledger(run) if progress is None else ({}, list(progress["ledger"]))
    return RunState(run.url, str(holder or ""), stages, progress, bad, last)


def _stage_names(run: RunDirectory) -> list[str]:
    """All stages of a run in their order, as run.json names them."""
    if "target" not in run.record.get("config", {}):
        return list(run.record.get("stages", {}))
    packs = [f"{results.name}/pack" if results.name else "pack" for results in run.target_directories()]
    return [*run.stores(), "select", *packs]


def _stage(
    run: RunDirectory, name: str, record: dict[str, Any], held: bool, progress: dict[str, Any] | None
) -> StageState:
    state = record.get("state", "waiting")
    if state == "running" and not held:
        state = "stopped"  # killed: nobody was left to say so
    detail = ""
    if state == "running" and progress is not None and progress["stage"] == name:
        age = (datetime.now(UTC) - datetime.fromisoformat(progress["at"])).total_seconds()
        detail = f"{progress['line']} (as of {duration(max(age, 0.0))} ago)"
    elif state == "done":
        detail = _result(name, record)
    parts = of = None
    store = run.stores().get(name)
    if store is not None and state != "waiting":
        parts, of = len(store.finished()), store.registered_count()
    return StageState(name, state, parts, of, record.get("seconds") if state == "done" else None, detail)


def _result(name: str, record: dict[str, Any]) -> str:
    if "embedded" in record:
        return f"{record.get('embedded', 0):,} samples embedded, {record.get('bad', 0):,} bad"
    if name == "select":
        several = [told for told in record.values() if isinstance(told, dict)]
        chosen = [(told.get("count", 0), told.get("stop_reason", "?")) for told in several or [record]]
        return ", ".join(f"{count:,} samples chosen ({reason})" for count, reason in chosen)
    return f"{record.get('samples', 0):,} samples in {record.get('shards', 0):,} shards"


def _ledger(run: RunDirectory) -> tuple[dict[str, int], list[str]]:
    try:
        table = parquet.read_table(run.path("quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        return {}, []
    rows = table.slice(max(0, table.num_rows - LAST_BAD)).to_pylist()
    lines = [f"{row['shard']} {row['key'] or '?'}: {row['reason']}, {row['detail']}" for row in rows]
    return dict(Counter(table["reason"].to_pylist()).most_common()), lines
