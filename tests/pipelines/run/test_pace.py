"""Paces whose clock the test turns: none too early, and none of what is long past."""

import pytest

from curator_pipelines.run.pace import LEAST_STEPS, Pace


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def paced(steps: list[tuple[float, int]]) -> tuple[Pace, Clock]:
    clock = Clock()
    pace = Pace(clock)
    for clock.now, done in steps:
        pace.note(done)
    return pace, clock


def test_nothing_is_said_before_some_batches_and_seconds() -> None:
    assert Pace(Clock()).per_second(0) is None
    # Two workers' first batches, after a minute of loading: the old rate was 32 in 60 s.
    assert paced([(60.0, 16), (60.1, 32)])[0].per_second(32) is None
    # Many batches, but at once.
    assert paced([(60.0 + step / 100, step) for step in range(50)])[0].per_second(49) is None


def test_the_seconds_before_the_first_batch_do_not_count() -> None:
    pace, _ = paced([(100.0 + step, 10 * (step + 1)) for step in range(10)])

    assert pace.per_second(100) == pytest.approx(10)


def test_only_the_last_minute_counts() -> None:
    slow = [(float(step), step) for step in range(300)]
    fast = [(300.0 + step, 300 + 50 * step) for step in range(120)]

    pace, _ = paced([*slow, *fast])

    assert pace.per_second(300 + 50 * 119) == pytest.approx(50)


def test_steps_that_take_longer_than_a_minute_are_looked_back_to() -> None:
    pace, _ = paced([(100.0 * step, step) for step in range(2 * LEAST_STEPS)])

    assert pace.per_second(2 * LEAST_STEPS - 1) == pytest.approx(0.01)


def test_work_that_stands_still_gets_slower() -> None:
    pace, clock = paced([(float(step), step) for step in range(11)])
    clock.now = 20.0

    assert pace.per_second(10) == pytest.approx(0.5)


def test_another_pass_begins_anew() -> None:
    pace, _ = paced([*((float(step), 1000 * step) for step in range(20)), (25.0, 0)])

    assert pace.per_second(0) is None
