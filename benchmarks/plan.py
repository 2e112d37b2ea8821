"""`curator plan --calibrate` against the run it told of, stage by stage: `python -m benchmarks.plan [SPEC ...]`.

The pool is that of `benchmarks.data`. Both share the machine with whatever else it does, one after the other, so a
ratio holds what came and went in between, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import describe_machine, pool_sources
from curator_pipelines.run import RunDirectory

SPECS = ("timm:mobilenetv3_small_100", "lite0")
BUDGET = "10%"


def main() -> None:
    """Print the table."""
    print(f"plan --calibrate, budget {BUDGET}; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| encoder | stage | forecast, s | actual, s | forecast / actual |\n|---|---|---|---|---|")
    for spec in sys.argv[1:] or SPECS:
        with tempfile.TemporaryDirectory(prefix="curator-plan-") as folder:
            _compare(spec, str(Path(folder, "run")))


def _compare(spec: str, out: str) -> None:
    pool = [source.url for source in pool_sources()]
    weights = [] if spec == "lite0" else ["--weights", "random"]
    words = ["--target", pool[0], "--pool", *pool, "--out", out, "--budget", BUDGET, "--encoder", spec, *weights]
    plan = json.loads(_curator("plan", *words, "--calibrate", "--json"))
    _curator("select", *words)
    stages: dict[str, dict[str, Any]] = RunDirectory(out).record["stages"]
    forecast = {stage["name"]: stage["seconds"] for stage in plan["forecast"]["stages"]}
    forecast["together"] = plan["forecast"]["seconds"]
    actual = {name: stages[name]["seconds"] for name in forecast if name in stages}
    actual["together"] = sum(actual.values())
    for name, seconds in forecast.items():
        print(f"| {spec} | {name} | {seconds:.1f} | {actual[name]:.1f} | {seconds / actual[name]:.2f} |", flush=True)


def _curator(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "curator_pipelines", *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
