"""A selection that begins with a warm-up: from there on its encoder is a file, as with `checkpoint:OUT/encoder.pt`."""

from __future__ import annotations

from curator.errors import Another, InputError, Redo, Use
from curator.io import Owner, absolute, storage
from curator.settings import build
from curator_pipelines.config import WARMUP, SelectConfig, WarmupConfig
from curator_pipelines.jobs.measure.executor import executor_begun
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.jobs.measure.run_sources import RunSources
from curator_pipelines.jobs.measure.warmup_place import warmup_place
from curator_pipelines.jobs.train import ARCHITECTURE, warm_up
from curator_pipelines.run import Reporter, RunDirectory, Spent, spending

__all__ = ["plan_warmup", "train_warmup", "with_warmup"]


def with_warmup(
    config: SelectConfig, sources: RunSources, reporter: Reporter, owner: Owner
) -> tuple[SelectConfig, Spent | None]:
    """A selection's config with its warm-up done and `checkpoint:OUT/encoder.pt` in its place.

    Args:
        config: of the selection.
        sources: what its target, pool and evaluation set stand for.
        reporter: is told of the training.
        owner: this process as OUT's owner.

    Returns:
        the config, unchanged where another encoder is named or nothing is left to encode; and what the warm-up
        cost, None without one.

    Raises:
        InputError: what can be found before training: embeddings beside images, another encoder in OUT.
    """
    if not _needs_warmup(config, sources):
        return config, None
    run = RunDirectory(absolute(config.out), owner)
    _check_begun(config, run)
    redo = config.redo
    if redo == "warmup":
        # At once, and not by `run.start`: a run that is stopped while it trains goes on without --redo.
        run.throw_away(redo)
        if run.record:
            run.save()
        redo = None
    with spending("warmup") as spent, executor_begun(config, run.url, keeps=True) as hardware:
        trained = train_warmup(config, run, sources, hardware, reporter)
    ready = {"encoder": [trained], "weights": None, "redo": redo}
    return config.model_copy(update=ready), spent


def train_warmup(
    config: SelectConfig, run: RunDirectory, sources: RunSources, hardware: RunHardware, reporter: Reporter
) -> str:
    """Train the warm-up of a selection, unless it is there; returns `checkpoint:OUT/encoder.pt`."""
    shared = {name: getattr(config, name) for name in WarmupConfig.model_fields if name in SelectConfig.model_fields}
    warmup = build(WarmupConfig, shared | {"out": run.url, "target": _target_urls(config)})
    reporter.say(warm_up(run, warmup, reporter, sources.of_targets, elsewhere=warmup_place(config, hardware, run)).text)
    return f"checkpoint:{run.path('encoder.pt')}"


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
        return config.model_copy(update={"encoder": [f"checkpoint:{encoder}"], "weights": None})
    if calibrated:
        raise InputError(
            "this measures with the encoder of the run, which is to be trained first",
            field="calibrate",
            advice=("warm up with the same target and the same run directory first", Use("encoder")),
        )
    from curator_ssl.backbones import full_name

    architecture = full_name(config.warmup_arch or ARCHITECTURE)
    reporter.say(f"first a warm-up encoder ({architecture}) would be trained on the target, to {encoder}")
    redo = "embed" if config.redo == "warmup" else config.redo
    return config.model_copy(update={"encoder": [architecture], "weights": "random", "redo": redo})


def _check_begun(config: SelectConfig, run: RunDirectory) -> None:
    run.check_ours()
    if config.redo != "warmup" and run.record.get("identities") and not storage.exists(run.path("encoder.pt")):
        raise InputError(
            f"{run.url} was begun with another encoder than a warm-up",
            advice=("give the same encoder", Another("out"), Redo("warmup")),
        )


def _target_urls(config: SelectConfig) -> list[str]:
    return [url for urls in config.targets().values() for url in urls]


def _needs_warmup(config: SelectConfig, sources: RunSources) -> bool:
    if config.encoder != [WARMUP]:
        return False
    ready = next((source for source in sources.everything if source.is_ready), None)
    if ready is None:
        return True
    if any(source.holds_images for source in sources.everything):
        raise InputError(
            f"{ready.url} is embeddings: what stands beside it must come from the same encoder, and a warm-up would be "
            "another one",
            advice=Use("encoder"),
        )
    return False
