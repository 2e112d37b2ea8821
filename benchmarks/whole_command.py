"""`curator select` on ready embeddings as a whole command, beside its search alone and beside whole programs of peers.

    python -m benchmarks.whole_command [ROWS DIM TARGET_ROWS ...]

Ready embeddings (files of a million rows, with a key each) and a target of which every row is a centroid, budget 1%.
The command imports the pool, each file hashed, searches exactly and writes the manifest; a second one takes the first
one's pool by reference. The floor is the same search with all reading, in a process that runs already. Peers are
programs that start, read the same vectors, choose, and write the keys (`benchmarks.select_peers`). Seconds, and MB of
the memory of all processes together, mapped files apart. Files are in the page cache. Ours are medians of three runs,
peers run once. All is compiled before, as pip leaves what it installs.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

import curator
import curator_pipelines
from benchmarks.data import describe_machine
from benchmarks.large_run import PART_ROWS, own_memory, processes_of, write_ready, write_vectors
from benchmarks.measure import measure
from benchmarks.select import exact
from benchmarks.select_peers import PEERS
from benchmarks.synthetic import draw_target, make_mixture

BUDGET = 0.01
ROUNDS = 3
SIZES = ("1280000", "128", "100", "1280000", "512", "100")
INTERVAL = 0.05


def main() -> None:
    """Print the table."""
    for file in (curator.__file__, curator_pipelines.__file__, __file__):
        compileall.compile_dir(Path(file).parent, quiet=2)
    print(f"whole commands, budget {BUDGET:.0%}; {describe_machine()}\n")
    print("| rows x d | target rows | what | seconds | MB | against ours, of ready embeddings and a pool that stands |")
    print(f"|{'---|' * 6}", flush=True)
    sizes = [int(word) for word in sys.argv[1:] or SIZES]
    for rows, dim, wanted in zip(sizes[::3], sizes[1::3], sizes[2::3], strict=True):
        with tempfile.TemporaryDirectory(prefix="curator-whole-") as folder:
            _compare(Path(folder), rows, dim, wanted)


def _compare(work: Path, rows: int, dim: int, wanted: int) -> None:
    budget = int(BUDGET * rows)
    mixture = make_mixture(rows, dim, 0)
    ends = np.cumsum(mixture.shares)
    for part in range(-(-rows // PART_ROWS)):
        write_vectors(work / "ready", part, mixture, ends, min(PART_ROWS, rows - part * PART_ROWS))
    target = draw_target(mixture, wanted, 0)
    write_ready(work / "target", 0, target, "target-")
    words = ["--target", f"{work}/target", "--budget", str(budget), "--encoder", "lite0"]
    words = [sys.executable, "-m", "curator_pipelines", "select", *words, "--manifest-only", "--no-report"]
    case = f"| {rows:,} x {dim} | {wanted} |"
    start = run([sys.executable, "-m", "curator_pipelines", "--version"])
    ready = median_run([*words, "--pool", f"{work}/ready"], work / "out")
    referenced = median_run([*words, "--pool", f"{work}/out/pool"], work / "second")
    np.save(work / "out" / "targets.npy", np.load(work / "out" / "selection" / "centroids.npy")[None])
    np.save(work / "out" / "target.npy", target)
    searches = [measure(exact, f"{work}/out", budget, 1) for _ in range(ROUNDS)]
    search = sorted(searches, key=lambda each: each.seconds)[ROUNDS // 2]
    for what, cost in (("`curator --version`", start), ("ours, from ready embeddings", ready)):
        print(f"{case} {what} | {cost[0]:.2f} | {cost[1]:,.0f} | |", flush=True)
    note = f"the whole commands: {ready[0] / search.seconds:.1f} and {referenced[0] / search.seconds:.1f} times this"
    print(f"{case} ours, a pool that stands | {referenced[0]:.2f} | {referenced[1]:,.0f} | |", flush=True)
    print(f"{case} its search alone | {search.seconds:.2f} | {search.anonymous:,.0f} | {note} |", flush=True)
    for peer in PEERS:
        words = [sys.executable, "-m", "benchmarks.select_peers", peer, str(work), str(budget)]
        cost = run(words)
        against = (f"{cost[0] / ours[0]:.1f}" for ours in (ready, referenced))
        ratio = f"{' and '.join(against)} times the time, {cost[1] / referenced[1]:.1f} times the MB"
        print(f"{case} {peer.replace('_', ' ')} | {cost[0]:.2f} | {cost[1]:,.0f} | {ratio} |", flush=True)


def median_run(words: list[str], out: Path) -> tuple[float, float]:
    """Run a command of curator `ROUNDS` times, each into an empty OUT; the one whose seconds are the median."""
    costs = []
    for _ in range(ROUNDS):
        shutil.rmtree(out, ignore_errors=True)
        costs.append(run([*words, "--out", str(out)]))
    return sorted(costs)[ROUNDS // 2]


def run(words: list[str]) -> tuple[float, float]:
    """Run a command: seconds, and the most MB that its processes had together."""
    started, most = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True)
        while process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(INTERVAL)
            most = max(most, sum(own_memory(pid) for pid in processes_of(process.pid)))
        seconds = time.perf_counter() - started
        if process.returncode:
            told.seek(0)
            raise SystemExit(f"{' '.join(words)}: exit {process.returncode}\n{told.read()}")
    return seconds, most


if __name__ == "__main__":
    main()
