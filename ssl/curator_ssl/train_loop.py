"""The training loop, from top to bottom."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.nn.parallel import DistributedDataParallel

from curator.encoders.checkpoint import save_checkpoint
from curator.encoders.encoder import Backbone
from curator.errors import CuratorError, InputError, TooManyBad
from curator.images.preprocess import Preprocess
from curator.io import storage
from curator.store.ledger import write_quarantine
from curator.types import LedgerLine
from curator_ssl.backbones import feature_dim, make_backbone
from curator_ssl.checkpoints import checkpoint_url, load_training, run_identity, save_training
from curator_ssl.data.augment import sample_seed
from curator_ssl.data.loader import Batch, StepDataset, load_steps
from curator_ssl.data.samples import Samples
from curator_ssl.data.schedule import Schedule
from curator_ssl.distributed.ranks import Ranks, join, synchronise_norms
from curator_ssl.methods import Method, make_method
from curator_ssl.metrics import Metrics, watch_spread
from curator_ssl.optim import learning_rate, make_optimiser
from curator_ssl.probe.online import TrainingProbe
from curator_ssl.settings import TrainSettings

__all__ = ["Interrupted", "Listener", "Trained", "build_method", "has_checkpoint", "make_schedule", "train"]

LOG_EVERY = 10


class Interrupted(CuratorError):
    """Stopped by a signal; the state is saved."""

    exit_code = 130


class Listener(Protocol):
    """Whom the first rank tells how it goes."""

    def say(self, text: str) -> None:
        """One line."""

    def warn(self, text: str) -> None:
        """A warning."""

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """`step` steps of `steps` are done."""


@dataclass(frozen=True)
class Trained:
    """What a run left.

    Attributes:
        steps: done in all.
        resumed_at: how many of them were done before.
        loss: mean of the last steps.
        spread: of the last steps' embeddings; see `curator_ssl.methods.base.spread`.
        seconds: of this part of the run.
        images_per_second: over all ranks.
        bad: samples skipped.
        left_over: samples an epoch that its last step cannot hold.
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


