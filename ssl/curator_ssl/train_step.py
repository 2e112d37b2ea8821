"""One step of the optimizer, and the network that it changes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from curator.encoders import Backbone
from curator_ssl.backbones import feature_dim, make_backbone
from curator_ssl.config import TrainConfig
from curator_ssl.data import Batch, sample_seed
from curator_ssl.distributed import RankGroup, rank, synchronise_norms, world_size
from curator_ssl.methods import Method, make_method

__all__ = ["TrainStep", "build_method"]


def build_method(config: TrainConfig, device: torch.device) -> tuple[Backbone, Method]:
    """The backbone and the method around it on a device, with the weights that the config asks for."""
    backbone = make_backbone(config.arch, config.image_size, config.seed, config.weights)
    dim = feature_dim(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sample_seed(config.seed, -1, 0))
        method = make_method(config.method, backbone.model, dim, config.method_option)
    module: nn.Module = method.train()
    # Typed for modules without a memory format by some versions of torch only.
    to: Any = module.to(device).to
    to(memory_format=torch.channels_last)
    return backbone, method


class TrainStep:
    """Runs one step after another on the batches of this rank.

    Args:
        config: a resolved config.
        backbone: the network, with its preprocessing.
        method: the method around the backbone.
        optimizer: over the method's parameters.
        group: the processes that train together.
    """

    def __init__(
        self,
        config: TrainConfig,
        backbone: Backbone,
        method: Method,
        optimizer: torch.optim.Optimizer,
        group: RankGroup,
    ) -> None:
        self._config, self._method, self._optimizer = config, method, optimizer
        self._preprocess, self._device = backbone.preprocess, group.device
        self._model = _wrap(method, config, group.device)

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Change the network by one step; returns the loss and the spread, still on the device."""
        # Dropout and the like: of this step and rank alone, so a resumed run draws the same.
        torch.manual_seed(sample_seed(self._config.seed, batch.step, rank()))
        views = batch.views.to(self._device, non_blocking=True)
        first, second = (
            self._preprocess.normalise(view).contiguous(memory_format=torch.channels_last) for view in views.unbind()
        )
        images = batch.images.to(self._device, non_blocking=True)
        is_mixed = self._config.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16) if is_mixed else nullcontext():
            loss, spread = self._model(first, second, images)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._config.clip:
            nn.utils.clip_grad_norm_(self._method.parameters(), self._config.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate(batch.step)
        self._optimizer.step()
        return loss.detach(), spread.detach()


def _wrap(method: Method, config: TrainConfig, device: torch.device) -> Any:
    """The method as it is called in a step: with what several processes and the compiler need."""
    if config.sync_bn:
        synchronise_norms(method)
    model: nn.Module = method
    if world_size() > 1:
        model = DistributedDataParallel(method, device_ids=[device] if device.type == "cuda" else None)
    return torch.compile(model) if config.compile else model
