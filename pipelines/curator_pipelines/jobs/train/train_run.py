"""The train job: settings resolved, samples found, then training here or in processes of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from curator.encoders import OWN_ARCHITECTURES
from curator.errors import Another, InputError, Use, counted
from curator.io import absolute, owned
from curator.plugins import require_package
from curator.sources import in_words
from curator_pipelines.config import LaunchedTrainConfig
from curator_pipelines.executors import ray_address
from curator_pipelines.jobs.train.launch import launch_ranks
from curator_pipelines.jobs.train.launch_worker import WorkerPlace, launch_on_worker
from curator_pipelines.jobs.train.request import TrainRequest
from curator_pipelines.jobs.train.train_progress import TrainProgress
from curator_pipelines.run import Reporter, TrainingRecord, duration, recorded
from curator_ssl.backbones import check_backbone
from curator_ssl.config import CPU_SAMPLES_SEEN, TrainConfig
from curator_ssl.data import FoundSamples, find_samples, make_schedule
from curator_ssl.distributed import is_first, is_launched, world_size
from curator_ssl.outputs import has_checkpoint
from curator_ssl.resolve import resolve_length, resolve_machine
from curator_ssl.train_loop import Interrupted, TrainResult, train

__all__ = ["TrainSummary", "run_train", "train_on_samples"]


@dataclass(frozen=True)
class TrainSummary:
    """The end of `curator train`.

    Attributes:
        trained: what the loop gave back.
        samples: how many samples there are to train on.
        epochs: how many times each of them was seen.
        samples_seen: images over all steps.
        out: the run directory.
        left_out: files beside the sources that are not read, by ending or place.
        warnings: what the user should know.
    """

    trained: TrainResult
    samples: int
    epochs: float
    samples_seen: int
    out: str
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For machines; what is not known, as the loss of a run with nothing left to do, is null."""
        content = asdict(self)
        content["trained"] |= {name: None for name, value in content["trained"].items() if value != value}
        return content

    def to_record(self) -> dict[str, Any]:
        """What run.json keeps of it."""
        done = self.trained
        return {
            "steps": done.steps,
            "samples": self.samples,
            "samples_seen": self.samples_seen,
            "bad": done.bad,
            "restarts": done.restarts,
            "encoder": done.encoder,
            "reused": done.resumed_at == done.steps,
        }

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
            f"bad         {done.bad:,} samples: {self.out}/quarantine.parquet{in_words([*self.left_out.items()])}",
            f"time        {duration(done.seconds)}, {done.images_per_second:,.0f} images/s",
            f"encoder     {done.encoder}   (an encoder by the name checkpoint:{done.encoder})",
        ]
        if done.restarts:
            lines.insert(1, "restarted   once, at a tenth of the learning rate: nothing was learned at first")
        if self.warnings:
            lines.append(f"warnings    {len(self.warnings)}, see above")
        return "\n".join(lines)


def run_train(config: LaunchedTrainConfig, reporter: Reporter) -> TrainSummary:
    """Train on the sources that the config names.

    Raises:
        InputError: found before any step; another run trains into OUT.
        Interrupted: stopped by a signal, state saved.
        TooManyBad: at the end of an epoch, state saved.
        CuratorError: the run failed, and can be resumed.
    """
    out = absolute(config.out)
    TrainingRecord(out)  # refuses the directory of a selection
    if has_checkpoint(out) and not config.resume:
        raise InputError(f"{out} holds a training run", advice=(Use("resume", True), Another("out")))
    # What torchrun has started is on its place.
    address = None if is_launched() else ray_address(config.address)
    if address is not None:
        require_package("ray", "", field="address", value=address)
        require_package("pandas", "train", field="address", value=address)  # Ray Train imports it
    cores = cores_of_each(config.nproc)
    ranks = max(config.nproc, world_size())
    training = resolve_machine(config, ranks, cores)
    if training.device == "cuda" and not address and config.nproc > torch.cuda.device_count():
        raise InputError(f"torch sees {counted(torch.cuda.device_count(), 'GPU')}", field="nproc", value=config.nproc)
    check_backbone(training.arch, training.image_size, training.weights)
    # Of the processes that torchrun starts, the first owns OUT for all.
    with _owned(out, reporter, config.metrics_file) as record:
        samples = find_samples(config.target, config.shards, out, reporter.say)
        if config.epochs is None and config.steps is None and training.device == "cpu":
            reporter.say(
                f"on a CPU, as many epochs as see {CPU_SAMPLES_SEEN:,} samples; other epochs can be asked for, and "
                "`auto` is as many as the paper's"
            )
        training = resolve_length(training, samples.samples, ranks)
        try:
            with _recorded(record, config, training, reporter.seconds) as state:
                summary = train_on_samples(training, samples, reporter, config.nproc, address)
                state |= summary.to_record()
                return summary
        except Interrupted as error:
            raise Interrupted(error.message, advice=Use("resume", True)) from error


