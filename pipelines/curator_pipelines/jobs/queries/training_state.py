"""`curator inspect OUT` of a training: how far it is, from its run.json and its metrics."""

from __future__ import annotations

import json
from typing import ClassVar

from curator.io import current_holder, storage
from curator_pipelines.jobs.queries.state import RunState, StageState, ledger_in_short
from curator_pipelines.run import TrainingRecord

__all__ = ["TrainingState", "inspect_training"]


class TrainingState(RunState):
    """What can be seen of a training from outside."""

    resumed_by: ClassVar[str] = "run the same command again with --resume"


def inspect_training(url: str) -> TrainingState:
    """Look at the directory of a training.

    Cost: it reads run.json, the metrics and the ledger.

    Raises:
        InputError: it is of another format version.
    """
    run = TrainingRecord(url)
    holder = current_holder(url)
    record = run.record["stages"].get("train", {})
    state = record.get("state", "waiting")
    if state == "running" and holder is None:
        state = "stopped"  # a killed process could not record it
    detail = f"{record['steps']:,} steps" if state == "done" else _metrics_in_words(run)
    bad, last = ledger_in_short(run)
    stage = StageState("train", state, seconds=record.get("seconds") if state == "done" else None, detail=detail)
    return TrainingState(url, str(holder or ""), [stage], None, bad, last)


def _metrics_in_words(run: TrainingRecord) -> str:
    """The last step in metrics.jsonl; empty where there is none."""
    for text in reversed(_metrics(run)):
        line = json.loads(text)
        if "loss" in line:
            return f"{line['step'] + 1:,} of {run.record['config']['steps']:,} steps, loss {line['loss']:.4f}"
    return ""


def _metrics(run: TrainingRecord) -> list[bytes]:
    """The lines that are written to their end."""
    try:
        return storage.read_bytes(run.path("metrics.jsonl")).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
