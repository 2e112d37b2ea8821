"""`curator pack`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, executor_options, json_option, option

__all__ = ["command"]


@click.command("pack", cls=UrlCommand)
@option("--out", metavar="URL", help="Run directory with a finished selection.")
@option("--pool", multiple=True, metavar="URLS", help="Where to read the shards, if their URLs carry secrets.")
@click.option("--manifest-only", is_flag=True, default=None, help="Write the manifest, but no tars.")
@option("--shard-size", metavar="N", help="Samples an output shard. [default: 1000]")
@option("--seed", metavar="N", help="Of the order in shards. [default: 0]")
@executor_options
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Pack a finished selection again, with other settings.

    Reads the chosen samples' bytes from the pool's shards and writes OUT/shards anew. Nothing is encoded.

    \b
    curator pack --out run --shard-size 10000
    """
    from curator_pipelines.config.select import PackConfig, build
    from curator_pipelines.jobs.select.pack import run_pack
    from curator_pipelines.run.progress import Reporter

    config = build(PackConfig, flags)
    with Reporter() as reporter:
        packed = run_pack(config, reporter)
    if as_json:
        told = {name: result.to_json() for name, result in packed.items()}
        click.echo(json.dumps(told.get("", told), indent=2))
    else:
        click.echo("\n".join(f"{name + ': ' if name else ''}{result.to_text()}" for name, result in packed.items()))
    return 0
