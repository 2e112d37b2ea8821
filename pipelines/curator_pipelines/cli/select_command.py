"""`curator select`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import SelectConfig

__all__ = ["command"]


@click.command("select", cls=UrlCommand)
@options(SelectConfig)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and touch nothing.")
@json_option
@config_option
def command(dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Choose from the pool the images nearest to the target, and pack them.

    Embeds target and pool (one part a shard, resumable), finds the target's centroids, runs SimCore over the
    pool and writes the chosen samples as new shards under OUT/shards. Run the same command again to resume.

    URLS are paths or s3://, gs://, hf://, http(s):// URLs, with {000000..000041} ranges, globs, A::B lists and
    @FILE lists. Without --budget and --stop the selection stops by itself.

    \b
    curator select --target photos/ --pool 'web/{00000..00041}.tar' --out run --encoder lite0 --budget 5%
    """
    from curator_pipelines.jobs.select import plan_select, run_select

    if dry_run:
        run_command(SelectConfig, plan_select, flags, as_json)
    else:
        run_command(SelectConfig, run_select, flags, as_json)
