"""Choose the encoder of a run, and say what its embeddings are made of."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from curator.errors import InputError
from curator.io import storage
from curator.sources.read import read_source
from curator.sources.source import Source
from curator.types import RawSample
from curator_pipelines.config.select import EncodingConfig
from curator_pipelines.run.progress import Reporter
from curator_pipelines.stages.embed import EncoderSettings

__all__ = ["Encoding", "choose_encoding", "first_images", "foreign_encoding", "provenance"]

# How many target images the check of the preprocessing looks at.
AGREEMENT_IMAGES = 8
# Embeddings can be compared if these are the same.
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


def choose_encoding(config: EncodingConfig, images: list[bytes], reporter: Reporter) -> Encoding:
    """Load the encoder once on the driver: its tensors' hash is part of the identity of all it makes.

    Args:
        config: what the user asked for.
        images: a few of the target's, to check that our preprocessing gives what the model's own does.
        reporter: is told the device and precision.

    Raises:
        InputError: unknown encoder, device or precision not there, weights that do not fit, or a
            preprocessing that cannot be reproduced.
    """
    import torch

    from curator.embedding.crash_probe import sound_images
    from curator.encoders.check_preprocess import MIN_COSINE, lowest_cosine
    from curator.encoders.load import load_encoder

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(1) as threads:
        # An image that crashes the decoder must not take the driver along. Asked while the encoder loads.
        sound = threads.submit(sound_images, images)
        encoder = load_encoder(
            config.encoder,
            weights=config.weights,
            device=config.device,
            precision=config.precision,
            batch_size=config.batch_size,
        )
    if images and (agreement := lowest_cosine(encoder, sound.result())) < MIN_COSINE:
        raise InputError(
            f"--encoder {config.encoder}: our preprocessing does not give what the model's own gives "
            f"(cosine {agreement:.4f}, needed {MIN_COSINE}); choose another encoder"
        )
    settings = EncoderSettings(
        config.encoder, config.weights, encoder.precision, encoder.batch_size, encoder.tensors_hash
    )
    identity = {
        "architecture": encoder.architecture,
        "tensors": encoder.tensors_hash,
        "preprocessing": encoder.preprocess.identity,
        "precision": encoder.precision,
    }
    device_name = _device_name(str(encoder.device))
    described = (
        f"{config.encoder}, {encoder.dim} dimensions, {encoder.precision} on {device_name}, "
        f"batches of {encoder.batch_size}"
    )
    reporter.say(f"encoder: {described}")
    return Encoding(settings, identity, encoder.dim, encoder.device.type, device_name, described)


def provenance(encoding: Encoding) -> dict[str, Any]:
    """What may change the last bits of embeddings without being part of their identity."""
    settings = encoding.settings
    libraries = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm", "pillow")}
    return libraries | {
        "device": encoding.device_name,
        "batch size": settings.batch_size if settings else None,
    }


def _device_name(device: str) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else "the CPU"


def first_images(sources: Sequence[Source], flag: str) -> list[bytes]:
    """A few images of the sources; reads no further than it needs to.

    Raises:
        InputError: none of the sources holds an image.
    """
    held = [source for source in sources if source.kind in ("tar", "folder")]
    samples = (
        item
        for source in held
        for item in islice(read_source(source, keep=lambda member: member.is_image), 10 * AGREEMENT_IMAGES)
        if isinstance(item, RawSample)
    )
    images = [sample.image.data for sample in islice(samples, AGREEMENT_IMAGES) if sample.image and sample.image.data]
    if held and not images and not _any_image(held):
        raise InputError(f"{flag}: no image in {', '.join(source.name for source in held[:3])}")
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
    found: dict[str, Any] | None = None
    for run in sorted({_run_of(source) for source in sources if source.kind == "part"}):
        try:
            identities = json.loads(storage.read_bytes(storage.join(run, "run.json")))["identities"]
        except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{run}/pool is no run's pool: {run}/run.json cannot be read; embed it again") from error
        recorded = identities.get("pool") or identities.get("target") or {}
        identity = {name: recorded.get(name) for name in IDENTITY}
        if found is not None and found != identity:
            raise InputError(f"{run}/pool was embedded by another encoder than the other runs given")
        found = identity
    return found


def _run_of(source: Source) -> str:
    # OUT/pool/img_emb/img_emb_00000000.npy
    return source.url.rsplit("/", 3)[0]
