from __future__ import annotations

import torch

from curator_ssl.data.augment import TwoViews, sample_seed

PIXELS = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_two_different_views_of_one_shape() -> None:
    views = TwoViews(32)(PIXELS, seed=1)
    assert views.shape == (2, 3, 32, 32) and views.dtype == torch.uint8
    assert not views[0].equal(views[1])


def test_views_depend_on_the_seed_alone() -> None:
    make = TwoViews(32)
    wanted = make(PIXELS, seed=5)
    torch.manual_seed(99)
    make(PIXELS, seed=6)
    before = torch.random.get_rng_state()
    assert make(PIXELS, seed=5).equal(wanted)
    assert torch.random.get_rng_state().equal(before)
    assert not make(PIXELS, seed=6).equal(wanted)


def test_strips_do_not_explode() -> None:
    assert TwoViews(32)(torch.zeros(3, 1, 9000, dtype=torch.uint8), 0).shape == (2, 3, 32, 32)


def test_seeds_differ() -> None:
    assert len({sample_seed(seed, epoch, sample) for seed in (0, 1) for epoch in (0, 1) for sample in (0, 1)}) == 8
