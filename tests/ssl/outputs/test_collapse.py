from __future__ import annotations

import math

import pytest

from curator_ssl.outputs.collapse import COLLAPSED, NARROW, NEAR_CHANCE, LearningWatch, NothingLearned

CHANCE = math.log(511)


@pytest.mark.parametrize(("steps", "patience"), [(8, 50), (400, 100), (100_000, 1000)])
def test_a_loss_at_chance_that_lasts_ends_the_run(steps: int, patience: int) -> None:
    watch = LearningWatch(CHANCE, steps)
    for wide_or_learned in ((CHANCE, NARROW), (NEAR_CHANCE * CHANCE - 0.01, 0.01)):
        for step in range(patience - 1):
            watch.check(step, CHANCE + 1, 0.1)
        watch.check(patience - 1, *wide_or_learned)
        assert watch.idle == 0
    for step in range(patience - 1):
        watch.check(step, CHANCE, 0.1)

    with pytest.raises(NothingLearned, match=r"loss 6.24, chance is 6.24; spread 0.100"):
        watch.check(patience - 1, CHANCE, 0.1)


def test_without_a_chance_the_spread_decides() -> None:
    watch = LearningWatch(None, 80)
    for step in range(49):
        watch.check(step, 2.0, COLLAPSED / 2)
    with pytest.raises(NothingLearned, match=r"\(loss 2.00; spread 0.025"):
        watch.check(49, 2.0, COLLAPSED / 2)


def test_a_run_that_goes_on_counts_on() -> None:
    watch = LearningWatch(CHANCE, 80, idle=49)
    with pytest.raises(NothingLearned, match="last 50 steps until step 40"):
        watch.check(40, CHANCE, 0.1)


def test_a_loss_that_is_not_finite_ends_at_once() -> None:
    with pytest.raises(NothingLearned, match="not finite at step 3: give a lower lr"):
        LearningWatch(CHANCE, 80).check(3, math.nan, 0.5)
