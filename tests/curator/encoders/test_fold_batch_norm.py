import copy

import pytest
import torch
from torch import nn

from curator.encoders.fold_batch_norm import fold_batch_norms


def settled(model: nn.Module, size: int = 32) -> nn.Module:
    """Give batch norms statistics and weights that folding must get right."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.3)
                nn.init.normal_(module.bias)
    return model.eval().requires_grad_(False)


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


class Plain(nn.Module):
    def __init__(self, bias: bool = False, affine: bool = True):
        super().__init__()
        # Registered in an order that says nothing.
        self.norm = nn.BatchNorm2d(8, affine=affine)
        self.last = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(3, 8, 3, bias=bias)

    def forward(self, x):
        return self.last(self.norm(self.conv(x)).relu()).mean((2, 3))


class UsedTwice(Plain):
    def forward(self, x):
        x = self.conv(x)
        return (self.norm(x) + x).mean((2, 3))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folds_what_follows_a_convolution(bias, affine):
    model = settled(Plain(bias, affine))
    folded, dim = fold_batch_norms(model, (32, 32))
    assert (dim, norms(model), norms(folded)) == (8, 2, 1)
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-4, atol=1e-4)


def test_leaves_alone_what_is_used_twice():
    model = settled(UsedTwice())
    before = copy.deepcopy(model.state_dict())
    folded, _ = fold_batch_norms(model, (32, 32))
    assert norms(folded) == 2
    assert all(torch.equal(before[name], value) for name, value in folded.state_dict().items())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_byobnet", "test_nfnet", "test_convnext"])
def test_timm_models(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = settled(timm.create_model(name, num_classes=0))
    folded, dim = fold_batch_norms(model, (96, 96))
    images = torch.rand(3, 3, 96, 96)
    assert folded(images).shape == (3, dim)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-3)
    if norms(model):
        assert norms(folded) < norms(model) / 3


def test_no_row_of_features_per_image():
    with pytest.raises(ValueError, match="one row of features"):
        fold_batch_norms(nn.Conv2d(3, 4, 3), (8, 8))
