import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stages_for_tests import (
    PATIENCE,
    Calls,
    Deadly,
    cpus_and_device,
    die_beside_a_fork,
    holders,
    survive,
    until,
)

from curator_pipelines.executors import MAX_ATTEMPTS, LocalExecutor, local_handle

# The start of a script with a stage of its own.
OF_MAIN = """import driver_for_tests
class OfMain(driver_for_tests.HoldsLockFile):
    pass
driver_for_tests.HoldsLockFile = OfMain
"""


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


class TestLostWorkers:
    @pytest.mark.parametrize(("how", "cause"), [("SIGKILL", "SIGKILL"), ("abort", "SIGABRT"), ("exit", "exit code 3")])
    def test_the_last_cause_is_named(self, how: str, cause: str) -> None:
        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(MAX_ATTEMPTS, how)])

        assert cause in str(outcome.error)

    def test_a_worker_that_only_hangs_up_is_lost_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_handle, "LEAVE_SECONDS", 0.1)

        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(1, "hang up")])

        assert outcome.unwrap() == 1

    def test_a_fork_does_not_hide_its_workers_death(self, tmp_path: Path) -> None:
        (outcome,) = LocalExecutor().map(Calls(die_beside_a_fork), [tmp_path])

        assert outcome.unwrap() == "outlived by ['fork.lock']"

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

    def test_a_program_needs_no_guard(self, tmp_path: Path) -> None:
        script = tmp_path / "unguarded.py"
        script.write_text("from driver_for_tests import main\nmain()\n")

        with driver(str(script), folder=tmp_path, payload="a") as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert (process.returncode, sorted(out.splitlines()), err) == (0, ["0 a", "1 a", "2 a"], "")

    def test_a_program_whose_own_stage_runs_without_a_guard_ends_with_an_error(self, tmp_path: Path) -> None:
        script = tmp_path / "unguarded.py"
        script.write_text(f"{OF_MAIN}driver_for_tests.main()\n")

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
            f"{OF_MAIN}import os, signal\n"
            "if __name__ == '__mp_main__':\n    os.kill(os.getpid(), signal.SIGINT)\n"
            "if __name__ == '__main__':\n    driver_for_tests.main()\n"
        )

        with driver(str(script), folder=tmp_path, payload="a") as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert (sorted(out.splitlines()), err) == (["0 a", "1 a", "2 a"], "")


def _wait_for_two_workers(folder: Path) -> None:
    until(lambda: len(list(folder.glob("*.begun"))) == 2, "two tasks that run")
    assert len(list(holders(folder))) == 2
