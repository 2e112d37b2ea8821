import numpy as np
import pytest
import torch

from curator.encoders.checkpoint import build_backbone
from curator_ssl.probe.finetune import fine_tune, label_subset


def test_a_share_of_every_class():
    labels = np.array([0] * 40 + [1] * 20 + [2] * 3)
    chosen = label_subset(labels, 0.1, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [4, 2, 1]
    assert (label_subset(labels, 0.1, seed=1) != chosen).any()


def test_learns_dark_from_bright():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 2
    pixels = torch.randint(0, 80, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    pixels += (150 * labels).to(torch.uint8).view(-1, 1, 1, 1)

    def share(truth):
        backbone = build_backbone("timm:test_resnet", 32)
        return fine_tune(backbone, pixels[:8], labels[:8], lambda: [(pixels[8:], truth)], seed=0, epochs=10)

    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    assert share(labels[8:]) == 1.0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_to_test():
    backbone, pixels = build_backbone("timm:test_resnet", 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="nothing to test"):
        fine_tune(backbone, pixels, torch.arange(2), lambda: [], seed=0, epochs=1)
