"""Find the images that crash a native decoder, by decoding them in a process that may die.

A worker that dies in the middle of a shard does not say which of its images killed it. This module asks:
a child process names each sample before it decodes it, and the last name heard is the guilty one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

from curator.shards.read import read_source
from curator.sources import Source
from curator.storage import Stat
from curator.types import RawSample

__all__ = ["find_crashers"]


def find_crashers(source: Source, min_side: int = 0) -> dict[str, str]:
    """Key -> how the child died, for every sample of a tar or folder that crashes the decoder.

    Costs a process start and one pass of reading and decoding, and one more of each for each crasher.
    """
    crashers: dict[str, str] = {}
    while True:
        guilty, status = _run_child(source, min_side, list(crashers))
        if status == 0 or guilty is None or guilty in crashers:
            return crashers
        crashers[guilty] = f"the decoder died of {_signal_name(status)}"


def _run_child(source: Source, min_side: int, skip: list[str]) -> tuple[str | None, int]:
    """The last key the child began to decode, and its exit status."""
    request = {"source": asdict(source), "min_side": min_side, "skip": skip}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-m", "curator.embed.crashers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(request))
        child.stdin.close()
        last = None
        for last in child.stdout:  # noqa: B007 - only the last line counts
            pass
    # Reading errors end the child in the ordinary way; the worker will meet and report them itself.
    return (json.loads(last) if last else None), min(child.returncode, 0)


def _signal_name(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _child() -> None:
    from curator.errors import SampleError
    from curator.images.decode import decode_image

    request = json.load(sys.stdin)
    fields = request["source"]
    source = Source(**(fields | {"stat": Stat(**fields["stat"])}))
    skip = set(request["skip"])
    for item in read_source(source, keep=lambda member: member.is_image):
        if not isinstance(item, RawSample) or item.key in skip:
            continue
        print(json.dumps(item.key), flush=True)
        image = item.image
        assert image is not None and image.data is not None
        try:
            decode_image(image.data, min_side=request["min_side"])
        except SampleError:
            continue


if __name__ == "__main__":
    _child()
