"""`curator embed`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import (
    UrlCommand,
    config_option,
    encoding_options,
    executor_options,
    json_option,
    option,
)

__all__ = ["command"]


@click.command("embed", cls=UrlCommand)
@option("--pool", multiple=True, metavar="URLS", help="Shards, or ready embeddings.")
@option("--out", metavar="URL", help="Run directory; parts go to OUT/pool.")
@encoding_options
@executor_options
@option("--redo", metavar="STAGE", help="'pool' starts anew.")
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Embed a pool once, to select from it many times.

    Later runs take it as `--pool OUT/pool`, with the same encoder, and embed nothing again.

    \b
    curator embed --pool 'web/{00000..00041}.tar' --out web-lite0 --encoder lite0
    """
    from curator_pipelines.config.select import EmbedConfig, build
    from curator_pipelines.jobs.select.embed_pool import run_embed
    from curator_pipelines.run.progress import Reporter

    config = build(EmbedConfig, flags)
    with Reporter() as reporter:
        summary = run_embed(config, reporter)
    click.echo(json.dumps(summary.to_json(), indent=2) if as_json else summary.to_text())
    return 0
