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

    What is near depends on the encoder and the images, and some of what is listed shows something else: with lite0
    0.85 finds 93% of the altered copies of images of 192 pixels and 75% at 64 pixels, and lists other garments, signs
    and shelves too; 0.95 finds 51% and 31%, and of drawings still lists others. OUT/dedup/contact_sheet.jpg shows the
    pairs around the threshold.

    \b
    curator dedup --run web-lite0 --dedup 0.95
    curator select --pool web-lite0/pool --deny web-lite0/dedup/deny.parquet --target photos/ --out run --encoder lite0
    """
    from curator_pipelines.jobs.queries import run_dedup

    run_command(DedupConfig, run_dedup, flags, as_json)
