"""NT-Xent, the loss of SimCLR: normalised temperature-scaled cross entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

from curator_ssl.distributed import all_gather, all_gather_plain, rank, world_size

__all__ = ["nt_xent_loss"]


def nt_xent_loss(
    first: torch.Tensor, second: torch.Tensor, temperature: float, images: torch.Tensor | None = None
) -> torch.Tensor:
    """Each view must find the other view of its image among all views of all ranks.

    Every rank's rows are anchors on that rank alone; candidates are gathered from all. The mean of the
    ranks' losses, and of their gradients, is that of one process with all rows.

    Args:
        first: (B, D), one view's embedding of each image; B is the same on all ranks.
        second: (B, D), the other view's.
        temperature: what similarities are divided by.
        images: int64 (B,): which image each row shows, so that an image that a step holds twice does not
            repel itself; negative for rows that count neither as anchor nor as candidate. None: all are different.

    Returns:
        A float32 scalar. Cost: 2B x 2B x ranks similarities.

    Source: Chen et al., ICML 2020, equation 1.

    >>> bool(nt_xent_loss(torch.eye(4), torch.eye(4), 0.1) < nt_xent_loss(torch.eye(4), torch.eye(4).flip(0), 0.1))
    True
    """
    with torch.autocast(first.device.type, enabled=False):
        own = functional.normalize(torch.cat([first, second]).float(), dim=1)
        rows = len(first)
        positions = rank() * rows + torch.arange(rows, device=own.device)
        images = positions if images is None else images
        candidates = torch.cat([all_gather(own[:rows]), all_gather(own[rows:])])
        all_images = all_gather_plain(images)
        positive = torch.cat([positions + len(all_images), positions])
        logits = own @ candidates.T / temperature
        repels = (all_images >= 0)[None, :] & (all_images[None, :] != images[:, None])
        # An anchor that does not count keeps its finite positive: its loss is weighted with nothing, not NaN.
        keep = repels.repeat(2, 2) | functional.one_hot(positive, len(candidates)).bool()
        logits = logits.masked_fill(~keep, -torch.inf)
        losses = functional.cross_entropy(logits, positive, reduction="none")
        weight = (images >= 0).repeat(2).float()
        return (losses * weight).sum() * world_size() / (2 * (all_images >= 0).sum()).clamp(min=1)
