"""Real runs by external workers that are killed: the bytes of a local run. See benchmarks.chaos_external, too."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from benchmarks.chaos import first_samples
from benchmarks.chaos_external import SELECT, Chaos
from benchmarks.chaos_hits import Command, finish, start
from benchmarks.run_files import Out
from curator.io import storage

DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))
KILLS = 6


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.exists(), reason="CURATOR_TEST_DATA")
def test_killed_workers_and_a_killed_driver_leave_the_bytes_of_a_local_run(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_endpoint: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    for number in range(6):
        data = first_samples(DATA / f"pool-{number:06d}.tar", 20)
        (tmp_path / f"pool-{number}.tar").write_bytes(data)
    (tmp_path / "target.tar").write_bytes(first_samples(DATA / "target-000000.tar", 20))
    pool = [str(tmp_path / f"pool-{number}.tar") for number in range(6)]
    flags = (*SELECT, "--target", str(tmp_path / "target.tar"), "--pool", *pool)
    reference = Out.at(str(tmp_path / "reference"))
    assert finish(start(Command((*flags, "--workers", "1", "--out", reference.url), {}))) == 0

    chaos = Chaos(Out.at(out, s3_endpoint), flags, tmp_path, 3, 8.0, random.Random(0))
    assert chaos.run(KILLS, time.monotonic() + 600) == 0

    assert chaos.counts["kills"] == KILLS
    assert chaos.out.content() == reference.content()
    assert not [name for name, _ in storage.list_tree(out) if storage.TEMPORARY in name or "external" in name]
