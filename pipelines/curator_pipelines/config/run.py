"""The settings that several commands share: where the work runs, and how images become embeddings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from curator.encoders import ENCODERS
from curator.settings import (
    Config,
    Count,
    Device,
    Duration,
    EncoderName,
    EncoderNames,
    MaxBad,
    Precision,
    Setting,
    Text,
    Weights,
    Workers,
)

__all__ = [
    "AUTO",
    "WARMUP",
    "EncodingConfig",
    "ExecutorConfig",
    "NamedEncodingConfig",
    "ReportBy",
    "TargetEncodingConfig",
    "WarmupArch",
    "WarmupSize",
]

# The names that stand for no encoder yet: measured with the target, or trained on it.
AUTO, WARMUP = "auto", "warmup"
# Seconds; long enough for a cloud to start a node.
WAIT_SECONDS = 900.0
SPECS = "lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED or checkpoint:PATH[@ARCH]"


ReportBy = Annotated[
    Text | None,
    Setting(
        "The report also counts where images come from by this field of their .json members.",
        metavar="FIELD",
        changes=None,
    ),
]
WarmupArch = Annotated[
    Text | None,
    Setting(
        "The network that the warm-up trains: small_resnet, or any timm or torchvision image model; resnet50 as in the "
        "paper.",
        metavar="MODEL",
        default_text="small_resnet",
        changes="warmup",
    ),
]
WarmupSize = Annotated[
    Annotated[int, Field(ge=16)] | None,
    Setting(
        "The side of a view in the warm-up, in pixels; images are embedded at twice of it.",
        metavar="PX",
        default_text="32",
        changes="warmup",
    ),
]
MetricsFile = Annotated[
    str | None,
    Setting(
        "The file that gets the run's numbers while it goes on, for Prometheus' node exporter.",
        metavar="FILE",
        changes=None,
        is_path=True,
    ),
]


def _share_or_whole(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("give a share of one GPU, such as 0.5, or a whole number of them")
    return gpus


class ExecutorConfig(Config):
    """Where the work runs, and where its numbers go."""

    metrics_file: MetricsFile = None

    address: Annotated[
        str | None,
        Setting(
            "The Ray cluster to join (HOST:6379), or 'local' to start one on this machine.",
            metavar="URL|local",
            default_text="RAY_ADDRESS, else processes on this machine",
            changes=None,
        ),
    ] = None
    workers: Annotated[
        Workers,
        Setting(
            "The number of worker processes or Ray actors; external for those that `curator work` starts anywhere.",
            metavar="N|auto|external",
            default_text="auto: one for each GPU, else by CPUs on Ray, else 1",
            changes=None,
        ),
    ] = None
    gpus_per_worker: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        AfterValidator(_share_or_whole),
        Setting("The number of GPUs, or the share of one, that a Ray worker gets.", changes=None),
    ] = 1.0
    wait_for_workers: Annotated[
        Duration,
        Setting(
            "How long to wait while a cluster has no node for a worker, before the run ends with exit code 1.",
            metavar="TIME",
            default_text="15m",
            changes=None,
        ),
    ] = WAIT_SECONDS


class EncodingConfig(ExecutorConfig):
    """How images become embeddings, once it is known by which encoder."""

    weights: Annotated[
        Weights | None,
        Setting(
            "A local file of weights for the encoder, or 'random' for tests.",
            metavar="PATH",
            changes="warmup",
            by_content=True,
            is_path=True,
        ),
    ] = None
    batch_size: Annotated[
        Count | None,
        Setting("The number of images in a forward pass.", default_text="by device", changes=None),
    ] = None
    precision: Annotated[
        Precision,
        Setting(
            "The number format of the forward pass.",
            default_text="auto: bf16 where the hardware of the workers has it",
            changes="target",
            by_content=True,
        ),
    ] = "auto"
    device: Annotated[
        Device,
        Setting(
            "The device that encodes images.",
            default_text="auto: GPUs if the workers' machines have any",
            changes=None,
        ),
    ] = "auto"
    min_side: Annotated[
        int, Field(ge=0), Setting("Pool images with a shorter side below N pixels are left out.", changes="pool")
    ] = 0
    update_pool: Annotated[
        bool,
        Setting(
            "Pool shards that are gone or changed since they were embedded are given up or embedded anew, and no "
            "others.",
            changes=None,
        ),
    ] = False
    copy_pool: Annotated[
        bool,
        Setting(
            "The embeddings of another run's pool are copied into OUT, and not read where they are.",
            changes=None,
        ),
    ] = False
    max_bad: MaxBad = None
    give_up_shards: Annotated[
        bool,
        Setting(
            "Shards that kill every worker count as unreadable, as max_bad allows, and do not fail the run.",
            changes=None,
        ),
    ] = False


class NamedEncodingConfig(EncodingConfig):
    """How images become embeddings, by one encoder."""

    encoder: Annotated[
        EncoderName,
        Setting(
            f"The encoder: {SPECS}. It must be named: without a target nothing tells which one is good.",
            metavar="SPEC",
            changes="target",
            by_content=True,
            choices=dict.fromkeys(ENCODERS.names),
        ),
    ]


class TargetEncodingConfig(EncodingConfig):
    """How images become embeddings, where a target can tell which encoder is good."""

    encoder: Annotated[
        EncoderNames,
        Setting(
            f"The encoder: {SPECS}; auto measures the ready ones on your images, warmup trains one on the target. "
            "Given several times, these are measured and the best is taken.",
            metavar="SPEC",
            changes="target",
            by_content=True,
            choices=dict.fromkeys((AUTO, WARMUP, *ENCODERS.names)),
        ),
    ] = [AUTO]  # noqa: RUF012

    @property
    def is_measured(self) -> bool:
        """Whether the encoder is yet to be chosen by a measurement."""
        return self.encoder == [AUTO] or len(self.encoder) > 1
