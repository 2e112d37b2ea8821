"""`curator inspect OUT`: how far a run is, from the files in its directory. It takes no lock and writes nothing."""

from __future__ import annotations

from typing import Any

from curator.errors import InputError
from curator.io import absolute, current_holder, storage
from curator_pipelines.jobs.queries.state import RunState, StageState, last_events, ledger_in_short, state_of
from curator_pipelines.jobs.queries.training_state import inspect_training
from curator_pipelines.run import RunDirectory, event_names, is_training, read_progress

__all__ = ["inspect_run", "is_run"]


# What a run directory has before its run.json, which comes when the encoder is chosen or trained.
MARKS = ("run.json", "owner.json", "progress.json", "warmup/settings.json", "measure/measure.json")
# Stages that come before run.json, in their order.
FIRST_STAGES = ("warmup", "measure")


def is_run(url: str) -> bool:
    """True for a run directory: of a run that is begun or was begun."""
    is_list = "::" in url or url.startswith(("@", "pipe:")) or url.endswith(".tar")
    if is_list:
        return False
    out = absolute(url)
    # A folder called events alone may be one of images.
    return any(storage.exists(storage.join(out, name)) for name in MARKS) or bool(event_names(out))


def inspect_run(url: str) -> RunState:
    """Look at a run directory, of a selection or of a training, whatever state it is in.

    Cost: it reads two small files and the last events, and of each set the list of its parts and a listing of those
    that are done; where no stage runs, it reads the ledger.

    Raises:
        InputError: it is no run directory, or one of another format version.
    """
    if is_training(absolute(url)):
        return inspect_training(absolute(url))
    run = RunDirectory(absolute(url))
    if not run.record and not is_run(url):
        raise InputError(f"{run.url} is no run directory: no run was begun there")
    holder = current_holder(run.url)
    progress, events = read_progress(run.url), last_events(run.url)
    running = _running(run, progress) if holder else None
    recorded = run.record.get("stages", {})
    names = _stage_names(run, running)
    # The records of stages after the one that runs, or ran when a driver was killed, are those of an earlier run.
    at = running if running in names else _recorded_running(run)
    stages = []
    for name in names:
        is_old = at in names and names.index(name) > names.index(at)
        stages.append(_stage(run, name, {} if is_old else recorded.get(name, {}), running))
    state = state_of(stages, holder is not None, progress, events)
    shown = progress if holder or state == "died" else None
    is_live = holder is not None and progress is not None
    bad, last, by_shard = ({}, list((progress or {}).get("ledger", ())), {}) if is_live else ledger_in_short(run)
    return RunState(run.url, str(holder or ""), stages, shown, bad, last, state, by_shard, events)


def _running(run: RunDirectory, progress: dict[str, Any] | None) -> str | None:
    """The stage that a run is in which goes on."""
    if progress is not None and "doing" in progress:
        return str(progress["doing"])
    return _recorded_running(run)


def _recorded_running(run: RunDirectory) -> str | None:
    """The stage that run.json calls running, of a run that goes on or was killed."""
    recorded = run.record.get("stages", {})
    return next((name for name, record in recorded.items() if record.get("state") == "running"), None)


def _stage_names(run: RunDirectory, running: str | None) -> list[str]:
    """All stages of a run in their order, as run.json names them."""
    recorded = run.record.get("stages", {})
    first = [name for name in FIRST_STAGES if name in recorded or name == running]
    if "target" not in run.record.get("config", {}):
        names = [name for name in recorded if name not in first]
    else:
        packs = [f"{target.name}/pack" if target.name else "pack" for target in run.target_directories()]
        index = [name for name in ("index",) if name in recorded or name == running]
        names = [*run.stores(), *index, "select", *packs]
    is_new = running is not None and running not in (*first, *names, "start")
    return [*first, *names, *([str(running)] if is_new else [])]


def _stage(run: RunDirectory, name: str, record: dict[str, Any], running: str | None) -> StageState:
    state = "running" if name == running else record.get("state", "waiting")
    if state == "running" and name != running:
        state = "stopped"  # a killed process could not record it
    detail = _result(name, record) if state == "done" else ""
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
    if "shards" not in record:
        return ""
    return f"{record.get('samples', 0):,} samples in {record['shards']:,} shards"
