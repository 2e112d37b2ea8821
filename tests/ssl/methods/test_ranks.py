from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from curator_ssl.methods import make_method

ROWS, DIM, RANKS = 8, 10, 2


def gradients(rows: slice) -> list[torch.Tensor]:
    """Of SimCLR's loss of some rows; each rank's are averaged, as DistributedDataParallel does."""
    torch.manual_seed(1)
    # Rows that do not depend on each other until they come to the head.
    method = make_method("simclr", nn.Sequential(nn.Linear(12, DIM), nn.LayerNorm(DIM)), DIM)
    first, second = torch.randn(2, ROWS, 12, generator=torch.Generator().manual_seed(0))
    loss, _ = method(first[rows], second[rows], torch.arange(ROWS)[rows])
    loss.backward()
    return [weight.grad for weight in method.parameters() if weight.grad is not None]


def run_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    share = ROWS // RANKS
    found = gradients(slice(rank * share, (rank + 1) * share))
    for gradient in found:
        dist.all_reduce(gradient)
    torch.save([gradient / RANKS for gradient in found], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_together_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    mp.spawn(run_rank, (str(tmp_path),), nprocs=RANKS)
    alone = gradients(slice(ROWS))
    assert len(alone) > 6
    for rank in range(RANKS):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), alone, atol=1e-5, rtol=1e-4)
