"""Labels of samples: beside the image, in a table, or in the name of the folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curator.errors import InputError
from curator.io import absolute, storage
from curator.sources import Source, find_sources, read_source
from curator.types import RawSample

__all__ = ["LabelRule", "SampleName", "image_sources", "parse_label", "read_labels"]

# Shard and key: keys repeat across shards.
SampleName = tuple[str, str]
_FORMS = "cls, json:FIELD, csv:FILE or folder"


@dataclass(frozen=True)
class LabelRule:
    """Where labels are.

    Attributes:
        kind: `cls` (a member or file `KEY.cls`), `json` (a field of `KEY.json`), `csv` (a table) or
            `folder` (the first folder in the key).
        name: of `json`, the field's.
        table: of `csv`, (shard, key) -> label; the shard is empty where the table has no such column.
    """

    kind: str
    name: str = ""
    table: Mapping[SampleName, str] = field(default_factory=dict)


def image_sources(urls: Sequence[str], field: str) -> list[Source]:
    """Shards and folders of images; `field` is the setting that names them, for messages.

    Raises:
        InputError: nothing there, or embeddings.
    """
    sources = find_sources(urls, field, folders=True)
    if ready := [source.name for source in sources if source.is_ready]:
        raise InputError(
            "these are ready embeddings; a probe needs images: shards or a folder", field=field, value=ready[0]
        )
    return sources


def parse_label(text: str) -> LabelRule:
    """Read a rule for labels; a table is loaded at once.

    Raises:
        InputError: another form, or a table without the columns `key` and `label`.

    >>> parse_label("json:label")
    LabelRule(kind='json', name='label', table={})
    """
    kind, colon, rest = text.partition(":")
    if kind in ("cls", "folder") and not colon:
        return LabelRule(kind)
    if kind == "json" and rest:
        return LabelRule(kind, rest)
    if kind == "csv" and rest:
        return LabelRule(kind, table=_read_table(rest))
    raise InputError(f"it is {_FORMS}", field="label", value=text)


def _read_table(url: str) -> dict[SampleName, str]:
    try:
        text = storage.read_bytes(absolute(url)).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read ({' '.join(str(error).split())})", field="label", value=f"csv:{url}"
        ) from error
    rows = csv.DictReader(io.StringIO(text))
    columns = rows.fieldnames or []
    if not {"key", "label"} <= set(columns):
        raise InputError(
            f"it needs the columns key and label (and may have shard); it has {columns}",
            field="label",
            value=f"csv:{url}",
        )
    table: dict[SampleName, str] = {}
    for row in rows:
        name = (row.get("shard") or "", row["key"])
        if table.setdefault(name, row["label"]) != row["label"]:
            raise InputError(
                f"{name[1]} has two labels, {table[name]} and {row['label']}", field="label", value=f"csv:{url}"
            )
    return {name: label for name, label in table.items() if label}


def read_labels(sources: Sequence[Source], rule: LabelRule) -> dict[SampleName, str]:
    """Labels of all samples that have one.

    Costs a pass over the shards for `cls` and `json`, in which local images are skipped over.

    Args:
        sources: tars and folders.
        rule: where the labels are.

    Returns:
        (shard, key) -> label as text. Samples without one, and with one that is no text or number, are
        not in it.
    """
    labels: dict[SampleName, str] = {}
    for source in sources:
        member = rule.kind if source.kind == "tar" and rule.kind in ("cls", "json") else ""
        for item in read_source(source, keep=lambda m, ext=member: m.ext.lower() == ext):  # type: ignore[misc]
            if isinstance(item, RawSample) and (label := _label(item, source, rule)):
                labels[source.name, item.key] = label
    return labels


def _label(sample: RawSample, source: Source, rule: LabelRule) -> str:
    if rule.kind == "folder":
        return sample.key.partition("/")[0] if "/" in sample.key else ""
    if rule.kind == "csv":
        short = source.name.rpartition("/")[2]
        names = ((source.name, sample.key), (short, sample.key), ("", sample.key))
        return next((rule.table[name] for name in names if name in rule.table), "")
    data = _beside(sample, source, rule.kind)
    return _parse(data, rule) if data is not None else ""


def _beside(sample: RawSample, source: Source, ext: str) -> bytes | None:
    if source.kind == "tar":
        return next((member.data for member in sample.members if member.ext.lower() == ext), None)
    try:
        return storage.read_bytes(storage.join(source.url, f"{sample.key.rpartition('.')[0]}.{ext}"))
    except FileNotFoundError:
        return None


def _parse(data: bytes, rule: LabelRule) -> str:
    try:
        if rule.kind == "cls":
            return data.decode().strip()
        value = json.loads(data)[rule.name]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(value).strip() if isinstance(value, str | int | float) else ""
