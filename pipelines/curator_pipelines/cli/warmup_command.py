"""`curator warmup`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, option

__all__ = ["command"]


@click.command("warmup", cls=UrlCommand)
@option("--target", multiple=True, metavar="URLS", help="The domain's images: shards or a folder.")
@option("--out", metavar="URL", help="Run directory; the encoder is OUT/encoder.pt.")
@option("--weights", metavar="PATH", help="ResNet-18 weights to begin with. [default: random weights]")
@option("--warmup-epochs", metavar="N", help="How long. [default: 150 steps on a CPU, 1,000 on a GPU]")
@option("--seed", metavar="N", help="Of weights, order and views. [default: 0]")
@option("--device", metavar="auto|cpu|cuda", help="[default: auto: the GPU if there is one]")
@option("--max-bad", metavar="P%", help="Bad samples to put up with before exit 3. [default: 1%]")
@config_option
def command(**flags: Any) -> int:
    """Train the encoder that a selection begins with, on the target alone.

    A ResNet-18 by SimCLR, for a few minutes on a CPU; features are taken before the projection head. `curator
    select` with the same --out does this by itself, and uses what is there. Run it again to resume.

    \b
    curator warmup --target photos/ --out run
    """
    from curator_pipelines.config.select import build
    from curator_pipelines.config.train import WarmupConfig
    from curator_pipelines.jobs.train.warmup import run_warmup
    from curator_pipelines.run.progress import Reporter

    config = build(WarmupConfig, flags)
    with Reporter() as reporter:
        told = run_warmup(config, reporter)
    click.echo(told)
    return 0
