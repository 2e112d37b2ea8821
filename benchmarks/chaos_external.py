"""Kill external workers and their driver: SIGKILL and SIGTERM, by a clock of chance, of eight processes on two hosts.

    python -m benchmarks.chaos_external [--kills N] [--store disk,s3] [--workers N] [--minutes M] [--ready RUN]

On a disk flock(2) fails with ENOSYS, as on Lustre mounted without it; with `s3` OUT lies in a mock store on loopback.
Workers that end are started again, as a batch system does, and so is the driver. Victims hold a claim: a worker
(its claim lapses), its process (an attempt, at once), a worker by SIGTERM (the task is given back), or the driver. When
a run is done before there were enough kills, OUT is emptied and it begins again; the last run goes on to its end. Then
every file must be that of a local run that nobody disturbed, and nothing may be left besides. Needs CURATOR_TEST_DATA.

With `--ready RUN` target and pool are the embeddings of a finished run: parts are copied instead of encoded, no process
loads torch, and a worker starts in a tenth of the time. What is claimed, written and packed is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos import first_samples, open_uploads, upload_pool
from benchmarks.chaos_hits import Command, finish, start
from benchmarks.data import DATA
from benchmarks.mock_s3 import mock_s3
from benchmarks.run_files import Out

__all__ = ["Chaos", "pool_and_target"]

SELECT = (
    *("select", "--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32", "--no-report"),
    *("--device", "cpu", "--budget", "20%", "--clusters", "20", "--shard-size", "20", "--search", "ivf"),
)
SELECT_READY = ("select", "--no-report", "--budget", "20%", "--clusters", "20", "--shard-size", "5", "--search", "ivf")
KINDS = ("worker", "process", "worker", "given back", "worker", "driver")
COLUMNS = ("kills", *dict.fromkeys(KINDS), "runs", "given up", "differing", "left", "uploads", "exit code")
PROMISED = ("given up", "differing", "left", "uploads", "exit code")
LOOK_SECONDS = 0.1
# A task is given up when it is lost a third time; so a victim's task was lost at most once.
MOST_LOSSES = 1


def pool_and_target(folder: Path, endpoint: str, shards: int, images: int) -> tuple[str, ...]:
    """The flags for a small target on disk and a pool in the mock store."""
    pool = upload_pool(endpoint, shards, images)
    (folder / "target.tar").write_bytes(first_samples(DATA / "target-000000.tar", 40))
    return ("--target", str(folder / "target.tar"), "--pool", *pool)


@dataclass
class Chaos:
    """One driver, its workers, and what is done to them.

    Attributes:
        out: the run directory.
        flags: of the command, without `--out` and `--workers`.
        folder: for what the processes say.
        workers: how many.
        lapse: seconds after which a claim lapses.
        chance: of victims and waits.
        seconds: between two kills at most.
    """

    out: Out
    flags: tuple[str, ...]
    folder: Path
    workers: int
    lapse: float
    chance: random.Random
    seconds: float = 6.0
    counts: Counter[str] = field(default_factory=Counter)

    def run(self, kills: int, end: float) -> int:
        """Kill until there were enough or the time is over, then let the run end; returns its exit code."""
        hosts = [f"host-{1 + number % 2}" for number in range(self.workers)]
        workers = {number: self._start_worker(number, host) for number, host in enumerate(hosts)}
        driver = self._start_driver()
        next_kill = time.monotonic() + self.chance.uniform(self.seconds / 6, self.seconds)
        try:
            while True:
                time.sleep(LOOK_SECONDS)
                for number, worker in workers.items():
                    if worker.poll() is not None:
                        workers[number] = self._start_worker(number, hosts[number])
                is_enough = self.counts["kills"] >= kills or time.monotonic() > end
                code = driver.poll()
                if code is not None:
                    self.counts["given up"] += code == 1
                    if is_enough and code != -signal.SIGKILL:
                        return code
                    if code == 0:
                        self.out.remove()
                    driver = self._start_driver()
                elif not is_enough and time.monotonic() > next_kill and self._kill(driver):
                    next_kill = time.monotonic() + self.chance.uniform(self.seconds / 6, self.seconds)
        finally:
            for process in (driver, *workers.values()):
                process.kill()
                process.wait()

    def _kill(self, driver: subprocess.Popen[bytes]) -> bool:
        """One kill in the middle of a task; False where there is no task to be in the middle of."""
        kind = KINDS[self.counts["kills"] % len(KINDS)]
        holders = [pid for pid, losses in self._holders() if losses <= MOST_LOSSES]
        if not holders:
            return False
        pid = self.chance.choice(holders)
        if kind == "process":
            pid = next(iter(_children(pid)), 0)
        if kind == "driver":
            pid = driver.pid
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if kind == "given back" else signal.SIGKILL)
            self.counts["kills"] += 1
            self.counts[kind] += 1
            print(f"  {kind} hit", file=sys.stderr, flush=True)
        return True

    def _holders(self) -> list[tuple[int, int]]:
        """Process and losses of every task that is worked on now."""
        holders = []
        for name in self.out.listed():
            if "/claims/" in name and not name.rpartition("/")[2].startswith("."):
                with suppress(OSError, ValueError):
                    pid = json.loads(self.out.read(name))["pid"]
                    # A worker that was killed has its claim for a while.
                    if Path(f"/proc/{pid}/cmdline").read_bytes():
                        holders.append((pid, int(name.rpartition("-")[2])))
        return holders

    def _start_driver(self) -> subprocess.Popen[bytes]:
        self.counts["runs"] += 1
        return self._start("head", f"driver-{self.counts['runs']}", (*self.flags, "--workers", "external", "--out"))

    def _start_worker(self, number: int, host: str) -> subprocess.Popen[bytes]:
        return self._start(host, f"worker-{number}", ("work", "--device", "cpu"))

    def _start(self, host: str, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        pretended = (host, "--no-flock", "--lapse", str(self.lapse))
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.as_host", *pretended, "--", *command, self.out.url],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )


def _children(pid: int) -> list[int]:
    """Worker processes of a worker."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(child)
    return found


