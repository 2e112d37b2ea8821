"""The encoders that are measured, loaded once on the driver, and the untrained twins of trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from curator.encoders import network_off, ready_encoders
from curator.errors import InputError, Use
from curator.io import storage
from curator_pipelines.config import AUTO, WARMUP, MeasureConfig, SelectConfig
from curator_pipelines.jobs.measure.encoding import load_encoding
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.jobs.measure.sample import Candidate
from curator_pipelines.run import Reporter

__all__ = ["WarmUp", "expanded", "list_candidates", "warmup_and_twin"]

SEEN = "it was trained to tell these images apart, and may do better on others"
# Trains the warm-up, unless it is there: its spec, and the URL of its untrained twin where its training has left one.
WarmUp: TypeAlias = Callable[[], tuple[str, str | None]]


def expanded(names: Sequence[str]) -> list[str]:
    """The names with those of the ready encoders in place of `auto`, without those that are named themselves."""
    ready = [name for name in ready_encoders() if name not in names] if AUTO in names else []
    return [spec for name in names for spec in (ready if name == AUTO else [name])]


def list_candidates(
    config: SelectConfig | MeasureConfig,
    images: list[bytes],
    hardware: RunHardware,
    reporter: Reporter,
    twins: str,
    warm_up: WarmUp,
) -> list[Candidate]:
    """What is measured for the encoders that the settings name, in their order; of a trained one its twin too.

    Args:
        config: names them, and the batch size.
        images: see `load_encoding`.
        hardware: what the run computes with.
        reporter: is told which ready encoder cannot be measured.
        twins: URL of a folder for the twins that are made for this.
        warm_up: called where the warm-up is among them.

    Raises:
        InputError: one that was named cannot be loaded, or not one of the ready ones.
    """
    candidates = []
    for number, name in enumerate(config.encoder):
        twin = storage.join(twins, f"{number}.pt")
        if name == AUTO:
            candidates += _ready_candidates(config, images, hardware, reporter)
        elif name == WARMUP:
            candidates += warmup_and_twin(config, images, hardware, twin, warm_up)
        elif name.startswith("checkpoint:") and config.weights is None:
            made = _write_twin(name, twin, config.seed)
            candidates += _trained_and_twin(name, name, made, config, images, hardware, "it may have seen these images")
        else:
            candidates.append(Candidate(name, load_encoding(name, config.weights, config, images, hardware)))
    return candidates


def warmup_and_twin(
    config: SelectConfig | MeasureConfig, images: list[bytes], hardware: RunHardware, twin: str, warm_up: WarmUp
) -> list[Candidate]:
    """The warm-up and its untrained twin, which is written to the URL `twin` where the training has left none."""
    spec, known = warm_up()
    made = known or _write_twin(spec, twin, config.seed)
    return _trained_and_twin(WARMUP, spec, made, config, images, hardware, SEEN)


def _ready_candidates(
    config: SelectConfig | MeasureConfig, images: list[bytes], hardware: RunHardware, reporter: Reporter
) -> list[Candidate]:
    """The ready encoders of curator's short list whose weights load with the network off, without those named.

    Raises:
        InputError: not one.
    """
    candidates = []
    names = ready_encoders()
    for name in names:
        if name in config.encoder:
            continue
        try:
            with network_off():
                encoding = load_encoding(name, None, config, images, hardware)
        except InputError as error:
            if error.field in ("device", "precision", "batch_size"):
                # What is wrong for every encoder is no reason to leave out one.
                raise
            reporter.warn(f"{name} cannot be measured: {error}")
            continue
        candidates.append(Candidate(name, encoding, optional=True))
    if not candidates and not set(names) & set(config.encoder):
        raise InputError("no ready encoder can be loaded", field="encoder", value=AUTO, advice=Use("encoder"))
    return candidates


def _trained_and_twin(
    name: str,
    spec: str,
    twin: str,
    config: SelectConfig | MeasureConfig,
    images: list[bytes],
    hardware: RunHardware,
    note: str,
) -> list[Candidate]:
    """A trained encoder, and the same network untrained, which shows what the training was worth.

    Args:
        name: of the trained encoder.
        spec: `checkpoint:PATH`.
        twin: URL of the same network's checkpoint, untrained.
        config: the batch size.
        images: see `load_encoding`.
        hardware: what the run computes with.
        note: what to know of the trained encoder.
    """
    own, other = (load_encoding(each, None, config, images, hardware) for each in (spec, f"checkpoint:{twin}"))
    return [
        Candidate(name, own, note=note),
        Candidate(f"{name}, untrained", other, twin_of=name, note="the same network without the training"),
    ]


def _write_twin(spec: str, url: str, seed: int = 0) -> str:
    """Write the network of a checkpoint at its size and with its preprocessing, its weights random; returns `url`."""
    # Torch comes with them, and a run whose embeddings are ready needs none.
    from curator.encoders import build_backbone, load_backbone, save_checkpoint

    trained = load_backbone(spec)
    twin = build_backbone(trained.architecture, trained.preprocess.crop[0], seed)
    save_checkpoint(
        url,
        architecture=trained.architecture,
        preprocess=trained.preprocess,
        state_dict=twin.model.state_dict(),
        meta={},
    )
    return url
