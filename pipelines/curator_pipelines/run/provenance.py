"""Who made a run: the command, the machine, the code and the libraries, as run.json keeps them."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import curator
from curator.io import public_name

__all__ = ["called_as", "describe_call", "library_versions"]

VERSIONS_OF = (
    *("torch", "torchvision", "timm", "open_clip_torch", "lightly", "ray"),
    *("numpy", "pyarrow", "scikit-learn", "pillow"),
)
# faiss has another name for each kind of machine.
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cu11")

URL = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE | re.DOTALL)

# Only the command line sets it: the arguments of a program that imports curator are not ours to keep.
_command: ContextVar[str | None] = ContextVar("command", default=None)


@contextmanager
def called_as(words: Sequence[str]) -> Iterator[None]:
    """While the block runs, calls are described by this command line, without the secrets in it."""
    token = _command.set(shlex.join(_public(word) for word in words))
    try:
        yield
    finally:
        _command.reset(token)


def _public(word: str) -> str:
    """A word of a command line without its secrets: from a URL's beginning to the word's end, whatever is in it."""
    url = URL.search(word)
    return word[: url.start()] + "::".join(map(public_name, url[0].split("::"))) if url else word


def describe_call() -> dict[str, Any]:
    """The call at hand: `started`, `command` (None from Python), `host`, `curator` and `commit`."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command.get(),
        "host": socket.gethostname(),
        "curator": curator.__version__,
        "commit": _commit(),
    }


def library_versions() -> dict[str, str]:
    """Distribution -> version, `missing` where it is not installed; faiss under whatever name it has."""
    faiss = next((version for name in FAISS if (version := _version(name)) != "missing"), "missing")
    known = {name: _version(name) for name in VERSIONS_OF} | {"faiss": faiss}
    return known | {"python": platform.python_version()}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


@cache
def _commit() -> str | None:
    """The commit of curator's own checkout, with `-dirty` where files of it were changed; None for an installed one."""
    folder = Path(curator.__file__).resolve().parents[1]
    # An installed package may lie in somebody else's checkout, but never at its top.
    if not (folder / ".git").exists():
        return None
    words = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
