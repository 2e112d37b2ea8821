"""`curator inspect OUT --bad`: every sample that a run left out, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from curator.errors import InputError
from curator.io import absolute, current_holder, parquet, public_text, schemas
from curator.types import LedgerLine
from curator_pipelines.run import RunDirectory, RunRecord, TrainingRecord, is_training

__all__ = ["RunLedger", "inspect_ledger"]


@dataclass(frozen=True)
class RunLedger:
    """The ledger of a run.

    Attributes:
        out: the run directory.
        lines: shard, key, offset, station, reason and detail of each sample that was left out.
    """

    out: str
    lines: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person: a line a sample, its columns parted by tabs."""
        columns = ("shard", "key", "station", "reason", "detail")
        rows = [columns, *(tuple(line[name] for name in columns) for line in self.lines)]
        return "\n".join("\t".join(_one_cell(cell) for cell in row) for row in rows)


def _one_cell(text: str) -> str:
    """Keys are anybody's: neither a tab nor the end of a line in one may look like another cell or row."""
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def inspect_ledger(url: str) -> RunLedger:
    """The ledger of a run, also of one that is not at its end: then of the parts that are finished.

    Cost: memory for all of its lines.

    Raises:
        InputError: there is no run and no ledger.
    """
    if is_training(absolute(url)):
        training = TrainingRecord(absolute(url))
        return RunLedger(training.url, _written(training) or [])
    run = RunDirectory(absolute(url))
    lines = None if current_holder(run.url) and run.record else _written(run)
    if lines is None:
        if not run.record:
            raise InputError(f"{run.url} is no run directory: it has neither run.json nor quarantine.parquet")
        lines = _committed(run)
    return RunLedger(run.url, lines)


def _written(run: RunRecord) -> list[dict[str, Any]] | None:
    try:
        rows: list[dict[str, Any]] = parquet.read_table(run.path("quarantine.parquet"), schemas.QUARANTINE).to_pylist()
    except FileNotFoundError:
        return None
    return rows


def _committed(run: RunDirectory) -> list[dict[str, Any]]:
    """Lines of the finished parts; what could not be read has its line in the file only."""
    return [row for store in run.stores().values() for _, mark in store.marks() for row in _rows(mark.ledger)]


def _rows(lines: Iterable[LedgerLine]) -> list[dict[str, Any]]:
    return [asdict(line) | {"reason": str(line.reason), "detail": public_text(line.detail)} for line in lines]
