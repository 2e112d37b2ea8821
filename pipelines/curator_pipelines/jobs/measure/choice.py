"""Measures on the run's own images what its encoder should be, and whether a warm-up was worth it."""

from __future__ import annotations

import time
from dataclasses import replace

from curator.errors import CuratorError, Use
from curator.io import Owner, storage
from curator_pipelines.config import AUTO, WARMUP, SelectConfig
from curator_pipelines.jobs.measure.candidates import SEEN, ready_candidates, trained_and_twin, write_twin
from curator_pipelines.jobs.measure.encoding import first_images
from curator_pipelines.jobs.measure.executor import executor_begun, make_executor
from curator_pipelines.jobs.measure.ranks import Measured, check_enough, first_choice, measure
from curator_pipelines.jobs.measure.run_sources import RunSources
from curator_pipelines.jobs.measure.sample import Candidate, Sample, draw
from curator_pipelines.jobs.measure.store import EncoderChoice, keep_choice, kept_choice
from curator_pipelines.jobs.measure.table import make_table
from curator_pipelines.jobs.measure.warmup_first import with_warmup
from curator_pipelines.jobs.train import untrained_twin
from curator_pipelines.run import Reporter, RunDirectory, estimate_samples
from curator_ssl.outputs import NothingLearned

__all__ = ["choose_encoder", "follow", "judge_warmup"]


def choose_encoder(
    config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter, owner: Owner
) -> tuple[SelectConfig, dict[str, float]]:
    """Measure the ready encoders, and choose; where none beats chance, train a warm-up and measure that.

    Returns:
        the config with the chosen encoder, and the seconds of each stage.

    Raises:
        InputError: too few images to measure with; nothing was written.
        CuratorError: no encoder beats chance. OUT/measure holds what was measured.
    """
    started = time.monotonic()
    check_enough(sources.targets)
    sample = _sample(config, sources)
    with executor_begun(config):
        images = first_images(sources.of_targets, "target")
        candidates = ready_candidates(config, images, reporter)
    measured, workers = _measured(candidates, sample, config, run, reporter)
    choice = first_choice(measured)
    seconds = {"measure": time.monotonic() - started}
    warning = None
    if choice is None:
        names = ", ".join(encoder.name for encoder in measured)
        reporter.say(f"encoder auto: {names}: not better than chance on your images; a warm-up is trained")
        named = config.model_copy(update={"encoder": WARMUP})
        before = time.monotonic()
        try:
            with_warmup(named, sources, reporter, owner)
        except CuratorError as error:
            if not isinstance(error.__cause__, NothingLearned):
                raise
            reporter.warn(str(error))
        else:
            trained, workers = _measured_warmup(named, sample, images, run, reporter)
            measured += trained
            warning = _warning(trained)
            choice = first_choice(trained[:1])
        seconds["warmup"] = time.monotonic() - before
    outcome = replace(_encoder_choice(measured, choice, run), warning=warning)
    table = make_table(measured, estimate_samples(sources.pool, {}), workers)
    keep_choice(run.url, outcome, table, measured, sample)
    reporter.say(table.to_text())
    if warning and choice is not None:
        reporter.warn(warning)
    return follow(outcome, config, run, reporter), seconds


def judge_warmup(config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter) -> dict[str, float]:
    """Compare a warm-up that was asked for by name with its untrained twin, once; it is used whatever comes out.

    Returns:
        the seconds of the stage; empty where it was done before, or could not be done, which is said and tried again by
        the next run.
    """
    known = kept_choice(run.url)
    if known is not None and known.warning is not None:
        if known.warning:
            reporter.warn(known.warning)
        return {}
    started = time.monotonic()
    sample = _sample(config, sources)
    with executor_begun(config):
        images = first_images(sources.of_targets, "target")
    try:
        check_enough(sources.targets)
        measured, workers = _measured_warmup(config, sample, images, run, reporter)
    except CuratorError as error:
        reporter.warn(f"the warm-up was not compared with its untrained twin: {error}")
        return {}
    warning = _warning(measured)
    outcome = replace(known or EncoderChoice(None, "the encoder was named"), warning=warning)
    table = make_table(measured, estimate_samples(sources.pool, {}), workers)
    keep_choice(run.url, outcome, table, measured, sample)
    reporter.say(table.to_text())
    if warning:
        reporter.warn(warning)
    return {"measure": time.monotonic() - started}


