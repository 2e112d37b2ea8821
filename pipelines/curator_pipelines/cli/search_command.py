"""`curator search`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import SearchConfig

__all__ = ["command"]


@click.command("search", cls=UrlCommand)
@options(SearchConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Does my pool contain this? And why was that sample not chosen?

    Scores every row of OUT/pool exactly, in one pass, prints the best and draws them on a contact sheet.

    \b
    curator search --run web-lite0 --image photo.jpg
    curator search --run run --key 0000010007 --top 50
    curator search --run web-clip --text 'a red bicycle'
    curator search --run run --why 0000010007
    """
    from curator_pipelines.jobs.queries import explain, run_search

    if flags["why"] is None:
        run_command(SearchConfig, run_search, flags, as_json)
    else:
        run_command(SearchConfig, lambda config, reporter: explain(config), flags, as_json)
