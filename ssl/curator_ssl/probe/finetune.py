"""Fine-tuning all of an encoder with a few of the labels, and which ones these are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.transforms import v2

from curator.encoders import Backbone

__all__ = ["fine_tune", "label_subset"]

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def label_subset(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Indices of the same share of every class, at least one sample of each, sorted; others with another seed.

    >>> label_subset(np.array([0] * 20 + [1] * 5), 0.1, seed=0).shape
    (3,)
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(generator.permutation(members)[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def fine_tune(
    backbone: Backbone,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    test: Callable[[], Batches],
    *,
    seed: int,
    epochs: int = 60,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    device: torch.device | str = "cpu",
) -> float:
    """Test accuracy after training the whole network and a new linear layer on a few labelled images.

    SGD with Nesterov momentum 0.9 and a cosine schedule, weight decay 1e-4, random crops (scale 0.2 to 1)
    and flips: end to end, as SimCore's semi-supervised evaluation. The backbone is changed; load it anew
    for each seed.

    Args:
        backbone: the model and its preprocessing.
        pixels: uint8 (n, 3, h, w), the training images.
        labels: int64 (n,).
        test: gives the test set, uint8 (b, 3, h, w) and int64 (b,), once more with each call.
        seed: of the new layer, the order and the crops.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: at the start.
        device: where to train.

    Raises:
        ValueError: fewer than two training images, or nothing to test.
    """
    if len(pixels) < 2:
        raise ValueError("fine-tuning needs two training images")
    with torch.random.fork_rng(devices=[]):
        # The transforms of torchvision draw from torch's own state.
        torch.manual_seed(seed)
        model = _train(backbone, pixels, labels, epochs, batch_size, learning_rate, torch.device(device))
    right = tested = 0
    for images, truth in test():
        with torch.inference_mode():
            predicted = model(backbone.preprocess.normalise(images.to(device))).argmax(1).cpu()
        right += int((predicted == truth).sum())
        tested += len(truth)
    if not tested:
        raise ValueError("nothing to test")
    return right / tested


def _train(
    backbone: Backbone,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    device: torch.device,
) -> nn.Module:
    backbone.model.float().eval()
    with torch.inference_mode():
        dim = backbone.model(backbone.preprocess.normalise(pixels[:2])).shape[1]
    model = nn.Sequential(backbone.model, nn.Linear(dim, int(labels.max()) + 1)).to(device).requires_grad_(True)
    augment = v2.Compose(
        [v2.RandomResizedCrop(pixels.shape[-2:], scale=(0.2, 1.0), antialias=True), v2.RandomHorizontalFlip()]
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    batches = math.ceil(len(pixels) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    model.train()
    for _ in range(epochs):
        # Equal pieces: a last batch of one image has no batch statistics.
        for rows in torch.randperm(len(pixels)).tensor_split(batches):
            images = torch.stack([augment(image) for image in pixels[rows]])
            loss = nn.functional.cross_entropy(
                model(backbone.preprocess.normalise(images.to(device))), labels[rows].to(device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()
