"""The settings of `curator work`."""

from __future__ import annotations

from typing import Annotated

from curator.settings import Config, Device, Duration, EncoderNames, Setting

__all__ = ["WorkConfig"]


class WorkConfig(Config):
    """`curator work`."""

    out: Annotated[
        str,
        Setting(
            "The run directory of a command with `--workers external`.", changes=None, is_path=True, is_argument=True
        ),
    ]
    device: Annotated[
        Device,
        Setting("The device that encodes images.", default_text="auto: the GPU if there is one", changes=None),
    ] = "auto"
    idle_exit: Annotated[
        Duration,
        Setting(
            "The time without a driver and without a task after which the worker ends, such as 90s, 10m or 2h.",
            metavar="TIME",
            default_text="10m",
            changes=None,
        ),
    ] = 600.0
    encoder: Annotated[
        EncoderNames,
        Setting(
            "An encoder of your own that the driver may name: no other code is imported because a file in OUT asks "
            "for it.",
            metavar="SPEC",
            changes=None,
        ),
    ] = []  # noqa: RUF012
