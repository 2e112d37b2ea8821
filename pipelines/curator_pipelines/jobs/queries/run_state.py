"""`curator inspect OUT`: how far a run is, from the files in its directory. It takes no lock and writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from curator.errors import InputError
from curator.io import absolute, current_holder, parquet, schemas, storage
from curator_pipelines.run import LAST_BAD, RunDirectory, duration, read_progress

__all__ = ["RunState", "StageState", "inspect_run", "is_run"]


@dataclass(frozen=True)
class StageState:
    """One stage of a run.

    Attributes:
        name: the stage.
        state: `waiting`, `running`, `done` or `stopped`.
        parts: the number of finished parts; None for a stage that makes no parts.
        total: the number of parts that there will be; None if that is unknown.
        seconds: the time that the stage took; None if it is not done.
        detail: the state in words.
    """

    name: str
    state: str
    parts: int | None = None
    total: int | None = None
    seconds: float | None = None
    detail: str = ""

    def to_text(self) -> str:
        """For a person."""
        parts = f", {self.parts:,} of {self.total:,} parts" if self.parts is not None and self.total else ""
        took = f", {duration(self.seconds)}" if self.seconds is not None else ""
        detail = f"; {self.detail}" if self.detail else ""
        return f"{self.name:11} {self.state}{parts}{took}{detail}"


@dataclass(frozen=True)
class RunState:
    """What can be seen of a run from outside.

    Attributes:
        out: the run directory.
        holder: the process that works on it now; empty if none does.
        stages: its stages in their order.
        progress: what the running stage wrote last: done, total, unit, bad, per_second, eta (seconds), written.
        bad: ledger reason -> count, of the committed parts; `progress` has those of a running stage.
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
        counts = ", ".join(f"{reason}: {count:,}" for reason, count in self.bad.items())
        text = [
            f"{'run':11} {self.out}",
            f"{'held by':11} {self.holder or 'nobody'}",
            *(stage.to_text() for stage in self.stages),
            f"{'bad':11} {counts or (self.progress or {}).get('bad') or 'none'}",
        ]
        if not self.holder and any(stage.state == "stopped" for stage in self.stages):
            text.append("stopped before its end: run the same command again to go on")
        return "\n".join(text + [f"  {line}" for line in self.last])


def is_run(url: str) -> bool:
    """True for a run directory: it has a run.json."""
    is_list = "::" in url or url.startswith(("@", "pipe:"))
    return not is_list and storage.exists(storage.join(absolute(url), "run.json"))


def inspect_run(url: str) -> RunState:
    """Look at a run directory.

    Cost: it reads two small files, and of each set the list of its parts and a listing of those that are done; where
    no stage runs, it reads the ledger.

    Raises:
        InputError: it is no run directory, or one of another format version.
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
        # The records of stages after the running one are those of an earlier run.
        is_old = running is not None and names.index(name) > names.index(running)
        stages.append(_stage(run, name, {} if is_old else recorded.get(name, {}), holder is not None, progress))
    bad, last = _ledger(run) if progress is None else ({}, list(progress["ledger"]))
    return RunState(run.url, str(holder or ""), stages, progress, bad, last)


def _stage_names(run: RunDirectory) -> list[str]:
    """All stages of a run in their order, as run.json names them."""
    if "target" not in run.record.get("config", {}):
        return list(run.record.get("stages", {}))
    packs = [f"{target.name}/pack" if target.name else "pack" for target in run.target_directories()]
    return [*run.stores(), "select", *packs]


def _stage(
    run: RunDirectory, name: str, record: dict[str, Any], is_held: bool, progress: dict[str, Any] | None
) -> StageState:
    state = record.get("state", "waiting")
    if state == "running" and not is_held:
        state = "stopped"  # a killed process could not record it
    detail = ""
    if state == "running" and progress is not None and progress["stage"] == name:
        age = (datetime.now(UTC) - datetime.fromisoformat(progress["written"])).total_seconds()
        detail = f"{progress['text']} (as of {duration(max(age, 0.0))} ago)"
    elif state == "done":
        detail = _result(name, record)
    parts = total = None
    store = run.stores().get(name)
    if store is not None and state != "waiting":
        listing = store.listing()
        parts, total = len(listing.finished), sum(not part.is_retired for part in listing.registered)
    return StageState(name, state, parts, total, record.get("seconds") if state == "done" else None, detail)


def _result(name: str, record: dict[str, Any]) -> str:
    if "embedded" in record:
        return f"{record.get('embedded', 0):,} samples embedded, {record.get('bad', 0):,} bad"
    if name == "select":
        by_target = [result for result in record.values() if isinstance(result, dict)]
        chosen = [(result.get("count", 0), result.get("stop_reason", "?")) for result in by_target or [record]]
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