def follow(outcome: EncoderChoice, config: SelectConfig, run: RunDirectory, reporter: Reporter) -> SelectConfig:
    """The config with the encoder that was chosen.

    Raises:
        CuratorError: none was.
    """
    if outcome.encoder is None:
        raise CuratorError(
            outcome.reason,
            field="encoder",
            value=AUTO,
            advice=(Use("encoder"), "give a pool that holds what you look for"),
        )
    reporter.say(f"encoder auto: {outcome.encoder}: {outcome.reason}")
    return config.model_copy(update={"encoder": outcome.encoder, "weights": None})


def _sample(config: SelectConfig, sources: RunSources) -> Sample:
    sample = draw(sources.targets, sources.pool, config.seed, config.min_side)
    return replace(sample, give_up_shards=config.give_up_shards)


def _measured(
    candidates: list[Candidate], sample: Sample, config: SelectConfig, run: RunDirectory, reporter: Reporter
) -> tuple[list[Measured], int]:
    """The measured encoders, and how many workers measured them."""
    executor = make_executor(config, candidates[0].encoding.device, run.url)
    return measure(candidates, sample, executor, reporter), executor.workers


def _measured_warmup(
    config: SelectConfig, sample: Sample, images: list[bytes], run: RunDirectory, reporter: Reporter
) -> tuple[list[Measured], int]:
    """The warm-up encoder of OUT and its untrained twin."""
    twin = run.path("measure", "untrained.pt")
    try:
        spec = f"checkpoint:{run.path('encoder.pt')}"
        # An encoder that was trained elsewhere has left no untrained one here.
        known = untrained_twin(run) or write_twin(spec, twin, config.seed)
        pair = trained_and_twin(WARMUP, spec, known, config, images, SEEN)
        return _measured(pair, sample, config, run, reporter)
    finally:
        storage.remove(twin)


def _warning(trained: list[Measured]) -> str:
    """What is wrong with a trained encoder, beside its twin; empty if nothing."""
    own, twin = trained
    if own.is_better_than(twin):
        if own.beats_chance:
            return ""
        return (
            f"THE WARM-UP IS NOT BETTER THAN CHANCE: held-out images of the target rank at {own.median:.1%} of the "
            "pool with it, and at 50% by chance; take a ready encoder, as auto does"
        )
    return (
        "THE WARM-UP IS NOT MEASURABLY BETTER THAN THE SAME NETWORK UNTRAINED: held-out images of the target rank at "
        f"{own.median:.1%} of the pool with it and at {twin.median:.1%} without the training, which is no significant "
        "gain. These are images that it was trained to tell apart, so it may find others better than this shows; where "
        "there is a ready encoder, take that, as auto does"
    )


def _encoder_choice(measured: list[Measured], choice: Measured | None, run: RunDirectory) -> EncoderChoice:
    if choice is None:
        names = " and ".join(
            f"{encoder.name} ({encoder.median:.1%})" for encoder in measured if not encoder.candidate.twin_of
        )
        reason = (
            "no encoder finds images like the target's in the pool better than chance: held-out images of the target "
            f"rank at 50% of the pool by chance, and not significantly better with {names}"
        )
        return EncoderChoice(None, reason, is_failure=True)
    spec = f"checkpoint:{run.path('encoder.pt')}" if choice.name == WARMUP else choice.name
    reason = (
        f"held-out images of the target rank at the best {choice.median:.1%} of the pool, where chance is 50% "
        f"({len(choice.rows):,} images ranked among {choice.pool:,})"
    )
    return EncoderChoice(spec, reason)
