import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from stages_for_tests import (
    PATIENCE,
    Calls,
    Deadly,
    DiesAtOpens,
    HoldsLock,
    HoldsLockFile,
    OpensWith,
    SaysGoodbye,
    TwoArguments,
    cpus_and_device,
    die_after_the_other,
    die_beside_a_fork,
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
    until,
    worker_pid,
)

from curator.errors import CuratorError, InputError
from curator_pipelines.executors import MAX_ATTEMPTS, LocalExecutor, Task
from curator_pipelines.executors import slot as slot_module


class TestSettings:
    def test_one_worker_per_device_unless_told(self) -> None:
        assert LocalExecutor().workers == 1
        assert LocalExecutor(devices=["cuda:0", "cuda:1"]).workers == 2
        assert LocalExecutor(workers=3).workers == 3

    def test_workers_share_the_cores(self) -> None:
        assert LocalExecutor(workers=3, cpus=8).cpus_per_worker == 2
        assert LocalExecutor(workers=8, cpus=2).cpus_per_worker == 1

    def test_describe(self) -> None:
        assert LocalExecutor(cpus=2).describe() == "1 worker process, 2 threads"
        assert LocalExecutor(workers=4, cpus=4).describe() == "4 worker processes, 1 thread each"
        assert (
            LocalExecutor(devices=["cuda:0", "cuda:1"], cpus=8).describe()
            == "2 worker processes, 4 threads each, on cuda:0, cuda:1"
        )

    def test_nonsense_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            LocalExecutor(workers=0)
        with pytest.raises(ValueError, match="devices is empty"):
            LocalExecutor(devices=[])

    def test_devices_and_threads_reach_the_workers(self, tmp_path: Path) -> None:
        executor = LocalExecutor(devices=["left", "right"], cpus=6)

        values = {o.unwrap() for o in executor.map(Calls(cpus_and_device), range(200))}

        assert values <= {(3, "left", "3"), (3, "right", "3")}
        assert values

    def test_workers_work_side_by_side(self, tmp_path: Path) -> None:
        # Each of the two tasks waits for the other.
        assert all(o.unwrap() for o in LocalExecutor(workers=2).map(Calls(meet), [tmp_path, tmp_path]))

    def test_no_more_workers_than_tasks(self, tmp_path: Path) -> None:
        list(LocalExecutor(workers=8).map(HoldsLockFile(tmp_path), ["a"]))

        assert len(list(tmp_path.glob("*.lock"))) == 1

    def test_work_is_not_done_here(self) -> None:
        (outcome,) = LocalExecutor().map(Calls(worker_pid), [None])

        assert outcome.unwrap() != os.getpid()


