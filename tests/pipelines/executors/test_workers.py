"""What the executors with workers of their own keep: work elsewhere, lost workers, and an end without leftovers."""

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from stages_for_tests import (
    Calls,
    Deadly,
    DiesAtOpens,
    FailsAtOpens,
    HoldsLock,
    HoldsLockFile,
    OpensWith,
    SaysGoodbye,
    TwoArguments,
    die_after_the_other,
    fail_on_odd,
    holders,
    interrupt_itself,
    lock_on_odd,
    meet,
    one_way_on_odd,
    open_input_error,
    open_killed,
    raise_payload,
    square,
    survive,
    survive_after_a_while,
    until,
    worker_pid,
)

from curator.errors import CuratorError, InputError, UnusableInput
from curator_pipelines.executors import MAX_ATTEMPTS, Executor, LocalExecutor, Task

Make = Callable[[int], Executor]


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, make_ray: Make) -> Make:
    """`make(workers)`: an executor."""
    return make_ray if request.param == "ray" else lambda workers: LocalExecutor(workers=workers)


class TestWorkers:
    def test_workers_work_side_by_side(self, make: Make, tmp_path: Path) -> None:
        # Each of the two tasks waits for the other.
        assert all(o.unwrap() for o in make(2).map(Calls(meet), [tmp_path, tmp_path]))

    def test_no_more_workers_than_tasks(self, make: Make, tmp_path: Path) -> None:
        list(make(8).map(HoldsLockFile(tmp_path), ["a"]))

        assert len(list(tmp_path.glob("*.lock"))) == 1

    def test_work_is_done_in_another_process(self, make: Make) -> None:
        (outcome,) = make(1).map(Calls(worker_pid), [None])

        assert outcome.unwrap() != os.getpid()


