"""Labels of samples: beside the image, in a table, or in the name of the folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from curator.errors import InputError
from curator.io import absolute, storage
from curator.sources import Source, find_sources, hidden_place, read_source
from curator.store import spellings
from curator.types import RawSample

__all__ = [
    "LabelRule",
    "SampleName",
    "image_sources",
    "label_hint",
    "label_of",
    "parse_label",
    "read_labels",
    "unmatched_rows",
]

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
        table: of `csv`, (shard, key) -> label; the shard is empty where the table has no such column. Keys are
            compared as those of deny lists: in NFC, and with or without the ending of an image.
    """

    kind: str
    name: str = ""
    table: Mapping[SampleName, str] = field(default_factory=dict)

    def row_of(self, shard: str, key: str) -> SampleName | None:
        """The row of the table that names a sample; None if none does, or several with different labels."""
        for spelling in spellings(key):
            for name in (shard, shard.rpartition("/")[2], ""):
                if row := self._rows.get((name, spelling)):
                    return row
        return None

    @cached_property
    def _rows(self) -> dict[SampleName, SampleName | None]:
        rows: dict[SampleName, SampleName | None] = {}
        stems: dict[SampleName, SampleName | None] = {}
        for row in self.table:
            plain, *others = spellings(row[1])
            rows.setdefault((row[0], plain), row)
            for stem in ((row[0], other) for other in others):
                other_row = stems.setdefault(stem, row)
                if other_row is not None and self.table[other_row] != self.table[row]:
                    stems[stem] = None  # a.jpg and a.png, of different labels
        return stems | rows


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
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal mark.
    delimiter = next((mark for mark in (",", ";", "\t") if mark in header), ",")
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    columns = rows.fieldnames or []
    if not {"key", "label"} <= set(columns):
        raise InputError(
            f"it needs the columns key and label (and may have shard); it has {', '.join(columns) or 'none'}",
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


def label_of(rule: LabelRule, shard: str, key: str, beside: bytes | None = None) -> str:
    """The label of one sample; empty if it has none, or one that is no text or number.

    Args:
        rule: where labels are.
        shard: the name of the sample's shard.
        key: its key.
        beside: of the rules `cls` and `json`: the content of that member or file; None where there is none.
    """
    if rule.kind == "folder":
        # What file managers put beside photos is no class.
        return key.partition("/")[0] if "/" in key and not hidden_place(key) else ""
    if rule.kind == "csv":
        row = rule.row_of(shard, key)
        return rule.table[row] if row is not None else ""
    return _parse(beside, rule) if beside is not None else ""


def _label(sample: RawSample, source: Source, rule: LabelRule) -> str:
    beside = _beside(sample, source, rule.kind) if rule.kind in ("cls", "json") else None
    return label_of(rule, source.name, sample.key, beside)


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


def label_hint(sources: Sequence[Source], rule: LabelRule) -> str:
    """For a message: what the first sample has where its label should be. Reads sources up to that sample."""
    for source in sources:
        for item in read_source(source, keep=lambda member: member.ext.lower() == "json"):
            if isinstance(item, RawSample):
                return f"the first sample is {item.key}{_in_its_place(item, source, rule)}"
    return "there is no sample"


def _in_its_place(sample: RawSample, source: Source, rule: LabelRule) -> str:
    if rule.kind == "folder":
        return ", which is in no folder" if "/" not in sample.key else ""
    if rule.kind == "csv":
        return f", the table's first key {next(iter(rule.table))[1]}" if rule.table else ", the table is empty"
    if rule.kind == "json":
        try:
            content = json.loads(_beside(sample, source, "json") or b"null")
        except ValueError:
            return ", whose json cannot be read"
        if isinstance(content, dict):
            return f", whose json has {', '.join(map(str, content)) or 'no field'}"
    beside = [member.ext for member in sample.members if not member.is_image]
    return f", with {', '.join(beside)} beside it" if beside else ", with nothing beside it"


def unmatched_rows(rule: LabelRule, samples: Iterable[SampleName]) -> list[SampleName]:
    """The rows of the rule's table that name none of these samples."""
    matched = {rule.row_of(*name) for name in samples}
    return [row for row in rule.table if row not in matched]
