"""What every executor keeps of the protocol. A new executor joins the list below."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stages_for_tests import (
    Calls,
    CountsOpens,
    OpensWith,
    cpus_and_device,
    fail_on_odd,
    length,
    many_bytes,
    open_input_error,
    raise_payload,
    report_ones,
    square,
    task_itself,
)

from curator.errors import CuratorError, InputError, Reason, SampleError
from curator_pipelines.executors import Executor, InProcessExecutor, LocalExecutor, Outcome, Task

MakeRay = Callable[[int], Executor]

EXECUTORS = [
    pytest.param(lambda make_ray: InProcessExecutor(), id="in-process"),
    pytest.param(lambda make_ray: LocalExecutor(workers=1), id="local-1"),
    pytest.param(lambda make_ray: LocalExecutor(workers=2), id="local-2"),
    pytest.param(lambda make_ray: make_ray(2), id="ray-2"),
]


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest, make_ray: MakeRay) -> Executor:
    made: Executor = request.param(make_ray)
    return made


class Counted:
    """Payloads that count how many of them were taken."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for payload in range(self.number):
            self.taken += 1
            yield payload


def test_every_task_has_its_value(executor: Executor) -> None:
    outcomes = list(executor.map(Calls(square), range(20)))

    assert sorted((o.task.number, o.unwrap()) for o in outcomes) == [(n, n * n) for n in range(20)]


def test_many_tiny_tasks(executor: Executor) -> None:
    assert sum(o.unwrap() for o in executor.map(Calls(square), range(1000))) == sum(n * n for n in range(1000))


def test_tasks_keep_their_own_numbers(executor: Executor) -> None:
    tasks = [Task(7, "a"), Task(3, "b")]

    outcomes = sorted(executor.map(Calls(task_itself), tasks), key=lambda o: o.task.number)

    assert [o.task for o in outcomes] == [Task(3, "b"), Task(7, "a")]
    assert [o.unwrap() for o in outcomes] == [Task(3, "b"), Task(7, "a")]


def test_no_tasks_open_nothing(executor: Executor) -> None:
    assert list(executor.map(OpensWith(open_input_error), [])) == []


def test_nothing_happens_before_the_first_outcome_is_asked_for(executor: Executor) -> None:
    payloads = Counted(5)

    executor.map(Calls(square), payloads)

    assert payloads.taken == 0


def test_tasks_are_taken_lazily(executor: Executor) -> None:
    payloads = Counted(40)

    for finished, _ in enumerate(executor.map(Calls(square), payloads)):
        assert payloads.taken <= finished + 2 * executor.workers

    assert payloads.taken == 40


def test_an_executor_maps_again(executor: Executor) -> None:
    for _ in range(2):
        assert sorted(o.unwrap() for o in executor.map(Calls(square), range(3))) == [0, 1, 4]


def test_the_stage_is_opened_once_per_worker(executor: Executor) -> None:
    CountsOpens.opened = 0

    values = [o.unwrap() for o in executor.map(CountsOpens(), range(20))]

    assert {opens for _, opens in values} == {1}
    assert 1 <= len({pid for pid, _ in values}) <= executor.workers


def test_an_error_is_the_outcome_of_its_task_alone(executor: Executor) -> None:
    outcomes = {o.task.number: o for o in executor.map(Calls(fail_on_odd), range(6))}

    assert [outcomes[n].unwrap() for n in (0, 2, 4)] == [0, 2, 4]
    for number in (1, 3, 5):
        error = outcomes[number].error
        assert type(error) is ValueError
        assert str(error) == f"{number} is odd"
        assert not outcomes[number].lost
        assert outcomes[number].task.attempt == 0


def test_unwrap_raises_the_error(executor: Executor) -> None:
    (outcome,) = executor.map(Calls(fail_on_odd), [1])

    with pytest.raises(ValueError, match="1 is odd"):
        outcome.unwrap()


def test_none_is_a_value() -> None:
    assert Outcome(Task(0, "a"), value=None).unwrap() is None


def test_our_own_errors_arrive_whole(executor: Executor) -> None:
    payloads = [(SampleError, (Reason.DECODE_ERROR, "broken"))]

    (outcome,) = executor.map(Calls(raise_payload), payloads)

    assert isinstance(outcome.error, SampleError)
    assert (outcome.error.reason, outcome.error.detail) == (Reason.DECODE_ERROR, "broken")


def test_a_task_that_exits_is_an_error(executor: Executor) -> None:
    (outcome,) = executor.map(Calls(raise_payload), [(SystemExit, ("stop",))])

    assert isinstance(outcome.error, CuratorError)
    assert "SystemExit: stop" in str(outcome.error)


def test_an_error_in_open_is_raised_here(executor: Executor) -> None:
    with pytest.raises(InputError, match="no/such/file") as caught:
        list(executor.map(OpensWith(open_input_error), range(5)))

    assert caught.value.exit_code == 2


def test_an_error_in_the_tasks_is_raised_here(executor: Executor) -> None:
    def payloads() -> Iterator[int]:
        yield 1
        raise InputError("the list of shards ends here")

    with pytest.raises(InputError, match="ends here"):
        list(executor.map(Calls(square), payloads()))


def test_progress_adds_up(executor: Executor) -> None:
    total: Counter[str] = Counter()

    for _ in executor.map(Calls(report_ones), [1, 1000, 0, 500], on_progress=total.update):
        pass

    assert total == {"samples": 1501, "bytes": 15010}


def test_progress_may_go_nowhere(executor: Executor) -> None:
    assert len(list(executor.map(Calls(report_ones), [10]))) == 1


def test_an_error_in_on_progress_ends_the_run(executor: Executor) -> None:
    def refuse(increments: dict[str, int]) -> None:
        raise InputError("no more")

    outcomes: list[Outcome[Any, Any]] = []
    try:
        outcomes.extend(executor.map(Calls(report_ones), [10], on_progress=refuse))
    except InputError:
        return
    assert [type(o.error) for o in outcomes] == [InputError]


def test_early_close(executor: Executor) -> None:
    payloads = Counted(100)
    outcomes = executor.map(Calls(square), payloads)
    next(outcomes)

    outcomes.close()

    assert payloads.taken <= 1 + 2 * executor.workers
    assert list(outcomes) == []


def test_big_values_and_payloads(executor: Executor) -> None:
    size = 32 << 20

    values = {o.task.number: o.unwrap() for o in executor.map(Calls(many_bytes), [size, size])}
    lengths = [o.unwrap() for o in executor.map(Calls(length), [bytes(size), bytes(size)])]

    assert values == {0: bytes(size), 1: b"\x01" * size}
    assert lengths == [size, size]


def test_the_context_names_threads_and_device(executor: Executor) -> None:
    for outcome in executor.map(Calls(cpus_and_device), range(4)):
        cpus, device, _ = outcome.unwrap()
        assert cpus >= 1
        assert device == "cpu"


def test_describe_is_for_people(executor: Executor) -> None:
    assert "thread" in executor.describe()
