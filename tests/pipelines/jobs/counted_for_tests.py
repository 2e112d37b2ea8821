"""Storage that counts: `counted:///PATH` is the local path, remote to curator, and every call goes to a log.

All processes of a run append to the log that CURATOR_COUNTED_LOG names. They find the filesystem by an entry point,
see `counting`, as they find s3fs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

LOG = "CURATOR_COUNTED_LOG"


class CountedFileSystem(AbstractFileSystem):
    """The local disk, one line in the log for each call."""

    protocol = "counted"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.local = LocalFileSystem(auto_mkdir=True)

    def _count(self, call: str, path: str) -> None:
        log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{os.getpid()}\t{call}\t{path}\n".encode())
        os.close(log)

    def ls(self, path: str, detail: bool = True, **settings: Any) -> Any:
        self._count("list", path)
        return self.local.ls(path, detail=detail)

    def find(self, path: str, **settings: Any) -> Any:
        self._count("list tree", path)
        return self.local.find(path, **settings)

    def info(self, path: str, **settings: Any) -> Any:
        self._count("stat", path)
        return self.local.info(path)

    def exists(self, path: str, **settings: Any) -> bool:
        self._count("exists", path)
        return bool(self.local.exists(path))

    def isdir(self, path: str) -> bool:
        self._count("is directory", path)
        return bool(self.local.isdir(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **settings: Any) -> Any:
        self._count("read", path)
        return self.local.cat_file(path, start=start, end=end)

    def put_file(self, lpath: str, rpath: str, **settings: Any) -> None:
        self._count("write", rpath)
        self.local.put_file(lpath, rpath)

    def rm_file(self, path: str) -> None:
        self._count("remove", path)
        self.local.rm_file(path)

    def rmdir(self, path: str) -> None:
        self.local.rmdir(path)

    def _open(self, path: str, mode: str = "rb", **settings: Any) -> Any:
        self._count("open", path)
        return self.local.open(path, mode)


@dataclass(frozen=True)
class Calls:
    """The storage calls of one run.

    Attributes:
        driver: (call, path) of the process that runs the command.
        workers: the same of all others.
    """

    driver: Sequence[tuple[str, str]]
    workers: Sequence[tuple[str, str]]

    def of(self, call: str, pattern: str) -> Counter[str]:
        """How often the driver made a call on each path that matches."""
        return Counter(path for made, path in self.driver if made == call and re.search(pattern, path))

    def table(self, root: str) -> str:
        """All calls, added up over parts and shards, for a person."""
        lines = []
        for who, calls in (("driver", self.driver), ("workers", self.workers)):
            counts = Counter((call, _without_numbers(path.removeprefix(root))) for call, path in calls)
            lines += [f"{who:8}{count:6}  {call:13}{path}" for (call, path), count in sorted(counts.items())]
        return "\n".join(lines)


def _without_numbers(path: str) -> str:
    return re.sub(r"\d{2,}", "*", re.sub(r"[0-9a-f]{16}", "*", path))


def counting(folder: Path, *arguments: str) -> Calls:
    """Run `curator ARGUMENTS` in a process of its own and count its storage calls; `folder` is for the log."""
    info = folder / "counted-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fsspec.specs]\ncounted = counted_for_tests:CountedFileSystem\n")
    log = folder / "calls.log"
    log.unlink(missing_ok=True)
    path = os.pathsep.join([str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    program = "import sys; from curator_pipelines.cli.main import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {LOG: str(log), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        told, _ = process.communicate()
    assert process.returncode == 0, told
    calls = list(_read(log))
    return Calls(
        [(call, path) for pid, call, path in calls if pid == process.pid],
        [(call, path) for pid, call, path in calls if pid != process.pid],
    )


def _read(log: Path) -> Iterator[tuple[int, str, str]]:
    for line in log.read_text().splitlines():
        pid, call, path = line.split("\t")
        yield int(pid), call, path
