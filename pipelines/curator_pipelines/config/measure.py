"""The settings of `curator measure`."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from curator.encoders import ENCODERS
from curator.errors import InputError, Leave, Use
from curator.settings import Count, Device, EncoderNames, Precision, Seed, Setting, Urls, Weights
from curator_pipelines.config.run import AUTO, WARMUP, ExecutorConfig
from curator_pipelines.config.targets import by_name

__all__ = ["MeasureConfig"]


class MeasureConfig(ExecutorConfig):
    """`curator measure`."""

    target: Annotated[
        Urls,
        Setting(
            "The images of your domain: shards or a folder; NAME= for several.", metavar="[NAME=]URLS", changes=None
        ),
    ]
    pool: Annotated[Urls, Setting("The images to choose from: shards.", changes=None)]
    encoder: Annotated[
        EncoderNames,
        Setting(
            "An encoder to measure, as in `curator select`; given as often as needed.",
            metavar="SPEC",
            default_text="auto: every ready one",
            changes=None,
            choices=dict.fromkeys((AUTO, WARMUP, *ENCODERS.names)),
        ),
    ] = [AUTO]  # noqa: RUF012
    weights: Annotated[
        Weights | None,
        Setting(
            "A local file of weights for the only encoder, or 'random'.", metavar="PATH", changes=None, is_path=True
        ),
    ] = None
    out: Annotated[
        str | None,
        Setting(
            "A run directory: its warm-up encoder is used, and the result is kept in OUT/measure.",
            metavar="URL",
            changes=None,
            is_path=True,
        ),
    ] = None
    seed: Annotated[Seed, Setting("The seed of the sample of shards, and of a warm-up.", changes=None)] = 0
    batch_size: Annotated[
        Count | None, Setting("The number of images in a forward pass.", default_text="by device", changes=None)
    ] = None
    precision: Annotated[
        Precision,
        Setting(
            "The number format of the forward pass.",
            default_text="auto: bf16 where the hardware of the workers has it",
            changes=None,
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

    @model_validator(mode="after")
    def _check_together(self) -> MeasureConfig:
        if self.weights is not None and (len(self.encoder) > 1 or self.encoder[0] in (AUTO, WARMUP)):
            raise InputError(
                "these are the weights of one encoder, and not one is named",
                field="weights",
                value=self.weights,
                advice=(Use("encoder"), Leave("weights")),
            )
        if self.metrics_file is not None and self.out is None:
            raise InputError(
                "only a run has such numbers, and there is none without a run directory",
                field="metrics_file",
                value=self.metrics_file,
                advice=(Use("out"), Leave("metrics_file")),
            )
        self.targets()
        return self

    def targets(self) -> dict[str, list[str]]:
        """Name -> URLS of each target, in the order in which they were given; the name of an only target is empty."""
        return by_name(self.target)
