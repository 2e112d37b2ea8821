"""A run of 100,000,000 rows by the command itself: `python -m benchmarks.large_run WORK [ROWS] [DIM] [LINE]`.

Ready embeddings of a synthetic pool in files of a million rows (64 dimensions unless told) are imported, indexed (SQ8)
and selected from: two targets, exact and by the index, with a deny-list of a million keys and `--dedup`. The first
selection is killed once, midway, and run again. The files are removed when they have been imported: 100M x 64 takes
30 GB at the most. Seconds, the memory of the driver and of the largest worker, and what was read by calls; arrays are
mapped, which counts in none of these. With LINE the table begins there, over what stands in WORK.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import describe_machine
from benchmarks.synthetic import Mixture, draw_target, make_mixture

PART_ROWS = 1_000_000
AT_A_TIME = 100_000
TARGETS = ("one", "two")
TARGET_ROWS = 700
DENIED = 1_000_000
WORKERS = "2"
DEFAULTS = ("100000000", "64", "0")
INTERVAL = 0.2


def main() -> None:
    """Print the table."""
    work, rows, dim, first = Path(sys.argv[1]), *(int(word) for word in [*sys.argv[2:], *DEFAULTS[len(sys.argv) - 2 :]])
    budget, filtered = str(rows // 1000), str(rows // 10_000)
    print(f"{rows:,} x {dim}, budget {budget}, with deny and dedup {filtered}; {describe_machine()}\n")
    print(
        "| what | seconds | driver, MB | largest worker, MB | read, MB | exit |\n|---|---|---|---|---|---|", flush=True
    )
    source, out = f"{work}/source", f"{work}/out"
    named = [word for name in TARGETS for word in ("--target", f"{name}={work}/{name}")]
    asked = ["--pool", f"{source}/pool", "--budget", budget, "--encoder", "lite0", "--manifest-only", "--no-report"]
    exact = ["select", *named, *asked, "--out", out]
    filters = ["--deny", f"{work}/deny.txt", "--dedup", "0.98", "--budget", filtered]
    ivf = ["--search", "ivf", "--recall", "0.95"]
    lines = [
        ("embed: import", ["embed", "--pool", f"{work}/ready", "--out", source, "--encoder", "lite0"]),
        ("select, exact, killed", exact),
        ("select, exact, again", exact),
        ("select, exact, deny and dedup", [*exact, *filters]),
        ("index, SQ8", ["index", "--out", out, "--factory", "IVF4096,SQ8"]),
        ("select, ivf .95", [*exact, *ivf]),
        ("select, ivf .95, deny and dedup", [*exact, *filters, *ivf]),
    ]
    if not first:
        started = time.perf_counter()
        write_all(work, rows, dim)
        print(f"| write the files | {time.perf_counter() - started:.0f} | | | | |", flush=True)
    for what, words in lines[first:]:
        _line(what, *words, killed_at="select" if what.endswith("killed") else None)
        if words[0] == "embed":
            shutil.rmtree(work / "ready", ignore_errors=True)
    for name in TARGETS:
        print(name, json.loads(Path(out, name, "selection", "selection.json").read_text())["index"])


def _line(what: str, *words: str, killed_at: str | None = None) -> None:
    """Run the command, and print a line of the table."""
    command = [sys.executable, "-m", "curator_pipelines", *words, "--workers", WORKERS]
    log = Path(words[words.index("--out") + 1] + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("ab") as file:
        began = file.tell()
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    driver = largest = read = 0.0
    seen: dict[int, float] = {}
    while process.poll() is None:
        time.sleep(INTERVAL)
        for pid in processes_of(process.pid):
            anonymous, seen[pid] = own_memory(pid), _read(pid, seen.get(pid, 0.0))
            if pid == process.pid:
                driver = max(driver, anonymous)
            else:
                largest = max(largest, anonymous)
        if killed_at and f"{killed_at}: ".encode() in log.read_bytes()[began:]:
            time.sleep(5)
            os.killpg(process.pid, signal.SIGKILL)
            killed_at = None
    read = sum(seen.values())
    seconds = time.perf_counter() - started
    cells = f"{seconds:.0f} | {driver:,.0f} | {largest:,.0f} | {read:,.0f} | {process.returncode}"
    print(f"| {what} | {cells} |", flush=True)


def processes_of(leader: int) -> list[int]:
    """All processes of a session."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            members.append(int(stat.parent.name))
    return members


def own_memory(pid: int) -> float:
    """MB of a process's own memory, mapped files apart; 0 of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0) / 1024


def _read(pid: int, before: float) -> float:
    """MB that a process has read by calls; mapped files are not read by calls."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split()[1]) / 2**20
    except OSError:
        return before


def write_all(work: Path, rows: int, dim: int) -> None:
    """The pool's files, the targets and the deny-list; what is there already stays."""
    mixture = make_mixture(rows, dim, 0)
    ends = np.cumsum(mixture.shares)
    parts = range(-(-rows // PART_ROWS)) if not (work / "source").exists() else range(0)
    # Forked, since the mixture takes gigabytes.
    jobs = [
        get_context("fork").Process(target=_write_files, args=(work / "ready", parts[own::2], mixture, ends, rows))
        for own in range(2)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    for seed, name in enumerate(TARGETS):
        write_ready(work / name, 0, draw_target(mixture, TARGET_ROWS, seed), f"{name}-")
    random = np.random.default_rng(0)
    denied = random.choice(rows, min(DENIED, rows // 10), replace=False)
    (work / "deny.txt").write_text("\n".join(f"{number:012d}" for number in denied.tolist()) + "\n")


def _write_files(folder: Path, parts: range, mixture: Mixture, ends: np.ndarray, rows: int) -> None:
    for part in parts:
        write_vectors(folder, part, mixture, ends, min(PART_ROWS, rows - part * PART_ROWS))


def write_vectors(folder: Path, part: int, mixture: Mixture, ends: np.ndarray, rows: int) -> None:
    """One file of ready embeddings with its keys, unless it is there; `ends` are the mixture's shares added up."""
    if (folder / "metadata" / f"metadata_{part}.parquet").exists():
        return
    random = np.random.default_rng(part)
    vectors = np.empty((rows, len(mixture.shape)), np.float16)
    noise = np.empty((AT_A_TIME, len(mixture.shape)), np.float32)
    # As `Mixture.draw`, which adds up all shares anew each time.
    for start in range(0, rows, AT_A_TIME):
        count = min(AT_A_TIME, rows - start)
        of = np.searchsorted(ends, random.random(count)).clip(max=len(ends) - 1)
        drawn = random.standard_normal(dtype=np.float32, out=noise)[:count]
        drawn *= mixture.shape
        drawn *= mixture.widths[of][:, None]
        drawn += mixture.centres[of]
        vectors[start : start + count] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    write_ready(folder, part, vectors, "", part * PART_ROWS)


def write_ready(folder: Path, part: int, vectors: np.ndarray, prefix: str, first: int = 0) -> None:
    """Vectors as ready embeddings; keys are the prefix and a number, from `first` on."""
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    np.save(folder / "img_emb" / f"img_emb_{part}.npy", vectors)
    keys = [f"{prefix}{number:012d}" for number in range(first, first + len(vectors))]
    pq.write_table(pa.table({"image_path": keys}), folder / "metadata" / f"metadata_{part}.parquet")


if __name__ == "__main__":
    main()
