"""A Hub on loopback with one data set, as far as its filesystem asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from range_server import RangeServer

REPOSITORY = "datasets/someone/web"


class HubServer(RangeServer):
    """Answers the questions of `hf://datasets/someone/web/...` about `files`, path -> bytes, with git's names."""

    def reply_to(self, method: str, path: str, body: bytes) -> Any:
        """JSON for the questions of the Hub's client; None where a file is asked for."""
        prefix = f"/api/{REPOSITORY}"
        if path == prefix or path.startswith(f"{prefix}/revision/"):
            return {"id": "someone/web", "sha": "0" * 40, "siblings": []}
        if path.startswith(f"{prefix}/paths-info/"):
            names = parse_qs(body.decode())["paths"]
            return [self._entry(name) | COMMIT for name in names if self._file(name) in self.files]
        if path.startswith(f"{prefix}/tree/"):
            return [self._entry(name.removeprefix(self._file(""))) for name in self.files]
        return None

    @staticmethod
    def _file(name: str) -> str:
        return f"/{REPOSITORY}/resolve/main/{name}"

    def add(self, name: str, data: bytes) -> str:
        """Serve a file; returns its URL."""
        self.files[self._file(name)] = data
        return f"hf://{REPOSITORY}/{name}"

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.files[self._file(name)]
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


COMMIT: Mapping[str, Any] = {"lastCommit": {"id": "1" * 40, "title": "", "date": "2026-01-01T00:00:00.000Z"}}
