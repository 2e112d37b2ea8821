"""A page of curator taken apart, and its pictures compared with their sources."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

__all__ = ["CLOSE", "Parsed", "bytes_of", "difference"]

# Of a thumbnail and its source, in levels of 256: JPEG and scaling change a little, another picture a lot.
CLOSE = 12


class Parsed(HTMLParser):
    """A page, taken apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.strips: dict[str, list[str]] = {}
        self.captions: list[str] = []
        self.images: dict[str, str] = {}
        self._name = self._strip = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag == "section":
            self.sections.append(found["id"])
            self._strip = ""
        self._strip = found.get("data-strip", self._strip)
        if "data-caption" in found:
            self.captions.append(found["data-caption"])
        if "data-name" in found:
            self._name = found["data-name"]
            self.strips.setdefault(self._strip, []).append(self._name)
        if tag == "img" and found.get("src"):
            self.images[self._name] = found["src"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def thumbnail(url: str) -> np.ndarray:
    data = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32)


def difference(url: str, source: bytes) -> float:
    """Of a thumbnail and the picture that it should show: mean, in levels of 256."""
    image = Image.open(io.BytesIO(source)).convert("RGB")
    image.thumbnail((96, 96))
    shown = thumbnail(url)
    return float(np.abs(shown - np.asarray(image.resize(shown.shape[1::-1]), np.float32)).mean())


def bytes_of(out: Path, names: list[str]) -> dict[str, bytes]:
    """Name of a picture -> the bytes of its image, by OUT's own metadata."""
    found = {}
    for kind in ("pool", "target"):
        for file in sorted((out / kind / "metadata").glob("*.parquet")):
            for row in pq.read_table(file).to_pylist():
                name = f"{kind}-{row['part'] << 32 | row['index']}"
                if name in names:
                    shard = Path(row["shard"])
                    data = (shard / row["image_path"] if shard.is_dir() else shard).read_bytes()
                    found[name] = data if shard.is_dir() else data[row["offset"] : row["offset"] + row["size"]]
    return found
