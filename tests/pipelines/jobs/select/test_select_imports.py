from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# What a process has imported when it ends.
RUN = """
import sys
from curator_pipelines.config import SelectConfig, build
from curator_pipelines.jobs.select import run_select
from curator_pipelines.run import Reporter
run_select(build(SelectConfig, {settings}), Reporter(quiet=True))
print(sorted(name for name in ("torch", "torchvision", "timm", "scipy.stats") if name in sys.modules))
"""


def embeddings(folder: Path, rows: int, seed: int) -> str:
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    vectors = np.random.default_rng(seed).standard_normal((rows, 8))
    np.save(folder / "img_emb" / "img_emb_0.npy", vectors.astype(np.float16))
    table = pa.table({"image_path": [f"key-{row}" for row in range(rows)]})
    pq.write_table(table, folder / "metadata" / "metadata_0.parquet")
    return str(folder)


def test_a_run_over_ready_embeddings_imports_nothing_that_reads_images(tmp_path: Path) -> None:
    settings = {
        "target": [embeddings(tmp_path / "target", 20, 0)],
        "pool": [embeddings(tmp_path / "pool", 60, 1)],
        "out": str(tmp_path / "out"),
        "budget": "5",
        "manifest_only": True,
    }
    command = [sys.executable, "-c", RUN.replace("{settings}", repr(settings))]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
