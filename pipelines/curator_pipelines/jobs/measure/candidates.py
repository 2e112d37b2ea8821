"""The encoders that are measured, loaded once on the driver, and the untrained twins of trained ones."""

from __future__ import annotations

from collections.abc import Sequence

from curator.encoders import build_backbone, load_backbone, network_off, ready_encoders, save_checkpoint
from curator.errors import InputError, Use
from curator_pipelines.config import AUTO, EncodingConfig, MeasureConfig
from curator_pipelines.jobs.measure.encoding import load_encoding
from curator_pipelines.jobs.measure.sample import Candidate
from curator_pipelines.run import Reporter

__all__ = ["SEEN", "ready_candidates", "trained_and_twin", "write_twin"]

SEEN = "it was trained to tell these images apart, and may do better on others"


def ready_candidates(
    config: EncodingConfig | MeasureConfig, images: list[bytes], reporter: Reporter, without: Sequence[str] = ()
) -> list[Candidate]:
    """The ready encoders of curator's short list whose weights load with the network off, without those named.

    Raises:
        InputError: not one.
    """
    candidates = []
    names = ready_encoders()
    for name in names:
        if name in without:
            continue
        try:
            with network_off():
                encoding = load_encoding(name, None, config, images)
        except InputError as error:
            if error.field in ("device", "precision", "batch_size"):
                # What is wrong for every encoder is no reason to leave out one.
                raise
            reporter.warn(f"{name} cannot be measured: {error}")
            continue
        candidates.append(Candidate(name, encoding, optional=True))
    if not candidates and not set(names) & set(without):
        raise InputError("no ready encoder can be loaded", field="encoder", value=AUTO, advice=Use("encoder"))
    return candidates


def trained_and_twin(
    name: str, spec: str, twin: str, config: EncodingConfig | MeasureConfig, images: list[bytes], note: str
) -> list[Candidate]:
    """A trained encoder, and the same network untrained, which shows what the training was worth.

    Args:
        name: of the trained encoder.
        spec: `checkpoint:PATH`.
        twin: URL of the same network's checkpoint, untrained.
        config: the device, precision and batch size.
        images: see `load_encoding`.
        note: what to know of the trained encoder.
    """
    own, other = (load_encoding(each, None, config, images) for each in (spec, f"checkpoint:{twin}"))
    return [
        Candidate(name, own, note=note),
        Candidate(f"{name}, untrained", other, twin_of=name, note="the same network without the training"),
    ]


def write_twin(spec: str, url: str, seed: int = 0) -> str:
    """Write the network of a checkpoint at its size and with its preprocessing, its weights random; returns `url`."""
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
