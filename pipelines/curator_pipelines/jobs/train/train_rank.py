"""One process of a training run that `curator train --nproc` started: `python -m ... REQUEST.json`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curator.errors import CuratorError
from curator.io import storage
from curator_pipelines.jobs.train.train_progress import TrainProgress
from curator_pipelines.run.progress import Reporter
from curator_ssl.data.find_samples import stored_lines
from curator_ssl.data.samples import read_samples_file
from curator_ssl.settings import TrainSettings
from curator_ssl.train_loop import Trained, train


def main() -> int:
    """Train as one rank; the first writes the result, whoever fails writes why."""
    request = Path(sys.argv[1])
    rank = int(os.environ["RANK"])
    try:
        trained = _train(json.loads(request.read_text()))
    except CuratorError as error:
        _tell(request.parent / f"error-{rank}.json", {"message": str(error), "exit_code": error.exit_code})
        return error.exit_code
    except RuntimeError as error:
        # A rank whose partner died fails in the middle of a collective: the partner's death is the news.
        first = " ".join(str(error).split())[:300]
        _tell(request.parent / f"error-{rank}.json", {"message": f"process {rank}: {first}", "exit_code": 1})
        return 1
    if rank == 0:
        _tell(request.parent / "result.json", asdict(trained))
    return 0


def _train(request: dict[str, Any]) -> Trained:
    settings = TrainSettings(**request["settings"])
    samples = read_samples_file(storage.join(settings.out, "samples.parquet"), request["addresses"])
    with Reporter() as reporter, TrainProgress(reporter, settings.steps) as listener:
        if os.environ["RANK"] != "0":
            reporter.console.quiet = True
        return train(settings, samples, stored_lines(settings.out), listener)


def _tell(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    sys.exit(main())
