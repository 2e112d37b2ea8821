from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal

from curator.errors import InputError
from curator_ssl.data.schedule import Order, Schedule


class TestOrder:
    @given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 200), st.integers(0, 5))
    def test_a_pass_is_a_permutation(self, n: int, block: int, buffer: int, seed: int) -> None:
        order = Order(n, (seed,), block=block, buffer=buffer)
        assert sorted(order.take(0, n)) == list(range(n))

    @given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 100), st.data())
    def test_any_piece_is_that_of_the_whole(self, n: int, block: int, buffer: int, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, n))
        stop = data.draw(st.integers(start, n))
        whole = Order(n, (1,), block=block, buffer=buffer).take(0, n)
        assert Order(n, (1,), block=block, buffer=buffer).take(start, stop).tolist() == whole[start:stop].tolist()

    def test_samples_of_a_block_stay_within_its_buffer(self) -> None:
        whole = Order(1000, (3,), block=10, buffer=50).take(0, 1000)
        for window in whole.reshape(-1, 50):
            assert len(np.unique(window // 10)) == 5

    def test_every_pass_has_an_order_of_its_own(self) -> None:
        assert Order(100, (0, 0)).take(0, 100).tolist() != Order(100, (0, 1)).take(0, 100).tolist()


class TestEpochs:
    @given(st.integers(2, 300), st.integers(1, 4), st.integers(1, 8), st.integers(0, 3))
    def test_each_sample_at_most_once_and_equal_steps_on_all_ranks(
        self, samples: int, ranks: int, each: int, epoch: int
    ) -> None:
        batch = ranks * each
        if batch < 2 or samples < batch:
            return
        schedule = Schedule(samples, 0, batch, seed=7)
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        taken = [schedule.batch(step, rank, ranks)[0] for step in steps for rank in range(ranks)]
        assert {len(part) for part in taken} == {each}
        everything = np.concatenate(taken)
        assert len(np.unique(everything)) == len(everything) == samples - schedule.left_over
        assert schedule.left_over < batch

    @given(st.integers(1, 4))
    def test_a_step_over_all_ranks_is_the_step_of_one(self, ranks: int) -> None:
        schedule = Schedule(100, 0, 12, seed=1)
        for step in (0, 3, 8, 9, 30):
            parts = [schedule.batch(step, rank, ranks)[0] for rank in range(ranks)]
            assert sorted(np.concatenate(parts)) == sorted(schedule.batch(step)[0])

    def test_what_is_left_over_differs_from_epoch_to_epoch(self) -> None:
        schedule = Schedule(103, 0, 10, seed=0)
        left = []
        for epoch in range(3):
            steps = range(epoch * 10, epoch * 10 + 10)
            left.append(frozenset(range(103)) - {int(i) for step in steps for i in schedule.batch(step)[0]})
        assert {len(rest) for rest in left} == {3}
        assert len(set(left)) == 3

    @pytest.mark.parametrize(
        ("samples", "told"), [(0, "there is no image"), (1, "there is 1 image to train on: give two")]
    )
    def test_nothing_to_tell_apart(self, samples: int, told: str) -> None:
        with pytest.raises(InputError, match=told):
            Schedule(samples, samples, batch_size=2, seed=0)

    def test_too_few_samples(self) -> None:
        with pytest.raises(InputError, match="a step can take at most 5"):
            Schedule(5, 5, 8, seed=0)


class TestShares:
    SCHEDULE = Schedule(50, 7, 8, seed=2, target_share=0.25)

    def test_every_batch_has_the_share(self) -> None:
        for step in range(40):
            assert (self.SCHEDULE.batch(step)[0] < 7).sum() == 2

    def test_each_set_is_passed_over_wholly_before_it_repeats(self) -> None:
        steps = [self.SCHEDULE.batch(step) for step in range(7)]
        target = np.concatenate([taken[taken < 7] for taken, _ in steps])
        passes = np.concatenate([number[taken < 7] for taken, number in steps])
        assert sorted(target[:7]) == sorted(target[7:14]) == list(range(7))
        # The views of a sample are drawn anew in every pass.
        assert passes.tolist() == [0] * 7 + [1] * 7

    def test_an_epoch_is_a_stated_number_of_steps(self) -> None:
        assert self.SCHEDULE.steps_per_epoch == 7
        assert Schedule(50, 7, 8, 2, 0.25, given_steps=3).steps_per_epoch == 3

    def test_a_share_needs_both_sets(self) -> None:
        with pytest.raises(InputError, match="the target or the shards without images; both must have some"):
            Schedule(50, 50, 8, seed=0, target_share=0.5)


class TestEnd:
    PLAIN = Schedule(50, 7, 8, seed=2)
    ENDS = Schedule(50, 7, 8, seed=2, target_from=20)

    def test_before_the_end_nothing_changes(self) -> None:
        for step in range(20):
            assert_array_equal(self.ENDS.batch(step), self.PLAIN.batch(step))

    @pytest.mark.parametrize("share", [0.0, 0.25])
    def test_the_end_is_of_the_target_alone_pass_by_pass(self, share: float) -> None:
        ends = Schedule(50, 7, 8, seed=2, target_share=share, target_from=20)
        steps = [ends.batch(step) for step in range(20, 27)]
        taken = np.concatenate([numbers for numbers, _ in steps])
        assert len(taken) == 7 * 8
        for number in range(8):
            assert sorted(taken[7 * number : 7 * number + 7]) == list(range(7))

    def test_views_of_the_end_are_drawn_anew(self) -> None:
        before = {int(number) for step in range(20) for number in self.ENDS.batch(step)[1]}
        assert before.isdisjoint(int(number) for step in range(20, 30) for number in self.ENDS.batch(step)[1])

    def test_ranks_share_a_step(self) -> None:
        whole = self.ENDS.batch(23)[0]
        assert_array_equal(self.ENDS.batch(23, 1, 2)[0], whole[1::2])

    @pytest.mark.parametrize("targets", [0, 1, 50])
    def test_an_end_needs_a_target_and_something_beside_it(self, targets: int) -> None:
        with pytest.raises(InputError, match="an end on the target alone needs two"):
            Schedule(50, targets, 8, seed=0, target_from=20)
