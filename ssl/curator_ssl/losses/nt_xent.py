"""NT-Xent, the loss of SimCLR: normalised temperature-scaled cross entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

from curator_ssl.gather import gather, gather_plain, rank, world_size

__all__ = ["nt_xent"]


def nt_xent(
    first: torch.Tensor, second: torch.Tensor, temperature: float, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Each view must find the other view of its image among all views of all ranks.

    Every rank's rows are anchors on that rank alone; candidates are gathered from all. The mean of the
    ranks' losses, and of their gradients, is that of one process with all rows.

    Args:
        first: (B, D), one view's embedding of each image; B is the same on all ranks.
        second: (B, D), the other view's.
        temperature: what similarities are divided by.
        valid: bool (B,): rows that count, as anchors and as candidates; None for all.

    Returns:
        A float32 scalar. Cost: 2B x 2B x ranks similarities.

    Source: Chen et al., ICML 2020, equation 1.

    >>> bool(nt_xent(torch.eye(4), torch.eye(4), 0.1) < nt_xent(torch.eye(4), torch.eye(4).flip(0), 0.1))
    True
    """
    with torch.autocast(first.device.type, enabled=False):
        own = functional.normalize(torch.cat([first, second]).float(), dim=1)
        rows = len(first)
        valid = torch.ones(rows, dtype=torch.bool, device=own.device) if valid is None else valid
        candidates = torch.cat([gather(own[:rows]), gather(own[rows:])])
        candidate_valid = gather_plain(valid)
        everywhere = len(candidate_valid)
        at = rank() * rows + torch.arange(rows, device=own.device)
        itself = torch.cat([at, at + everywhere])
        positive = torch.cat([at + everywhere, at])
        logits = own @ candidates.T / temperature
        logits = logits.scatter(1, itself[:, None], -torch.inf)
        # An anchor that does not count keeps its finite positive: its loss is weighted with nothing, not NaN.
        keep = (
            torch.cat([candidate_valid, candidate_valid])[None, :] | functional.one_hot(positive, 2 * everywhere).bool()
        )
        logits = logits.masked_fill(~keep, -torch.inf)
        losses = functional.cross_entropy(logits, positive, reduction="none")
        weight = torch.cat([valid, valid]).float()
        return (losses * weight).sum() * world_size() / (2 * candidate_valid.sum()).clamp(min=1)
