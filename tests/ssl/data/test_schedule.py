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
        with pytest.raises(
            InputError, match="4 are left for the shards without a share, 0 samples: every set must have"
        ):
            Schedule(50, 50, 8, seed=0, target_share=0.5)
        with pytest.raises(InputError, match="0 are left for the shards without a share, 43 samples"):
            Schedule(50, 7, 8, seed=0, target_share=1)


class TestSharesOfShards:
    # 7 of the target, 13 of shards without a share, 20 and 10 with one.
    SCHEDULE = Schedule(50, 7, 16, seed=2, target_share=0.25, shared=((20, 0.5), (10, 0.125)))

    def counts(self, schedule: Schedule, step: int) -> list[int]:
        return np.histogram(schedule.batch(step)[0], [0, 7, 20, 40, 50])[0].tolist()

    def test_every_batch_has_every_share(self) -> None:
        assert all(self.counts(self.SCHEDULE, step) == [4, 2, 8, 2] for step in range(40))

    def test_what_has_no_share_is_one_set_with_the_target(self) -> None:
        schedule = Schedule(50, 7, 16, seed=2, shared=((20, 0.5), (10, 0.125)))
        for step in range(20):
            target, plain, first, second = self.counts(schedule, step)
            assert (target + plain, first, second) == (6, 8, 2)

    def test_each_set_is_passed_over_wholly_before_it_repeats(self) -> None:
        taken = np.concatenate([self.SCHEDULE.batch(step)[0] for step in range(5)])
        assert sorted(taken[taken >= 40]) == list(range(40, 50))
        assert sorted(taken[(taken >= 20) & (taken < 40)]) == sorted([*range(20, 40)] * 2)

    def test_shares_that_are_all_of_a_batch_leave_nothing_over(self) -> None:
        schedule = Schedule(30, 10, 16, seed=0, target_share=1 / 3, shared=((10, 1 / 3), (10, 1 / 3)))
        taken = schedule.batch(0)[0]
        assert np.histogram(taken, [0, 10, 20, 30])[0].tolist() == [5, 6, 5]

    def test_the_ranks_together_take_what_one_takes(self) -> None:
        whole = self.SCHEDULE.batch(3)[0]
        assert_array_equal(self.SCHEDULE.batch(3, 1, 2)[0], whole[1::2])

    @pytest.mark.parametrize(
        ("shared", "message"),
        [
            (((0, 0.5),), "8 are left for the shards of 50%, 0 samples"),
            (((20, 0.001),), "0 are left for the shards of 0.1%"),
            (((20, 1.0),), "0 are left for all without a share, 30 samples"),
        ],
    )
    def test_a_set_without_images_is_refused(self, shared: tuple[tuple[int, float], ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Schedule(50, 7, 16, seed=0, shared=shared)


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
