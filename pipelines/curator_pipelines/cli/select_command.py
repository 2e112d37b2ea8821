"""`curator select`."""

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


@click.command("select", cls=UrlCommand)
@option(
    "--target",
    multiple=True,
    metavar="[NAME=]URLS",
    help="The domain's images: shards, a folder, or embeddings. NAME= for several, in one pass over the pool.",
)
@option("--pool", multiple=True, metavar="URLS", help="The open-set: shards, embeddings, or another run's pool.")
@option("--out", metavar="URL", help="Run directory; a finished part in it is not done again.")
@encoding_options
@executor_options
@option("--clusters", metavar="K", help="Centroids of the target. [default: 100]")
@option("--budget", metavar="N|P%", help="How many samples to choose. [default: no limit]")
@option(
    "--stop",
    metavar="SHARE|off",
    help="Stop below this share of the reference mean. [default: 0.95, off with --budget]",
)
@option("--reference-round", metavar="N", help="The round whose mean --stop compares with. [default: 1]")
@option("--selector", metavar="simcore|knn|random", help="[default: simcore]")
@option("--dedup", metavar="SHARE", help="Skip what is at least this similar to a chosen sample, such as 0.95.")
@option("--exclude", multiple=True, metavar="URLS", help="Evaluation images: nothing near to one is chosen.")
@option("--exclude-above", metavar="SHARE", help="Similarity that is too near to --exclude. [default: 0.95]")
@option("--search", metavar="exact|ivf", help="ivf reads what an index of the pool finds worth it. [default: exact]")
@option("--recall", metavar="SHARE", help="What --search ivf aims at; 1: exact all the same. [default: 0.99]")
@option("--deny", metavar="FILE", help="Samples never to choose: KEY or SHARD<TAB>KEY a line, or parquet.")
@click.option("--manifest-only", is_flag=True, default=None, help="Write the manifest, but no tars.")
@option("--shard-size", metavar="N", help="Samples an output shard. [default: 1000]")
@option("--seed", metavar="N", help="Of k-means, the random selector and the order in shards. [default: 0]")
@option(
    "--warmup-epochs",
    metavar="N",
    help="How long to train the encoder. [default: 150 steps on a CPU, 1,000 on a GPU]",
)
@option("--redo", metavar="STAGE", help="Start anew from warmup, embed, target, pool, exclude, select or pack.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and touch nothing.")
@json_option
@config_option
def command(dry_run: bool, as_json: bool, **flags: Any) -> int:
    """Choose from the pool the images nearest to the target, and pack them.

    Embeds target and pool (one part a shard, resumable), finds the target's centroids, runs SimCore over the
    pool and writes the chosen samples as new shards under OUT/shards. Run the same command again to resume.

    URLS are paths or s3://, gs://, hf://, http(s):// URLs, with {000000..000041} ranges, globs, A::B lists and
    @FILE lists. Neither --budget nor --stop given: it stops by itself, at 0.95 of the first round's mean.

    \b
    curator select --target photos/ --pool 'web/{00000..00041}.tar' --out run --encoder lite0 --budget 5%
    """
    from curator_pipelines.config.select import SelectConfig, build
    from curator_pipelines.jobs.select.select_run import plan_select, run_select
    from curator_pipelines.run.progress import Reporter

    config = build(SelectConfig, flags)
    with Reporter() as reporter:
        summary = plan_select(config, reporter) if dry_run else run_select(config, reporter)
    click.echo(json.dumps(summary.to_json(), indent=2) if as_json else summary.to_text())
    return 0
