"""Experiments that run the `curator` command, side by side, each on cores of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

__all__ = ["curator", "on_own_cores"]


def curator(*words: str) -> str:
    """Run the command; its standard output."""
    print("curator", *words, file=sys.stderr, flush=True)
    return subprocess.run(
        [sys.executable, "-m", "curator_pipelines", *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def on_own_cores(jobs: int) -> ThreadPoolExecutor:
    """Threads whose commands each see a share of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    shares: SimpleQueue[list[int]] = SimpleQueue()
    for job in range(jobs):
        shares.put(cores[job::jobs] or [cores[job % len(cores)]])
    # A thread's children inherit the cores of the thread.
    return ThreadPoolExecutor(jobs, initializer=lambda: os.sched_setaffinity(0, shares.get()))
