"""Choose the encoder of a run, and say what the embeddings of each set are made of."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from curator.encoders import ENCODERS, parse_spec
from curator.errors import Another, InputError, Use
from curator.io import storage
from curator.plugins import plugin_folder
from curator.sources import Source, read_source
from curator.store import check_ready
from curator.types import RawSample
from curator_pipelines.config import WARMUP, EncodingConfig, MeasureConfig
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.jobs.measure.run_sources import RunSources
from curator_pipelines.run import Reporter
from curator_pipelines.stages import EncoderSettings

__all__ = [
    "Encoding",
    "Encodings",
    "choose_encodings",
    "first_images",
    "foreign_encoder",
    "foreign_encoding",
    "load_encoding",
    "provenance",
]

# How many target images the check of the preprocessing looks at.
AGREEMENT_IMAGES = 8
# Embeddings can be compared if these are the same; an encoder of one's own adds `plugin`.
IDENTITY = ("architecture", "tensors", "preprocessing", "precision")


@dataclass(frozen=True)
class Encoding:
    """The encoder of a run.

    Attributes:
        settings: for the workers; None where everything is ready embeddings.
        identity: what makes embeddings comparable, as run.json and the done-marks record it.
        dim: columns.
        device: `cpu` or `cuda`.
        device_name: for a person.
        described: for a person.
    """

    settings: EncoderSettings | None
    identity: dict[str, Any]
    dim: int
    device: str
    device_name: str
    described: str

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`; empty where everything is ready embeddings."""
        return self.settings.precision if self.settings else ""


@dataclass(frozen=True)
class Encodings:
    """How the sets of a run become embeddings.

    Attributes:
        by_set: name of a set -> its encoding.
        device: of the run's encoder; `cpu` where everything is ready embeddings.
        precision: of the run's encoder; empty where everything is ready embeddings.
        ready_rows: name of a source of ready embeddings -> its rows.
    """

    by_set: dict[str, Encoding]
    device: str
    precision: str
    ready_rows: dict[str, int]


def choose_encodings(
    config: EncodingConfig, encoder: str | Encoding, sources: RunSources, hardware: RunHardware, reporter: Reporter
) -> Encodings:
    """Choose the encoder of each set: the run's where there are images, else what its embeddings came with.

    Args:
        config: how to embed.
        encoder: the run's, by name, or loaded already.
        sources: what is to be embedded.
        hardware: what the run computes with.
        reporter: is told the device and precision.

    Raises:
        InputError: as `load_encoding`; no image to encode; sets whose embeddings cannot be compared.
    """
    main = None
    if any(source.holds_images for source in sources.everything):
        if isinstance(encoder, str):
            parse_spec(encoder)
            field, first = ("target", sources.of_targets) if sources.targets else ("pool", sources.pool)
            encoder = load_encoding(encoder, config.weights, config, first_images(first, field), hardware)
        main = encoder
        reporter.say(f"encoder: {main.described}")
    shapes = _ready_shapes([source for source in sources.everything if source.is_ready])
    by_set = {name: _encoding_of(listed, shapes, main) for name, listed in sources.sets.items()}
    dims = {encoding.dim for encoding in by_set.values()}
    if len(dims) > 1:
        raise InputError(
            f"{', '.join(by_set)} have embeddings of different dimensions ({' and '.join(map(str, sorted(dims)))}): "
            "they must come from one encoder"
        )
    ready_rows = {name: rows for name, (rows, _) in shapes.items()}
    return Encodings(by_set, main.device if main else "cpu", main.precision if main else "", ready_rows)


def _encoding_of(sources: Sequence[Source], shapes: Mapping[str, tuple[int, int]], main: Encoding | None) -> Encoding:
    """The encoding of one set: the run's encoder if it holds images, else what its embeddings came with."""
    ready = [source for source in sources if source.is_ready]
    foreign = foreign_encoding(sources)
    if main is not None and foreign is not None and foreign != main.identity:
        raise InputError(
            f"{ready[0].url} was embedded by another encoder ({foreign}) than this run's ({main.identity})",
            advice=(Use("encoder"), Use("weights"), Use("precision")),
        )
    if len(ready) < len(sources):
        assert main is not None
        encoding = main
    else:
        dim = shapes[ready[0].name][1]
        encoding = Encoding(None, foreign or {"ready": "embeddings"}, dim, "cpu", "none", "ready embeddings")
    for source in ready:
        if (dim := shapes[source.name][1]) != encoding.dim:
            raise InputError(f"{source.url} has {dim} dimensions, {encoding.dim} are needed beside it")
    return encoding


def _ready_shapes(ready: Sequence[Source]) -> dict[str, tuple[int, int]]:
    """Name -> rows and columns of ready arrays, checked as far as that goes without reading them."""
    distinct = {source.name: source for source in ready}
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        return dict(zip(distinct, threads.map(check_ready, distinct.values()), strict=True))


