"""What `curator warmup`, `curator train` and `curator probe` are told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from curator.errors import InputError
from curator_pipelines.config.select import Config, EncoderName, Share, Text, Urls, Weights

__all__ = ["ProbeConfig", "TrainConfig", "WarmupConfig"]


class ProbeConfig(Config):
    """`curator probe`.

    Attributes:
        encoder: see `curator.encoders.load_encoder`.
        train: labelled images to learn from.
        test: labelled images to be tested on.
        label: see `curator_ssl.probe.labels.parse_label`.
        weights: local weights file, or `random`.
        batch_size: images a forward pass; None for the device's default.
        precision: of the frozen features.
        device: `auto` is the GPU if there is one.
        protocol: of the linear probe, see `curator_ssl.probe.linear.linear_probe`.
        finetune: also fine-tune the whole encoder with a tenth of the labels.
        seeds: how many seeds.
        max_bad: share of the samples seen that may be bad.
    """

    encoder: EncoderName
    train: Urls
    test: Urls
    label: str
    weights: Weights | None = None
    batch_size: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    protocol: Literal["grid", "paper"] = "grid"
    finetune: bool = False
    seeds: int = Field(default=3, ge=1)
    max_bad: Share = 0.01


class TrainConfig(Config):
    """`curator train`.

    Attributes:
        out: the run directory; OUT/encoder.pt is what it is for.
        target: the domain's images.
        shards: what else to train on: a selection's shards or manifest, a pool, folders.
        method: `simclr` or `byol`.
        arch: any timm or torchvision image model.
        weights: a weights file to begin with.
        image_size: side of a view in pixels; None for the device's default.
        epochs: a number, or `auto`, see `curator_ssl.settings.auto_epochs`; None for the device's default.
        steps: optimiser steps, in place of epochs.
        batch_size: images a step, over all processes; None for the device's default.
        optimizer: `sgd`, `adamw` or `lars`.
        lr: learning rate at 256 images a step; it grows with the batch.
        weight_decay: of weights; norms and biases do not decay.
        lr_warmup: steps over which the rate rises; None for a twentieth of all.
        clip: largest norm of the gradient; 0 for no limit.
        target_share: share of every batch that comes from the target.
        steps_per_epoch: length of an epoch with a target share.
        seed: of everything random.
        nproc: processes that train together, on this machine or on the cluster.
        address: of the Ray cluster they run on; None for this machine.
        device: where.
        precision: bf16 is autocast.
        loader_workers: processes per rank that read and augment; None for as many as cores allow.
        sync_bn: batch norms over all ranks; None for GPUs only.
        compile: compile the model first.
        save_every: steps between checkpoints; None for once an epoch.
        max_bad: share of the samples seen that may be bad.
        tensorboard: also write event files.
        probe_every: steps between probes of the network; the last step is one too.
        probe_train: labelled images to classify with.
        probe_test: labelled images to classify.
        probe_label: where the labels are, as `--label` of `curator probe`.
        resume: go on from OUT's checkpoint.
    """

    out: str = "trained"
    target: Urls = Field(default_factory=list)
    shards: Urls = Field(default_factory=list)
    method: Literal["simclr", "byol"] = "simclr"
    arch: str = "resnet50"
    weights: Weights | None = None
    image_size: int | None = Field(default=None, ge=16)
    epochs: Text | None = None
    steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=2)
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    lr_warmup: int | None = Field(default=None, ge=0)
    clip: float = Field(default=0.0, ge=0)
    target_share: Share | None = None
    steps_per_epoch: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    nproc: int = Field(default=1, ge=1)
    address: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    loader_workers: int | None = Field(default=None, ge=0)
    sync_bn: bool | None = None
    compile: bool = False
    save_every: int | None = Field(default=None, ge=1)
    max_bad: Share = 0.01
    tensorboard: bool = False
    probe_every: int | None = Field(default=None, ge=1)
    probe_train: Urls = Field(default_factory=list)
    probe_test: Urls = Field(default_factory=list)
    probe_label: str | None = None
    resume: bool = False

    @model_validator(mode="after")
    def _check_length(self) -> TrainConfig:
        if self.epochs is not None and self.steps is not None:
            raise InputError("--epochs and --steps both say how long to train; give one of them")
        if self.epochs not in (None, "auto") and not (self.epochs.isdecimal() and int(self.epochs) > 0):
            raise InputError(f"--epochs {self.epochs}: give a number of epochs, or auto")
        if self.steps_per_epoch is not None and self.target_share is None:
            raise InputError("--steps-per-epoch goes with --target-share; else an epoch is one pass over everything")
        told = [bool(self.probe_every), bool(self.probe_train), bool(self.probe_test), bool(self.probe_label)]
        if any(told) and not all(told):
            raise InputError("--probe-every, --probe-train, --probe-test and --probe-label go together")
        if self.batch_size is not None and self.batch_size % self.nproc:
            raise InputError(f"--batch-size {self.batch_size} cannot be cut equally over --nproc {self.nproc}")
        return self


class WarmupConfig(Config):
    """`curator warmup`.

    Attributes:
        out: the run directory; the encoder is OUT/encoder.pt.
        target: the domain's images.
        weights: a weights file to begin with.
        warmup_epochs: how long; None for what a person can wait for on this device.
        seed: of everything random.
        device: where.
        max_bad: share of the samples seen that may be bad.
    """

    out: str
    target: Urls
    weights: Weights | None = None
    warmup_epochs: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_bad: Share = 0.01
