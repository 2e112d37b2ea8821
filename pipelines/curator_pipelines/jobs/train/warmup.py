"""The warm-up job: a small encoder, trained on the target for as long as a person can wait, and its untrained twin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curator.errors import Another, CuratorError, InputError, Redo, Use
from curator.io import absolute, owned, storage
from curator.settings import build, declared
from curator.sources import Source
from curator_pipelines.config import WarmupConfig
from curator_pipelines.run import Reporter, RunDirectory, recorded
from curator_ssl.config import TrainConfig

if TYPE_CHECKING:
    from curator_pipelines.jobs.train.launch_worker import WorkerPlace

__all__ = ["ARCHITECTURE", "WarmupResult", "run_warmup", "untrained_twin", "warm_up"]

ARCHITECTURE = "small_resnet"
# Images are embedded at so many times the side of a view: objects in crops are larger than in whole images, and a view
# leaves the last stage of a ResNet one position, which sees more padding than image (benchmarks/NOTES.md).
ENLARGED = 2
# The architecture by which images are embedded, where it is not the trained one. What a channel finds in a part of an
# image then counts as much as what fills it, such as a colour.
EMBEDS_AS = {"small_resnet": "small_resnet_max"}


@dataclass(frozen=True)
class Effort:
    """How much a warm-up does where its settings do not say so.

    Attributes:
        image_size: side of a view in pixels.
        steps: how many, where no number of epochs is given.
    """

    image_size: int
    steps: int


# Steps and not minutes, since minutes would be other steps on every machine, and so another encoder.
EFFORTS = {"cpu": Effort(32, 400), "cuda": Effort(32, 2000)}
# In OUT/warmup: the encoder before its first step, which shows what training was worth.
UNTRAINED = "untrained.pt"


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
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return warm_up(RunDirectory(out, owner), config, reporter)


def warm_up(
    run: RunDirectory,
    config: WarmupConfig,
    reporter: Reporter,
    target_sources: Sequence[Source] = (),
    elsewhere: WorkerPlace | None = None,
) -> WarmupResult:
    """As `run_warmup`, for who owns the run directory already.

    Args:
        run: the run directory.
        config: the settings of the warm-up.
        reporter: is told of the training.
        target_sources: what the target stands for, where that was looked up before.
        elsewhere: the worker that trains; None for this process.
    """
    from curator.encoders import copy_at_size
    from curator_pipelines.jobs.train.train_run import cores_of_each, train_on_samples
    from curator_ssl.backbones import check_backbone
    from curator_ssl.data import find_samples
    from curator_ssl.outputs import NothingLearned
    from curator_ssl.resolve import resolve_length, resolve_machine

    run.check_ours()
    work, encoder = run.path("warmup"), run.path("encoder.pt")
    is_trained = storage.exists(encoder)
    if is_trained and not storage.exists(work):
        return WarmupResult(encoder, f"encoder     {encoder} was there before")
    samples = find_samples(config.target, [], work, reporter.say, target_sources)
    if is_trained:
        _check_settings(run, config)
        return WarmupResult(encoder, f"encoder     {encoder} was trained before")
    asked = _training(config, work, len(samples.samples), elsewhere)
    machine = (elsewhere.device, elsewhere.precision) if elsewhere else None
    training = resolve_machine(asked, cores=cores_of_each(1), machine=machine)
    try:
        check_backbone(training.arch, training.image_size, training.weights)
    except InputError as error:
        raise (error.about("warmup_arch") if error.field == "arch" else error) from error.__cause__
    # Not before, since it writes down what is asked for.
    _check_settings(run, config)
    reporter.say("warm-up: an encoder is trained on the target before anything else")
    side = _embedding_side(training.arch, training.image_size)
    _write_untrained(training, side, run.path("warmup", UNTRAINED))
    try:
        summary = train_on_samples(resolve_length(training, samples.samples), samples, reporter, elsewhere=elsewhere)
    except NothingLearned as error:
        raise CuratorError(
            f"the warm-up failed: {error.message}",
            advice=(Another("warmup_arch"), Another("seed"), "give more target images, or more different ones"),
        ) from error
    copy_at_size(summary.trained.encoder, encoder, side, EMBEDS_AS.get(training.arch))
    return WarmupResult(encoder, summary.to_text().replace(summary.trained.encoder, encoder))


def untrained_twin(run: RunDirectory) -> str | None:
    """The encoder that a run's warm-up began with: the same network, initial weights, size and preprocessing.

    Args:
        run: the run directory.

    Returns:
        its URL, for `checkpoint:URL`; None where `OUT/encoder.pt` was not trained in this run directory.
    """
    url = run.path("warmup", UNTRAINED)
    return url if storage.exists(url) else None


def _embedding_side(architecture: str, image_size: int) -> int:
    """The side at which images are embedded: that of training where the network's tensors depend on it."""
    import torch

    from curator.encoders import build_backbone

    larger = ENLARGED * image_size
    with torch.device("meta"):
        tensors = [build_backbone(architecture, side).model.state_dict() for side in (image_size, larger)]
    small, large = ({name: tensor.shape for name, tensor in named.items()} for named in tensors)
    return larger if small == large else image_size


def _write_untrained(training: TrainConfig, side: int, url: str) -> None:
    from curator.encoders import save_checkpoint
    from curator_ssl.backbones import make_backbone

    backbone = make_backbone(training.arch, training.image_size, training.seed, training.weights)
    save_checkpoint(
        url,
        architecture=EMBEDS_AS.get(backbone.architecture, backbone.architecture),
        preprocess=backbone.preprocess.at_size(side),
        state_dict=backbone.model.state_dict(),
        meta={"step": 0, "seed": training.seed},
    )


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


def _training(config: WarmupConfig, work: str, images: int, elsewhere: WorkerPlace | None) -> TrainConfig:
    from curator.encoders import resolve_device

    effort = EFFORTS[elsewhere.device if elsewhere else resolve_device(config.device).type]
    if images < 2:
        raise InputError(
            f"it has {images} image: a warm-up tells images apart",
            field="target",
            advice=Use("encoder"),
        )
    length = {"steps": effort.steps} if config.warmup_epochs is None else {"epochs": config.warmup_epochs}
    own = {
        "out": work,
        "arch": config.warmup_arch or ARCHITECTURE,
        "image_size": config.warmup_size or effort.image_size,
        "save_every": 50,
    }
    shared = {name: getattr(config, name) for name in WarmupConfig.model_fields if name in TrainConfig.model_fields}
    return build(TrainConfig, shared | own | length)
