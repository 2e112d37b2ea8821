"""The training loop, from top to bottom: batch, step, log, probe, save, check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator.types import LedgerLine
from curator_ssl.config import TrainConfig
from curator_ssl.data import Samples, StepDataset, load_steps, make_schedule
from curator_ssl.distributed import RankGroup, is_first, join, rank, world_size
from curator_ssl.optim import make_optimizer
from curator_ssl.outputs import (
    CALMER,
    BadSamples,
    LearningWatch,
    NothingLearned,
    StepLog,
    TrainingState,
    load_training,
    run_identity,
    save_encoder,
    save_training,
)
from curator_ssl.probe import make_training_probe
from curator_ssl.reporter import TrainReporter
from curator_ssl.stop_signals import stop_signals
from curator_ssl.train_step import TrainStep, build_method

__all__ = ["Interrupted", "TrainResult", "train"]


# So many steps without learning at the end of a run are told; a network begins with a few.
IDLE_TOLD = 10


class Interrupted(CuratorError):
    """Stopped by a signal; the state is saved."""

    exit_code = 130


@dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
        steps: steps done in all.
        resumed_at: how many of them were done before.
        restarts: how many times the run began again because it had learned nothing.
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
    restarts: int
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

    A run that learns nothing starts once again, at a tenth of its learning rate, from the same weights. The checkpoint
    and the encoder say so.

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
        NothingLearned: nothing was learned, nor after the restart.
        CuratorError: a loader process that died, storage that failed.
    """
    torch.set_num_threads(threads)
    with join(config.device) as group, stop_signals() as is_stopped:
        if config.batch_size % world_size():
            raise InputError(
                f"it cannot be cut equally over {world_size()} processes", field="batch_size", value=config.batch_size
            )
        arguments = (config, samples, known_bad, reporter, group, is_stopped)
        try:
            return _train(*arguments)
        except _Restart as restart:
            identity = restart.identity
        # Outside of `except`, which would keep the network and the loader processes of the first attempt.
        # All ranks come here after the same step.
        if is_first():
            _save_restart(config, identity, group)
        # The others read what the first one has written.
        group.any(False)
        return _train(*arguments)


class _Restart(Exception):
    """A run learned nothing, and is to begin again.

    Attributes:
        identity: of the run.
    """

    def __init__(self, identity: dict[str, Any]) -> None:
        super().__init__()
        self.identity = identity


def _save_restart(config: TrainConfig, identity: dict[str, Any], group: RankGroup) -> None:
    """The checkpoint of a run that begins again, with the weights that it began with before."""
    _, method = build_method(config, group.device)
    optimizer = make_optimizer(method, config.optimizer, config.peak_learning_rate, config.weight_decay)
    save_training(config.out, identity, method, optimizer, TrainingState(restarts=1, max_bad=config.max_bad))


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
    if is_first():
        for note in backbone.notes:
            reporter.say(note)
    identity = run_identity(config, samples, backbone)
    state = load_training(config.out, identity, method, optimizer)
    if config.max_bad is None:
        config = config.model_copy(update={"max_bad": state.max_bad})
    step = start = state.step
    if state.restarts:
        config = config.model_copy(update={"lr": CALMER * config.lr})
        if is_first():
            reporter.warn(f"nothing was learned at first: the run began again at a learning rate of {config.lr:g}")
    train_step = TrainStep(config, backbone, method, optimizer, group)
    bad_samples = BadSamples(config, len(samples), known_bad, group)
    probe = make_training_probe(config) if is_first() else None
    if start and (start == config.steps or start % schedule.steps_per_epoch == 0):
        # What ended the run once ends it again, unless more is allowed now.
        bad_samples.check(start)

    dataset = StepDataset(samples, schedule, config.image_size, rank(), world_size())
    batches = load_steps(dataset, start, config.steps, config.loader_workers, pin=group.device.type == "cuda")
    watch = LearningWatch(method.chance(config.batch_size), config.steps, state.idle)
    with StepLog(config, schedule, start, group, reporter, watch) as log, _restarting(state, identity):
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
                state = replace(state, step=step, idle=watch.idle, max_bad=config.max_bad)
                if is_first():
                    save_training(config.out, identity, method, optimizer, state)
                    bad_samples.write()
            if is_interrupted and not is_end:
                raise Interrupted(f"interrupted at step {step:,} of {config.steps:,}, which is saved")
            if is_end or step % schedule.steps_per_epoch == 0:
                bad_samples.check(step)
    if is_first():
        if watch.idle >= IDLE_TOLD:
            reporter.warn(f"nothing was learned in the last {watch.idle:,} steps: all images look alike to the network")
        save_encoder(config.out, backbone, identity, state)
    return TrainResult(
        steps=step,
        resumed_at=start,
        restarts=state.restarts,
        loss=log.loss,
        spread=log.spread,
        seconds=log.seconds,
        images_per_second=log.images_per_second(step),
        bad=len(bad_samples),
        left_over=schedule.left_over,
        encoder=storage.join(config.out, "encoder.pt"),
    )


@contextmanager
def _restarting(state: TrainingState, identity: dict[str, Any]) -> Iterator[None]:
    """The first time that nothing is learned is no error yet."""
    try:
        yield
    except NothingLearned as error:
        if not state.restarts:
            raise _Restart(identity) from error
        message = f"{error.message}; at a learning rate {1 / CALMER:g} times as high it was so before"
        raise NothingLearned(message, advice=error.advice) from error
