"""The select job: target and pool to embeddings, to a selection, to shards. The product's main line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from curator.deny import DenyList, read_deny_list
from curator.errors import CuratorError
from curator.ledger import write_quarantine
from curator.owner import Owner, owned
from curator.urls import absolute
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.choose import Choice, choose
from curator_pipelines.jobs.embed import Embedded
from curator_pipelines.jobs.pack import Packed, pack_choice
from curator_pipelines.jobs.plan import Plan, make_plan
from curator_pipelines.jobs.prepare import Prepared, prepare
from curator_pipelines.jobs.summary import SelectSummary
from curator_pipelines.progress import Reporter
from curator_pipelines.progress_file import recorded

__all__ = ["plan_select", "run_select"]


@dataclass(frozen=True)
class _Ready:
    prepared: Prepared
    denied: DenyList | None


def _prepare(config: SelectConfig, reporter: Reporter, owner: Owner | None = None) -> _Ready:
    denied = read_deny_list(config.deny) if config.deny else None
    prepared = prepare(
        config,
        out=config.out,
        target=config.target,
        pool=config.pool,
        redo=config.redo,
        reporter=reporter,
        needs_tars=not config.manifest_only,
        owner=owner,
    )
    return _Ready(prepared, denied)


def plan_select(config: SelectConfig, reporter: Reporter, calibrated: bool = False) -> Plan:
    """Say what `run_select` would do: the answer of `--dry-run` and of `curator plan`. Writes nothing.

    Args:
        config: as for `run_select`.
        reporter: is told the encoder.
        calibrated: also measure how long it would take.

    Raises:
        InputError: as `run_select` would.
    """
    ready = _prepare(config, reporter)
    return make_plan(ready.prepared, config, ready.denied, reporter, calibrated)


def run_select(config: SelectConfig, reporter: Reporter) -> SelectSummary:
    """Embed, select and pack; what an earlier run of the same command finished is not done again.

    Raises:
        InputError: found before any work.
        TooManyBad: after embedding, with everything kept.
        CuratorError: the run failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out):
        return _run_select(config, reporter, owner)


def _run_select(config: SelectConfig, reporter: Reporter, owner: Owner) -> SelectSummary:
    started = time.monotonic()
    ready = _prepare(config, reporter, owner)
    run, executor = ready.prepared.run, ready.prepared.executor
    run.start(config.model_dump(), config.redo)
    reporter.say(f"running on {executor.describe()}")
    embedded = embed_all(ready.prepared, config.max_bad, reporter)
    with run.stage("select") as state:
        choice = choose(run, config, ready.denied, executor, reporter)
        state |= {name: choice.record[name] for name in ("count", "stop_reason")}
    with run.stage("pack") as state:
        packed = pack_choice(
            run,
            choice,
            shard_size=config.shard_size,
            seed=config.seed,
            manifest_only=config.manifest_only,
            urls=ready.prepared.urls,
            executor=executor,
            reporter=reporter,
        )
        state |= packed.to_json()
    run.record["warnings"] = reporter.warnings
    run.save()
    return _summary(run.url, embedded, choice, packed, run.record, time.monotonic() - started)


def embed_all(prepared: Prepared, max_bad: float, reporter: Reporter) -> dict[str, Embedded]:
    """Embed every set, write the ledger, and only then judge it."""
    run = prepared.run
    embedded: dict[str, Embedded] = {}
    problem: CuratorError | None = None
    for job in prepared.jobs:
        try:
            embedded[job.name] = job.run_on(prepared.executor, reporter)
            embedded[job.name].account.judge(max_bad, job.name)
        except CuratorError as error:
            problem = error
            break
    write_quarantine(run.url, (line for result in embedded.values() for line in result.lines))
    if problem is not None:
        raise problem
    return embedded


def _summary(
    out: str,
    embedded: dict[str, Embedded],
    choice: Choice,
    packed: Packed,
    record: dict[str, Any],
    seconds: float,
) -> SelectSummary:
    return SelectSummary(
        out=out,
        accounts={name: result.account for name, result in embedded.items()},
        selection=choice.record,
        packed=packed,
        stages={name: stage["seconds"] for name, stage in record["stages"].items()},
        seconds=seconds,
        warnings=record["warnings"],
    )
