from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from curator_ssl.losses.nt_xent import nt_xent_loss


def slow_twin(
    first: torch.Tensor, second: torch.Tensor, temperature: float, images: Sequence[int] | None = None
) -> float:
    """Equation 1 of the paper, one pair at a time; other rows of the same image are no candidates."""
    rows = [row / row.norm() for row in (*first, *second)]
    count = len(first)
    shown = [*(images or range(count))] * 2
    total = 0.0
    for i, anchor in enumerate(rows):
        partner = (i + count) % (2 * count)
        candidates = [k for k in range(2 * count) if k == partner or shown[k] != shown[i]]
        terms = [math.exp(float(anchor @ rows[k]) / temperature) for k in candidates]
        total -= math.log(math.exp(float(anchor @ rows[partner]) / temperature) / sum(terms))
    return total / (2 * count)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_like_the_slow_twin(pair: tuple[torch.Tensor, torch.Tensor], temperature: float) -> None:
    assert float(nt_xent_loss(*pair, temperature)) == pytest.approx(slow_twin(*pair, temperature), rel=1e-5)


def test_like_lightly(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    loss = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    ours, theirs = (tuple(one.clone().requires_grad_() for one in pair) for _ in range(2))
    mine, reference = nt_xent_loss(*ours, 0.2), loss(*theirs)
    mine.backward()
    reference.backward()
    assert mine.item() == pytest.approx(reference.item(), rel=1e-5)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad)


def test_rows_that_do_not_count_are_as_if_they_were_not_there(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    images = torch.tensor([7, -1, 3, 5, -1, 2])
    valid = images >= 0
    first, second = (one.clone().requires_grad_() for one in pair)
    loss = nt_xent_loss(first, second, 0.3, images)
    loss.backward()
    assert loss.item() == pytest.approx(slow_twin(pair[0][valid], pair[1][valid], 0.3), rel=1e-5)
    assert first.grad is not None and first.grad[~valid].abs().max() == 0
    assert first.grad.isfinite().all()


def test_an_image_that_a_step_holds_twice_does_not_repel_itself(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    images = [4, 9, 4, 0, 9, 4]
    assert float(nt_xent_loss(*pair, 0.3, torch.tensor(images))) == pytest.approx(
        slow_twin(*pair, 0.3, images=images), rel=1e-5
    )


def test_nothing_counts(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    first = pair[0].clone().requires_grad_()
    loss = nt_xent_loss(first, pair[1], 0.3, torch.full((6,), -1))
    loss.backward()
    assert loss.item() == 0 and first.grad is not None and first.grad.abs().max() == 0
