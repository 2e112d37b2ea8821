"""Kill runs: SIGKILL of driver, workers, actors and raylets at random moments of every stage.

    python -m benchmarks.chaos [HITS] [SEED]

Needs the pool of CURATOR_TEST_DATA. After each hit the same command runs again; at the end every file must be
that of a run that nobody disturbed, finished parts must not have been written again, and all the while a watcher
reads every file that appears under a final name.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))
EXECUTORS = {"local": ["--workers", "2"], "ray": ["--workers", "2", "--address", "local"]}
# Stage of a hit -> the stage of run.json, and what must be missing for it to run.
STAGES = {"embed": ("pool", None), "search": ("select", ("selection", "shards")), "pack": ("pack", ("shards",))}
KINDS = {"local": ("driver", "worker"), "ray": ("driver", "actor", "raylet")}
COMMAND = [
    *("--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32", "--device", "cpu"),
    *("--budget", "20%", "--clusters", "50", "--shard-size", "100"),
]


class Watcher(threading.Thread):
    """Reads every file of a run directory that is new under its final name."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.seen, self.broken = out, set[tuple[str, int, int]](), list[str]()
        self.over = threading.Event()

    def run(self) -> None:
        """Look again and again until `over`."""
        while not self.over.wait(0.02):
            for path in self.out.rglob("*"):
                with suppress(FileNotFoundError):
                    state = path.stat()
                    key = (str(path), state.st_ino, state.st_mtime_ns)
                    if path.is_file() and ".curator-tmp" not in str(path) and key not in self.seen:
                        self.seen.add(key)
                        self._read(path)

    def _read(self, path: Path) -> None:
        try:
            if path.suffix == ".npy":
                np.load(path)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".tar" and (path.stat().st_size % 512 or any(path.read_bytes()[-1024:])):
                raise ValueError("no end mark")
        except FileNotFoundError:
            return
        except Exception as error:
            self.broken.append(f"{path}: {error}")


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


def start(executor: str, out: Path) -> subprocess.Popen[bytes]:
    flags = ["--target", str(DATA / "target-000000.tar"), "--pool", *pool_shards(), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "curator_pipelines", "select", *flags, *COMMAND, *EXECUTORS[executor]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a command and of all that it started."""
    process.communicate()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.returncode


def stage_of(out: Path) -> str:
    """The stage that run.json calls running."""
    with suppress(OSError, ValueError):
        stages = json.loads((out / "run.json").read_text())["stages"]
        return next((name for name, stage in stages.items() if stage["state"] == "running"), "")
    return ""


def hit(executor: str, kind: str, stage: str, out: Path, seconds: float, chance: random.Random) -> bool:
    """Run the command and kill one process in the middle of a stage; False if it was over too soon."""
    started = time.time()
    process = start(executor, out)
    while not (stage_of(out) == stage and (out / "run.json").stat().st_mtime > started):
        if process.poll() is not None:
            finish(process)
            return False
        time.sleep(0.02)
    time.sleep(chance.uniform(0, seconds))
    for _ in range(200):
        victims = processes(process.pid)[kind]
        if stage_of(out) != stage or process.poll() is not None:
            break
        if victims:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
            finish(process)
            return True
        time.sleep(0.02)
    finish(process)
    return False


def content(out: Path) -> dict[str, bytes]:
    """What must be the same bytes: done-marks hold times, so of them the names."""
    found = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file() and p.name != "run.json"}
    return {name: b"" if "/done/" in name else path.read_bytes() for name, path in found.items()}


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Done-marks with their states: one that is written again has another."""
    marks = [*out.glob("*/done/*.json"), *(out / "packing").rglob("*")]
    return {
        str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in marks if p.is_file() and ".curator-tmp" not in p.name
    }


def strike(
    executor: str, stage: str, hits: int, reference: Path, seconds: dict[str, float], seed: int
) -> dict[str, int]:
    """All hits of one stage; returns what was counted."""
    chance = random.Random(f"{executor} {stage} {seed}")
    name, missing = STAGES[stage]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        shutil.copytree(reference, out)
        if missing is None:
            shutil.rmtree(out / "pool")
        watcher = Watcher(out)
        watcher.start()
        before: dict[str, tuple[int, int]] = {}
        while counts["hits"] < hits and counts["misses"] < 10 * hits:
            for gone in missing or ("selection", "shards"):
                shutil.rmtree(out / gone, ignore_errors=True)
            if missing is None and len(list((out / "pool" / "done").glob("*"))) >= len(pool_shards()) - 1:
                shutil.rmtree(out / "pool")
                before = {}
            kind = KINDS[executor][counts["hits"] % len(KINDS[executor])]
            done = hit(executor, kind, name, out, seconds[name], chance)
            counts["hits" if done else "misses"] += 1
            counts[kind] += done
            now = finished(out)
            counts["redone"] += sum(now.get(mark, state) != state for mark, state in before.items())
            before = now
            print(f"  {executor} {stage}: {kind} {'hit' if done else 'missed'}", file=sys.stderr, flush=True)
        code = finish(start(executor, out))
        now = finished(out)
        counts["redone"] += sum(now.get(mark, state) != state for mark, state in before.items())
        watcher.over.set()
        watcher.join()
        ours, theirs = content(out), content(reference)
        counts["exit code"] = code
        counts["differing files"] = sum(ours.get(n) != theirs.get(n) for n in ours.keys() | theirs.keys())
        counts["temporaries"] = sum(".curator-tmp" in n for n in ours)
        counts["watched"] = len(watcher.seen)
        counts["half-written"] = len(watcher.broken)
        for line in watcher.broken[:3]:
            print(line, file=sys.stderr)
    return dict(counts)


def main() -> int:
    hits, seed = (int(word) for word in [*sys.argv[1:], *("5", "0")[len(sys.argv) - 1 :]])
    names = ("hits", "differing files", "temporaries", "redone", "watched", "half-written", "exit code")
    print("| executor | stage | " + " | ".join(names) + " | killed |\n" + "|---" * (len(names) + 3) + "|")
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "run"
        assert finish(start("local", reference)) == 0
        stages = json.loads((reference / "run.json").read_text())["stages"]
        seconds = {name: stage["seconds"] for name, stage in stages.items()}
        print(f"undisturbed: {seconds}", file=sys.stderr, flush=True)
        for executor in EXECUTORS:
            for stage in STAGES:
                counts = strike(executor, stage, hits, reference, seconds, seed)
                killed = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS[executor] if counts.get(kind))
                print(
                    f"| {executor} | {stage} | " + " | ".join(str(counts.get(n, 0)) for n in names) + f" | {killed} |"
                )
                sys.stdout.flush()
                bad |= counts["hits"] < hits or any(counts.get(n) for n in names[1:4] + names[5:])
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
