"""The train job: settings from flags, samples indexed, then training here or in processes of its own."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from curator.encoders.device import resolve_device, resolve_precision
from curator.errors import InputError
from curator.io import storage
from curator.io.run_lock import owned
from curator.io.urls import absolute
from curator_pipelines.config.train import TrainConfig
from curator_pipelines.jobs.train.launch import launch_ranks
from curator_pipelines.jobs.train.train_progress import TrainProgress
from curator_pipelines.run.progress import Reporter, duration
from curator_ssl.backbones import check_backbone, full_name
from curator_ssl.data.find_samples import FoundSamples, index_samples
from curator_ssl.settings import TrainSettings, auto_epochs, base_rate
from curator_ssl.train_loop import Interrupted, Trained, has_checkpoint, make_schedule, train

__all__ = ["TrainSummary", "resolve_settings", "run_settings", "run_train"]

MAX_LOADERS = 8
IMAGE_SIZES = {"cpu": 64, "cuda": 224}
# As few images as a CPU sees in a run teach more in twice the steps (benchmarks/RESULTS.md).
BATCH_SIZES = {"cpu": 128, "cuda": 256}
# What a person can wait for: with a ResNet-18, some fifteen minutes of two idle cores.
CPU_SAMPLES_SEEN = 115_200


@dataclass(frozen=True)
class TrainSummary:
    """The end of `curator train`.

    Attributes:
        trained: what the loop left.
        samples: trained on.
        epochs: how many times each was seen.
        samples_seen: images over all steps.
        out: the run directory.
        warnings: what the user should know.
    """

    trained: Trained
    samples: int
    epochs: float
    samples_seen: int
    out: str
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For machines; what is not known, as the loss of a run with nothing left to do, is null."""
        content = asdict(self)
        content["trained"] |= {name: None for name, value in content["trained"].items() if value != value}
        return content

    def to_text(self) -> str:
        """For a person."""
        done = self.trained
        if done.resumed_at == done.steps:
            state = f"all {done.steps:,} steps were done before"
        else:
            state = f"loss {done.loss:.4f}, spread {done.spread:.3f}"
        lines = [
            f"trained     {done.steps:,} steps, {self.samples_seen:,} samples seen ({self.epochs:,.1f} epochs of "
            f"{self.samples:,}): {state}",
            f"left over   {done.left_over:,} samples an epoch that its last step cannot hold; others each time",
            f"bad         {done.bad:,} samples: {self.out}/quarantine.parquet",
            f"time        {duration(done.seconds)}, {done.images_per_second:,.0f} images/s",
            f"encoder     {done.encoder}   (use as --encoder checkpoint:{done.encoder})",
        ]
        if self.warnings:
            lines.append(f"warnings    {len(self.warnings)}, see above")
        return "\n".join(lines)


def run_train(config: TrainConfig, reporter: Reporter) -> TrainSummary:
    """Train on the sources that the flags name.

    Raises:
        InputError: found before any step; another run trains into OUT.
        Interrupted: stopped by a signal, state saved.
        TooManyBad: at the end of an epoch, state saved.
        CuratorError: the run failed; `--resume` goes on.
    """
    out = absolute(config.out)
    if storage.exists(storage.join(out, "run.json")):
        raise InputError(f"{out} is the run directory of a selection: give another --out")
    if has_checkpoint(out) and not config.resume:
        raise InputError(f"{out} holds a training run: add --resume to go on with it, or give another --out")
    settings = resolve_settings(config, out)
    check_backbone(settings.architecture, settings.image_size, settings.weights)
    # Of the processes that torchrun starts, the first owns OUT for all.
    with owned(out) if os.environ.get("RANK", "0") == "0" else nullcontext():
        indexed = index_samples(config.target, config.shards, out, reporter.say)
        try:
            return run_settings(settings, config, indexed, reporter)
        except Interrupted as error:
            raise Interrupted(f"{error}; run again with --resume to go on") from error