@contextmanager
def _owned(out: str, reporter: Reporter, metrics_file: str | None) -> Iterator[TrainingRecord | None]:
    """Own OUT while the block runs, and hold its record; None in a process of torchrun that is not the first."""
    if is_first():
        with owned(out) as owner, recorded(reporter, out, owner, metrics_file):
            yield TrainingRecord(out, owner)
    else:
        yield None


@contextmanager
def _recorded(
    record: TrainingRecord | None, config: LaunchedTrainConfig, training: TrainConfig, so_far: float
) -> Iterator[dict[str, Any]]:
    """Record the training while the block runs, in the process that owns OUT."""
    if record is None:
        yield {}
        return
    # Whether a call goes on is its own business, and stands in its command line.
    settings = config.model_dump(exclude={"resume", "metrics_file"}) | training.model_dump()
    with record.training(settings, has_checkpoint(record.url), so_far) as state:
        yield state


def train_on_samples(
    config: TrainConfig,
    samples: FoundSamples,
    reporter: Reporter,
    nproc: int = 1,
    address: str | None = None,
    elsewhere: WorkerPlace | None = None,
) -> TrainSummary:
    """Train on samples that are found already: here, in processes of this machine, or on a cluster.

    Args:
        config: a resolved config.
        samples: what OUT/samples.parquet holds.
        reporter: shows how the run goes.
        nproc: how many processes train together.
        address: of a Ray cluster, or `local`; None for this machine.
        elsewhere: the worker that trains, in place of this process.

    Raises:
        CuratorError: as `run_train`.
    """
    _say_what(config, samples, reporter)
    threads = _threads(config, nproc)
    if address is None and elsewhere is None and nproc > 1 and not is_launched():
        result = launch_ranks(TrainRequest.of_samples(config, samples, threads), nproc)
    else:
        with TrainProgress(reporter, config.steps) as progress:
            if elsewhere is not None:
                result = launch_on_worker(TrainRequest.of_samples(config, samples, threads), elsewhere, progress)
            elif address is not None:
                from curator_pipelines.jobs.train.launch_ray import launch_on_ray

                request = TrainRequest.of_samples(config, samples, threads)
                result = launch_on_ray(request, address, nproc, progress)
            else:
                result = train(config, samples.samples, samples.lines, progress, threads)
    seen = result.steps * config.batch_size
    count = len(samples.samples)
    return TrainSummary(result, count, seen / count, seen, config.out, samples.left_out, reporter.warnings)


def _threads(config: TrainConfig, nproc: int) -> int:
    """Threads of torch in each process.

    The steps of a small network are so short that two threads mostly wait for each other: on two cores with other work
    on them a step took 1.5 s to 10 s by two threads and 0.5 s by one.
    """
    return 1 if config.arch in OWN_ARCHITECTURES else cores_of_each(nproc)


def cores_of_each(nproc: int) -> int:
    """The CPU cores of this machine for each of several processes."""
    return max(1, len(os.sched_getaffinity(0)) // nproc)


def _say_what(config: TrainConfig, samples: FoundSamples, reporter: Reporter) -> None:
    count, targets = len(samples.samples), samples.samples.targets
    schedule = make_schedule(config, samples.samples)
    end = config.steps if schedule.target_from is None else schedule.target_from
    alone = f", the last {config.steps - end:,} on the target alone" if end < config.steps else ""
    seen = config.steps * config.batch_size
    shared = "".join(f", {count:,} of them {100 * share:.4g}% of every batch" for count, share in schedule.shared)
    reporter.say(
        f"training {config.method} {config.arch} at {config.image_size} px on {count:,} samples ({targets:,} of the "
        f"target and {count - targets:,} of shards{shared}): {config.steps:,} steps of {config.batch_size}{alone}, "
        f"{seen:,} samples seen, {seen / count:,.1f} epochs of {config.steps_per_epoch:,} steps ({schedule.left_over} "
        f"samples left over in each); {config.precision} on {config.device}{in_words([*samples.left_out.items()])}"
    )
    for text in samples.samples.remarks.texts():
        reporter.warn(text)
