"""`curator train`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import LaunchedTrainConfig

__all__ = ["command"]


@click.command("train", cls=UrlCommand)
@options(LaunchedTrainConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Train a self-supervised model on target and selected shards.

    Reads WebDataset shards, folders of images, or, by a manifest.parquet of a --manifest-only selection, straight
    from the pool's shards. Writes OUT/encoder.pt (for --encoder checkpoint:OUT/encoder.pt), metrics.jsonl,
    checkpoint.pt, quarantine.parquet, and run.json (settings, versions and each call). A stopped run goes on with
    --resume, to the same losses.

    --nproc N starts N processes; with --address they run on a Ray cluster, by Ray Train. Under torchrun, every process
    takes part in its group.

    \b
    curator train --target photos/ --shards run/shards --out trained --arch resnet18
    """
    from curator_pipelines.jobs.train import run_train

    run_command(LaunchedTrainConfig, run_train, flags, as_json)
