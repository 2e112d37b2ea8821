"""The encoders that are measured, loaded once on the driver, and the untrained twins of trained ones."""

from __future__ import annotations

from curator.encoders import RANDOM, load_backbone, network_off, ready_encoders, save_checkpoint
from curator.errors import InputError, Use
from curator_pipelines.config import AUTO, EncodingConfig, MeasureConfig
from curator_pipelines.jobs.select.encoding import load_encoding
from curator_pipelines.jobs.select.measure_sample import Candidate
from curator_pipelines.run import Reporter
from curator_ssl.backbones import make_backbone

__all__ = ["SEEN", "ready_candidates", "trained_and_twin"]

SEEN = "it has seen these images"


def ready_candidates(
    config: EncodingConfig | MeasureConfig, images: list[bytes], reporter: Reporter
) -> list[Candidate]:
    """The ready encoders of curator's short list whose weights load with the network off.

    Raises:
        InputError: not one.
    """
    candidates = []
    for name in ready_encoders():
        try:
            with network_off():
                encoding = load_encoding(name, None, config, images)
        except InputError as error:
            reporter.warn(f"{name} cannot be measured: {error}")
            continue
        candidates.append(Candidate(name, encoding, optional=True))
    if not candidates:
        raise InputError("no ready encoder can be loaded", field="encoder", value=AUTO, advice=Use("encoder"))
    return candidates


def trained_and_twin(
    name: str,
    spec: str,
    config: EncodingConfig | MeasureConfig,
    images: list[bytes],
    twin_url: str,
    *,
    seed: int = 0,
    begun_with: str | None = None,
    note: str = "",
) -> list[Candidate]:
    """A trained encoder, and the same network at the same size with the weights it began with.

    Args:
        name: of the trained encoder.
        spec: `checkpoint:PATH`.
        config: the device, precision and batch size.
        images: see `load_encoding`.
        twin_url: where the twin goes, for workers to load; it is the caller's to remove.
        seed: of the random weights.
        begun_with: a file of weights with which the training began; None for random ones.
        note: what to know of the trained encoder.
    """
    trained = load_backbone(spec)
    size = trained.preprocess.crop[0]
    twin = make_backbone(trained.architecture, size, seed, begun_with or RANDOM)
    save_checkpoint(
        twin_url,
        architecture=trained.architecture,
        preprocess=trained.preprocess,
        state_dict=twin.model.state_dict(),
        meta={},
    )
    encodings = [load_encoding(each, None, config, images) for each in (spec, f"checkpoint:{twin_url}")]
    weights = "random weights" if begun_with in (None, RANDOM) else "the weights it began with"
    return [
        Candidate(name, encodings[0], note=note),
        Candidate(f"{name}, untrained", encodings[1], twin_of=name, note=f"the same network with {weights}"),
    ]
