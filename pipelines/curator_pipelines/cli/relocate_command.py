"""`curator relocate`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import RelocateConfig

__all__ = ["command"]


@click.command("relocate")
@options(RelocateConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Say where the shards of a run, or the pool that it reads, lie now.

    Sizes are compared, nothing is embedded, and names, embeddings and selections stay as they are. Packing reads from
    the new place and checks each image. Afterwards give the new URLs to --pool.
    """
    from curator_pipelines.jobs.select import run_relocate

    run_command(RelocateConfig, run_relocate, flags, as_json)
