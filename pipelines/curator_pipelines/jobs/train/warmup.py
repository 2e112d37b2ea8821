"""The warm-up job: a small encoder, trained on the target for as long as a person can wait."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from curator.errors import InputError
from curator.io import storage
from curator.io.run_lock import Owner, owned
from curator.io.urls import absolute
from curator.sources.source import Source
from curator_pipelines.config.select import SelectConfig, build
from curator_pipelines.config.train import TrainConfig, WarmupConfig
from curator_pipelines.jobs.select.run_sources import RunSources
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.progress_file import recorded
from curator_pipelines.run.run_directory import RunDirectory

__all__ = ["plan_warmup", "run_warmup", "with_warmup"]

ARCHITECTURE = "timm:resnet18"
# Images are embedded at so many times the side of a view. A view of 64 px leaves the last stage of a ResNet four
# places, which see more padding than image: of what it chose at that size, 74% was like the target, and at twice the
# size 95% (benchmarks/RESULTS.md).
ENLARGED = 2
# What a user may ask of a warm-up; another encoder comes of another answer.
ASKED = ("weights", "warmup_epochs", "seed")


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


def run_warmup(config: WarmupConfig, reporter: Reporter) -> str:
    """Train the encoder of a run unless it is there already; what an earlier call began is gone on with.

    Works in OUT/warmup; the encoder appears as OUT/encoder.pt when it is finished.

    Returns:
        What was done, in words.

    Raises:
        InputError: no target images, or OUT holds a warm-up on others or with other settings.
        CuratorError: the training failed; running it again resumes.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out):
        return _warm_up(RunDirectory(out, owner), config, reporter)


def _warm_up(run: RunDirectory, config: WarmupConfig, reporter: Reporter, target_sources: Sequence[Source] = ()) -> str:
    from curator.encoders.checkpoint import copy_at_size
    from curator.encoders.device import resolve_device
    from curator_pipelines.jobs.train.train_run import resolve_settings, run_settings
    from curator_ssl.data.find_samples import index_samples

    run.check_ours()
    work, encoder = run.path("warmup"), run.path("encoder.pt")
    trained = storage.exists(encoder)
    if trained and not storage.exists(work):
        return f"encoder     {encoder} was there before"
    _check_asked(run, config)
    indexed = index_samples(config.target, [], work, reporter.say, target_sources)
    if trained:
        return f"encoder     {encoder} was trained before"
    effort = EFFORTS[resolve_device(config.device).type]
    training = _training(config, effort, work, len(indexed.samples))
    reporter.say(
        "warm-up: an encoder is trained on the target first "
        "(--warmup-epochs says how long, --encoder names one that is ready)"
    )
    summary = run_settings(resolve_settings(training, work), training, indexed, reporter)
    copy_at_size(summary.trained.encoder, encoder, ENLARGED * effort.image_size)
    return summary.to_text().replace(summary.trained.encoder, encoder)


def _check_asked(run: RunDirectory, config: WarmupConfig) -> None:
    """Refuse to pass off an encoder that was trained in another way as the one that is asked for."""
    asked = {name: getattr(config, name) for name in ASKED}
    url = run.path("warmup", "asked.json")
    try:
        before = json.loads(storage.read_bytes(url))
    except FileNotFoundError:
        storage.write_bytes(url, json.dumps(asked, indent=2).encode())
        return
    if changes := [f"{name} was {before[name]}, now {asked[name]}" for name in ASKED if before[name] != asked[name]]:
        raise InputError(
            f"{run.url} has a warm-up encoder of other settings: {'; '.join(changes)}: give another --out, "
            "or `curator select --redo warmup`"
        )


