"""`curator inspect OUT` of a training: how far it is, from its run.json and its metrics."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from curator.io import current_holder, storage
from curator_pipelines.jobs.queries.state import RunState, StageState, last_events, ledger_in_short, state_of
from curator_pipelines.run import TrainingRecord, duration, read_progress

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
    progress, events = read_progress(url), last_events(url)
    record = run.record["stages"].get("train", {})
    state = record.get("state", "waiting")
    if state == "running" and holder is None:
        state = "stopped"  # a killed process could not record it
    detail = f"{record['steps']:,} steps" if state == "done" else _metrics_in_words(run)
    bad, last, by_shard = ledger_in_short(run)
    stage = StageState("train", state, seconds=record.get("seconds") if state == "done" else None, detail=detail)
    how = state_of([stage], holder is not None, progress, events)
    shown = progress if holder or how == "died" else None
    return TrainingState(url, str(holder or ""), [stage], shown, bad, last, how, by_shard, events)


def _metrics_in_words(run: TrainingRecord) -> str:
    """The last step in metrics.jsonl; empty where there is none."""
    for text in reversed(_metrics(run)):
        line = json.loads(text)
        if "loss" in line:
            done, steps = line["step"] + 1, run.record["config"]["steps"]
            return f"{done:,} of {steps:,} steps, loss {line['loss']:.4f}{_time_left(line, steps)}"
    return ""


def _time_left(line: dict[str, Any], steps: int) -> str:
    """How long the steps after this line will take, at the speed that it tells."""
    images = line.get("samples", 0) / (line["step"] + 1) * (steps - line["step"] - 1)
    speed = line.get("images_per_second")
    return f", {duration(images / speed)} left" if images and speed else ""


def _metrics(run: TrainingRecord) -> list[bytes]:
    """The lines that are written to their end."""
    try:
        return storage.read_bytes(run.path("metrics.jsonl")).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
