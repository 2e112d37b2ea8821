"""The training loop, from top to bottom: batch, step, log, probe, save, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator.types import LedgerLine
from curator_ssl.config import TrainConfig
from curator_ssl.data import Samples, StepDataset, load_steps, make_schedule
from curator_ssl.distributed import RankGroup, is_first, join, rank, world_size
from curator_ssl.optim import make_optimizer
from curator_ssl.outputs import BadSamples, StepLog, load_training, run_identity, save_encoder, save_training
from curator_ssl.probe import make_training_probe
from curator_ssl.reporter import TrainReporter
from curator_ssl.stop_signals import stop_signals
from curator_ssl.train_step import TrainStep, build_method

__all__ = ["Interrupted", "TrainResult", "train"]


class Interrupted(CuratorError):
    """Stopped by a signal; the state is saved."""

    exit_code = 130


@dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
        steps: steps done in all.
        resumed_at: how many of them were done before.
        loss: mean of the last steps.
        spread: of the last steps' embeddings; see `curator_ssl.methods.base.spread`.
        seconds: how long this part of the run took.
        images_per_second: over all ranks.
        bad: samples left out.
        left_over: samples of an epoch that its last step cannot hold.
        encoder: URL of the encoder.
    """

    steps: int
    resumed_at: int
    loss: float
    spread: float
    seconds: float
    images_per_second: float
    bad: int
    left_over: int
    encoder: str


def train(
    config: TrainConfig,
    samples: Samples,
    known_bad: list[LedgerLine],
    reporter: TrainReporter,
    threads: int = 1,
) -> TrainResult:
    """Train, and write OUT/encoder.pt, checkpoint.pt, metrics.jsonl and quarantine.parquet.

    Under `torchrun`, every process calls this with the same arguments. The result of a step depends on neither the
    number of loader processes nor where the run was interrupted; with more ranks, batch norms see smaller batches, and
    sums are rounded in another order.

    Args:
        config: a resolved config, see `curator_ssl.resolve`.
        samples: what to train on.
        known_bad: ledger lines of samples that are not among `samples`.
        reporter: the first rank tells it how the run goes.
        threads: threads of torch, of each rank.

    Raises:
        InputError: settings that cannot work, or a checkpoint of another run.
        Interrupted: SIGTERM or SIGINT came; the state is saved.
        TooManyBad: more bad samples than `max_bad`; the state is saved.
        CuratorError: a loss that is not finite, a loader process that died, storage that failed.
    """
    torch.set_num_threads(threads)
    with join(config.device) as group, stop_signals() as is_stopped:
        if config.batch_size % world_size():
            raise InputError(
                f"it cannot be cut equally over {world_size()} processes", field="batch_size", value=config.batch_size
            )
        return _train(config, samples, known_bad, reporter, group, is_stopped)


def _train(
    config: TrainConfig,
    samples: Samples,
    known_bad: list[LedgerLine],
    reporter: TrainReporter,
    group: RankGroup,
    is_stopped: Callable[[], bool],
) -> TrainResult:
    schedule = make_schedule(config, samples)
    backbone, method = build_method(config, group.device)
    optimizer = make_optimizer(method, config.optimizer, config.peak_learning_rate, config.weight_decay)
    identity = run_identity(config, samples, backbone)
    step = start = load_training(config.out, identity, method, optimizer)
    train_step = TrainStep(config, backbone, method, optimizer, group)
    bad_samples = BadSamples(config, len(samples), known_bad, group)
    probe = make_training_probe(config) if is_first() else None
    if start and (start == config.steps or start % schedule.steps_per_epoch == 0):
        # What ended the run once ends it again, unless more is allowed now.
        bad_samples.check(start)

    dataset = StepDataset(samples, schedule, config.image_size, rank(), world_size())
    batches = load_steps(dataset, start, config.steps, config.loader_workers, pin=group.device.type == "cuda")
    with StepLog(config, schedule, start, group, reporter) as log:
        for batch in batches:
            log.add(step, *train_step(batch))
            bad_samples.add(batch.lines)
            step += 1
            method.after_step(step / config.steps)

            is_end = step == config.steps
            is_interrupted = group.any(is_stopped())
            is_saved = is_end or is_interrupted or step % config.save_every == 0
            if is_saved or log.is_full:
                log.write()
            if probe is not None and (is_end or step % config.probe_every == 0):
                log.write_probe(step - 1, probe.accuracies(backbone, group.device))
            if is_saved:
                bad_samples.all_gather()
                if is_first():
                    save_training(config.out, identity, method, optimizer, step)
                    bad_samples.write()
            if is_interrupted and not is_end:
                raise Interrupted(f"interrupted at step {step:,} of {config.steps:,}, which is saved")
            if is_end or step % schedule.steps_per_epoch == 0:
                bad_samples.check(step)
    if is_first():
        save_encoder(config.out, backbone, identity, step)
    return TrainResult(
        steps=step,
        resumed_at=start,
        loss=log.loss,
        spread=log.spread,
        seconds=log.seconds,
        images_per_second=log.images_per_second(step),
        bad=len(bad_samples),
        left_over=schedule.left_over,
        encoder=storage.join(config.out, "encoder.pt"),
    )
