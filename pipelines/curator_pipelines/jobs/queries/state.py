"""What `curator inspect OUT` says of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from curator.io import parquet, schemas
from curator_pipelines.run import LAST_BAD, RunRecord, duration

__all__ = ["RunState", "StageState", "ledger_in_short"]


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

    resumed_by: ClassVar[str] = "run the same command again"

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
            text.append(f"stopped before its end: {self.resumed_by} to go on")
        return "\n".join(text + [f"  {line}" for line in self.last])


def ledger_in_short(run: RunRecord) -> tuple[dict[str, int], list[str]]:
    """Reason -> count of OUT/quarantine.parquet, and its last lines; nothing where there is no such file."""
    try:
        table = parquet.read_table(run.path("quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        return {}, []
    rows = table.slice(max(0, table.num_rows - LAST_BAD)).to_pylist()
    lines = [f"{row['shard']} {row['key'] or '?'}: {row['reason']}, {row['detail']}" for row in rows]
    return dict(Counter(table["reason"].to_pylist()).most_common()), lines
