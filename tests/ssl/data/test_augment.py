from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torchvision.transforms import InterpolationMode, functional

from curator_ssl.data import augment
from curator_ssl.data.augment import DRAWS, TwoViews, _recolour, _resize, sample_seed

SQUARES = torch.randint(0, 256, (5, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ASPECTS = torch.tensor([1.0, 1.5, 0.4, 20.0, 1.0])


def views(seeds: Sequence[int], squares: torch.Tensor = SQUARES, aspects: torch.Tensor = ASPECTS) -> torch.Tensor:
    return TwoViews(16)(squares[: len(seeds)], aspects[: len(seeds)], seeds)


def test_two_different_views_of_one_shape() -> None:
    made = views([1, 2, 3, 4, 5])
    assert made.shape == (2, 5, 3, 16, 16) and made.dtype == torch.uint8
    assert not made[0].equal(made[1])


def test_views_depend_on_image_and_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together = views([1, 2, 3, 4, 5])
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    for index in range(5):
        alone = TwoViews(16)(SQUARES[index : index + 1], ASPECTS[index : index + 1], [index + 1])
        assert (alone[:, 0].int() - together[:, index].int()).abs().max() <= 1
    assert torch.random.get_rng_state().equal(before)
    assert views([1, 2, 3, 4, 5]).equal(together)
    assert not views([6, 2, 3, 4, 5])[:, 0].equal(together[:, 0])
    monkeypatch.setattr(augment, "CHUNK", 2)
    assert (views([1, 2, 3, 4, 5]).int() - together.int()).abs().max() <= 1


@pytest.mark.parametrize(("source", "side"), [(40, 40), (40, 16), (16, 40)])
def test_the_whole_image_is_resized_as_torchvision_does(source: int, side: int) -> None:
    image = torch.rand(3, source, source, generator=torch.Generator().manual_seed(0))
    weights = _resize(torch.tensor([0.0]), torch.tensor([1.0]), side, source)[0]
    wanted = functional.resize(image, [side, side], InterpolationMode.BILINEAR, antialias=True)
    torch.testing.assert_close(weights @ image @ weights.T, wanted, atol=1e-4, rtol=0)


@given(st.lists(st.floats(0, 0.999), min_size=5, max_size=5), st.floats(0.05, 20))
def test_crops_are_inside_and_keep_their_shape(numbers: list[float], aspect: float) -> None:
    drawn = torch.tensor(numbers + [0.0] * (DRAWS - 5)).expand(1, 2, DRAWS)
    rows, columns = augment._crops(drawn, torch.tensor([aspect]), 8, 16)
    for matrix in (rows, columns):
        assert matrix.shape == (1, 2, 8, 16) and bool((matrix >= 0).all())
        torch.testing.assert_close(matrix.sum(-1), torch.ones(1, 2, 8))


def test_colours_that_were_not_drawn_stay() -> None:
    pixels = SQUARES.flatten(2).float()
    drawn = torch.full((5, DRAWS), 0.99)
    torch.testing.assert_close(_recolour(pixels, drawn), pixels, atol=1e-2, rtol=0)


def test_each_colour_as_torchvision_changes_it() -> None:
    image = SQUARES[:1].float() / 255
    neutral = [0.99] * 5 + [0.0, 0.5, 0.5, 0.5, 0.5]
    changes = {6: functional.adjust_brightness, 7: functional.adjust_contrast, 8: functional.adjust_saturation}
    for place, change in changes.items():
        drawn = torch.tensor([[*neutral[:place], 0.25, *neutral[place + 1 :]]])
        ours = _recolour(image.flatten(2) * 255, drawn).reshape(image.shape) / 255
        torch.testing.assert_close(ours, change(image, 0.9), atol=2e-3, rtol=0)


def test_hue_turns_colours_and_leaves_greys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "HUE", 0.2)
    drawn = torch.tensor([[0.99] * 5 + [0.0, 0.5, 0.5, 0.5, 0.0]])
    coloured, grey = torch.tensor([[[200.0], [50.0], [20.0]]]), torch.full((1, 3, 1), 80.0)
    assert (_recolour(coloured, drawn) - coloured).abs().max() > 50
    torch.testing.assert_close(_recolour(grey, drawn), grey, atol=1e-2, rtol=0)


def test_seeds_differ() -> None:
    seeds = {sample_seed(seed, epoch, sample) for seed in (0, 1) for epoch in (0, 1) for sample in (0, 1)}
    assert len(seeds) == 8 and np.array(list(seeds)).min() >= 0
