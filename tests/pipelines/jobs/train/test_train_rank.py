from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

RANK = """
import os, sys, time
from curator_pipelines.jobs.train.train_rank import end_with
end_with(int(sys.argv[1]))
print(os.getpid(), flush=True)
time.sleep(600)
"""
LAUNCHER = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], str(os.getpid())])
"""


def test_a_process_of_a_training_ends_when_its_launcher_is_killed():
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, RANK], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        rank = int(launcher.stdout.readline())
        status = Path(f"/proc/{rank}/status")
        assert status.exists()
        launcher.send_signal(signal.SIGKILL)
    for _ in range(300):
        # Whoever takes in the orphan may be slow to bury it.
        if not status.exists() or "\nState:\tZ" in status.read_text():
            return
        time.sleep(0.2)
    raise AssertionError("it lives on without its launcher")
