"""`small_resnet`: the residual network that a warm-up trains, small enough for a few hundred images and a CPU."""

from __future__ import annotations

from typing import Any

from torch import nn

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_weights
from curator.encoders.spec import EncoderSpec
from curator.encoders.weights import RANDOM, random_weights
from curator.errors import InputError, Use
from curator.images import Preprocess

__all__ = ["load_small_resnet"]

WIDTH, STEM = 24, 64
# Side of its input where none is given: what a warm-up on a CPU trains and embeds at.
IMAGE_SIZE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_small_resnet(spec: EncoderSpec, weights: str | None, image_size: int | None = None, seed: int = 0) -> Backbone:
    """Build a ResNet of basic blocks, one in each of four stages of 24 to 192 channels, for images of about 32 px.

    Its stem is a convolution of 3 x 3 with a stride of 2 and no pooling: with the stem of larger ResNets (7 x 7 and
    pooling) it learned a few hundred images by heart, and others were found no better (benchmarks/NOTES.md). There are
    no weights of it but those that somebody trains.

    `small_resnet_max` has the same tensors, and its features are the largest values of its channels over the image, not
    their means: a warm-up trains the first and embeds by the second (benchmarks/RESULTS.md).

    Args:
        spec: the parsed name, or the architecture of a checkpoint.
        weights: a file of tensors, or `random`.
        image_size: the height and width of its input; None for 32.
        seed: the seed of random weights.

    Raises:
        InputError: no weights are named.
    """
    from timm.models.resnet import BasicBlock, ResNet

    if weights is None:
        raise InputError(
            "there are no weights of it", field="encoder", value="small_resnet", advice=Use("weights", RANDOM)
        )
    block: Any = BasicBlock
    with random_weights(seed):
        model: Any = ResNet(
            block,
            layers=(1, 1, 1, 1),
            channels=tuple(WIDTH * 2**stage for stage in range(4)),
            num_classes=0,
            global_pool="max" if spec.family == "small_resnet_max" else "avg",
        )
        model.conv1 = nn.Conv2d(3, STEM, kernel_size=3, stride=2, padding=1, bias=False)
        model.maxpool = nn.Identity()
    if weights != RANDOM:
        load_weights(model, weights)
    side = image_size or IMAGE_SIZE
    preprocess = Preprocess(side, (side, side), "bilinear", MEAN, STD)
    return Backbone(model, preprocess, preprocess.pil_transform, spec.family)
