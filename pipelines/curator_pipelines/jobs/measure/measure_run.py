"""`curator measure`: encoders compared on the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.encoders import parse_spec
from curator.errors import InputError, Leave
from curator.io import Owner, absolute, npy, owned, public_name, scratch_folder, storage
from curator.settings import build
from curator.sources import Source, count_left_out, in_words
from curator.types import unit_rows
from curator_pipelines.config import AUTO, WARMUP, MeasureConfig, WarmupConfig
from curator_pipelines.jobs.measure.candidates import list_candidates
from curator_pipelines.jobs.measure.encoding import Encoding, first_images
from curator_pipelines.jobs.measure.executor import executor_begun, make_executor, own_executor
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.jobs.measure.ranks import Measured, check_enough, measure, rank_sample
from curator_pipelines.jobs.measure.ranks_sheet import SHEET, write_ranks_sheet
from curator_pipelines.jobs.measure.run_sources import RunSources, find_run_sources
from curator_pipelines.jobs.measure.sample import Candidate, EmbeddedSample, Images, Sample, draw
from curator_pipelines.jobs.measure.store import keep_comparison
from curator_pipelines.jobs.measure.table import Table, make_table
from curator_pipelines.jobs.measure.warmup_place import warmup_place
from curator_pipelines.jobs.pictures import Original
from curator_pipelines.jobs.train import untrained_twin, warm_up
from curator_pipelines.run import Reporter, RunDirectory, estimate_samples, recorded

__all__ = ["MeasureResult", "run_measure"]

# As benchmarks/RESULTS.md has it.
CSLS = (
    "When few images are wanted, such as a quarter of what is relevant, the selector csls is worth a try: there it\n"
    "was more precise than simcore in 9 of 11 groups and as precise in 2. It covered fewer classes in 5 groups and\n"
    "more in 1. It needs a budget and the exact search."
)


@dataclass(frozen=True)
class MeasureResult:
    """The end of `curator measure`.

    Attributes:
        table: the encoders, best first.
        kept: where the result is kept; empty if nowhere.
        left_out: files beside the sources that are not read, by ending or place.
        sheet: the contact sheet; empty if there is none.
    """

    table: Table
    kept: str
    left_out: dict[str, int]
    sheet: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return self.table.to_json() | {"csls": CSLS.replace("\n", " "), "left_out": self.left_out, "sheet": self.sheet}

    def to_text(self) -> str:
        """For a person."""
        left_out = in_words([*self.left_out.items()]).removeprefix(", ")
        kept = self.kept and f"kept in {self.kept}"
        sheet = self.sheet and f"sheet       {self.sheet}"
        return "\n\n".join(filter(None, [self.table.to_text(), CSLS, left_out, "\n".join(filter(None, [kept, sheet]))]))


def run_measure(config: MeasureConfig, reporter: Reporter) -> MeasureResult:
    """Embed a sample of target and pool with each encoder, and rank the target's held-out images.

    Raises:
        InputError: nothing there, an encoder that cannot be had, or too few images.
        CuratorError: the workers failed.
    """
    for name in config.encoder:
        if name not in (AUTO, WARMUP):
            parse_spec(name)
    if config.out is None:
        # Made only where something is written: twins of trained encoders, and a warm-up.
        with scratch_folder() as folder:
            return _run_measure(config, reporter, str(folder), None)
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return _run_measure(config, reporter, out, owner)


def _run_measure(config: MeasureConfig, reporter: Reporter, where: str, owner: Owner | None) -> MeasureResult:
    sources = find_run_sources(where, pool=config.pool, targets=config.targets())
    sample = draw(sources.targets, sources.pool, config.seed)
    if all(source.is_ready for source in sources.everything):
        measured, workers = [_measure_ready(config, sample)], 1
        rows = None
    else:
        _check_images(sources)
        check_enough(sources.targets)
        measured, workers = _measure_images(config, sources, sample, where, owner, reporter)
        rows = estimate_samples(sources.pool, {})
    table = make_table(measured, rows, workers)
    for text in measured[0].remarks.texts():
        reporter.warn(text)
    kept = keep_comparison(where, table, measured, sample) if config.out else ""
    sheet = storage.join(where, "measure", SHEET)
    is_drawn = bool(config.out) and write_ranks_sheet(sheet, measured, reporter)
    return MeasureResult(table, kept, count_left_out(sources.everything), public_name(sheet) if is_drawn else "")


def _measure_images(
    config: MeasureConfig, sources: RunSources, sample: Sample, where: str, owner: Owner | None, reporter: Reporter
) -> tuple[list[Measured], int]:
    """The measured encoders, and how many workers measured them."""
    twins = storage.join(where, "measure", "untrained")
    try:
        with executor_begun(config, where, keeps=owner is not None) as hardware:
            images = first_images(sources.of_targets, "target")

            def trained() -> tuple[str, str | None]:
                return _warm_up(config, sources, RunDirectory(where, owner), hardware, reporter)

            candidates = list_candidates(config, images, hardware, reporter, twins, trained)
        # Workers read files that were written here only where an encoder was trained.
        shared = where if any(candidate.twin_of for candidate in candidates) else None
        encoding = candidates[0].encoding
        executor = own_executor(make_executor(config, encoding.device, shared, encoding.precision))
        return measure(candidates, sample, executor, reporter), executor.workers
    finally:
        storage.remove(twins)


def _warm_up(
    config: MeasureConfig, sources: RunSources, run: RunDirectory, hardware: RunHardware, reporter: Reporter
) -> tuple[str, str | None]:
    """The warm-up encoder of OUT, or one that is trained for this, and its twin."""
    encoder = run.path("encoder.pt")
    if not storage.exists(encoder):
        urls = [url for listed in config.targets().values() for url in listed]
        settings = {"target": urls, "out": run.url, "seed": config.seed, "device": config.device}
        place = warmup_place(config, hardware, run)
        reporter.say(warm_up(run, build(WarmupConfig, settings), reporter, sources.of_targets, elsewhere=place).text)
    return f"checkpoint:{encoder}", untrained_twin(run)


def _check_images(sources: RunSources) -> None:
    for field, listed in (("target", sources.of_targets), ("pool", sources.pool)):
        for source in listed:
            if source.is_ready:
                raise InputError(
                    "embeddings; to measure encoders their images are needed",
                    field=field,
                    value=source.url,
                    advice="give the shards",
                )


def _measure_ready(config: MeasureConfig, sample: Sample) -> Measured:
    """Ready embeddings on both sides: their ranks, and no encoder to choose."""
    if "encoder" in config.model_fields_set:
        raise InputError("target and pool are embeddings: there is nothing to encode", advice=Leave("encoder"))
    targets = {name: _ready(pairs) for name, pairs in sample.targets.items()}
    pool = _ready(sample.pool)
    dims = {images.vectors.shape[1] for images in (*targets.values(), pool)}
    if len(dims) > 1:
        raise InputError(f"target and pool have embeddings of {' and '.join(map(str, sorted(dims)))} dimensions")
    encoding = Encoding(None, {"ready": "embeddings"}, dims.pop(), "cpu", "none", "ready embeddings")
    return rank_sample(Candidate("ready embeddings", encoding), EmbeddedSample(targets, pool, 0, 0, 0.0))


def _ready(pairs: Sequence[tuple[Source, int]]) -> Images:
    names: list[tuple[str, str]] = []
    blocks = []
    for source, count in pairs:
        rows = npy.open_rows(source.url) if storage.is_local(source.url) else npy.read_array(source.url)
        unit, has_direction = unit_rows(np.asarray(rows[:count], np.float32))
        kept = np.flatnonzero(has_direction & np.isfinite(unit).all(axis=1))
        blocks.append(unit[kept].astype(np.float16))
        names += [(source.name, str(row)) for row in kept]
    originals = tuple(Original("embeddings", *name) for name in names)
    return Images(tuple(names), np.concatenate(blocks), originals)
