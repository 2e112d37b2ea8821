"""`curator embed`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import EmbedConfig

__all__ = ["command"]


@click.command("embed", cls=UrlCommand)
@options(EmbedConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Embed a pool once, to select from it many times.

    Later runs take it as `--pool OUT/pool`, with the same encoder, and embed nothing again.

    \b
    curator embed --pool 'web/{00000..00041}.tar' --out web-lite0 --encoder lite0
    """
    from curator_pipelines.jobs.select import run_embed

    run_command(EmbedConfig, run_embed, flags, as_json)
