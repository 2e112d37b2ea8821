"""Labels of stored samples, by the rules of `curator probe`, without reading their shards from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.io import storage
from curator.store import PartReader
from curator_ssl.probe import LabelRule, label_of

__all__ = ["labels_of"]

THREADS = 32
BESIDE = ("cls", "json")


def labels_of(store: PartReader, ids: NDArray[np.int64], rule: LabelRule) -> tuple[list[str], int]:
    """The label of each of these samples.

    Args:
        store: whose samples they are.
        ids: int64 (n,).
        rule: where labels are.

    Returns:
        the labels, empty where there is none; and of how many samples the file that may hold one could not be read.

    Cost: the metadata of the parts that hold them; of the rules `cls` and `json` one small range read each.
    """
    needed = ["shard", "image_path", *(["members"] if rule.kind in BESIDE else [])]
    rows = store.rows(ids, needed).to_pylist()
    kinds, urls = {part.url: part.kind for part in store.registered()}, store.moved_urls()

    def label(row: dict[str, Any]) -> str | None:
        try:
            kind, url = kinds.get(row["shard"], "tar"), urls.get(row["shard"], row["shard"])
            beside = _beside(url, row, kind, rule.kind) if rule.kind in BESIDE else None
        except (OSError, CuratorError):
            return None
        return label_of(rule, row["shard"] or "", row["image_path"], beside)

    labels: Sequence[str | None]
    if rule.kind in BESIDE:
        with ThreadPoolExecutor(THREADS) as threads:
            labels = list(threads.map(label, rows))
    else:
        labels = [label(row) for row in rows]
    return [text or "" for text in labels], sum(text is None for text in labels)


def _beside(url: str, row: dict[str, Any], kind: str, ending: str) -> bytes | None:
    """The content of the member or file that holds the label; None where there is none."""
    if kind == "folder":
        try:
            return storage.read_bytes(storage.join(url, f"{row['image_path'].rpartition('.')[0]}.{ending}"))
        except FileNotFoundError:
            return None
    member = next((each for each in row["members"] or () if each["ext"].lower() == ending), None)
    if member is None:
        return None
    return storage.read_range(url, member["offset"], member["offset"] + member["size"])