class TestErrors:
    def test_the_workers_traceback_is_a_note(self) -> None:
        (outcome,) = LocalExecutor().map(Calls(fail_on_odd), [1])

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
    def test_an_error_that_cannot_travel_is_named(self, raised: object, message: str) -> None:
        (outcome,) = LocalExecutor().map(Calls(raise_payload), [raised])

        assert type(outcome.error) is CuratorError
        assert message in str(outcome.error)

    @pytest.mark.parametrize("function", [lock_on_odd, one_way_on_odd])
    def test_a_value_that_cannot_travel_is_an_error(self, function: object) -> None:
        outcomes = {o.task.number: o for o in LocalExecutor().map(Calls(function), range(3))}

        assert [outcomes[n].unwrap() for n in (0, 2)] == [0, 2]
        assert isinstance(outcomes[1].error, CuratorError)
        assert "task 1 (1)" in str(outcomes[1].error)

    def test_a_payload_that_cannot_travel_is_an_error(self) -> None:
        payloads = [2, threading.Lock(), threading.Lock(), threading.Lock(), 3]

        outcomes = {o.task.number: o for o in LocalExecutor().map(Calls(square), payloads)}

        assert [outcomes[n].unwrap() for n in (0, 4)] == [4, 9]
        assert [type(outcomes[n].error) for n in (1, 2, 3)] == [TypeError] * 3

    def test_an_error_in_open_stops_all_workers(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            list(LocalExecutor(workers=2).map(OpensWith(open_input_error), range(9)))

        assert "in open_input_error" in caught.value.__notes__[0]


class TestLostWorkers:
    @pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGTERM", "abort", "exit", "half a message"])
    def test_its_task_is_tried_again(self, how: str) -> None:
        payloads = [Deadly(0), Deadly(1, how), Deadly(0)]

        outcomes = {o.task.number: o for o in LocalExecutor().map(Calls(survive), payloads)}

        assert [outcomes[n].unwrap() for n in range(3)] == [0, 1, 0]
        assert [outcomes[n].task.attempt for n in range(3)] == [0, 1, 0]

    def test_a_worker_that_only_hangs_up_is_lost_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slot_module, "LEAVE_SECONDS", 0.1)

        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(1, "hang up")])

        assert outcome.unwrap() == 1

    def test_a_fork_does_not_hide_its_workers_death(self, tmp_path: Path) -> None:
        (outcome,) = LocalExecutor().map(Calls(die_beside_a_fork), [tmp_path])

        assert outcome.unwrap() == "outlived by ['fork.lock']"

    @pytest.mark.parametrize(("how", "cause"), [("SIGKILL", "SIGKILL"), ("abort", "SIGABRT"), ("exit", "exit code 3")])
    def test_a_task_that_kills_every_worker_is_given_up(self, how: str, cause: str) -> None:
        payloads = [Deadly(0), Deadly(MAX_ATTEMPTS, how), Deadly(0)]

        outcomes = {o.task.number: o for o in LocalExecutor(workers=2).map(Calls(survive), payloads)}

        assert sorted(outcomes) == [0, 1, 2]
        assert (outcomes[0].unwrap(), outcomes[2].unwrap()) == (0, 0)
        lost = outcomes[1]
        assert lost.lost
        assert lost.task == Task(1, payloads[1], attempt=MAX_ATTEMPTS)
        assert isinstance(lost.error, CuratorError)
        assert "task 1 (Deadly(" in str(lost.error)
        assert cause in str(lost.error)

    def test_a_task_may_use_all_its_attempts(self) -> None:
        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(MAX_ATTEMPTS - 1)])

        assert outcome.unwrap() == MAX_ATTEMPTS - 1

    def test_many_losses_over_many_tasks_end_nothing(self) -> None:
        payloads = [Deadly(deaths=n % 2) for n in range(12)]

        values = [o.unwrap() for o in LocalExecutor(workers=2).map(Calls(survive), payloads)]

        assert Counter(values) == {0: 6, 1: 6}

    @pytest.mark.parametrize(("deaths", "taken_back", "samples"), [(1, 1, 10), (MAX_ATTEMPTS, MAX_ATTEMPTS, 0)])
    def test_progress_of_a_lost_attempt_is_taken_back(self, deaths: int, taken_back: int, samples: int) -> None:
        total: Counter[str] = Counter()
        seen = []

        def on_progress(increments: dict[str, int]) -> None:
            seen.append(increments)
            total.update(increments)

        list(LocalExecutor().map(Calls(survive), [Deadly(deaths)], on_progress=on_progress))

        assert seen.count({"samples": -5}) == taken_back
        assert total == {"samples": samples}

    def test_a_few_deaths_in_open_are_got_over(self, tmp_path: Path) -> None:
        stage = DiesAtOpens(tmp_path, deadly={0, 1})

        outcomes = list(LocalExecutor().map(stage, [Deadly(0), Deadly(0)]))

        assert [o.unwrap() for o in outcomes] == [0, 0]

    def test_deaths_in_open_are_forgotten_with_every_finished_task(self, tmp_path: Path) -> None:
        stage = DiesAtOpens(tmp_path, deadly={0, 1, 3, 4})

        outcomes = list(LocalExecutor().map(stage, [Deadly(0), Deadly(1)]))

        assert [o.unwrap() for o in outcomes] == [0, 1]

    def test_an_idle_worker_takes_over(self, tmp_path: Path) -> None:
        payloads = [tmp_path / "noted"] * 2
        pids = []

        for outcome in LocalExecutor(workers=2).map(Calls(die_after_the_other), payloads):
            pids.append(outcome.unwrap())
            payloads[0].touch()

        assert pids == [pids[0]] * 2

    def test_ctrl_c_is_not_for_workers(self) -> None:
        (outcome,) = LocalExecutor().map(Calls(interrupt_itself), [None])

        assert outcome.unwrap() == "not impressed"

    def test_deaths_in_open_without_end_are_an_error(self) -> None:
        with pytest.raises(CuratorError, match=r"3 workers in a row died while they started.*SIGKILL"):
            list(LocalExecutor(workers=2).map(OpensWith(open_killed), range(9)))


