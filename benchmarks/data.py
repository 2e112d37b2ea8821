"""Real images for benchmarks: the shards in CURATOR_TEST_DATA, else the demo's."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

import torch

from curator.sources import Source, find_sources

# For what needs these very shards, and not any real photos.
DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))


def pool_sources() -> list[Source]:
    """Shards of real photos."""
    folder = os.environ.get("CURATOR_TEST_DATA")
    if folder:
        return find_sources([f"{folder}/pool-*.tar"], "pool", folders=False)
    from curator_pipelines.jobs.demo import build_demo_data

    data = build_demo_data(Path(tempfile.gettempdir()) / "curator-benchmark-data")
    return find_sources([data.pool], "pool", folders=False)


def describe_machine() -> str:
    """One line for the head of a table."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs ({platform.machine()}){gpu}, torch {torch.__version__}, Python {platform.python_version()}"
