"""`curator dedup`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import DedupConfig

__all__ = ["command"]


@click.command("dedup", cls=UrlCommand)
@options(DedupConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """List the duplicates of a whole embedded pool, once for all selections from it.

    Copies by sha256, near duplicates within clusters (SemDeDup). The first in the pool's order stays. The list,
    OUT/dedup/deny.parquet, is one that --deny takes.

    \b
    curator dedup --run web-lite0 --dedup 0.95
    curator select --pool web-lite0/pool --deny web-lite0/dedup/deny.parquet --target photos/ --out run --encoder lite0
    """
    from curator_pipelines.jobs.queries import run_dedup

    run_command(DedupConfig, run_dedup, flags, as_json)
