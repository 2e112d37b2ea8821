"""A run's checkpoint: `OUT/checkpoint.pt`, replaced as a whole."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import torch

from curator.errors import InputError
from curator.io import storage
from curator_ssl.methods.base import Method
from curator_ssl.settings import TrainSettings

__all__ = ["checkpoint_url", "load_training", "run_identity", "save_training"]

FORMAT, VERSION = "curator.training", 1
# What may differ between two parts of one run: where and how it computes, not what.
_FREE = {
    "out", "device", "precision", "loader_workers", "threads", "sync_norms", "compiled", "save_every", "max_bad",
    "tensorboard", "resume", "weights", "probe_every", "probe_train", "probe_test", "probe_label",
}  # fmt: skip


def checkpoint_url(out: str) -> str:
    """Where a run's checkpoint is."""
    return storage.join(out, "checkpoint.pt")


def run_identity(settings: TrainSettings, samples: str) -> dict[str, Any]:
    """What makes two runs the same run.

    Args:
        settings: of the run.
        samples: `Samples.identity`.
    """
    return {name: value for name, value in asdict(settings).items() if name not in _FREE} | {"samples": samples}


def save_training(
    settings: TrainSettings, identity: dict[str, Any], method: Method, optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Write the state after `step` steps.

    The schedule, the position in the data and the random numbers of every later step follow from the
    settings and the step, so they are saved with these.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "identity": identity,
        "step": step,
        "method": method.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with storage.write_file(checkpoint_url(settings.out)) as path:
        torch.save(content, path)


def load_training(
    settings: TrainSettings, identity: dict[str, Any], method: Method, optimiser: torch.optim.Optimizer
) -> int:
    """Take up the state of a checkpoint; returns how many steps are done, 0 without a checkpoint.

    Raises:
        InputError: it is of another run, or another version.
    """
    url = checkpoint_url(settings.out)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return 0
    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"{url} is no checkpoint that this curator reads: give another --out")
    known = content["identity"]
    changes = [
        f"{name} was {known.get(name)}, now {identity[name]}" for name in identity if known.get(name) != identity[name]
    ]
    if changes:
        raise InputError(f"{settings.out} is a different run: {'; '.join(changes)}: give another --out")
    method.load_state_dict(content["method"])
    optimiser.load_state_dict(content["optimiser"])
    return int(content["step"])
