"""`curator warmup`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import WarmupConfig

__all__ = ["command"]


@click.command("warmup", cls=UrlCommand)
@options(WarmupConfig)
@config_option
def command(**flags: Any) -> None:
    """Train the encoder that a selection begins with, on the target alone.

    A small ResNet by SimCLR, for a few minutes on a CPU; features are taken before the projection head. `curator select
    --encoder warmup` with the same --out does this by itself, and uses what is there. Run it again to resume.
    OUT/warmup/untrained.pt is the encoder as it was before the first step.

    \b
    curator warmup --target photos/ --out run
    curator warmup --target photos/ --out run --warmup-arch resnet50 --warmup-size 224     # the paper's
    """
    from curator_pipelines.jobs.train import run_warmup

    run_command(WarmupConfig, run_warmup, flags)
