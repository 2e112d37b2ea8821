"""`curator dedup`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import config_option, json_option, option

__all__ = ["command"]


@click.command("dedup")
@option("--run", metavar="OUT", help="Run directory of embed or select.")
@option("--dedup", metavar="SHARE", help="Similarity from which a sample is superfluous. [default: 0.95]")
@option("--clusters", metavar="K", help="Samples are compared within clusters. [default: root of the pool's size]")
@option("--seed", metavar="N", help="Of k-means. [default: 0]")
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """List the duplicates of a whole embedded pool, once for all selections from it.

    Copies by sha256, near duplicates within clusters (SemDeDup). The first in the pool's order stays. The list,
    OUT/dedup/deny.parquet, is one that --deny takes.

    \b
    curator dedup --run web-lite0 --dedup 0.95
    curator select --pool web-lite0/pool --deny web-lite0/dedup/deny.parquet --target photos/ --out run --encoder lite0
    """
    from curator_pipelines.config.queries import DedupConfig
    from curator_pipelines.config.select import build
    from curator_pipelines.jobs.queries.dedup import run_dedup
    from curator_pipelines.run.progress import Reporter

    config = build(DedupConfig, flags)
    with Reporter() as reporter:
        found = run_dedup(config, reporter)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
    return 0
