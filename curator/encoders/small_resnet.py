"""`small_resnet`: the residual network that a warm-up trains, small enough for a few hundred images and a CPU."""

from __future__ import annotations

from typing import Any

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_weights
from curator.encoders.spec import EncoderSpec
from curator.encoders.weights import RANDOM, random_weights
from curator.errors import InputError, Use
from curator.images import Preprocess

__all__ = ["load_small_resnet"]

WIDTH = 24
# Side of its input where none is given: what a warm-up on a CPU trains and embeds at.
IMAGE_SIZE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_small_resnet(spec: EncoderSpec, weights: str | None, image_size: int | None = None, seed: int = 0) -> Backbone:
    """Build a ResNet of basic blocks, two in each of four stages, 24 to 192 channels, for images of about 32 px.

    Its stem is one convolution of 3 x 3 that keeps the resolution, as He et al. have it for images of 32 px. There are
    no weights of it but those that somebody trains.

    Args:
        spec: the parsed name; it is one network.
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
        model = ResNet(
            block,
            layers=(2, 2, 2, 2),
            channels=tuple(WIDTH * 2**stage for stage in range(4)),
            num_classes=0,
        )
    if weights != RANDOM:
        load_weights(model, weights)
    side = image_size or IMAGE_SIZE
    preprocess = Preprocess(side, (side, side), "bilinear", MEAN, STD)
    return Backbone(model, preprocess, preprocess.pil_transform, "small_resnet")
