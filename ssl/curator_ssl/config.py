"""How to train: every setting of a training run, declared once. Cheap to import: no torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from curator.settings import Config, Count, Device, MaxBad, Names, Precision, Seed, Setting, Share, Urls, Weights
from curator_ssl.loggers import LOGGERS
from curator_ssl.methods import METHODS, describe_options
from curator_ssl.optim import OPTIMIZERS

__all__ = ["ARCHITECTURES", "BATCH_SIZE", "CPU_SAMPLES_SEEN", "IMAGE_SIZES", "TrainConfig"]

# The network and the side of its views in pixels, by device: on a CPU a step of ResNet-50 takes as long as fifty of the
# small one.
ARCHITECTURES = {"cpu": "small_resnet", "cuda": "resnet50"}
IMAGE_SIZES = {"cpu": 32, "cuda": 224}
# Images a step. Few others to be told apart from teach little: with 64 or 128 a run stays at chance for longer.
BATCH_SIZE = 256
# What a person can wait for: 1,000 steps of the small network, some four minutes.
CPU_SAMPLES_SEEN = 256_000
# The default of a setting that depends on the device or the samples, until `curator_ssl.resolve` gives it a value: the
# types are those of a config that is resolved.
UNSET: Any = None


def _parse_epochs(value: object) -> object:
    if value == "auto" or (isinstance(value, float | int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise ValueError("give a number of epochs, or auto")


def _parse_options(value: object) -> object:
    """`NAME=VALUE` texts, or a mapping as YAML and Python write it, to one mapping."""
    if not isinstance(value, list | tuple):
        return value
    options: dict[str, Any] = {}
    for item in value:
        if isinstance(item, dict):
            options |= item
            continue
        name, equals, text = str(item).partition("=")
        if not (name and equals):
            raise ValueError("give NAME=VALUE")
        options[name.strip().replace("-", "_")] = text.strip()
    return options


def _by_device(values: Mapping[str, object]) -> str:
    return f"{values['cuda']}; on a CPU {values['cpu']}"


def _by_optimizer(attribute: str) -> str:
    return ", ".join(f"{getattr(optimizer, attribute):g} {name}" for name, optimizer in OPTIMIZERS.items())


class TrainConfig(Config):
    """A training run: as it is asked for, and, with nothing unset, as `curator_ssl.resolve` gives it to the loop."""

    target: Annotated[
        Urls, Setting("The domain's images: shards or a folder.", by_content=True), Field(default_factory=list)
    ]
    shards: Annotated[
        Urls,
        Setting(
            "What else to train on: OUT/shards of a selection, its manifest.parquet, a pool, or a folder; P%=URLS for "
            "a share of every batch.",
            by_content=True,
        ),
        Field(default_factory=list),
    ]
    out: Annotated[
        str,
        Setting("The run directory; the result is OUT/encoder.pt.", metavar="URL", changes=None, is_path=True),
    ] = "trained"
    method: Annotated[
        str,
        Setting(
            "The method of self-supervised learning; anyone's own is PACKAGE.MODULE:NAME.",
            choices=METHODS.builtin,
            by_content=True,
        ),
    ] = "simclr"
    method_option: Annotated[
        dict[str, Any],
        BeforeValidator(_parse_options),
        Setting(f"A setting of the method, given as often as needed: {describe_options()}.", metavar="NAME=VALUE"),
        Field(default_factory=dict),
    ]
    arch: Annotated[
        str,
        Setting(
            "The network: small_resnet, or any timm or torchvision image model.",
            metavar="MODEL",
            default_text=_by_device(ARCHITECTURES),
        ),
    ] = UNSET
    weights: Annotated[
        Weights,
        Setting("A file of weights to begin with, or 'random'.", metavar="PATH", by_content=True, is_path=True),
    ] = "random"
    image_size: Annotated[
        int, Field(ge=16), Setting("The side of a view in pixels.", default_text=_by_device(IMAGE_SIZES))
    ] = UNSET
    epochs: Annotated[
        Annotated[float, Field(gt=0)] | Literal["auto"],
        BeforeValidator(_parse_epochs),
        Setting(
            "The number of epochs; auto takes as many as see 100 x 1,281,167 samples, at most 5,000.",
            metavar="N|auto",
            default_text=f"auto; on a CPU as many as see {CPU_SAMPLES_SEEN:,}",
            # The number of steps says it.
            changes=None,
        ),
    ] = UNSET
    steps: Annotated[Count, Setting("The number of optimizer steps, in place of {epochs}.")] = UNSET
    batch_size: Annotated[
        int,
        Field(ge=2),
        Setting("The number of images a step, over all processes.", default_text=f"{BATCH_SIZE}, or all there are"),
    ] = UNSET
    optimizer: Annotated[str, Setting("The optimizer.", choices=tuple(OPTIMIZERS))] = "sgd"
    lr: Annotated[
        float,
        Field(gt=0),
        Setting(
            "The learning rate at 256 images a step; it is multiplied by batch size / 256.",
            metavar="RATE",
            default_text=_by_optimizer("lr"),
        ),
    ] = UNSET
    weight_decay: Annotated[
        float,
        Field(ge=0),
        Setting("The decay of weights; norms and biases do not decay.", default_text=_by_optimizer("weight_decay")),
    ] = UNSET
    lr_ramp: Annotated[
        int,
        Field(ge=0),
        Setting("Steps over which the learning rate rises from 0.", default_text="a twentieth of all"),
    ] = UNSET
    clip: Annotated[
        float,
        Field(ge=0),
        Setting("The largest norm of the gradient; 0 for no limit.", metavar="NORM"),
    ] = 0.0
    target_share: Annotated[
        Share,
        Setting(
            "The share of every batch that comes from {target}; 0% makes target and shards one set.",
            metavar="P%",
        ),
    ] = 0.0
    finish_on_target: Annotated[
        Share,
        Setting(
            "The share of the steps, at the end, that see {target} alone: what was found beside it is not quite of its "
            "kind.",
            metavar="P%",
        ),
    ] = 0.0
    steps_per_epoch: Annotated[
        Count,
        Setting("The steps of an epoch with {target_share}.", default_text="as many as one pass takes"),
    ] = UNSET
    seed: Annotated[Seed, Setting("The seed of weights, order and views.")] = 0
    device: Annotated[
        Device,
        Setting("The device that trains the network.", default_text="auto: the GPU if there is one", changes=None),
    ] = "auto"
    precision: Annotated[
        Precision,
        Setting(
            "The number format of the forward pass.",
            default_text="auto: bf16 where the hardware has it",
            changes=None,
        ),
    ] = "auto"
    loader_workers: Annotated[
        int,
        Field(ge=0),
        Setting("Processes per rank that read and augment.", default_text="by cores", changes=None),
    ] = UNSET
    sync_bn: Annotated[
        bool | None,
        Setting(
            "Batch norms take their statistics over all processes.",
            default_text="with several processes on GPUs",
            changes=None,
        ),
    ] = None
    compile: Annotated[bool, Setting("Compile the model first (torch.compile).", changes=None)] = False
    save_every: Annotated[Count, Setting("Steps between checkpoints.", default_text="once an epoch", changes=None)] = (
        UNSET
    )
    max_bad: MaxBad = None
    log_to: Annotated[
        Names,
        Setting(
            "Where the numbers of every step go beside OUT/metrics.jsonl: tensorboard (OUT/tensorboard); given as "
            "often as needed.",
            metavar="NAME",
            changes=None,
            choices=dict.fromkeys(LOGGERS.names),
        ),
        Field(default_factory=list),
    ]
    probe_every: Annotated[
        int,
        Field(ge=0),
        Setting(
            "Steps between nearest-neighbour probes of the network, for metrics.jsonl; 0 for no probes.",
            changes=None,
        ),
    ] = 0
    probe_train: Annotated[
        Urls, Setting("Labelled images to classify with.", changes=None), Field(default_factory=list)
    ]
    probe_test: Annotated[Urls, Setting("Labelled images to classify.", changes=None), Field(default_factory=list)]
    probe_label: Annotated[
        str,
        Setting("cls, json:FIELD, csv:FILE or folder; see curator probe.", metavar="RULE", changes=None),
    ] = ""

    @property
    def peak_learning_rate(self) -> float:
        """The linear scaling rule: the rate at 256 images a step, times images a step / 256."""
        return self.lr * self.batch_size / 256

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise over the ramp to the peak, then half a cosine down to 0."""
        peak, ramp = self.peak_learning_rate, self.lr_ramp
        if step < ramp:
            return peak * (step + 1) / ramp
        done = (step - ramp) / max(self.steps - ramp, 1)
        return peak * 0.5 * (1 + math.cos(math.pi * done))
