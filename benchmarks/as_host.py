"""Run a command of curator as if on another machine: another host name, no flock(2), claims that lapse soon.

    python -m benchmarks.as_host HOST [--no-flock] [--lapse SECONDS] -- work OUT

For tests and kill runs on one machine. What a claim is stays as it is; only the clock of its lapse is another.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import socket
import sys
from typing import Any

__all__ = ["pretend"]


def pretend(host: str, *, flock: bool = True, lapse: float | None = None) -> None:
    """Let this process believe that; call it before curator's executors are imported."""
    from curator.io import claim

    socket.gethostname = lambda: host
    if not flock:
        fcntl.flock = _no_flock
    if lapse is not None:
        claim.LAPSE_SECONDS, claim.BEAT_EVERY = lapse, lapse / 4


def _no_flock(*arguments: Any) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def main() -> None:
    """Run the command that follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--no-flock", action="store_true")
    parser.add_argument("--lapse", type=float)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    pretend(given.host, flock=not given.no_flock, lapse=given.lapse)
    from curator_pipelines.__main__ import main as curator

    sys.argv = ["curator", *given.command]
    curator()


if __name__ == "__main__":
    main()
