"""The warm-up job: a small encoder, trained on the target for as long as a person can wait."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curator.errors import Another, InputError, Redo, Use
from curator.io import absolute, owned, storage
from curator.settings import build, declared
from curator.sources import Source
from curator_pipelines.config import WarmupConfig
from curator_pipelines.run import Reporter, RunDirectory, recorded
from curator_ssl.config import TrainConfig

__all__ = ["ARCHITECTURE", "WarmupResult", "run_warmup", "warm_up"]

ARCHITECTURE = "timm:resnet18"
# Images are embedded at so many times the side of a view. A view of 64 px leaves the last stage of a ResNet four
# positions, which see more padding than image: of what it chose at that size, 74% was like the target, and at twice
# the size 93% (benchmarks/NOTES.md).
ENLARGED = 2


@dataclass(frozen=True)
class Effort:
    """How much a warm-up does.

    Attributes:
        image_size: side of a view in pixels.
        batch_size: images a step, or as many as the target has.
        steps: where no number of epochs is given.
    """

    image_size: int
    batch_size: int
    steps: int


# On two idle cores a step of 64 at 64 px takes half a second to two seconds: up to five minutes in all.
EFFORTS = {"cpu": Effort(64, 64, 150), "cuda": Effort(96, 128, 1000)}


@dataclass(frozen=True)
class WarmupResult:
    """The end of a warm-up.

    Attributes:
        encoder: URL of the encoder.
        text: what was done, in words.
    """

    encoder: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"encoder": self.encoder}

    def to_text(self) -> str:
        """For a person."""
        return self.text


def run_warmup(config: WarmupConfig, reporter: Reporter) -> WarmupResult:
    """Train the encoder of a run unless it is there already; what an earlier call began is gone on with.

    Works in OUT/warmup; the encoder appears as OUT/encoder.pt when it is finished.

    Raises:
        InputError: no target images, or OUT holds a warm-up on others or with other settings.
        CuratorError: the training failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out):
        return warm_up(RunDirectory(out, owner), config, reporter)


def warm_up(
    run: RunDirectory, config: WarmupConfig, reporter: Reporter, target_sources: Sequence[Source] = ()
) -> WarmupResult:
    """As `run_warmup`, for who owns the run directory already.

    Args:
        run: the run directory.
        config: the settings of the warm-up.
        reporter: is told of the training.
        target_sources: what the target stands for, where that was looked up before.
    """
    from curator.encoders import copy_at_size
    from curator_pipelines.jobs.train.train_run import cores_of_each, train_on_samples
    from curator_ssl.data import find_samples
    from curator_ssl.resolve import resolve_length, resolve_machine

    run.check_ours()
    work, encoder = run.path("warmup"), run.path("encoder.pt")
    is_trained = storage.exists(encoder)
    if is_trained and not storage.exists(work):
        return WarmupResult(encoder, f"encoder     {encoder} was there before")
    _check_settings(run, config)
    samples = find_samples(config.target, [], work, reporter.say, target_sources)
    if is_trained:
        return WarmupResult(encoder, f"encoder     {encoder} was trained before")
    training = resolve_machine(_training(config, work, len(samples.samples)), cores=cores_of_each(1))
    reporter.say("warm-up: an encoder is trained on the target first, since no encoder is named that is ready")
    summary = train_on_samples(resolve_length(training, samples.samples), samples, reporter)
    copy_at_size(summary.trained.encoder, encoder, ENLARGED * training.image_size)
    return WarmupResult(encoder, summary.to_text().replace(summary.trained.encoder, encoder))


def _check_settings(run: RunDirectory, config: WarmupConfig) -> None:
    """Refuse to pass off an encoder that was trained in another way as the one that is asked for.

    The target is left out: the images themselves are compared, in whatever way they are named.
    """
    from curator.encoders import RANDOM, hash_named_tensors, read_weights

    values = {
        name: getattr(config, name)
        for name, item in declared(WarmupConfig).items()
        if item.setting.changes is not None and name != "target"
    }
    if config.weights != RANDOM:
        values["weights"] = hash_named_tensors(read_weights(config.weights))
    url = run.path("warmup", "settings.json")
    try:
        before = json.loads(storage.read_bytes(url))
    except FileNotFoundError:
        storage.write_bytes(url, json.dumps(values, indent=2).encode())
        return
    changes = [
        f"{name} was {before.get(name)}, now {value}" for name, value in values.items() if before.get(name) != value
    ]
    if changes:
        raise InputError(
            f"{run.url} has a warm-up encoder of other settings: {'; '.join(changes)}",
            advice=(Another("out"), Redo("warmup")),
        )


def _training(config: WarmupConfig, work: str, images: int) -> TrainConfig:
    from curator.encoders import resolve_device

    effort = EFFORTS[resolve_device(config.device).type]
    batch = min(effort.batch_size, images)
    if batch < 2:
        raise InputError(
            f"it has {batch} image: a warm-up tells images apart",
            field="target",
            advice=Use("encoder"),
        )
    length = {"steps": effort.steps} if config.warmup_epochs is None else {"epochs": config.warmup_epochs}
    own = {
        "out": work,
        "arch": ARCHITECTURE,
        "image_size": effort.image_size,
        "batch_size": batch,
        "save_every": 10,
    }
    shared = {name: getattr(config, name) for name in WarmupConfig.model_fields if name in TrainConfig.model_fields}
    return build(TrainConfig, shared | own | length)