def load_encoding(
    spec: str,
    weights: str | None,
    config: EncodingConfig | MeasureConfig,
    images: list[bytes],
    hardware: RunHardware,
) -> Encoding:
    """Load an encoder once on the driver: its tensors' hash is part of the identity of all it makes.

    Args:
        spec: the encoder.
        weights: a file of weights for it, or `random`.
        config: the batch size.
        images: a few of the target's, to check that our preprocessing gives what the model's own does.
        hardware: what the workers compute with. Where these are other machines this one may have no GPU, or no bf16,
            and loads the encoder as any machine can: neither its tensors nor the check depend on that.

    Raises:
        InputError: unknown encoder, device or precision not there, weights that do not fit, or a
            preprocessing that cannot be reproduced.
    """
    import torch

    from curator.embedding import sound_images
    from curator.encoders import MIN_COSINE, default_batch_size, load_encoder, lowest_cosine

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(1) as threads:
        # An image that crashes the decoder must not take the driver along. Asked while the encoder loads.
        sound = threads.submit(sound_images, images)
        encoder = load_encoder(
            spec,
            weights=weights,
            device=hardware.chosen.device if hardware.is_here else "cpu",
            precision=hardware.chosen.precision if hardware.is_here else "fp32",
            batch_size=config.batch_size,
        )
    if images and (agreement := lowest_cosine(encoder, sound.result())) < MIN_COSINE:
        raise InputError(
            f"our preprocessing does not give what the model's own gives (cosine {agreement:.4f}, needed {MIN_COSINE})",
            field="encoder",
            value=spec,
            advice=Another("encoder"),
        )
    plugin = ENCODERS.identity(spec)
    chosen = hardware.chosen
    settings = EncoderSettings(
        spec,
        weights,
        chosen.precision,
        config.batch_size or default_batch_size(chosen.device),
        encoder.tensors_hash,
        plugin,
        plugin_folder() if plugin else None,
    )
    # The driver's own encoder may calculate otherwise than the workers'.
    identity = encoder.identity | {"precision": chosen.precision} | ({"plugin": plugin} if plugin else {})
    described = (
        f"{spec}, {encoder.dim} dimensions, {chosen.precision} on {chosen.name}, batches of {settings.batch_size}"
    )
    described = "; ".join([described, *encoder.notes])
    return Encoding(settings, identity, encoder.dim, chosen.device, chosen.name, described)


def provenance(encoding: Encoding) -> dict[str, Any]:
    """What may change the last bits of embeddings without being part of their identity."""
    settings = encoding.settings
    libraries = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm", "pillow")}
    return libraries | {
        "device": encoding.device_name,
        "batch size": settings.batch_size if settings else None,
    }


def first_images(sources: Sequence[Source], field: str) -> list[bytes]:
    """A few images of the sources; reads no further than it needs to.

    Raises:
        InputError: none of the sources holds an image.
    """
    with_images = [source for source in sources if source.holds_images]
    samples = (
        item
        for source in with_images
        for item in islice(read_source(source, keep=lambda member: member.is_image), 10 * AGREEMENT_IMAGES)
        if isinstance(item, RawSample)
    )
    images = [sample.image.data for sample in islice(samples, AGREEMENT_IMAGES) if sample.image and sample.image.data]
    if with_images and not images and not _any_image(with_images):
        raise InputError(f"no image in {', '.join(source.name for source in with_images[:3])}", field=field)
    return images


def _any_image(sources: Sequence[Source]) -> bool:
    return any(
        isinstance(item, RawSample) for source in sources for item in read_source(source, keep=lambda member: False)
    )


def foreign_encoding(sources: Sequence[Source]) -> dict[str, Any] | None:
    """The encoding identity that other runs recorded for their parts; None if no source is such a part.

    Raises:
        InputError: two of them were made by different encoders.
    """
    known: dict[str, Any] | None = None
    for run, record in _runs_of(sources):
        identities = record["identities"]
        recorded = identities.get("pool") or identities.get("target") or {}
        identity = {name: recorded.get(name) for name in IDENTITY}
        identity |= {"plugin": recorded["plugin"]} if "plugin" in recorded else {}
        if known is not None and known != identity:
            raise InputError(f"{run}/pool was embedded by another encoder than the other runs given")
        known = identity
    return known


def foreign_encoder(sources: Sequence[Source]) -> tuple[str, str | None] | None:
    """The encoder and the weights by which the runs behind these sources named theirs; None where there is no run."""
    for run, record in _runs_of(sources):
        config = record.get("config", {})
        spec = config.get("encoder")
        # An older run kept the word for what it trained.
        return (f"checkpoint:{run}/encoder.pt", None) if spec == WARMUP else (spec, config.get("weights"))
    return None


def _runs_of(sources: Sequence[Source]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The runs whose parts these sources are, each with its run.json."""
    for run in sorted({source.listed_in.rpartition("/")[0] for source in sources if source.kind == "part"}):
        try:
            record = json.loads(storage.read_bytes(storage.join(run, "run.json")))
            record["identities"].get("pool")
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{run}/pool is no run's pool: {run}/run.json cannot be read; embed it again") from error
        yield run, record