def run_settings(
    settings: TrainSettings, config: TrainConfig, indexed: FoundSamples, reporter: Reporter
) -> TrainSummary:
    """Train with samples that are indexed already: how long, then where."""
    settings = _with_length(settings, config, indexed, reporter)
    if config.address:
        from curator_pipelines.jobs.train.launch_ray import launch_on_ray

        with TrainProgress(reporter, settings.steps) as listener:
            trained = launch_on_ray(settings, indexed, config.address, config.nproc, listener)
    elif config.nproc > 1 and "RANK" not in os.environ:
        trained = launch_ranks(settings, indexed, config.nproc)
    else:
        with TrainProgress(reporter, settings.steps) as listener:
            trained = train(settings, indexed.samples, indexed.lines, listener)
    seen = trained.steps * settings.batch_size
    count = len(indexed.samples)
    return TrainSummary(trained, count, seen / count, seen, settings.out, reporter.warnings)


def resolve_settings(config: TrainConfig, out: str) -> TrainSettings:
    """Everything that does not depend on the samples.

    Raises:
        InputError: a device, precision or model that is not there.
    """
    device = resolve_device(config.device)
    if device.type == "cuda" and not config.address and config.nproc > torch.cuda.device_count():
        raise InputError(f"--nproc {config.nproc}: torch sees {torch.cuda.device_count()} GPUs")
    if config.sync_bn and device.type != "cuda":
        raise InputError("--sync-bn needs GPUs: torch has no synchronised batch norm on CPUs; leave it out")
    ranks = max(config.nproc, int(os.environ.get("WORLD_SIZE", "1")))
    cores = max(1, len(os.sched_getaffinity(0)) // config.nproc)
    rate, decay = base_rate(config.optimizer)
    return TrainSettings(
        out=out,
        method=config.method,
        architecture=full_name(config.arch),
        image_size=config.image_size or IMAGE_SIZES[device.type],
        batch_size=config.batch_size or BATCH_SIZES[device.type],
        steps=config.steps or 0,
        optimiser=config.optimizer,
        rate=rate if config.lr is None else config.lr,
        weight_decay=decay if config.weight_decay is None else config.weight_decay,
        clip=config.clip,
        seed=config.seed,
        target_share=config.target_share,
        steps_per_epoch=config.steps_per_epoch,
        weights=config.weights,
        device=device.type,
        precision=resolve_precision(config.precision, device),
        loader_workers=min(MAX_LOADERS, cores) if config.loader_workers is None else config.loader_workers,
        threads=cores,
        sync_norms=ranks > 1 and device.type == "cuda" and config.sync_bn is not False,
        compiled=config.compile,
        save_every=config.save_every,
        max_bad=config.max_bad,
        tensorboard=config.tensorboard,
        probe_every=config.probe_every,
        probe_train=tuple(config.probe_train),
        probe_test=tuple(config.probe_test),
        probe_label=config.probe_label or "",
        resume=config.resume,
    )


def _with_length(
    settings: TrainSettings, config: TrainConfig, indexed: FoundSamples, reporter: Reporter
) -> TrainSettings:
    """The same settings with the number of steps, which may depend on the number of samples."""
    count = len(indexed.samples)
    schedule = make_schedule(settings, indexed.samples)
    if config.steps is not None:
        steps = config.steps
    else:
        steps = _epochs(settings, config, count, reporter) * schedule.steps_per_epoch
    rise = steps // 20 if config.lr_warmup is None else config.lr_warmup
    seen = steps * settings.batch_size
    sets = f"{indexed.samples.targets:,} of the target and {count - indexed.samples.targets:,} of shards"
    reporter.say(
        f"training {settings.method} {settings.architecture} at {settings.image_size} px "
        f"on {count:,} samples ({sets}): "
        f"{steps:,} steps of {settings.batch_size}, {seen:,} samples seen, {seen / count:,.1f} epochs of "
        f"{schedule.steps_per_epoch:,} steps ({schedule.left_over} samples left over in each); "
        f"{settings.precision} on {settings.device}"
    )
    return replace(settings, steps=steps, rate_warmup=min(rise, steps - 1))


def _epochs(settings: TrainSettings, config: TrainConfig, samples: int, reporter: Reporter) -> int:
    if config.epochs is None and settings.device == "cpu":
        reporter.say(
            f"on a CPU, as many epochs as see {CPU_SAMPLES_SEEN:,} samples: --epochs N asks for more, or less, "
            "--epochs auto for as many as the paper's"
        )
        return auto_epochs(samples, CPU_SAMPLES_SEEN)
    return auto_epochs(samples) if config.epochs in (None, "auto") else int(str(config.epochs))
