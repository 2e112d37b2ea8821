"""What `curator inspect OUT` says of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from curator.io import parquet, schemas
from curator_pipelines.jobs.queries.live import age_of, event_lines, progress_lines, running_state
from curator_pipelines.run import LAST_BAD, WORST_SHARDS, RunRecord, duration, event_names, read_events

__all__ = ["RunState", "StageState", "last_events", "ledger_in_short", "state_of"]

# So many of the last events are shown.
LAST_EVENTS = 8


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
        progress: what the driver wrote last: of the running stage done, total, unit, bad, per_second and eta (seconds);
            of the run run_eta; workers; written. None where no run goes on and the last one came to its end.
        bad: ledger reason -> count, of the committed parts; `progress` has those of a running stage.
        last: the last ledger lines.
        state: `running`; `waiting` for a place for its workers; `silent`, so maybe stuck; and where nobody works on it
            `done`, `stopped` (by an error or a signal), or `died`: its driver ended without a word.
        bad_by_shard: shard -> bad samples of those with the most.
        events: the last ones of OUT/events.
    """

    out: str
    holder: str
    stages: list[StageState]
    progress: dict[str, Any] | None
    bad: dict[str, int] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)
    state: str = "stopped"
    bad_by_shard: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    resumed_by: ClassVar[str] = "run the same command again"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        counts = ", ".join(f"{reason}: {count:,}" for reason, count in self.bad.items())
        text = [
            f"{'run':11} {self.out}",
            f"{'held by':11} {self.holder or 'nobody'}{f', {job}' if self.holder and (job := self._job()) else ''}",
            f"{'state':11} {self.state}{self._last_sign()}",
            *(progress_lines(self.progress) if self.progress and self.holder else []),
            *(stage.to_text() for stage in self.stages),
            f"{'bad':11} {counts or (self.progress or {}).get('bad') or 'none'}",
        ]
        text += [f"  {line}" for line in self.last]
        if self.bad_by_shard:
            text.append(
                f"{'by shard':11} {', '.join(f'{name}: {count:,}' for name, count in self.bad_by_shard.items())}"
            )
        if self.events:
            text += ["events", *(f"  {line}" for line in event_lines(self.events))]
        if not self.holder and self.state != "done":
            text.append(f"stopped before its end: {self.resumed_by} to go on")
        return "\n".join(text)

    def _job(self) -> str:
        return ((self.progress or {}).get("driver") or {}).get("job") or ""

    def _last_sign(self) -> str:
        """Of a driver that ended without a word: when it was last heard of, and what it did then."""
        if self.state != "died" or not self.progress:
            return ""
        age = age_of(self.progress)
        when = "at an unknown time" if age is None else f"{duration(age)} ago"
        who = self.progress.get("driver") or {}
        name = f"process {who['pid']} on {who['host']}" if who else "its driver"
        job = f" ({who['job']})" if who.get("job") else ""
        doing = self.progress.get("doing") or self.progress["stage"]
        return f": {name}{job} ended without a word; last heard of {when}, in {doing}: {self.progress.get('text', '')}"


def ledger_in_short(run: RunRecord) -> tuple[dict[str, int], list[str], dict[str, int]]:
    """Of OUT/quarantine.parquet reason -> count, its last lines, and shard -> count of the shards with the most lines.

    Nothing where there is no such file.
    """
    try:
        table = parquet.read_table(run.path("quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        return {}, [], {}
    rows = table.slice(max(0, table.num_rows - LAST_BAD)).to_pylist()
    lines = [f"{row['shard']} {row['key'] or '?'}: {row['reason']}, {row['detail']}" for row in rows]
    shards = Counter({pair["values"].as_py(): pair["counts"].as_py() for pair in table["shard"].value_counts()})
    return dict(Counter(table["reason"].to_pylist()).most_common()), lines, dict(shards.most_common(WORST_SHARDS))


def last_events(url: str, count: int = LAST_EVENTS) -> list[dict[str, Any]]:
    """The last events of a run."""
    return read_events(url, event_names(url)[-count:])


def state_of(
    stages: Sequence[StageState], is_held: bool, progress: dict[str, Any] | None, events: Sequence[dict[str, Any]]
) -> str:
    """What a run does, in a word; see `RunState.state`."""
    if is_held:
        return running_state(progress) if progress is not None else "running"
    # A driver that ends removes its progress and says how it ended.
    if progress is not None or (events and events[-1]["kind"] != "run_ended"):
        return "died"
    if events:
        return "done" if events[-1].get("facts", {}).get("exit_code") == 0 else "stopped"
    return "done" if stages and all(stage.state == "done" for stage in stages) else "stopped"