@dataclass
class _State:
    """What the loop changes."""

    step: int
    recent: list[tuple[int, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    lines: dict[tuple[str, str], LedgerLine] = field(default_factory=dict)
    loss: float = float("nan")
    spread: float = float("nan")


def make_schedule(settings: TrainSettings, samples: Samples) -> Schedule:
    """Which samples each step takes."""
    return Schedule(
        len(samples),
        samples.targets,
        settings.batch_size,
        settings.seed,
        settings.target_share,
        settings.steps_per_epoch,
    )


def train(settings: TrainSettings, samples: Samples, known_bad: list[LedgerLine], listener: Listener) -> Trained:
    """Train, and write OUT/encoder.pt, checkpoint.pt, metrics.jsonl and quarantine.parquet.

    Run under `torchrun`, every process calls this with the same arguments. The result of a step depends on
    neither the number of loader processes nor where the run was interrupted; with more ranks, batch norms
    see smaller batches, and sums are rounded in another order.

    Args:
        settings: everything decided.
        samples: what to train on.
        known_bad: ledger lines of samples that are not among `samples`.
        listener: told by the first rank.

    Raises:
        InputError: settings that cannot work, or a checkpoint of another run.
        Interrupted: SIGTERM or SIGINT came; the state is saved.
        TooManyBad: more bad samples than `max_bad`; the state is saved.
        CuratorError: a loss that is not finite, a loader process that died, storage that failed.
    """
    torch.set_num_threads(settings.threads)
    with join(settings.device) as ranks, _signals() as stop:
        return _train(settings, samples, known_bad, listener, ranks, stop)


def _train(
    settings: TrainSettings,
    samples: Samples,
    known_bad: list[LedgerLine],
    listener: Listener,
    ranks: Ranks,
    stop: Callable[[], bool],
) -> Trained:
    if settings.batch_size % ranks.count:
        raise InputError(f"--batch-size {settings.batch_size} cannot be cut equally over {ranks.count} processes")
    schedule = make_schedule(settings, samples)
    backbone, method = build_method(settings)
    method.to(ranks.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(method, settings)
    identity = run_identity(settings, samples.identity())
    start = load_training(settings, identity, method, optimiser)
    model = _wrap(method, settings, ranks)
    dataset = StepDataset(samples, schedule, settings.image_size, ranks.rank, ranks.count)
    state = _State(start, lines={(line.shard, line.key or str(line.offset)): line for line in known_bad})
    epoch_steps = schedule.steps_per_epoch
    save_every = settings.save_every or epoch_steps
    look = watch_spread(listener.warn, settings.steps)
    probe = _probe(settings) if ranks.is_first else None
    started = time.monotonic()
    if start and (start == settings.steps or start % epoch_steps == 0):
        # What ended the run once ends it again, unless more is allowed now.
        _judge(state, samples, settings, ranks)

    def save() -> None:
        """At the same step on all ranks."""
        _collect_lines(state, ranks)
        if ranks.is_first:
            save_training(settings, identity, method, optimiser, state.step)
            write_quarantine(settings.out, state.lines.values())

    with Metrics(settings.out, start, settings.tensorboard) if ranks.is_first else nullcontext() as metrics:
        batches = load_steps(dataset, start, settings.steps, settings.loader_workers, ranks.device.type == "cuda")
        for batch in batches:
            rate = learning_rate(state.step, settings)
            loss, spread = _step(model, method, optimiser, batch, backbone.preprocess, rate, settings, ranks)
            state.recent.append((state.step, loss, spread))
            state.lines |= {(line.shard, line.key): line for line in batch.lines}
            state.step += 1
            method.after_step(state.step / settings.steps)

            ended = state.step == settings.steps
            interrupted = ranks.any(stop())
            saving = ended or interrupted or state.step % save_every == 0
            if saving or len(state.recent) == LOG_EVERY:
                _log(state, schedule, settings, ranks, metrics, started, start, look)
                if ranks.is_first:
                    listener.on_step(state.step, settings.steps, state.loss)
            if probe is not None and (ended or state.step % (settings.probe_every or 1) == 0):
                accuracies = probe.accuracies(backbone, ranks.device)
                listener.say(_told(accuracies, state.step))
                if metrics is not None:
                    metrics.write({"step": state.step - 1} | accuracies)
            if saving:
                save()
                if metrics is not None:
                    metrics.publish()
            if interrupted and not ended:
                raise Interrupted(f"interrupted at step {state.step:,} of {settings.steps:,}, which is saved")
            if ended or state.step % epoch_steps == 0:
                _judge(state, samples, settings, ranks)
    if ranks.is_first:
        save_encoder(settings, backbone, identity, state.step)
    seconds = time.monotonic() - started
    return Trained(
        steps=state.step,
        resumed_at=start,
        loss=state.loss,
        spread=state.spread,
        seconds=seconds,
        images_per_second=(state.step - start) * settings.batch_size / max(seconds, 1e-9),
        bad=len(state.lines),
        left_over=schedule.left_over,
        encoder=storage.join(settings.out, "encoder.pt"),
    )


def _step(
    model: torch.nn.Module,
    method: Method,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    preprocess: Preprocess,
    rate: float,
    settings: TrainSettings,
    ranks: Ranks,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step; returns loss and spread, still on the device."""
    # Dropout and the like: of this step and rank alone, so a resumed run draws the same.
    torch.manual_seed(sample_seed(settings.seed, batch.step, ranks.rank))
    views = batch.views.to(ranks.device, non_blocking=True)
    first, second = (
        preprocess.normalise(view).contiguous(memory_format=torch.channels_last) for view in views.unbind()
    )
    images = batch.images.to(ranks.device, non_blocking=True)
    mixed = settings.precision == "bf16"
    with torch.autocast(ranks.device.type, torch.bfloat16) if mixed else nullcontext():
        loss, spread = model(first, second, images)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if settings.clip:
        torch.nn.utils.clip_grad_norm_(method.parameters(), settings.clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return loss.detach(), spread.detach()


def build_method(settings: TrainSettings) -> tuple[Backbone, Method]:
    """The backbone and the method around it, with the weights that the settings ask for."""
    backbone = make_backbone(settings.architecture, settings.image_size, settings.seed, settings.weights)
    dim = feature_dim(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sample_seed(settings.seed, -1, 0))
        method = make_method(settings.method, backbone.model, dim)
    return backbone, method.train()


def _probe(settings: TrainSettings) -> TrainingProbe | None:
    if settings.probe_every is None:
        return None
    return TrainingProbe(settings.probe_train, settings.probe_test, settings.probe_label)


def _told(accuracies: dict[str, float], step: int) -> str:
    return f"probe at step {step:,}: " + ", ".join(f"{name} {share:.3f}" for name, share in accuracies.items())


def _wrap(method: Method, settings: TrainSettings, ranks: Ranks) -> torch.nn.Module:
    if settings.sync_norms:
        if ranks.device.type != "cuda":
            raise InputError("--sync-bn needs GPUs: torch has no synchronised batch norm on CPUs; leave it out")
        synchronise_norms(method)
    model: torch.nn.Module = method
    if ranks.count > 1:
        model = DistributedDataParallel(method, device_ids=[ranks.device] if ranks.device.type == "cuda" else None)
    return torch.compile(model) if settings.compiled else model  # type: ignore[return-value]


def _log(
    state: _State,
    schedule: Schedule,
    settings: TrainSettings,
    ranks: Ranks,
    metrics: Metrics | None,
    started: float,
    start: int,
    look: Callable[[int, float], None],
) -> None:
    """Fetch the values of the last steps from the device, average them over ranks and write them."""
    own = torch.stack([torch.stack([loss, spread]) for _, loss, spread in state.recent]).cpu()
    values = torch.stack(ranks.gather(own)).mean(dim=0).tolist()
    for (step, _, _), (loss, spread) in zip(state.recent, values, strict=True):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise CuratorError(f"the loss is not finite at step {step}: lower --lr, or give --clip 1")
        if metrics is not None:
            metrics.write(
                {
                    "step": step,
                    "epoch": schedule.epoch(step),
                    "loss": loss,
                    "spread": spread,
                    "lr": learning_rate(step, settings),
                    "samples": (step + 1) * settings.batch_size,
                    "images_per_second": (state.step - start) * settings.batch_size / (time.monotonic() - started),
                }
            )
            look(step, spread)
    if metrics is not None:
        metrics.publish()
    state.loss, state.spread = (sum(column) / len(column) for column in zip(*values, strict=True))
    state.recent.clear()


def _collect_lines(state: _State, ranks: Ranks) -> None:
    for lines in ranks.gather(state.lines):
        state.lines |= lines


def _judge(state: _State, samples: Samples, settings: TrainSettings, ranks: Ranks) -> None:
    """More bad samples than allowed end the run where everybody sees it: at the end of an epoch."""
    _collect_lines(state, ranks)
    seen = min(len(samples), state.step * settings.batch_size)
    bad = sum(line.reason.is_damage for line in state.lines.values())
    if bad > settings.max_bad * seen:
        raise TooManyBad(
            f"{bad} of {seen} samples seen are bad ({bad / seen:.2%}), more than --max-bad {settings.max_bad:.2%}: "
            f"see {storage.join(settings.out, 'quarantine.parquet')} for each, or allow more"
        )


def save_encoder(settings: TrainSettings, backbone: Backbone, identity: dict[str, Any], step: int) -> None:
    """Write OUT/encoder.pt: the backbone's tensors, without any head."""
    save_checkpoint(
        storage.join(settings.out, "encoder.pt"),
        architecture=backbone.architecture,
        preprocess=backbone.preprocess,
        state_dict=backbone.model.state_dict(),
        meta={name: value for name, value in identity.items() if value is not None} | {"step": step},
    )


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask the loop to save and end after the step at hand; a second one ends it at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        # Ray Train runs the loop in a thread, where no signal arrives.
        yield lambda: False
        return

    def receive(number: int, frame: object) -> None:
        if received:
            os._exit(130)
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_checkpoint(out: str) -> bool:
    """Whether OUT holds a run that can go on."""
    return storage.exists(checkpoint_url(out))
