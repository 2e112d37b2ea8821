"""Google Cloud Storage on loopback with one bucket, as far as reads ask."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from range_server import RangeServer

BUCKET = "web"
OBJECTS = f"/storage/v1/b/{BUCKET}/o"


class GcsServer(RangeServer):
    """Answers the questions of `gs://web/...` about `files`, path -> bytes, which its downloads are."""

    def reply_to(self, method: str, path: str, body: bytes) -> Any:
        """JSON for the questions of the client; None where the bytes of an object are asked for."""
        if path == OBJECTS:
            return {"items": [self._entry(name) for name in map(self._name, self.files)]}
        name = unquote(path.removeprefix(f"{OBJECTS}/"))
        if path.startswith(f"{OBJECTS}/") and self._file(name) in self.files:
            return self._entry(name)
        return None

    def add(self, name: str, data: bytes) -> str:
        """Serve an object; returns its URL."""
        self.files[self._file(name)] = data
        return f"gs://{BUCKET}/{name}"

    @staticmethod
    def _file(name: str) -> str:
        return f"/download{OBJECTS}/{quote(name, safe='')}"

    @staticmethod
    def _name(file: str) -> str:
        return unquote(file.removeprefix(f"/download{OBJECTS}/"))

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.files[self._file(name)]
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "size": str(len(data)),
            "etag": f"etag-{len(data)}",
            "generation": "1",
            "updated": "2026-01-01T00:00:00.000Z",
        }
