from __future__ import annotations

import timm
import torch

from curator_ssl.distributed.ranks import synchronise_norms


@torch.no_grad()
def test_synchronised_norms_keep_their_activations() -> None:
    model = timm.create_model("test_efficientnet", num_classes=0).eval()
    weights = list(map(id, model.parameters()))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = model(images)

    synchronised = synchronise_norms(model)

    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in synchronised.modules())
    # Not training, so nothing is synchronised, which CPUs could not.
    torch.testing.assert_close(synchronised(images), before)
    assert list(map(id, synchronised.parameters())) == weights
