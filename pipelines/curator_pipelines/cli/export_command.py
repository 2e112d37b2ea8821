"""`curator export`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import ExportConfig

__all__ = ["command"]


@click.command("export")
@options(ExportConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Hand a finished selection over to other tools, bytes unchanged.

    \b
    folder    every member of the chosen samples, as DEST/centroid-00012/000001-KEY.jpg
    list      chosen.txt, SHARD<TAB>KEY a line in order of choice; --deny reads it
    atlas     atlas.parquet: map, thumbnails, scores of chosen, target and pool, for Embedding Atlas
    fiftyone  samples.json and the images, for FiftyOne

    Run it again to go on where it stopped. The images come from the pool, which must be there as it was.

    \b
    curator export run --to folder --dest chosen/
    """
    from curator_pipelines.jobs.export import run_export

    run_command(ExportConfig, run_export, flags, as_json)