def _training(config: WarmupConfig, effort: Effort, work: str, images: int) -> TrainConfig:
    batch = min(effort.batch_size, images)
    if batch < 2:
        raise InputError(f"--target has {batch} image: a warm-up tells images apart; name another --encoder")
    flags = {
        "out": work,
        "target": config.target,
        "arch": ARCHITECTURE,
        "image_size": effort.image_size,
        "batch_size": batch,
        "weights": config.weights,
        "seed": config.seed,
        "device": config.device,
        "max_bad": config.max_bad,
        "save_every": 10,
        "resume": True,
        "epochs": None if config.warmup_epochs is None else str(config.warmup_epochs),
        "steps": effort.steps if config.warmup_epochs is None else None,
    }
    return build(TrainConfig, flags)


def with_warmup(
    config: SelectConfig, sources: RunSources, reporter: Reporter, owner: Owner
) -> tuple[SelectConfig, float | None]:
    """A selection's config with its warm-up done and `checkpoint:OUT/encoder.pt` in its place.

    Args:
        config: of the selection.
        sources: what its target, pool and evaluation set stand for.
        reporter: is told of the training.
        owner: this process as OUT's owner.

    Returns:
        the config, unchanged where another encoder is named or nothing is left to encode; and the seconds that
        the warm-up took, None without one.

    Raises:
        InputError: what can be found before training: embeddings beside images, another encoder in OUT.
    """
    if not _needs_warmup(config, sources):
        return config, None
    started = time.monotonic()
    run = RunDirectory(absolute(config.out), owner)
    _check_begun(config, run)
    redo = config.redo
    if redo == "warmup":
        # At once, and not by `run.start`: a run that is stopped while it trains goes on without --redo.
        run.throw_away(redo)
        if run.record:
            run.save()
        redo = None
    told = _warm_up(
        run,
        WarmupConfig(
            out=run.url,
            target=_target_urls(config),
            weights=config.weights,
            warmup_epochs=config.warmup_epochs,
            seed=config.seed,
            device=config.device,
            max_bad=config.max_bad,
        ),
        reporter,
        sources.of_targets,
    )
    reporter.say(told)
    ready = {"encoder": f"checkpoint:{run.path('encoder.pt')}", "weights": None, "redo": redo}
    return config.model_copy(update=ready), time.monotonic() - started


def plan_warmup(config: SelectConfig, sources: RunSources, reporter: Reporter, calibrated: bool) -> SelectConfig:
    """As `with_warmup`, for who only asks: says that a warm-up comes first, and stands in an untrained encoder.

    Raises:
        InputError: also if what follows is to be measured, and the encoder that takes the time is not there.
    """
    if not _needs_warmup(config, sources):
        return config
    run = RunDirectory(absolute(config.out))
    _check_begun(config, run)
    encoder = run.path("encoder.pt")
    if storage.exists(encoder) and config.redo != "warmup":
        return config.model_copy(update={"encoder": f"checkpoint:{encoder}", "weights": None})
    if calibrated:
        raise InputError(
            "--calibrate measures with the encoder of the run, which is to be trained first: run `curator warmup` "
            "with the same --target and --out, or name an --encoder"
        )
    reporter.say(f"first a warm-up encoder ({ARCHITECTURE}) would be trained on the target, to {encoder}")
    redo = "embed" if config.redo == "warmup" else config.redo
    return config.model_copy(update={"encoder": ARCHITECTURE, "weights": "random", "redo": redo})


def _check_begun(config: SelectConfig, run: RunDirectory) -> None:
    run.check_ours()
    if config.redo != "warmup" and run.record.get("identities") and not storage.exists(run.path("encoder.pt")):
        raise InputError(
            f"{run.url} was begun with another encoder than a warm-up: give the same --encoder, another --out, "
            "or --redo warmup"
        )


def _target_urls(config: SelectConfig) -> list[str]:
    return [url for urls in config.targets().values() for url in urls]


def _needs_warmup(config: SelectConfig, sources: RunSources) -> bool:
    if config.encoder != "warmup":
        return False
    ready = next((source for source in sources.everything if source.is_ready), None)
    if ready is None:
        return True
    if any(source.holds_images for source in sources.everything):
        raise InputError(
            f"{ready.url} is embeddings: what stands beside it must come from the same encoder, and a warm-up "
            "would be another; name that one by --encoder"
        )
    return False
