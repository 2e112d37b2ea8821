"""The ready encoders that `auto` measures: a short list, of which those count whose weights are on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["READY", "network_off", "ready_encoders"]

# Name -> the hub's repository of its weights; none where the weights come with curator. At most 100M parameters each,
# at the 224 px at which a pool can be embedded without a GPU; in order of cost, since the first that is not
# significantly worse than a later one is taken.
READY = {
    # 4M parameters, trained with ImageNet's labels. Comes with curator, so that there always is one.
    "lite0": "",
    # 26M, the same labels, a stronger network: the weights that most machines have in their cache.
    "timm:resnet50.a1_in1k": "timm/resnet50.a1_in1k",
    # 22M, trained without labels, so without the habit of looking for ImageNet's objects.
    "timm:vit_small_patch16_224.dino": "timm/vit_small_patch16_224.dino",
    # 88M, trained on two billion captioned images of the web: for what ImageNet does not show.
    "open_clip:ViT-B-32/laion2b_s34b_b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
}


def ready_encoders() -> list[str]:
    """Those of `READY` that this machine may load with the network off, in their order; reads no weights."""
    return [name for name, repository in READY.items() if not repository or _is_cached(repository)]


def _is_cached(repository: str) -> bool:
    from huggingface_hub import constants, file_download

    folder = file_download.repo_folder_name(repo_id=repository, repo_type="model")
    return os.path.isdir(os.path.join(constants.HF_HUB_CACHE, folder, "snapshots"))


@contextmanager
def network_off() -> Iterator[None]:
    """While the block runs, weights are looked for in the hub's cache alone, in this process alone."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
