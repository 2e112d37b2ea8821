"""Measures on the run's own images what its encoder should be, and whether a warm-up was worth it."""

from __future__ import annotations

from dataclasses import replace

from curator.errors import CuratorError, Use
from curator.io import storage
from curator_pipelines.config import AUTO, WARMUP, SelectConfig
from curator_pipelines.jobs.measure.candidates import list_candidates, warmup_and_twin
from curator_pipelines.jobs.measure.encoding import Encoding, first_images
from curator_pipelines.jobs.measure.executor import executor_begun, make_executor, own_executor
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.jobs.measure.ranks import Measured, check_enough, first_choice, measure
from curator_pipelines.jobs.measure.run_sources import RunSources
from curator_pipelines.jobs.measure.sample import Candidate, Sample, draw
from curator_pipelines.jobs.measure.store import EncoderChoice, keep_choice, kept_choice
from curator_pipelines.jobs.measure.table import make_table
from curator_pipelines.jobs.measure.warmup_first import train_warmup
from curator_pipelines.jobs.train import untrained_twin
from curator_pipelines.run import Reporter, RunDirectory, Spent, estimate_samples, spending
from curator_ssl.outputs import NothingLearned

__all__ = ["choose_encoder", "follow", "judge_warmup"]


def choose_encoder(
    config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter
) -> tuple[SelectConfig, Encoding, Spent | None]:
    """Measure the encoders that the settings name, and choose; `auto` trains a warm-up where none beats chance.

    Returns:
        the config with the chosen encoder, that encoder, and what the warm-up cost where one was trained.

    Raises:
        InputError: too few images to measure with; nothing was written.
        CuratorError: no encoder beats chance. OUT/measure holds what was measured.
    """
    check_enough(sources.targets)
    sample = _sample(config, sources)
    twins = run.path("measure", "untrained")
    try:
        with executor_begun(config, run.url, keeps=True) as hardware:
            warm_up = _WarmUp(config, run, sources, hardware, reporter)
            images = first_images(sources.of_targets, "target")
            candidates = list_candidates(config, images, hardware, reporter, twins, warm_up)
        measured, workers = _measured(candidates, sample, config, run, reporter)
        choice = _choice(measured)
        if choice is None and AUTO in config.encoder and WARMUP not in config.encoder:
            names = ", ".join(encoder.name for encoder in measured)
            reporter.say(f"encoder auto: {names}: not better than chance on your images; a warm-up is trained")
            measured += _measured_warmup(config, sample, images, hardware, run, reporter, twins, warm_up)
            choice = _choice(measured)
    finally:
        storage.remove(twins)
    pair = [encoder for encoder in measured if WARMUP in (encoder.name, encoder.candidate.twin_of)]
    warning = _warning(pair) if pair else None
    outcome = replace(_encoder_choice(measured, choice, run), warning=warning, asked=config.encoder)
    table = make_table(measured, estimate_samples(sources.pool, {}), workers)
    keep_choice(run.url, outcome, table, measured, sample)
    reporter.say(table.to_text())
    if warning and choice is not None and choice.name == WARMUP:
        reporter.warn(warning)
    followed = follow(outcome, config, reporter)
    assert choice is not None
    return followed, choice.candidate.encoding, warm_up.spent


def judge_warmup(config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter) -> dict[str, Spent]:
    """Compare a warm-up that was asked for by name with its untrained twin, once; it is used whatever comes out.

    Returns:
        what the stage cost; empty where it was done before, or could not be done, which is said and tried again by the
        next run.
    """
    known = kept_choice(run.url)
    if known is not None and known.warning is not None:
        if known.warning:
            reporter.warn(known.warning)
        return {}
    with spending("measure") as spent:
        is_judged = _judge(config, run, sources, reporter, known)
    return {"measure": spent} if is_judged else {}


def _judge(
    config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter, known: EncoderChoice | None
) -> bool:
    sample = _sample(config, sources)
    twin = run.path("measure", "untrained.pt")
    try:
        with executor_begun(config, run.url, keeps=True) as hardware:
            images = first_images(sources.of_targets, "target")
        check_enough(sources.targets)
        trained = f"checkpoint:{run.path('encoder.pt')}", untrained_twin(run)
        pair = warmup_and_twin(config, images, hardware, twin, lambda: trained)
        measured, workers = _measured(pair, sample, config, run, reporter)
    except CuratorError as error:
        reporter.warn(f"the warm-up was not compared with its untrained twin: {error}")
        return False
    finally:
        storage.remove(twin)
    warning = _warning(measured)
    outcome = replace(known or EncoderChoice(None, "the encoder was named"), warning=warning)
    table = make_table(measured, estimate_samples(sources.pool, {}), workers)
    keep_choice(run.url, outcome, table, measured, sample)
    reporter.say(table.to_text())
    if warning:
        reporter.warn(warning)
    return True


def follow(outcome: EncoderChoice, config: SelectConfig, reporter: Reporter) -> SelectConfig:
    """The config with the encoder that was chosen.

    Raises:
        CuratorError: none was.
    """
    if outcome.encoder is None:
        raise CuratorError(
            outcome.reason,
            field="encoder",
            value=", ".join(config.encoder),
            advice=(Use("encoder"), "give a pool that holds what you look for"),
        )
    reporter.say(f"encoder {' or '.join(config.encoder)}: {outcome.encoder}: {outcome.reason}")
    return config.model_copy(update={"encoder": [outcome.encoder], "weights": None})


def _sample(config: SelectConfig, sources: RunSources) -> Sample:
    sample = draw(sources.targets, sources.pool, config.seed, config.min_side)
    return replace(sample, give_up_shards=config.give_up_shards)


def _measured(
    candidates: list[Candidate], sample: Sample, config: SelectConfig, run: RunDirectory, reporter: Reporter
) -> tuple[list[Measured], int]:
    """The measured encoders, and how many workers measured them."""
    encoding = candidates[0].encoding
    executor = own_executor(make_executor(config, encoding.device, run.url, encoding.precision))
    return measure(candidates, sample, executor, reporter), executor.workers


class _WarmUp:
    """Trains OUT's warm-up when it is called, and knows what that cost; None before."""

    def __init__(
        self,
        config: SelectConfig,
        run: RunDirectory,
        sources: RunSources,
        hardware: RunHardware,
        reporter: Reporter,
    ) -> None:
        self.spent: Spent | None = None
        self._arguments = config, run, sources, hardware, reporter

    def __call__(self) -> tuple[str, str | None]:
        with spending("warmup") as self.spent:
            return train_warmup(*self._arguments), untrained_twin(self._arguments[1])


def _measured_warmup(
    config: SelectConfig,
    sample: Sample,
    images: list[bytes],
    hardware: RunHardware,
    run: RunDirectory,
    reporter: Reporter,
    twins: str,
    warm_up: _WarmUp,
) -> list[Measured]:
    """The warm-up and its untrained twin; nothing where it learned nothing, which is said."""
    try:
        pair = warmup_and_twin(config, images, hardware, storage.join(twins, "warmup.pt"), warm_up)
    except CuratorError as error:
        if not isinstance(error.__cause__, NothingLearned):
            raise
        reporter.warn(str(error))
        return []
    return _measured(pair, sample, config, run, reporter)[0]


def _choice(measured: list[Measured]) -> Measured | None:
    """The best of those that may be taken: an untrained twin stands beside another encoder and is none."""
    return first_choice([encoder for encoder in measured if not encoder.candidate.twin_of])


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
