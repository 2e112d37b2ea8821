"""The settings of `curator train`, `curator warmup` and `curator probe`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from curator.errors import InputError, Leave, Use
from curator.settings import Config, Count, Device, EncoderName, MaxBad, Precision, Seed, Setting, Share, Urls, Weights
from curator_pipelines.config.run import MetricsFile, WarmupArch, WarmupSize
from curator_ssl.batch_shares import by_share
from curator_ssl.config import TrainConfig

__all__ = ["LaunchedTrainConfig", "ProbeConfig", "WarmupConfig"]


class ProbeConfig(Config):
    """`curator probe`."""

    encoder: Annotated[
        EncoderName,
        Setting("The encoder to test, as in `curator select`, such as checkpoint:run/encoder.pt.", metavar="SPEC"),
    ]
    train: Annotated[Urls, Setting("Labelled shards or folders to learn from.", by_content=True)]
    test: Annotated[Urls, Setting("Labelled shards or folders to be tested on.", by_content=True)]
    label: Annotated[str, Setting("Where the labels are.", metavar="cls|json:FIELD|csv:FILE|folder")]
    protocol: Annotated[Literal["grid", "paper"], Setting("The protocol of the linear probe.")] = "grid"
    finetune: Annotated[bool, Setting("Also fine-tune all of it on a few labels; takes minutes.")] = False
    label_share: Annotated[
        Annotated[Share, Field(gt=0)] | None,
        Setting(
            "The share of the training labels to learn from, of every class alike and drawn anew with each seed.",
            metavar="P%",
            default_text="100%; 10% to fine-tune",
        ),
    ] = None
    seeds: Annotated[Count, Setting("The number of seeds.")] = 3
    predictions: Annotated[
        str | None,
        Setting(
            "Where to write what the nearest neighbour and the linear probe take each test image for.",
            metavar="FILE.parquet",
            default_text="nowhere",
            changes=None,
            is_path=True,
        ),
    ] = None
    weights: Annotated[
        Weights | None,
        Setting("A local file of weights, or 'random' to compare with.", metavar="PATH", by_content=True, is_path=True),
    ] = None
    batch_size: Annotated[
        Count | None, Setting("The number of images in a forward pass.", default_text="by device", changes=None)
    ] = None
    precision: Annotated[
        Precision,
        Setting("The number format of the frozen features.", default_text="auto: bf16 where the hardware has it"),
    ] = "auto"
    device: Annotated[
        Device, Setting("The device that computes.", default_text="auto: the GPU if there is one", changes=None)
    ] = "auto"
    max_bad: MaxBad = None

    @model_validator(mode="after")
    def _check_file(self) -> ProbeConfig:
        if self.predictions is not None and not self.predictions.lower().endswith(".parquet"):
            raise InputError(
                "predictions are a file that ends with .parquet", field="predictions", value=self.predictions
            )
        return self


class LaunchConfig(Config):
    """How a training is launched."""

    nproc: Annotated[Count, Setting("The number of processes that train together.", changes=None)] = 1
    address: Annotated[
        str | None,
        Setting(
            "The Ray cluster for them: HOST:6379, or 'local' to start one on this machine.",
            metavar="HOST:PORT|local",
            default_text="RAY_ADDRESS, else this machine",
            changes=None,
        ),
    ] = None
    resume: Annotated[bool, Setting("Go on from OUT's checkpoint.", changes=None)] = False
    metrics_file: MetricsFile = None


class LaunchedTrainConfig(TrainConfig, LaunchConfig):
    """`curator train`: a training run, and how it is launched. What is given together must make sense together."""

    @model_validator(mode="after")
    def _check_together(self) -> LaunchedTrainConfig:
        if self.epochs is not None and self.steps is not None:
            raise InputError("epochs and steps both say how long to train", advice=(Leave("epochs"), Leave("steps")))
        has_shares = bool(self.target_share or by_share(self.shards).shared)
        if self.steps_per_epoch is not None and not has_shares:
            raise InputError(
                "without shares of a batch an epoch is one pass over everything",
                field="steps_per_epoch",
                advice=Leave("steps_per_epoch"),
            )
        given = {
            name: bool(getattr(self, name)) for name in ("probe_every", "probe_train", "probe_test", "probe_label")
        }
        if any(given.values()) and not all(given.values()):
            missing = next(name for name, is_given in given.items() if not is_given)
            raise InputError("all settings of a probe go together", advice=Use(missing))
        if self.batch_size is not None and self.batch_size % self.nproc:
            raise InputError(
                f"it cannot be cut equally over {self.nproc} processes", field="batch_size", value=self.batch_size
            )
        return self


class WarmupConfig(Config):
    """`curator warmup`."""

    target: Annotated[Urls, Setting("The domain's images: shards or a folder.", changes="warmup", by_content=True)]
    out: Annotated[
        str, Setting("The run directory; the encoder is OUT/encoder.pt.", metavar="URL", changes=None, is_path=True)
    ]
    weights: Annotated[
        Weights,
        Setting(
            "A file of weights to begin with, or 'random'.",
            metavar="PATH",
            changes="warmup",
            by_content=True,
            is_path=True,
        ),
    ] = "random"
    warmup_epochs: Annotated[
        Count | None,
        Setting("The number of epochs.", default_text="400 steps on a CPU, 2,000 on a GPU", changes="warmup"),
    ] = None
    warmup_arch: WarmupArch = None
    warmup_size: WarmupSize = None
    seed: Annotated[Seed, Setting("The seed of weights, order and views.", changes="warmup")] = 0
    metrics_file: MetricsFile = None
    device: Annotated[
        Device, Setting("The device that computes.", default_text="auto: the GPU if there is one", changes=None)
    ] = "auto"
    max_bad: MaxBad = None
