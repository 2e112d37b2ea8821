from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from jobs_for_tests import write_ready

# What a process has imported when it ends.
RUN = """
import sys
from curator_pipelines.config import SelectConfig, build
from curator_pipelines.jobs.select import run_select
from curator_pipelines.run import Reporter
run_select(build(SelectConfig, {settings}), Reporter(quiet=True))
print(sorted(name for name in ("torch", "torchvision", "timm", "scipy.stats") if name in sys.modules))
"""


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float16)


def test_a_run_over_ready_embeddings_imports_nothing_that_reads_images(tmp_path: Path) -> None:
    settings = {
        "target": [write_ready(tmp_path / "target", [rows(20, 0)])],
        "pool": [write_ready(tmp_path / "pool", [rows(60, 1)])],
        "out": str(tmp_path / "out"),
        "budget": "5",
        "manifest_only": True,
    }
    command = [sys.executable, "-c", RUN.replace("{settings}", repr(settings))]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
