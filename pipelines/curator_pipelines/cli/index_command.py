"""`curator index`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import IndexConfig

__all__ = ["command"]


@click.command("index", cls=UrlCommand)
@options(IndexConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Index an embedded pool, to select from it many times without reading every vector.

    Groups the vectors by lists of a coarse quantiser trained on a sample of them. Pieces of the index that are
    finished are not built again; more than two are put together by list, so that each list is read in two places
    at the most. `curator select --search ivf` uses it.

    An index of codes is smaller, and selects the same: vectors that their codes leave in doubt are read from the
    pool. SQ8 takes about a byte a dimension, PQm m bytes a vector, and leaves most of what it scans in doubt.

    \b
    curator index --out web-lite0
    curator index --out web-lite0 --factory IVF4096,SQ8
    """
    from curator_pipelines.jobs.select import run_index

    run_command(IndexConfig, run_index, flags, as_json)
