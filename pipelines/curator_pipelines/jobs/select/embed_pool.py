"""`curator embed`: a pool embedded once, for many selections."""

from __future__ import annotations

import time

from curator.errors import InputError
from curator.io.run_lock import Owner, owned
from curator.io.urls import absolute
from curator_pipelines.config.select import EmbedConfig
from curator_pipelines.jobs.select.prepare import prepare
from curator_pipelines.jobs.select.select_run import embed_all
from curator_pipelines.jobs.select.summary import EmbedSummary
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.progress_file import recorded
from curator_pipelines.run.run_directory import RunDirectory

__all__ = ["run_embed"]


def run_embed(config: EmbedConfig, reporter: Reporter) -> EmbedSummary:
    """Embed OUT/pool; parts that are finished are not done again.

    Raises:
        InputError: found before any work.
        TooManyBad: with everything kept.
        CuratorError: the run failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out):
        return _run_embed(config, reporter, owner)


def _run_embed(config: EmbedConfig, reporter: Reporter, owner: Owner) -> EmbedSummary:
    started = time.monotonic()
    if RunDirectory(absolute(config.out)).record.get("targets"):
        raise InputError(
            f"{config.out} is a selection's: its run.json would forget the target; give another --out, or run "
            "curator select again, which embeds what is new in the pool"
        )
    prepared = prepare(config, out=config.out, pool=config.pool, redo=config.redo, reporter=reporter, owner=owner)
    prepared.run.start(config.model_dump(), config.redo)
    reporter.say(f"running on {prepared.executor.describe()}")
    embedded = embed_all(prepared, config.max_bad, reporter)
    prepared.run.record["warnings"] = reporter.warnings
    prepared.run.save()
    return EmbedSummary(prepared.run.url, embedded["pool"].account, time.monotonic() - started, reporter.warnings)
