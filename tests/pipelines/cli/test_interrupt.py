"""A command that a signal should end, and that does not."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HANGS = """
import signal, sys, threading
from curator_pipelines.cli import interrupt

interrupt.END_SECONDS = 0.5
interrupt.end_by(signal.SIGTERM)
lock = threading.Lock()
lock.acquire()
try:
    print("ready", flush=True)
    threading.Event().wait()
except KeyboardInterrupt:
    if sys.argv[1] == "hangs":
        lock.acquire()
sys.exit(130)
"""


@pytest.mark.parametrize(("how", "code"), [("hangs", 1), ("ends", 130)])
def test_it_ends_for_sure(how: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)

    assert process.returncode == code
    assert ("most recent call first" in error) == (how == "hangs")