class TestErrors:
    def test_the_workers_traceback_is_a_note(self, make: Make) -> None:
        (outcome,) = make(1).map(Calls(fail_on_odd), [1])

        assert outcome.error is not None
        (note,) = outcome.error.__notes__
        assert "in fail_on_odd" in note

    @pytest.mark.parametrize(
        ("raised", "message"),
        [
            ((HoldsLock, ("stuck",)), "HoldsLock: stuck"),
            ((TwoArguments, ("hole", "offset 7")), "TwoArguments: hole at offset 7"),
            ((KeyboardInterrupt, ("not by hand",)), "KeyboardInterrupt: not by hand"),
        ],
    )
    def test_an_error_that_cannot_travel_is_named(self, make: Make, raised: object, message: str) -> None:
        (outcome,) = make(1).map(Calls(raise_payload), [raised])

        assert type(outcome.error) is CuratorError
        assert message in str(outcome.error)

    @pytest.mark.parametrize("function", [lock_on_odd, one_way_on_odd])
    def test_a_value_that_cannot_travel_is_an_error(self, make: Make, function: object) -> None:
        outcomes = {o.task.number: o for o in make(1).map(Calls(function), range(3))}

        assert [outcomes[n].unwrap() for n in (0, 2)] == [0, 2]
        assert isinstance(outcomes[1].error, CuratorError)
        assert "task 1 (1)" in str(outcomes[1].error)

    def test_a_payload_that_cannot_travel_is_an_error(self, make: Make) -> None:
        payloads = [2, threading.Lock(), threading.Lock(), threading.Lock(), 3]

        outcomes = {o.task.number: o for o in make(1).map(Calls(square), payloads)}

        assert [outcomes[n].unwrap() for n in (0, 4)] == [4, 9]
        assert [type(outcomes[n].error) for n in (1, 2, 3)] == [TypeError] * 3

    def test_an_error_in_open_stops_all_workers(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            list(make(2).map(OpensWith(open_input_error), range(9)))

        assert "in open_input_error" in caught.value.__notes__[0]


class TestWorkersThatCannotOpen:
    def test_one_is_left_out_and_told(self, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def told() -> list[str]:
            return [r.getMessage() for r in caplog.records if r.name == "curator_pipelines.executors.dispatcher"]

        # The broken worker may be the last to begin: there is work until it was heard of.
        payloads = itertools.takewhile(lambda _: not told(), itertools.count())
        outcomes = list(make(2).map(FailsAtOpens(tmp_path, frozenset({0})), payloads))

        assert sorted(o.unwrap() for o in outcomes) == list(range(len(outcomes)))
        assert {o.task.attempt for o in outcomes} == {0}
        # It is not started again: what is broken there stays so.
        assert len(list(tmp_path.iterdir())) == 2
        (said,) = told()
        assert "cannot work and is left out, others go on: RuntimeError: CUDA error: device 0 is broken" in said

    def test_all_alike_end_the_run_as_unusable(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(UnusableInput, match=r"2 workers cannot begin to work: RuntimeError: CUDA error: device \d"):
            list(make(2).map(FailsAtOpens(tmp_path, frozenset(range(9))), range(6)))

    def test_after_something_was_done_it_is_a_failed_run(self, make: Make, tmp_path: Path) -> None:
        outcomes = make(1).map(FailsAtOpens(tmp_path, frozenset({1})), ["a", Deadly(1), "b"])

        assert next(outcomes).unwrap() == "a"
        with pytest.raises(CuratorError, match="cannot work, and none is left: RuntimeError: CUDA") as caught:
            next(outcomes)
        assert caught.value.exit_code == 1


class TestLostWorkers:
    @pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGTERM", "abort", "exit", "half a message"])
    def test_its_task_is_tried_again(self, make: Make, how: str, request: pytest.FixtureRequest) -> None:
        if request.node.callspec.params["make"] == "ray" and how not in ("SIGKILL", "SIGTERM"):
            pytest.skip("to Ray every end of a process looks the same")
        payloads = [Deadly(0), Deadly(1, how), Deadly(0)]

        outcomes = {o.task.number: o for o in make(1).map(Calls(survive), payloads)}

        assert [outcomes[n].unwrap() for n in range(3)] == [0, 1, 0]
        assert [outcomes[n].task.attempt for n in range(3)] == [0, 1, 0]

    def test_a_task_that_kills_every_worker_is_given_up(self, make: Make) -> None:
        payloads = [Deadly(0), Deadly(MAX_ATTEMPTS), Deadly(0)]

        outcomes = {o.task.number: o for o in make(2).map(Calls(survive), payloads)}

        assert sorted(outcomes) == [0, 1, 2]
        assert (outcomes[0].unwrap(), outcomes[2].unwrap()) == (0, 0)
        lost = outcomes[1]
        assert lost.lost
        assert lost.task == Task(1, payloads[1], attempt=MAX_ATTEMPTS)
        assert isinstance(lost.error, CuratorError)
        assert "task 1 (Deadly(" in str(lost.error)
        assert "given up after 3 workers died of it" in str(lost.error)

    def test_a_task_may_use_all_its_attempts(self, make: Make) -> None:
        (outcome,) = make(1).map(Calls(survive), [Deadly(MAX_ATTEMPTS - 1)])

        assert outcome.unwrap() == MAX_ATTEMPTS - 1

    def test_many_losses_over_many_tasks_end_nothing(self, make: Make) -> None:
        payloads = [Deadly(deaths=n % 2) for n in range(12)]

        values = [o.unwrap() for o in make(2).map(Calls(survive), payloads)]

        assert Counter(values) == {0: 6, 1: 6}

    @pytest.mark.parametrize(("deaths", "samples"), [(1, 10), (MAX_ATTEMPTS, 0)])
    def test_progress_of_a_lost_attempt_does_not_count(self, make: Make, deaths: int, samples: int) -> None:
        total: Counter[str] = Counter()

        list(make(1).map(Calls(survive_after_a_while), [Deadly(deaths)], on_progress=total.update))

        assert total == {"samples": samples}

    def test_a_few_deaths_in_open_are_got_over(self, make: Make, tmp_path: Path) -> None:
        stage = DiesAtOpens(tmp_path, deadly={0, 1})

        outcomes = list(make(1).map(stage, [Deadly(0), Deadly(0)]))

        assert [o.unwrap() for o in outcomes] == [0, 0]

    def test_deaths_in_open_are_forgotten_with_every_finished_task(self, make: Make, tmp_path: Path) -> None:
        stage = DiesAtOpens(tmp_path, deadly={0, 1, 3, 4})

        outcomes = list(make(1).map(stage, [Deadly(0), Deadly(1)]))

        assert [o.unwrap() for o in outcomes] == [0, 1]

    def test_an_idle_worker_takes_over(self, make: Make, tmp_path: Path) -> None:
        payloads = [tmp_path / "noted"] * 2
        pids = []

        for outcome in make(2).map(Calls(die_after_the_other), payloads):
            pids.append(outcome.unwrap())
            payloads[0].touch()

        assert pids == [pids[0]] * 2

    def test_ctrl_c_is_not_for_workers(self, make: Make) -> None:
        (outcome,) = make(1).map(Calls(interrupt_itself), [None])

        assert outcome.unwrap() == "not impressed"

    def test_deaths_in_open_without_end_are_an_error(self, make: Make) -> None:
        with pytest.raises(CuratorError, match=r"[34] workers in a row died while they started"):
            list(make(2).map(OpensWith(open_killed), range(9)))


class TestEnds:
    def test_closing_stops_a_worker_in_the_middle_of_a_task(self, make: Make, tmp_path: Path) -> None:
        stage = HoldsLockFile(tmp_path)
        with closing(make(2).map(stage, ["hang", "beside another"])) as outcomes:
            assert next(outcomes).unwrap() == "beside another"
            assert len(list(holders(tmp_path))) == 2

        until(lambda: not list(holders(tmp_path)), "the workers' end")

    def test_an_error_on_the_driver_stops_the_workers(self, make: Make, tmp_path: Path) -> None:
        def payloads() -> Iterator[str]:
            yield from ("hang", "quick", "quick")
            until(lambda: bool(list(holders(tmp_path))), "a worker")
            raise InputError("no more")

        with pytest.raises(InputError):
            list(make(2).map(HoldsLockFile(tmp_path), payloads()))

        until(lambda: not list(holders(tmp_path)), "the workers' end")

    def test_no_worker_is_left_at_the_end(self, make: Make, tmp_path: Path) -> None:
        list(make(2).map(HoldsLockFile(tmp_path), ["a"] * 5))

        until(lambda: not list(holders(tmp_path)), "the workers' end")

    def test_workers_end_in_peace_when_all_is_done(self, make: Make, tmp_path: Path) -> None:
        list(make(1).map(SaysGoodbye(tmp_path), ["a"]))

        until((tmp_path / "goodbye").exists, "a worker's last word")