def strike(folder: Path, endpoint: str, flags: tuple[str, ...], store: str, given: argparse.Namespace) -> Counter[str]:
    """One series of kills; returns what was counted."""
    reference = Out.at(str(folder / "reference"))
    undisturbed = Command((*flags, "--workers", "1", "--out", reference.url), {})
    if not reference.listed() and finish(start(undisturbed)):
        sys.exit("the undisturbed run failed")
    out = Out.at("s3://chaos/external" if store == "s3" else str(folder / "external"), endpoint)
    logs = folder / f"logs-{store}"
    logs.mkdir()
    chance = random.Random(f"{store} {given.seed}")
    chaos = Chaos(out, flags, logs, given.workers, given.lapse, chance, 2.0 if given.ready else 6.0)
    counts = chaos.counts
    counts["exit code"] = chaos.run(given.kills, time.monotonic() + 60 * given.minutes)
    ours, theirs = out.content(), reference.content()
    counts["differing"] = sum(ours.get(name) != theirs.get(name) for name in theirs)
    left = sorted(ours.keys() - theirs.keys())
    counts["left"] = len(left)
    counts["uploads"] = len(open_uploads(endpoint)) if store == "s3" else 0
    print(*left[:5], sep="\n", end="\n" * bool(left), file=sys.stderr)
    for log in sorted(logs.glob("*.log")):
        text = log.read_text()
        if "Traceback" in text:
            print(f"  {log.name}: {text[-2000:]}", file=sys.stderr)
        for line in text.splitlines():
            if line.startswith("curator: ") and "interrupted" not in line:
                print(f"  {log.name}: {line}", file=sys.stderr)
    return counts


def main() -> int:
    """Print a line for each store; 1 if anything was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--store", default="disk,s3", help="where OUT is, with commas")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--lapse", type=float, default=15.0, help="seconds; 60 is what people have")
    parser.add_argument("--shards", type=int, default=11, help="of the pool")
    parser.add_argument("--images", type=int, default=200, help="of each of them")
    parser.add_argument("--minutes", type=float, default=600, help="after which nobody is killed any more")
    parser.add_argument("--ready", help="a finished run of this program's pool")
    parser.add_argument("--seed", default="0")
    given = parser.parse_args()
    print("| OUT on | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|")
    bad = False
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, mock_s3():
        folder, endpoint = Path(name), os.environ["AWS_ENDPOINT_URL"]
        if given.ready:
            ready = os.path.abspath(given.ready)
            flags = (*SELECT_READY, "--target", f"{ready}/target", "--pool", f"{ready}/pool")
            upload_pool(endpoint, given.shards, given.images)
        else:
            flags = (*SELECT, *pool_and_target(folder, endpoint, given.shards, given.images))
        for store in given.store.split(","):
            counts = strike(folder, endpoint, flags, store, given)
            print(f"| {store} | " + " | ".join(str(counts[column]) for column in COLUMNS) + " |", flush=True)
            bad |= counts["kills"] < given.kills or any(counts[column] for column in PROMISED)
            shutil.rmtree(folder / f"logs-{store}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
