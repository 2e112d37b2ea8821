"""The select job: target and pool to embeddings, to a selection, to shards. The product's main line."""

from __future__ import annotations

import time
from dataclasses import dataclass

from curator.errors import CuratorError
from curator.io.run_lock import Owner, owned
from curator.io.urls import absolute, public_name
from curator.store.deny_list import DenyList, read_deny_list
from curator.store.ledger import write_quarantine
from curator_pipelines.config.select import SelectConfig
from curator_pipelines.jobs.select.choose import choose
from curator_pipelines.jobs.select.embed import Embedded
from curator_pipelines.jobs.select.index import build_index
from curator_pipelines.jobs.select.pack import pack_all
from curator_pipelines.jobs.select.plan import Plan, make_plan
from curator_pipelines.jobs.select.prepare import Prepared, prepare
from curator_pipelines.jobs.select.summary import SelectSummary, TargetResult
from curator_pipelines.jobs.train.warmup import plan_warmup, with_warmup
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.progress_file import recorded

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
        targets=config.targets(),
        pool=config.pool,
        exclude=config.exclude,
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
    ready = _prepare(plan_warmup(config, reporter, calibrated), reporter)
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
    # From here on the encoder is a file: whoever trained it, it is an input.
    encoded, warmed = with_warmup(config, reporter, owner)
    ready = _prepare(encoded, reporter, owner)
    run, executor = ready.prepared.run, ready.prepared.executor
    run.start(config.model_dump(), encoded.redo, list(ready.prepared.targets))
    if warmed is not None:
        run.record["stages"]["warmup"] = {"state": "done", "seconds": round(warmed, 3)}
    reporter.say(f"running on {executor.describe()}")
    embedded = embed_all(ready.prepared, config.max_bad, reporter)
    targets = ready.prepared.directories
    if config.search == "ivf" and run.pool.count():
        if targets[0].index == run.path("index"):
            build_index(run, None, config.seed, executor, reporter)
        else:
            reporter.say(f"index: {public_name(targets[0].index)} holds this pool and is used as it is")
    with run.stage("select") as state:
        selections = choose(targets, config, ready.denied, executor, reporter)
        for name, stored in selections.items():
            told = {key: stored.record[key] for key in ("count", "stop_reason")} | {"passes": stored.passes}
            state |= {name: told} if name else told
    packed = pack_all(
        run,
        selections,
        shard_size=config.shard_size,
        seed=config.seed,
        manifest_only=config.manifest_only,
        urls=ready.prepared.urls,
        executor=executor,
        reporter=reporter,
    )
    run.record["warnings"] = reporter.warnings
    run.save()
    results = {name: TargetResult(stored.record, packed[name]) for name, stored in selections.items()}
    return SelectSummary(
        out=run.url,
        accounts={name: result.account for name, result in embedded.items()},
        results=results,
        stages={name: stage["seconds"] for name, stage in run.record["stages"].items() if "seconds" in stage},
        seconds=time.monotonic() - started,
        warnings=reporter.warnings,
    )


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
