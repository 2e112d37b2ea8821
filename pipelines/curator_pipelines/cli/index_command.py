"""`curator index`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import config_option, executor_options, json_option, option

__all__ = ["command"]


@click.command("index")
@option("--out", metavar="URL", help="Run directory with an embedded pool; the index goes to OUT/index.")
@click.option("--add", is_flag=True, default=None, help="Add newer parts of the pool to a finished index.")
@option(
    "--factory",
    metavar="IVFn,KIND",
    help="faiss' name of the index: n lists of Flat (vectors), SQ8 or PQm (codes). [default: 2 sqrt(rows) lists, Flat]",
)
@option("--seed", metavar="N", help="Of the training sample and of k-means. [default: 0]")
@executor_options
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Index an embedded pool, to select from it many times without reading every vector.

    Groups the vectors by lists of a coarse quantiser trained on a sample of them. Shards of the index that are
    finished are not built again; `--add` never touches them. `curator select --search ivf` uses it.

    An index of codes is smaller, and selects the same: vectors that their codes leave in doubt are read from the
    pool. SQ8 takes about a byte a dimension, PQm m bytes a vector, and leaves most of what it scans in doubt.

    \b
    curator index --out web-lite0
    curator index --out web-lite0 --factory IVF4096,SQ8
    """
    from curator_pipelines.config.select import IndexConfig, build
    from curator_pipelines.jobs.select.index import run_index
    from curator_pipelines.run.progress import Reporter

    config = build(IndexConfig, flags)
    with Reporter() as reporter:
        summary = run_index(config, reporter)
    click.echo(json.dumps(summary.to_json(), indent=2) if as_json else summary.to_text())
    return 0
