"""What a driver wrote of itself and its workers, in words: OUT/progress.json and OUT/events for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from curator_pipelines.run import duration

__all__ = ["age_of", "event_lines", "progress_lines", "running_state"]

# What says nothing for so many seconds may be stuck. A batch of large images on a slow CPU takes less.
SILENT = 120.0
# A worker that has not begun after so many seconds waits for its place.
STARTS_WITHIN = 60.0
# So many workers are shown.
SHOWN_WORKERS = 20

Record = Mapping[str, Any]
# Nothing that takes long comes after these.
LAST_STAGES = ("report", "train")


def age_of(record: Record) -> float | None:
    """The seconds since a record was written, by the clock of who looks; None where it does not say when."""
    try:
        written = datetime.fromisoformat(record.get("written") or record["time"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (datetime.now(UTC) - written).total_seconds())


def running_state(record: Record) -> str:
    """What a run does that goes on: `running`, `waiting` for a place for its workers, or `silent`, maybe stuck."""
    counts, workers = record.get("worker_counts") or {}, record.get("workers") or []
    busy = [worker for worker in workers if worker["task"]]
    age = age_of(record) or 0.0
    if age > SILENT or (busy and all(worker["silent"] + age > SILENT for worker in busy)):
        return "silent"
    starting = [worker for worker in workers if worker["state"] == "starting"]
    is_slow = bool(starting) and min(worker["seconds"] for worker in starting) > STARTS_WITHIN
    if record.get("waiting") or (counts and set(counts) == {"starting"} and is_slow):
        return "waiting"
    return "running"


def _time_left(record: Record) -> str:
    """The time that is left of the run, in words; empty where it is unknown."""
    seconds = record.get("run_eta")
    if seconds is None:
        return ""
    is_last = str(record.get("doing", "")).rpartition("/")[2] in LAST_STAGES
    return f"about {duration(seconds)} left" if is_last else f"at least {duration(seconds)} left"


def progress_lines(record: Record) -> list[str]:
    """What the driver wrote last, with its workers."""
    age = age_of(record)
    words = [f"{record.get('doing') or record['stage']}: {record.get('text') or 'begun'}"]
    if took := record.get("run_seconds"):
        words.append(f"run {duration(took)}")
    words += [left] if (left := _time_left(record)) else []
    seen = "" if age is None else f" (as of {duration(age)} ago)"
    lines = [f"{'now':11} {', '.join(words)}{seen}"]
    if age is not None and age > SILENT:
        lines.append(f"{'silent':11} the driver has written nothing for {duration(age)}: it computes, or it is stuck")
    if record.get("waiting"):
        lines.append(f"{'waiting':11} {record['waiting']}")
    return lines + _worker_lines(record, age or 0.0) + _slowest(record) + _worst(record)


def _worker_lines(record: Record, age: float) -> list[str]:
    counts, workers = record.get("worker_counts") or {}, record.get("workers") or []
    gone = {"lost": "lost", "preempted": "preempted", "left_out": "left out"}
    words = [f"{count:,} {state}" for state, count in counts.items()]
    words += [f"{record[name]:,} {text}" for name, text in gone.items() if record.get(name)]
    if not words:
        return []
    lines = [f"{'workers':11} {', '.join(words)}"]
    lines += [_worker_line(worker, age) for worker in workers[:SHOWN_WORKERS]]
    more = sum(counts.values()) - len(workers[:SHOWN_WORKERS])
    return lines + ([f"  and {more:,} more, heard of later than these"] if more > 0 else [])


def _worker_line(worker: Record, age: float) -> str:
    words = [f"{worker['state']} for {duration(worker['seconds'] + age)}"]
    if worker["task"]:
        words[0] = f"{worker['state']} on {worker['task']} for {duration(worker['seconds'] + age)}"
    if worker["per_second"] is not None:
        words.append(f"{worker['per_second']:,.1f} {worker['unit']}/s")
    if worker["finished"]:
        words.append(f"{worker['finished']:,} tasks done")
    if worker["task"] and worker["silent"] + age > SILENT:
        words.append(f"SILENT for {duration(worker['silent'] + age)}: maybe stuck")
    return f"  {worker['name']}: {', '.join(words)}"


def _slowest(record: Record) -> list[str]:
    slowest = record.get("slowest") or []
    if not slowest:
        return []
    words = (f"{task['task']} {duration(task['seconds'])} on {task['worker']}" for task in slowest[:3])
    return [f"{'slowest':11} {'; '.join(words)}"]


def _worst(record: Record) -> list[str]:
    shards = record.get("bad_by_shard") or []
    if not shards:
        return []
    words = (f"{shard['shard']}: {shard['bad']:,}" for shard in shards)
    return [f"{'by shard':11} {', '.join(words)}"]


def event_lines(events: Sequence[Record]) -> list[str]:
    """What happened, a line each."""
    return [
        f"{event['time']} {event['run']} {event['kind']}: {' '.join(str(event['text']).split())}" for event in events
    ]
