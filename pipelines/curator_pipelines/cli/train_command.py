"""`curator train`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, option

__all__ = ["command"]


@click.command("train", cls=UrlCommand)
@option("--target", multiple=True, metavar="URLS", help="The domain's images: shards or a folder.")
@option(
    "--shards",
    multiple=True,
    metavar="URLS",
    help="What else to train on: OUT/shards of a selection, its manifest.parquet, a pool, or a folder.",
)
@option("--out", metavar="URL", help="Run directory; the result is OUT/encoder.pt. [default: trained]")
@option("--method", metavar="simclr|byol", help="[default: simclr]")
@option("--arch", metavar="MODEL", help="Any timm or torchvision image model. [default: resnet50]")
@option("--weights", metavar="PATH", help="Weights file to begin with. [default: random weights]")
@option("--image-size", metavar="N", help="Side of a view in pixels. [default: 224; on a CPU 64]")
@option(
    "--epochs",
    metavar="N|auto",
    help="auto: as many as see 100 x 1,281,167 samples, at most 5,000. "
    "[default: auto; on a CPU as many as see 115,200]",
)
@option("--steps", metavar="N", help="Optimiser steps, in place of --epochs.")
@option("--batch-size", metavar="N", help="Images a step, over all processes. [default: 256; on a CPU 128]")
@option("--optimizer", metavar="sgd|adamw|lars", help="[default: sgd]")
@option(
    "--lr",
    metavar="RATE",
    help="At 256 images a step; multiplied by batch size / 256. [default: 0.1 sgd, 0.0005 adamw, 0.3 lars]",
)
@option("--weight-decay", metavar="X", help="Not of norms and biases. [default: 0.0001 sgd, 0.05 adamw, 1e-06 lars]")
@option("--lr-warmup", metavar="N", help="Steps over which the rate rises. [default: a twentieth of all]")
@option("--clip", metavar="NORM", help="Largest norm of the gradient. [default: 0, no limit]")
@option(
    "--target-share",
    metavar="P%",
    help="Share of every batch that comes from --target. [default: target and shards are one set]",
)
@option("--steps-per-epoch", metavar="N", help="With --target-share. [default: as many as one pass takes]")
@option("--seed", metavar="N", help="Of weights, order and views. [default: 0]")
@option("--nproc", metavar="N", help="Processes that train together. [default: 1]")
@option("--address", metavar="HOST:PORT|local", help="A Ray cluster for them. [default: this machine]")
@option("--device", metavar="auto|cpu|cuda", help="[default: auto: the GPU if there is one]")
@option("--precision", metavar="auto|fp32|bf16", help="[default: auto: bf16 where the hardware has it]")
@option("--loader-workers", metavar="N", help="Processes per rank that read and augment. [default: by cores]")
@click.option(
    "--sync-bn/--no-sync-bn", default=None, help="Batch norms over all processes. [default: with --nproc on GPUs]"
)
@click.option("--compile", is_flag=True, default=None, help="Compile the model first (torch.compile).")
@option("--save-every", metavar="N", help="Steps between checkpoints. [default: once an epoch]")
@option("--max-bad", metavar="P%", help="Bad samples to put up with before exit 3. [default: 1%]")
@click.option("--tensorboard", is_flag=True, default=None, help="Also write event files to OUT/tensorboard.")
@option("--probe-every", metavar="N", help="Steps between nearest-neighbour probes of the network, for metrics.jsonl.")
@option("--probe-train", multiple=True, metavar="URLS", help="Labelled images to classify with.")
@option("--probe-test", multiple=True, metavar="URLS", help="Labelled images to classify.")
@option("--probe-label", metavar="RULE", help="cls, json:FIELD, csv:FILE or folder; see curator probe.")
@click.option("--resume", is_flag=True, default=None, help="Go on from OUT's checkpoint.")
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Train a self-supervised model on target and selected shards.

    Reads WebDataset shards, folders of images, or, by a manifest.parquet of a --manifest-only selection, straight
    from the pool's shards. Writes OUT/encoder.pt (for --encoder checkpoint:OUT/encoder.pt), metrics.jsonl,
    checkpoint.pt and quarantine.parquet. A stopped run goes on with --resume, to the same losses.

    --nproc N starts N processes; with --address they run on a Ray cluster, by Ray Train. Under torchrun, every process
    takes part in its group.

    \b
    curator train --target photos/ --shards run/shards --out trained --arch resnet18
    """
    from curator_pipelines.config.select import build
    from curator_pipelines.config.train import TrainConfig
    from curator_pipelines.jobs.train.train_run import run_train
    from curator_pipelines.run.progress import Reporter

    config = build(TrainConfig, flags)
    with Reporter() as reporter:
        summary = run_train(config, reporter)
    click.echo(json.dumps(summary.to_json(), indent=2) if as_json else summary.to_text())
    return 0
