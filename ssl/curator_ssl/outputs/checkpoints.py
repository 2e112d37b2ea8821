"""A run's state, `OUT/checkpoint.pt`, and its result, `OUT/encoder.pt`; each is replaced as a whole."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch

from curator.encoders import RANDOM, Backbone, hash_tensors, save_checkpoint
from curator.errors import Another, InputError
from curator.io import storage
from curator.settings import declared
from curator_ssl.batch_shares import by_share
from curator_ssl.config import TrainConfig
from curator_ssl.data import Samples
from curator_ssl.methods import METHODS, Method

__all__ = ["TrainingState", "has_checkpoint", "load_training", "run_identity", "save_encoder", "save_training"]

FORMAT, VERSION = "curator.training", 3


@dataclass(frozen=True)
class TrainingState:
    """How far a run is, beside its tensors.

    Attributes:
        step: steps done.
        restarts: how many times it started again because it had learned nothing.
        idle: the last steps in a row in which nothing was learned; see `LearningWatch`.
        max_bad: the share of bad samples that was allowed; it holds until another is given.
    """

    step: int = 0
    restarts: int = 0
    idle: int = 0
    max_bad: float | None = None


def has_checkpoint(out: str) -> bool:
    """Whether OUT holds a run that can go on."""
    return storage.exists(_checkpoint_url(out))


def _checkpoint_url(out: str) -> str:
    return storage.join(out, "checkpoint.pt")


def run_identity(config: TrainConfig, samples: Samples, backbone: Backbone) -> dict[str, Any]:
    """What makes two runs the same run: every setting that changes the encoder, and what names stand for.

    Args:
        config: a resolved config.
        samples: what is trained on.
        backbone: the network before the first step.
    """
    settings = declared(type(config)).values()
    values = {
        item.name: getattr(config, item.name)
        for item in settings
        if item.setting.changes is not None and not item.setting.by_content
    }
    shares = by_share(config.shards).shares
    return values | {
        **({"shares": shares} if shares else {}),
        "samples": samples.identity(),
        "method": config.method,
        "plugin": " ".join(map(str, (METHODS.identity(config.method) or {}).values())),
        "weights": RANDOM if config.weights == RANDOM else hash_tensors(backbone.model),
    }


def save_training(
    out: str, identity: dict[str, Any], method: Method, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write the state of a run.

    The schedule, the position in the data and the random numbers of every later step follow from the
    config and the step, so they are saved with these.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "identity": identity,
        "state": asdict(state),
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with storage.write_file(_checkpoint_url(out)) as path:
        torch.save(content, path)


def load_training(
    out: str, identity: dict[str, Any], method: Method, optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Take up a checkpoint; returns how far it is, nothing done without one.

    Raises:
        InputError: it is of another run, or another version.
    """
    url = _checkpoint_url(out)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return TrainingState()
    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"{url} is no checkpoint that this version of curator reads", advice=Another("out"))
    before = content["identity"]
    changes = [
        f"{name} was {before.get(name)}, now {identity[name]}"
        for name in identity
        if before.get(name) != identity[name]
    ]
    if changes:
        raise InputError(f"{out} is a different run: {'; '.join(changes)}", advice=Another("out"))
    method.load_state_dict(content["method"])
    optimizer.load_state_dict(content["optimizer"])
    return TrainingState(**content["state"])


def save_encoder(out: str, backbone: Backbone, identity: dict[str, Any], state: TrainingState) -> None:
    """Write OUT/encoder.pt: the backbone's tensors, without any head."""
    save_checkpoint(
        storage.join(out, "encoder.pt"),
        architecture=backbone.architecture,
        preprocess=backbone.preprocess,
        state_dict=backbone.model.state_dict(),
        meta=identity | {"step": state.step, "restarts": state.restarts},
    )
