"""What is exported, opened by the programs that it is for. Where they are not installed the tests are skipped.

They have environments of their own, so they are looked for on PATH and never imported.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curator.settings import build
from curator_pipelines.config import ExportConfig
from curator_pipelines.jobs.export import run_export
from curator_pipelines.run import Reporter

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def export(out: Path, to: str, dest: Path) -> str:
    """Returns what a person is told."""
    return run_export(
        build(ExportConfig, {"out": str(out), "to": to, "dest": str(dest)}), Reporter(quiet=True)
    ).to_text()


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


# Another environment's program must not find this one's modules.
def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


@contextmanager
def server(command: list[str], log: Path) -> Iterator[str]:
    """A started Embedding Atlas on loopback, which reaches no network: its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--no-auto-port"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(HF_HUB_OFFLINE="1"),
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def asked(url: str, sql: str) -> list[dict[str, Any]]:
    body = json.dumps({"type": "json", "sql": sql}).encode()
    with DIRECT.open(urllib.request.Request(f"{url}/data/query", body), timeout=60) as answer:
        rows: list[dict[str, Any]] = json.load(answer)
        return rows


def test_embedding_atlas_opens_it_by_the_line_that_is_printed(reference: Path, tmp_path: Path) -> None:
    tool("embedding-atlas")
    told = export(reference, "atlas", tmp_path / "my atlas")
    line = told.partition("open it by: ")[2].splitlines()[0]
    written = pq.read_table(tmp_path / "my atlas/atlas.parquet")

    with server(["bash", "-c", f'exec {line} "$@"', "atlas"], tmp_path / "log") as url:
        with DIRECT.open(f"{url}/data/metadata.json", timeout=60) as answer:
            data = json.load(answer)["props"]["data"]
        kinds = asked(url, "select kind, count(*) as n from dataset group by kind order by kind")
        first = asked(url, "select key, octet_length(image.bytes) as bytes, x, y from dataset where place = 1")

    assert data["projection"] == {"x": "x", "y": "y"} and data["image"] == "image"
    assert kinds == [{"kind": "chosen", "n": 21}, {"kind": "pool", "n": 38}, {"kind": "target", "n": 9}]
    row = written.slice(0, 1).to_pylist()[0]
    assert [(one["key"], one["bytes"]) for one in first] == [(row["key"], len(row["image"]["bytes"]))]
    assert first[0]["x"] == pytest.approx(row["x"], abs=1e-6)


def test_fiftyone_imports_every_sample(reference: Path, tmp_path: Path) -> None:
    program = tool("fiftyone")
    export(reference, "fiftyone", tmp_path / "out")
    own = environment(FIFTYONE_DO_NOT_TRACK="true", HOME=str(tmp_path))

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=200, env=own)
        if "MongoDB could not be installed" in done.stderr:
            pytest.skip("fiftyone has no database: give it one by FIFTYONE_DATABASE_URI")
        assert done.returncode == 0, done.stderr
        return done.stdout

    name = f"curator-export-{os.getpid()}"
    kind = "fiftyone.types.FiftyOneDataset"
    run("datasets", "create", "--name", name, "--dataset-dir", str(tmp_path / "out"), "--type", kind)
    try:
        info = run("datasets", "info", name)
        first = run("datasets", "head", name, "--num-samples", "1")
    finally:
        run("datasets", "delete", name)

    sample = json.loads((tmp_path / "out/samples.json").read_text())["samples"][0]
    fields = {line.split(":")[0].strip(): line.split(".")[-1] for line in info.splitlines() if "fiftyone.core" in line}
    assert "21" in next(line for line in info.splitlines() if line.startswith("Num samples"))
    kinds = {"key": "StringField", "shard": "StringField", "place": "IntField", "score": "FloatField"}
    assert kinds.items() <= fields.items()
    assert str(tmp_path / "out" / sample["filepath"]) in first and sample["key"] in first
