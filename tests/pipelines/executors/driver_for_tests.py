"""A program that uses the local executor, to be started, interrupted and killed by tests."""

import sys
from pathlib import Path

from stages_for_tests import HoldsLockFile

from curator_pipelines.executors import LocalExecutor


def main() -> int:
    folder, payload = Path(sys.argv[1]), sys.argv[2]
    try:
        for outcome in LocalExecutor(workers=2).map(HoldsLockFile(folder), [payload] * 3):
            print(outcome.task.number, outcome.unwrap(), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
