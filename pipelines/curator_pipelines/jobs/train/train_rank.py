"""One process of a training run on this machine: `python -m curator_pipelines.jobs.train.train_rank FOLDER PID`."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from curator.errors import CuratorError
from curator_pipelines.jobs.train.request import TrainRequest
from curator_pipelines.jobs.train.train_progress import TrainProgress
from curator_pipelines.run import Reporter
from curator_ssl.distributed import is_first, rank
from curator_ssl.train_loop import TrainResult

__all__ = ["end_with", "error_file", "request_file", "result_file"]

LOOK_SECONDS = 1.0


def request_file(folder: Path) -> Path:
    """Where the launcher puts the request."""
    return folder / "request.json"


def result_file(folder: Path) -> Path:
    """Where the first process puts the result."""
    return folder / "result.json"


def error_file(folder: Path, number: int) -> Path:
    """Where a process puts the error that ended it. Only processes of one user read and write the folder."""
    return folder / f"error-{number}.pickle"


def main() -> int:
    """Train as one rank; the first writes the result, a rank that fails writes the error."""
    folder = Path(sys.argv[1])
    end_with(int(sys.argv[2]))
    # While it trains together with others, a rank is what the group says; afterwards there is no group.
    own_rank = rank()
    try:
        result = _train(folder)
    except CuratorError as error:
        error_file(folder, own_rank).write_bytes(pickle.dumps(error))
        return error.exit_code
    except RuntimeError as error:
        # A rank whose partner died fails in the middle of a collective: the partner's death is the news.
        first = " ".join(str(error).split())[:300]
        error_file(folder, own_rank).write_bytes(pickle.dumps(CuratorError(f"process {own_rank}: {first}")))
        return 1
    if own_rank == 0:
        result_file(folder).write_text(json.dumps(asdict(result)))
    return 0


def end_with(launcher: int) -> None:
    """End this process soon after the one that launched it was killed.

    OUT has no owner then. A rank would wait for the others for half an hour and hold a GPU, or write into OUT beside
    the run that goes on.

    Args:
        launcher: the number of that process, the parent of this one.
    """

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="launcher").start()


def _train(folder: Path) -> TrainResult:
    request = TrainRequest.from_json(json.loads(request_file(folder).read_text()))
    with Reporter() as reporter, TrainProgress(reporter, request.config.steps) as progress:
        reporter.console.quiet = reporter.console.quiet or not is_first()
        return request.train(progress)


if __name__ == "__main__":
    sys.exit(main())
