"""The numbers of a run for Prometheus: sound text, no label without bounds, and a dashboard that asks for no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

from curator_pipelines.run.metrics import METRICS, Metrics, exposition

ROOT = Path(__file__).parents[3]
RECORD = {
    "stage": "pool",
    "unit": "samples",
    "done": 120,
    "total": 1000.0,
    "bad": 1,
    "seconds": 3.5,
    "per_second": None,
    "eta": None,
    "run_seconds": 10.0,
    "run_eta": None,
    "worker_counts": {"working": 2},
    "workers": [
        {"task": "s3://bucket/pool-000007.tar", "silent": 7.5, "name": "worker 0 (cpu)"},
        {"task": "", "silent": 99.0, "name": "worker 1 (cpu)"},
    ],
    "lost": 3,
    "preempted": 0,
    "used": {"cpu_ms": 1500, "read_bytes": 4096},
}
LINE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?[0-9.e+-]+)')


def values(text: str) -> dict[str, float]:
    """Name and labels -> value. Every line of the text is a comment or a sample."""
    samples = [line for line in text.splitlines() if not line.startswith("# ")]
    matches = [LINE.fullmatch(line) for line in samples]
    assert all(matches), samples
    return {f"{match[1]}{{{match[2]}}}": float(match[3]) for match in matches if match}


def test_the_file_has_the_numbers_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "textfile" / "curator.prom"
    metrics = Metrics.where_asked_for(str(file), 'https://me:SECRET@host/"run"\\')

    metrics.write(RECORD, is_running=True)

    found = values(file.read_text())
    out = 'out="https://host/\\"run\\"\\\\"'
    assert found[f'curator_stage_done{{{out},stage="pool",unit="samples"}}'] == 120
    assert found[f"curator_running{{{out}}}"] == 1
    assert found[f"curator_worker_silent_seconds{{{out}}}"] == 7.5
    assert found[f"curator_cpu_seconds_total{{{out}}}"] == 1.5
    assert found[f'curator_workers{{{out},state="idle"}}'] == 0
    # What is unknown is absent, and not 0.
    assert not any(name.startswith(("curator_run_eta", "curator_exit_code")) for name in found)
    assert [path.name for path in file.parent.iterdir()] == ["curator.prom"]

    metrics.write(RECORD, is_running=False, exit_code=130)

    found = values(file.read_text())
    assert found[f"curator_running{{{out}}}"] == 0 and found[f"curator_exit_code{{{out}}}"] == 130


def test_no_label_holds_a_shard_or_a_worker() -> None:
    text = exposition({name: metric.samples(RECORD) for name, metric in METRICS.items()})
    assert "pool-000007" not in text and "worker 0" not in text
    assert {label for metric in METRICS.values() for label in metric.labels} == {"stage", "unit", "state"}


def test_a_file_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Metrics.where_asked_for(str(tmp_path / "file" / "curator.prom"), "run").write(RECORD, is_running=True)


def test_names_are_prometheus_own_way() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"curator_[a-z_]+", name)
        assert (metric.kind == "counter") == name.endswith("_total"), name
        assert "\n" not in metric.help and "\\" not in metric.help


def test_the_dashboard_asks_for_these_metrics() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/curator.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    names = {name for expression in asked for name in re.findall(r"curator_[a-z_]+", expression)}
    assert names <= set(METRICS)
    # As a text file has them and as Ray has them.
    assert all("(ray_)?curator_" in expression for expression in asked)
    # Each of them can be seen.
    assert names == set(METRICS)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
