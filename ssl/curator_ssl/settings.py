"""What a training run is told, with nothing left to decide by the loop."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_EPOCHS", "MAX_SAMPLES_SEEN", "METHODS", "OPTIMISERS", "TrainSettings", "auto_epochs", "base_rate"]

METHODS = ("simclr", "byol")
OPTIMISERS = ("sgd", "adamw", "lars")
# The paper's code trains no longer than 100 epochs of ImageNet would take, and no more than 5,000 epochs.
MAX_SAMPLES_SEEN = 100 * 1_281_167
MAX_EPOCHS = 5000
# Learning rate at 256 images a step, and weight decay.
_DEFAULTS = {"sgd": (0.1, 1e-4), "adamw": (5e-4, 0.05), "lars": (0.3, 1e-6)}


@dataclass(frozen=True)
class TrainSettings:
    """A training run.

    Attributes:
        out: the run directory, any fsspec URL.
        method: one of `METHODS`.
        architecture: `timm:NAME` or `torchvision:NAME`.
        image_size: side of a view in pixels.
        batch_size: images a step, over all processes together.
        steps: optimiser steps of the whole run.
        optimiser: one of `OPTIMISERS`.
        rate: learning rate at 256 images a step; see `base_rate`.
        weight_decay: of all parameters but biases and norms.
        rate_warmup: steps over which the learning rate rises from 0.
        clip: the largest norm of the gradient; 0 for no limit.
        seed: of everything random.
        target_share: share of every batch that comes from the target; None: the sets are one.
        steps_per_epoch: how long an epoch is where `target_share` is given; None: one pass over everything.
        weights: a weights file to begin with; None for random ones.
        device: `cpu` or `cuda`.
        precision: `fp32` or `bf16` (autocast).
        loader_workers: processes that read, decode and augment, per rank; 0 for none.
        threads: of torch, per rank.
        sync_norms: batch norms take their statistics over all ranks.
        compiled: compile the model first.
        save_every: steps between checkpoints; None for once an epoch.
        max_bad: share of bad samples to put up with.
        tensorboard: also write event files.
        probe_every: steps between probes; None for none.
        probe_train: URLS of labelled images to classify with.
        probe_test: URLS of labelled images to classify.
        probe_label: where their labels are; see `curator_ssl.probe.labels.parse_label`.
        resume: go on from OUT's checkpoint.
    """

    out: str
    method: str
    architecture: str
    image_size: int
    batch_size: int
    steps: int
    optimiser: str = "sgd"
    rate: float = 0.1
    weight_decay: float = 1e-4
    rate_warmup: int = 0
    clip: float = 0.0
    seed: int = 0
    target_share: float | None = None
    steps_per_epoch: int | None = None
    weights: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    loader_workers: int = 0
    threads: int = 1
    sync_norms: bool = False
    compiled: bool = False
    save_every: int | None = None
    max_bad: float = 0.01
    tensorboard: bool = False
    probe_every: int | None = None
    probe_train: tuple[str, ...] = ()
    probe_test: tuple[str, ...] = ()
    probe_label: str = ""
    resume: bool = False

    @property
    def learning_rate(self) -> float:
        """The linear scaling rule: the rate at 256 images a step, times images a step / 256."""
        return self.rate * self.batch_size / 256


def base_rate(optimiser: str) -> tuple[float, float]:
    """An optimiser's default learning rate at 256 images a step, and its weight decay."""
    return _DEFAULTS[optimiser]


def auto_epochs(samples: int, seen: int = MAX_SAMPLES_SEEN) -> int:
    """As many epochs as see `seen` samples, at least one and at most `MAX_EPOCHS`; by default `--epochs auto`.

    >>> auto_epochs(1_281_167), auto_epochs(648)
    (100, 5000)
    """
    return max(1, min(MAX_EPOCHS, seen // max(samples, 1)))
