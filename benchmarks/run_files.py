"""A run directory looked at from outside: what is in it, and whether a file under its final name is whole."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq

__all__ = ["Out", "Watcher"]

# Nobody promises the bytes of these: they hold times, or who runs.
NOT_COMPARED = (
    *("run.json", "hardware.json", "owner.json", "progress.json"),
    *("report.html", "metrics.jsonl", "checkpoint.pt"),
)
TEMPORARY = ".curator-tmp"


@dataclass(frozen=True)
class Out:
    """A run directory, on disk or on S3.

    Attributes:
        files: its file system; listings are never taken from a cache.
        url: where it is.
    """

    files: Any
    url: str

    @classmethod
    def at(cls, url: str, endpoint: str = "") -> Out:
        """Below this URL; of S3 by this endpoint."""
        if url.startswith("s3://"):
            return cls(fsspec.filesystem("s3", use_listings_cache=False, endpoint_url=endpoint), url)
        return cls(fsspec.filesystem("file"), url)

    def listed(self) -> dict[str, Any]:
        """Name -> what tells one writing of a file from another. What is listed may be gone already."""
        root = self.files._strip_protocol(self.url) + "/"
        with suppress(FileNotFoundError):
            found = self.files.find(self.url, detail=True)
            return {
                path.removeprefix(root): [i.get(key) for key in ("ino", "mtime", "ETag", "LastModified")]
                for path, i in found.items()
            }
        return {}

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        data: bytes = self.files.cat_file(f"{self.url}/{name}")
        return data

    def remove(self, name: str = "") -> None:
        """Remove a folder, or all of it, if it is there."""
        with suppress(FileNotFoundError):
            self.files.rm(f"{self.url}/{name}".rstrip("/"), recursive=True)

    def running(self) -> tuple[str, Any]:
        """The stage that run.json calls running, and which writing of run.json says so."""
        with suppress(OSError, ValueError):
            written = self.listed().get("run.json")
            stages = json.loads(self.read("run.json"))["stages"]
            return next((name for name, stage in stages.items() if stage["state"] == "running"), ""), written
        return "", None

    def copy_of(self, reference: Out) -> None:
        """Become a copy of a finished run."""
        self.remove()
        for name in reference.listed():
            if name not in ("owner.json", "progress.json"):
                self.files.makedirs(f"{self.url}/{name}".rpartition("/")[0], exist_ok=True)
                self.files.pipe_file(f"{self.url}/{name}", reference.read(name))

    def content(self) -> dict[str, str]:
        """Name -> digest of what must be the same in every run."""
        names = (name for name in self.listed() if name not in NOT_COMPARED and not name.startswith("events/"))
        return {name: self._digest(name) for name in names}

    def _digest(self, name: str) -> str:
        data = self.read(name)
        if "/done/" in name:
            data = json.dumps({key: value for key, value in json.loads(data).items() if key != "seconds"}).encode()
        elif name.endswith("encoder.pt"):
            return _tensors(data)
        return hashlib.sha256(data).hexdigest()

    def temporaries(self) -> list[str]:
        """What is called as files are before they are whole."""
        return [name for name in self.listed() if TEMPORARY in name]

    def finished(self) -> dict[str, Any]:
        """Done-marks with their states: one that is written again has another."""
        return {
            name: state
            for name, state in self.listed().items()
            if ("/done/" in name or name.startswith("packing/")) and TEMPORARY not in name
        }


def _tensors(data: bytes) -> str:
    """A digest of a checkpoint's tensors: what is stored beside them, and how, is nobody's promise."""
    import torch

    from curator.encoders.encoder import hash_named_tensors

    return hash_named_tensors(torch.load(io.BytesIO(data), weights_only=True)["state_dict"])


class Watcher(threading.Thread):
    """Reads every file of a run directory that is new under its final name, until `over` is set.

    Attributes:
        seen: how many writings were read.
        broken: those that were not whole, and why.
    """

    def __init__(self, out: Out, seconds: float) -> None:
        super().__init__(daemon=True)
        self.out, self.seconds = out, seconds
        self.seen, self.broken = set[str](), list[str]()
        self.over = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        while not self.over.wait(self.seconds):
            for name, state in self.out.listed().items():
                key = f"{name} {state}"
                if TEMPORARY not in name and key not in self.seen:
                    self.seen.add(key)
                    self._read(name)

    def _read(self, name: str) -> None:
        try:
            data = self.out.read(name)
            if name.endswith(".npy"):
                np.load(io.BytesIO(data))
            elif name.endswith(".json"):
                json.loads(data)
            elif name.endswith(".parquet"):
                pq.read_table(io.BytesIO(data))
            elif name.endswith("encoder.pt"):
                _tensors(data)
            elif name.endswith(".tar") and (len(data) % 512 or any(data[-1024:])):
                raise ValueError("no end mark")
        except FileNotFoundError:
            return
        except Exception as error:
            self.broken.append(f"{name}: {error}")
