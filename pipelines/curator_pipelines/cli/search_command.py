"""`curator search`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import config_option, json_option, option

__all__ = ["command"]


@click.command("search")
@option("--run", metavar="OUT", help="Run directory of select or embed.")
@option("--image", metavar="FILE", help="What is like this image?")
@option("--key", metavar="KEY", help="What is like this sample of the pool?")
@option("--text", metavar="WORDS", help="What shows this? Needs a pool embedded by open_clip.")
@option("--why", metavar="KEY", help="What did the selection do with this sample, and because of what?")
@option("--shard", metavar="NAME", help="End of the shard's name, where a key is in several.")
@option("--target", metavar="NAME", help="With --why: which of several targets.")
@option("--top", metavar="N", help="How many hits. [default: 20]")
@option("--sheet", metavar="FILE", help="Where the contact sheet goes. [default: OUT/search.png]")
@option("--encoder", metavar="SPEC", help="[default: that of the run]")
@option("--weights", metavar="PATH", help="[default: those of the run]")
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Does my pool contain this? And why was that sample not chosen?

    Scores every row of OUT/pool exactly, in one pass, prints the best and draws them on a contact sheet.

    \b
    curator search --run web-lite0 --image photo.jpg
    curator search --run run --key 0000010007 --top 50
    curator search --run web-clip --text 'a red bicycle'
    curator search --run run --why 0000010007
    """
    from curator_pipelines.config.queries import SearchConfig
    from curator_pipelines.config.select import build
    from curator_pipelines.jobs.queries.search import run_search
    from curator_pipelines.jobs.queries.why import explain
    from curator_pipelines.run.progress import Reporter

    config = build(SearchConfig, flags)
    with Reporter() as reporter:
        found = explain(config) if config.why is not None else run_search(config, reporter)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
    return 0
