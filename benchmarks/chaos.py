"""Kill runs: SIGKILL of driver, workers, actors and raylets at random moments of every stage.

    python -m benchmarks.chaos [HITS] [SEED] [EXECUTOR ...]

Needs the pool of CURATOR_TEST_DATA, and moto for the rows with OUT on S3. After each hit the same command runs again;
at the end every file must be that of a run that nobody disturbed, finished parts must not have been written again, and
all the while a watcher reads every file that appears under a final name.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq

from benchmarks.mock_s3 import mock_s3

DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))
EXECUTORS = {
    "local": ["--workers", "2"],
    "ray": ["--workers", "2", "--address", "local"],
    "local, OUT on S3": ["--workers", "2"],
}
# Stage of a hit -> the stage of run.json, and what must be missing for it to run.
STAGES = {"embed": ("pool", None), "search": ("select", ("selection", "shards")), "pack": ("pack", ("shards",))}
HANG_SECONDS = 900
KINDS = {
    "local": ("driver", "worker"),
    "ray": ("driver", "actor", "raylet"),
    "local, OUT on S3": ("driver", "worker"),
}
COMMAND = [
    *("--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32", "--device", "cpu"),
    *("--budget", "20%", "--clusters", "50", "--shard-size", "100"),
]


@dataclass(frozen=True)
class Out:
    """A run directory, on disk or on S3, looked at from outside."""

    files: Any
    url: str

    @classmethod
    def at(cls, url: str) -> Out:
        """Below this URL; listings are never taken from a cache."""
        if url.startswith("s3://"):
            return cls(fsspec.filesystem("s3", use_listings_cache=False), url)
        return cls(fsspec.filesystem("file"), url)

    def listed(self) -> dict[str, Any]:
        """Name -> what tells one writing of a file from another. What is listed may be gone already."""
        root = self.files._strip_protocol(self.url) + "/"
        with suppress(FileNotFoundError):
            found = self.files.find(self.url, detail=True)
            return {
                path.removeprefix(root): [i.get(key) for key in ("ino", "mtime", "ETag", "LastModified")]
                for path, i in found.items()
            }
        return {}

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        data: bytes = self.files.cat_file(f"{self.url}/{name}")
        return data

    def remove(self, name: str) -> None:
        """Remove a folder, if it is there."""
        with suppress(FileNotFoundError):
            self.files.rm(f"{self.url}/{name}", recursive=True)

    def record(self) -> Any:
        """The content of run.json."""
        return json.loads(self.read("run.json"))


class Watcher(threading.Thread):
    """Reads every file of a run directory that is new under its final name."""

    def __init__(self, out: Out) -> None:
        super().__init__(daemon=True)
        self.out, self.seen, self.broken = out, set[str](), list[str]()
        self.over = threading.Event()

    def run(self) -> None:
        """Look again and again until `over`."""
        while not self.over.wait(0.02):
            for name, state in self.out.listed().items():
                key = f"{name} {state}"
                if ".curator-tmp" not in name and key not in self.seen:
                    self.seen.add(key)
                    self._read(name)

    def _read(self, name: str) -> None:
        try:
            data = self.out.read(name)
            if name.endswith(".npy"):
                np.load(io.BytesIO(data))
            elif name.endswith(".json"):
                json.loads(data)
            elif name.endswith(".parquet"):
                pq.read_table(io.BytesIO(data))
            elif name.endswith(".tar") and (len(data) % 512 or any(data[-1024:])):
                raise ValueError("no end mark")
        except FileNotFoundError:
            return
        except Exception as error:
            self.broken.append(f"{name}: {error}")


def processes(group: int) -> dict[str, list[int]]:
    """Our processes below a driver, by kind."""
    found: dict[str, list[int]] = {"driver": [group], "worker": [], "actor": [], "raylet": []}
    todo = [group]
    while todo:
        for path in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            with suppress(OSError):
                for pid in map(int, path.read_text().split()):
                    todo.append(pid)
                    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    kind = next((k for k, mark in MARKS.items() if mark in line.split(" --")[0][:200]), None)
                    if kind:
                        found[kind].append(pid)
    return found


MARKS = {"worker": "spawn_main", "actor": "ray::RayWorker", "raylet": "raylet/raylet"}


def pool_shards() -> list[str]:
    """All shards of the pool, or the first CHAOS_SHARDS."""
    return sorted(map(str, DATA.glob("pool-*.tar")))[: int(os.environ.get("CHAOS_SHARDS", "100"))]


def start(executor: str, out: Out) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own."""
    flags = ["--target", str(DATA / "target-000000.tar"), "--pool", *pool_shards(), "--out", out.url]
    return subprocess.Popen(
        [sys.executable, "-m", "curator_pipelines", "select", *flags, *COMMAND, *EXECUTORS[executor]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a command and of all that it started; one that hangs is ended."""
    try:
        told = process.communicate(timeout=HANG_SECONDS)[1].decode()
    except subprocess.TimeoutExpired:
        told = f"it hung for {HANG_SECONDS} seconds"
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        print(f"  exit code {code}: {told.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
    return code


def wait_for_end(pids: list[int]) -> None:
    """Ray's actors outlive a killed driver for a moment, and would write into folders that are removed next."""
    deadline = time.monotonic() + HANG_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)


def running(out: Out) -> tuple[str, Any]:
    """The stage that run.json calls running, and which writing of run.json says so."""
    with suppress(OSError, ValueError):
        written = out.listed().get("run.json")
        stages = out.record()["stages"]
        return next((name for name, stage in stages.items() if stage["state"] == "running"), ""), written
    return "", None


def hit(executor: str, kind: str, stage: str, out: Out, seconds: float, chance: random.Random) -> bool:
    """Run the command and kill one process in the middle of a stage; False if it was over too soon."""
    _, before = running(out)
    process = start(executor, out)
    while True:
        name, written = running(out)
        if name == stage and written != before:
            break
        if process.poll() is not None:
            finish(process)
            return False
        time.sleep(0.02)
    time.sleep(chance.uniform(0, seconds))
    for _ in range(200):
        victims = processes(process.pid)[kind]
        if running(out)[0] != stage or process.poll() is not None:
            break
        if victims:
            ours = [pid for pids in processes(process.pid).values() for pid in pids]
            with suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
            finish(process)
            wait_for_end(ours)
            return True
        time.sleep(0.02)
    finish(process)
    return False


def content(out: Out) -> dict[str, bytes]:
    """What must be the same bytes: done-marks hold times, so of them the names."""
    names = [name for name in out.listed() if name not in ("run.json", "owner.json", "progress.json")]
    return {name: b"" if "/done/" in name else out.read(name) for name in names}


def finished(out: Out) -> dict[str, Any]:
    """Done-marks with their states: one that is written again has another."""
    return {
        name: state
        for name, state in out.listed().items()
        if ("/done/" in name or name.startswith("packing/")) and ".curator-tmp" not in name
    }


def copy(reference: Out, out: Out) -> None:
    """A finished run to begin with."""
    for name in reference.listed():
        if name not in ("owner.json", "progress.json"):
            out.files.makedirs(f"{out.url}/{name}".rpartition("/")[0], exist_ok=True)
            out.files.pipe_file(f"{out.url}/{name}", reference.read(name))


def strike(
    executor: str, stage: str, hits: int, reference: Out, out: Out, seconds: dict[str, float], seed: str
) -> dict[str, int]:
    """All hits of one stage; returns what was counted."""
    chance = random.Random(f"{executor} {stage} {seed}")
    name, missing = STAGES[stage]
    counts: Counter[str] = Counter()
    copy(reference, out)
    if missing is None:
        out.remove("pool")
    watcher = Watcher(out)
    watcher.start()
    before: dict[str, Any] = {}
    while counts["hits"] < hits and counts["misses"] < 10 * hits:
        for gone in missing or ("selection", "shards"):
            out.remove(gone)
        if missing is None and sum(n.startswith("pool/done/") for n in out.listed()) >= len(pool_shards()) - 1:
            out.remove("pool")
            before = {}
        kind = KINDS[executor][counts["hits"] % len(KINDS[executor])]
        done = hit(executor, kind, name, out, seconds[name], chance)
        counts["hits" if done else "misses"] += 1
        counts[kind] += done
        now = finished(out)
        counts["redone"] += sum(now.get(mark, state) != state for mark, state in before.items())
        before = now
        print(f"  {executor} {stage}: {kind} {'hit' if done else 'missed'}", file=sys.stderr, flush=True)
    counts["exit code"] = finish(start(executor, out))
    now = finished(out)
    counts["redone"] += sum(now.get(mark, state) != state for mark, state in before.items())
    watcher.over.set()
    watcher.join()
    ours, theirs = content(out), content(reference)
    counts["differing files"] = sum(ours.get(n) != theirs.get(n) for n in ours.keys() | theirs.keys())
    counts["temporaries"] = sum(".curator-tmp" in n for n in ours)
    counts["watched"] = len(watcher.seen)
    counts["half-written"] = len(watcher.broken)
    for line in watcher.broken[:3]:
        print(line, file=sys.stderr)
    return dict(counts)


def main() -> int:
    """Print a line for each executor and stage; 1 if anything was not as promised."""
    hits, seed, *executors = [*sys.argv[1:], *("5", "0")[len(sys.argv) - 1 :]]
    names = ("hits", "differing files", "temporaries", "redone", "watched", "half-written", "exit code")
    print("| executor | stage | " + " | ".join(names) + " | killed |\n" + "|---" * (len(names) + 3) + "|")
    bad = False
    with tempfile.TemporaryDirectory() as folder, mock_s3():
        fsspec.filesystem("s3").mkdir("chaos")
        reference = Out.at(f"{folder}/reference")
        assert finish(start("local", reference)) == 0
        seconds = {name: stage["seconds"] for name, stage in reference.record()["stages"].items()}
        print(f"undisturbed: {seconds}", file=sys.stderr, flush=True)
        for executor in executors or EXECUTORS:
            for stage in STAGES:
                out = Out.at(f"s3://chaos/{stage}" if "S3" in executor else f"{folder}/{executor}-{stage}")
                counts = strike(executor, stage, int(hits), reference, out, seconds, seed)
                killed = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS[executor] if counts.get(kind))
                print(
                    f"| {executor} | {stage} | " + " | ".join(str(counts.get(n, 0)) for n in names) + f" | {killed} |",
                    flush=True,
                )
                bad |= counts["hits"] < int(hits) or any(counts.get(n) for n in names[1:4] + names[5:])
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
