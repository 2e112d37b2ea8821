"""Find the images that a decoder dies of, by decoding each alone in a process that may die and whose memory is limited.

A worker that dies in the middle of a shard does not say which of its images killed it. This module asks:
a child process names each sample before it decodes it; the last sample it named is the one that killed it. A second
child begins with that sample: what dies there again is guilty.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curator.images import Preprocess
from curator.io import Stat
from curator.sources import Source, read_source
from curator.types import RawSample

__all__ = ["find_crashing_samples", "sound_images"]

# More than any image within the limit of pixels takes.
MEMORY = 4 << 30
# How a child ends that lacks memory, beside the ordinary ends and signals.
_OUT_OF_MEMORY = 70
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def find_crashing_samples(
    source: Source, min_side: int = 0, fit: Preprocess | None = None, memory: int | None = None
) -> dict[str, str]:
    """Key -> how the child died, for every sample of a tar or folder that the decoder dies of, twice.

    Costs a process start and one pass of reading and decoding, and two more of reading for each such sample.

    Args:
        source: where the samples are.
        min_side: images with a shorter side than this many pixels are not decoded.
        fit: is tried too, where given.
        memory: bytes that decoding one image may take; the smaller of 4 GiB and half of this machine's (or
            container's) memory unless given. Never what is free now: the ledger must not depend on that.

    Raises:
        MemoryError: somebody else killed the child (SIGKILL) twice, so nothing is known of the image.
    """
    preprocess = fit.to_json() if fit else None
    return _find({"source": asdict(source), "min_side": min_side, "fit": preprocess}, memory)


def sound_images(images: Sequence[bytes]) -> list[bytes]:
    """Those of a few images that may be decoded in this process: they do not crash the decoder.

    Costs a process start, and two more for each image that does.
    """
    crashing = _find({"images": [base64.b64encode(image).decode() for image in images]}) if images else {}
    return [image for number, image in enumerate(images) if str(number) not in crashing]


def _find(request: dict[str, Any], memory: int | None = None) -> dict[str, str]:
    memory = memory or min(MEMORY, _machine_memory() // 2)
    crashing: dict[str, str] = {}
    suspect: tuple[int, str] | None = None
    first = 0
    while True:
        last, status = _run_child(request | {"first": first, "memory": memory})
        if status == 0 or last is None:
            return crashing
        first = last[0]
        if last != suspect:
            suspect = last
            continue
        if status == -signal.SIGKILL:
            raise MemoryError(f"the process that decoded {last[1]} alone was killed twice (SIGKILL): out of memory?")
        crashing[last[1]] = _how(status, memory)
        first += 1


def _how(status: int, memory: int) -> str:
    if status == _OUT_OF_MEMORY:
        return f"the decoder needs more than {memory / 2**30:.1f} GiB of memory"
    try:
        return f"the decoder died of {signal.Signals(-status).name}"
    except ValueError:
        return f"the decoder died of signal {-status}"


def _run_child(request: dict[str, Any]) -> tuple[tuple[int, str] | None, int]:
    """Number and key of the last image the child began to decode, and how it ended: a negative number is a signal."""
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
    status = child.returncode if child.returncode == _OUT_OF_MEMORY else min(child.returncode, 0)
    number, key = json.loads(last) if last else (0, None)
    return (None if key is None else (number, key)), status


def _machine_memory() -> int:
    """The memory of this machine, or of the container that this process lives in."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, _CGROUP_LIMITS):
        text = path.read_text().strip() if path.exists() else ""
        if text.isdecimal():
            size = min(size, int(text))
    return size


def _child() -> None:
    import torch

    from curator.errors import SampleError
    from curator.images import decode_image, is_out_of_memory

    request = json.load(sys.stdin)
    fit = Preprocess.from_json(request["fit"]) if request.get("fit") else None
    torch.set_num_threads(1)
    _limit_memory(request["memory"])
    for number, (key, data) in enumerate(_images(request)):
        if number < request["first"]:
            continue
        print(json.dumps((number, key)), flush=True)
        try:
            decoded = decode_image(data, min_side=request.get("min_side", 0))
            if fit is not None:
                fit.fit(decoded.pixels)
        except SampleError:
            continue
        except Exception as error:
            if is_out_of_memory(error):
                os._exit(_OUT_OF_MEMORY)
            raise


def _limit_memory(size: int) -> None:
    """Let this process write to `size` bytes more than it does now.

    Not the limit of addresses (RLIMIT_AS): libraries of GPUs reserve a hundred times of what they use. Where a
    system has no such limit, only death itself tells.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return
    used = next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + size if hard == resource.RLIM_INFINITY else min(used + size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


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
