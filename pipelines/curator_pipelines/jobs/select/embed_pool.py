"""`curator embed`: a pool embedded once, for many selections."""

from __future__ import annotations

from curator.errors import Another, InputError
from curator.io import Owner, absolute, owned
from curator_pipelines.config import EmbedConfig
from curator_pipelines.jobs.measure import find_run_sources
from curator_pipelines.jobs.select.prepare import keep_max_bad, prepare
from curator_pipelines.jobs.select.select_run import embed_all
from curator_pipelines.jobs.select.summary import EmbedSummary
from curator_pipelines.run import Reporter, RunDirectory, recorded

__all__ = ["run_embed"]


def run_embed(config: EmbedConfig, reporter: Reporter) -> EmbedSummary:
    """Embed OUT/pool; parts that are finished are not done again.

    Raises:
        InputError: found before any work.
        TooManyBad: with everything kept.
        CuratorError: the run failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return _run_embed(config, reporter, owner)


def _run_embed(config: EmbedConfig, reporter: Reporter, owner: Owner) -> EmbedSummary:
    run = RunDirectory(absolute(config.out), owner)
    if run.record.get("targets"):
        raise InputError(
            "it is a selection's: its run.json would forget the target",
            field="out",
            value=config.out,
            advice=(Another("out"), "run the selection again, which embeds what is new in the pool"),
        )
    config = keep_max_bad(config, run, reporter)
    sources = find_run_sources(run.url, pool=config.pool, min_side=config.min_side)
    prepared = prepare(config, config.encoder, run, sources, config.redo, reporter)
    run.start(config.model_dump(), config.redo)
    run.note_start(reporter.seconds, {})
    reporter.say(f"running on {prepared.executor.describe()}")
    embedded = embed_all(prepared, config.max_bad, reporter)
    run.finish(reporter.warnings)
    return EmbedSummary(
        run.url,
        embedded["pool"].account,
        dict(run.call["stages"]),
        dict(run.call["used"]),
        reporter.seconds,
        list(reporter.warnings),
    )
