"""The select job: target and pool to embeddings, to a selection, to shards. The product's main line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curator.errors import CuratorError
from curator.io import Owner, absolute, owned, public_name, storage
from curator.plugins import require_package
from curator.store import StoredParts, read_deny_list, write_quarantine
from curator_pipelines.config import SelectConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.measure import RunSources, find_run_sources, plan_encoder, with_encoder
from curator_pipelines.jobs.report import standing_reports, write_reports
from curator_pipelines.jobs.select.choose import choose
from curator_pipelines.jobs.select.embedded import Embedded
from curator_pipelines.jobs.select.held_out_targets import HeldOutTargets
from curator_pipelines.jobs.select.index import build_index
from curator_pipelines.jobs.select.pack import PackSettings, pack_all
from curator_pipelines.jobs.select.plan import Plan, make_plan
from curator_pipelines.jobs.select.prepare import Prepared, keep_max_bad, prepare
from curator_pipelines.jobs.select.summary import SelectSummary, TargetResult, overlaps_of
from curator_pipelines.run import Reporter, RunDirectory, TargetDirectory, recorded

__all__ = ["plan_select", "run_select"]

# Why pictures of the report are missing: so many reasons are told.
MISSING_REASONS = 3


def plan_select(config: SelectConfig, reporter: Reporter, calibrated: bool = False) -> Plan:
    """Say what `run_select` would do: the answer of a dry run and of `curator plan`. Writes nothing.

    Args:
        config: as for `run_select`.
        reporter: is told the encoder.
        calibrated: also measure how long it would take.

    Raises:
        InputError: as `run_select` would.
    """
    denied = read_deny_list(config.deny) if config.deny else None
    sources = _find(config)
    _check_packages(config, sources)
    config = plan_encoder(config, sources, reporter, calibrated)
    prepared = prepare(config, config.encoder[0], RunDirectory(absolute(config.out)), sources, config.redo, reporter)
    return make_plan(prepared, config, denied, reporter, calibrated)


def run_select(config: SelectConfig, reporter: Reporter) -> SelectSummary:
    """Embed, select and pack; what an earlier run of the same command finished is not done again.

    Raises:
        InputError: found before any work.
        TooManyBad: after embedding, with everything kept.
        CuratorError: the run failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return _run_select(config, reporter, owner)


def _run_select(config: SelectConfig, reporter: Reporter, owner: Owner) -> SelectSummary:
    denied = read_deny_list(config.deny) if config.deny else None
    sources = _find(config)
    _check_packages(config, sources)
    config = keep_max_bad(config, RunDirectory(absolute(config.out)), reporter)
    # From here on the encoder is ready: whoever chose or trained it, it is an input.
    chosen = with_encoder(config, sources, reporter, owner)
    config = chosen.config
    run = RunDirectory(absolute(config.out), owner)
    prepared = prepare(config, chosen.loaded or chosen.name, run, sources, config.redo, reporter)
    run.start(config.model_dump() | {"encoder": chosen.name}, config.redo, list(sources.targets))
    run.note_start(reporter.seconds, chosen.spent)
    reporter.say(f"running on {prepared.executor.describe()}")
    held_out = HeldOutTargets(config, reporter)
    embedded = embed_all(prepared, config.max_bad, reporter, held_out.check)
    targets = prepared.stored_directories({name: result.stored for name, result in embedded.items()})
    if config.search == "ivf":
        _index(run, embedded["pool"].stored, targets[0].index, config.seed, prepared.executor, reporter)
    with run.stage("select") as state:
        selections = choose(targets, config, denied, held_out, prepared.executor, reporter)
        for name, stored in selections.items():
            outcome = {key: stored.record[key] for key in ("count", "stop_reason")} | {"passes": stored.passes}
            state |= {name: outcome} if name else outcome
        state["reused"] = not any(stored.is_new for stored in selections.values())
    settings = PackSettings(config.shard_size, config.seed, config.manifest_only)
    packed = pack_all(run, targets, selections, settings, sources, prepared.executor, reporter)
    reports, sheets = _report(run, targets, config, reporter) if config.report else ([], [])
    run.finish(reporter.warnings)
    return SelectSummary(
        out=run.url,
        accounts={name: result.account for name, result in embedded.items()},
        results={
            name: TargetResult(stored.record, packed[name], stored.replaced) for name, stored in selections.items()
        },
        overlaps=overlaps_of({name: stored.ids for name, stored in selections.items()}),
        stages=dict(run.call["stages"]),
        used=dict(run.call["used"]),
        seconds=reporter.seconds,
        warnings=reporter.warnings,
        reports=reports,
        sheets=sheets,
    )


def _report(
    run: RunDirectory, targets: Sequence[TargetDirectory], config: SelectConfig, reporter: Reporter
) -> tuple[list[str], list[str]]:
    """Write the report, and say what of it is missing; returns pages and sheets. One that fails ends no run."""
    try:
        standing = standing_reports(run, targets, config.report_by)
        if standing[0]:
            return standing
        with run.stage("report") as state:
            result = write_reports(run, targets, config.report_by, reporter, reporter.warnings)
            state |= result.state
    except Exception as error:
        reporter.warn(f"the report was not written: {type(error).__name__}: {error}")
        return [], []
    for reason, count in result.missing[:MISSING_REASONS]:
        reporter.warn(f"report: {count:,} pictures are not shown: {reason}")
    return result.reports, result.sheets


def _check_packages(config: SelectConfig, sources: RunSources) -> None:
    """Refuse to begin where an index is to be built and faiss is missing; a finished one is read without it."""
    is_there = storage.exists(storage.join(absolute(config.out), "index"))
    if config.search == "ivf" and not is_there and not all(source.listed_in for source in sources.pool):
        require_package("faiss", "cpu", field="search", value="ivf")


def _find(config: SelectConfig) -> RunSources:
    return find_run_sources(
        absolute(config.out),
        pool=config.pool,
        targets=config.targets(),
        exclude=config.exclude,
        packs=not config.manifest_only,
        min_side=config.min_side,
    )


def _index(run: RunDirectory, pool: StoredParts, url: str, seed: int, executor: Executor, reporter: Reporter) -> None:
    """Build the index of a pool that is not empty, unless another run has it already."""
    if not pool.count():
        return
    if url == run.path("index"):
        build_index(run, pool, None, seed, executor, reporter)
    else:
        reporter.say(f"index: {public_name(url)} holds this pool and is used as it is")


def _accept(name: str, stored: StoredParts) -> None:
    """Find nothing wrong with an embedded set."""


def embed_all(
    prepared: Prepared, max_bad: float | None, reporter: Reporter, check: Callable[[str, StoredParts], None] = _accept
) -> dict[str, Embedded]:
    """Embed every set, write the ledger, and only then compare the bad samples with `max_bad`.

    Args:
        prepared: the jobs.
        max_bad: see `curator.store.check_max_bad`.
        reporter: is told how far it is.
        check: is given each set when it is embedded; what it raises ends the run before the next one.
    """
    embedded: dict[str, Embedded] = {}
    reporter.ahead = {name: job.samples_left for name, job in prepared.jobs.items()}
    problem: CuratorError | None = None
    for name, job in prepared.jobs.items():
        try:
            embedded[name] = job.run_on(prepared.executor, reporter)
            del reporter.ahead[name]
            embedded[name].check_max_bad(max_bad, name)
            check(name, embedded[name].stored)
        except CuratorError as error:
            problem = error
            break
    write_quarantine(prepared.run.url, (line for result in embedded.values() for line in result.lines))
    if problem is not None:
        raise problem
    return embedded
