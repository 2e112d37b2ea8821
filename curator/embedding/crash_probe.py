"""Find the images that crash a native decoder, by decoding them in a process that may die.

A worker that dies in the middle of a shard does not say which of its images killed it. This module asks:
a child process names each sample before it decodes it; the last sample it named is the one that killed it.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from curator.io import Stat
from curator.sources import Source, read_source
from curator.types import RawSample

__all__ = ["find_crashing_samples", "sound_images"]


def find_crashing_samples(source: Source, min_side: int = 0) -> dict[str, str]:
    """Key -> how the child died, for every sample of a tar or folder that crashes the decoder.

    Costs a process start and one pass of reading and decoding, and one more of each for each such sample.
    """
    return _find({"source": asdict(source), "min_side": min_side})


def sound_images(images: Sequence[bytes]) -> list[bytes]:
    """Those of a few images that may be decoded in this process: they do not crash the decoder.

    Costs a process start, and one more for each image that does.
    """
    crashing = _find({"images": [base64.b64encode(image).decode() for image in images]}) if images else {}
    return [image for number, image in enumerate(images) if str(number) not in crashing]


def _find(request: dict[str, Any]) -> dict[str, str]:
    crashing: dict[str, str] = {}
    while True:
        last_key, status = _run_child(request | {"skip": list(crashing)})
        if status == 0 or last_key is None or last_key in crashing:
            return crashing
        crashing[last_key] = f"the decoder died of {_signal_name(status)}"


def _run_child(request: dict[str, Any]) -> tuple[str | None, int]:
    """The last key the child began to decode, and its exit status."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-m", "curator.embedding.crash_probe"],
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
    from curator.images import decode_image

    request = json.load(sys.stdin)
    for key, data in _images(request):
        if key in request["skip"]:
            continue
        print(json.dumps(key), flush=True)
        try:
            decode_image(data, min_side=request.get("min_side", 0))
        except SampleError:
            continue


def _images(request: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    if "images" in request:
        yield from ((str(number), base64.b64decode(image)) for number, image in enumerate(request["images"]))
        return
    fields = request["source"]
    source = Source(**(fields | {"stat": Stat(**fields["stat"])}))
    for item in read_source(source, keep=lambda member: member.is_image):
        if isinstance(item, RawSample):
            assert item.image is not None and item.image.data is not None
            yield item.key, item.image.data


if __name__ == "__main__":
    _child()
