"""The promise on real photos: what is chosen is the target's domain, and plain numpy agrees."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_pipelines.cli.main import run

DATA = os.environ.get("CURATOR_TEST_DATA")
ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA, reason="CURATOR_TEST_DATA names no folder of real images"),
]


def select(out: Path, shards: str, *flags: str) -> None:
    command = ["select", "--target", f"{DATA}/target-000000.tar", "--pool", f"{DATA}/pool-{shards}.tar"]
    assert run([*command, "--out", str(out), "--encoder", "lite0", "--clusters", "100", *flags]) == 0


def grocery_share(out: Path) -> tuple[int, int]:
    """Grocery photos among the packed samples, and all of them, by the labels that travel along."""
    labels = []
    for name in json.loads((out / "shards" / "sizes.json").read_text()):
        with tarfile.open(out / "shards" / name) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    labels.append(json.load(file)["source"])
    return labels.count("grocery"), len(labels)


def check_independently(out: Path) -> None:
    script = str(ROOT / "tests" / "independent_check.py")
    result = subprocess.run([sys.executable, script, str(out)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("identical")


def selected_ids(out: Path) -> list[int]:
    ids: list[int] = pq.read_table(out / "selection" / "selected.parquet")["id"].to_pylist()
    return ids


@pytest.mark.slow
def test_a_tenth_of_one_shard(tmp_path: Path) -> None:
    select(tmp_path, "000000", "--budget", "10%")
    assert grocery_share(tmp_path) == (100, 100)
    check_independently(tmp_path)
    assert run(["verify", str(tmp_path)]) == 0


@pytest.mark.slow
def test_the_whole_pool(tmp_path: Path) -> None:
    shards = "{000000..000010}"
    select(tmp_path, shards, "--budget", "1000")
    grocery, count = grocery_share(tmp_path)
    assert count == 1000
    assert grocery >= 990
    check_independently(tmp_path)
    thousand = selected_ids(tmp_path)

    select(tmp_path, shards, "--budget", "2000")
    grocery, count = grocery_share(tmp_path)
    assert count == 2000
    assert grocery >= 0.98 * 2000
    check_independently(tmp_path)
    assert selected_ids(tmp_path)[:1000] == thousand

    select(tmp_path, shards, "--stop", "0.95")
    record = json.loads((tmp_path / "selection" / "selection.json").read_text())
    assert record["stop_reason"] == "stop_rule"
    assert 2 <= record["rounds"] <= 5
    assert 200 <= record["count"] <= 400
    check_independently(tmp_path)
    assert run(["verify", str(tmp_path)]) == 0


@pytest.mark.slow
def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", str(tmp_path)]) == 0
    assert "870 of the 870 chosen (100.0%) are solar cells" in capsys.readouterr().out
    assert (tmp_path / "run" / "contact_sheet.jpg").stat().st_size > 10_000