class TestEnds:
    def test_closing_stops_a_worker_in_the_middle_of_a_task(self, tmp_path: Path) -> None:
        stage = HoldsLockFile(tmp_path)
        with closing(LocalExecutor(workers=2).map(stage, ["hang", "beside another"])) as outcomes:
            assert next(outcomes).unwrap() == "beside another"
            assert len(list(holders(tmp_path))) == 2

        assert list(holders(tmp_path)) == []

    def test_an_error_on_the_driver_stops_the_workers(self, tmp_path: Path) -> None:
        def payloads() -> Iterator[str]:
            yield from ("hang", "quick", "quick")
            until(lambda: bool(list(holders(tmp_path))), "a worker")
            raise InputError("no more")

        with pytest.raises(InputError):
            list(LocalExecutor(workers=2).map(HoldsLockFile(tmp_path), payloads()))

        assert list(holders(tmp_path)) == []

    def test_no_worker_is_left_at_the_end(self, tmp_path: Path) -> None:
        list(LocalExecutor(workers=2).map(HoldsLockFile(tmp_path), ["a"] * 5))

        assert list(holders(tmp_path)) == []

    def test_workers_end_in_peace_when_all_is_done(self, tmp_path: Path) -> None:
        list(LocalExecutor().map(SaysGoodbye(tmp_path), ["a"]))

        assert (tmp_path / "goodbye").exists()


@contextmanager
def driver(*command: str, folder: Path, payload: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a process group of its own, as a terminal would."""
    process = subprocess.Popen(
        [sys.executable, *command, str(folder), payload],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


class TestPrograms:
    def test_run_as_a_module(self, tmp_path: Path) -> None:
        with driver("-m", "driver_for_tests", folder=tmp_path, payload="a") as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert (process.returncode, sorted(out.splitlines()), err) == (0, ["0 a", "1 a", "2 a"], "")

    def test_run_as_a_console_script(self, tmp_path: Path) -> None:
        script = tmp_path / "curator"
        script.write_text(
            "import sys\nfrom driver_for_tests import main\nif __name__ == '__main__':\n    sys.exit(main())"
        )

        with driver(str(script), folder=tmp_path, payload="a") as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert (process.returncode, sorted(out.splitlines()), err) == (0, ["0 a", "1 a", "2 a"], "")

    def test_a_program_without_a_guard_ends_with_an_error(self, tmp_path: Path) -> None:
        script = tmp_path / "unguarded.py"
        script.write_text("from driver_for_tests import main\nmain()\n")

        with driver(str(script), folder=tmp_path, payload="a") as process:
            _, err = process.communicate(timeout=PATIENCE)

        assert process.returncode == 1
        assert "workers in a row died while they started, the last by exit code 1" in err

    def test_workers_die_with_a_killed_driver(self, tmp_path: Path) -> None:
        with driver("-m", "driver_for_tests", folder=tmp_path, payload="hang") as process:
            _wait_for_two_workers(tmp_path)

            os.kill(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)

            until(lambda: not list(holders(tmp_path)), "the workers' end")

    def test_ctrl_c_ends_the_driver_and_its_workers(self, tmp_path: Path) -> None:
        with driver("-m", "driver_for_tests", folder=tmp_path, payload="hang") as process:
            _wait_for_two_workers(tmp_path)

            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)

            until(lambda: not list(holders(tmp_path)), "the workers' end")
        assert (process.returncode, out) == (130, "interrupted\n")
        # Workers that took the interrupt for theirs would show tracebacks.
        assert err == ""

    def test_ctrl_c_does_not_reach_a_worker_that_starts(self, tmp_path: Path) -> None:
        script = tmp_path / "interrupting.py"
        script.write_text(
            "import os, signal\n"
            "from driver_for_tests import main\n"
            "if __name__ == '__mp_main__':\n    os.kill(os.getpid(), signal.SIGINT)\n"
            "if __name__ == '__main__':\n    main()\n"
        )

        with driver(str(script), folder=tmp_path, payload="a") as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert (sorted(out.splitlines()), err) == (["0 a", "1 a", "2 a"], "")


def _wait_for_two_workers(folder: Path) -> None:
    until(lambda: len(list(folder.glob("*.begun"))) == 2, "two tasks that run")
    assert len(list(holders(folder))) == 2
