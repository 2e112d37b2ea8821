"""`curator inspect OUT`: how far a run is, from the files in its directory. It takes no lock and writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from curator.errors import InputError
from curator.io import absolute, current_holder, storage
from curator_pipelines.jobs.queries.state import RunState, StageState, ledger_in_short
from curator_pipelines.jobs.queries.training_state import inspect_training
from curator_pipelines.run import RunDirectory, duration, is_training, read_progress

__all__ = ["inspect_run", "is_run"]


def is_run(url: str) -> bool:
    """True for a run directory: it has a run.json."""
    is_list = "::" in url or url.startswith(("@", "pipe:"))
    return not is_list and storage.exists(storage.join(absolute(url), "run.json"))


def inspect_run(url: str) -> RunState:
    """Look at a run directory, of a selection or of a training.

    Cost: it reads two small files, and of each set the list of its parts and a listing of those that are done; where
    no stage runs, it reads the ledger.

    Raises:
        InputError: it is no run directory, or one of another format version.
    """
    if is_training(absolute(url)):
        return inspect_training(absolute(url))
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
    bad, last = ledger_in_short(run) if progress is None else ({}, list(progress["ledger"]))
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
