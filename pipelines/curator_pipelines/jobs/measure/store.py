"""What OUT/measure holds: what `auto` chose and why, and what `curator measure` compared last.

OUT/measure/measure.json, ranks.parquet       of a selection: the choice stands until it is started anew
OUT/measure/compared.json, compared.parquet   of `curator measure`: for who wants to know, read by nothing
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curator.errors import InputError, Redo
from curator.io import FORMAT_VERSION, parquet, public_values, schemas, storage
from curator_pipelines.config import AUTO
from curator_pipelines.jobs.measure.ranks import Measured
from curator_pipelines.jobs.measure.sample import Sample
from curator_pipelines.jobs.measure.table import Table

__all__ = ["EncoderChoice", "keep_choice", "keep_comparison", "kept_choice"]


@dataclass(frozen=True)
class EncoderChoice:
    """What a selection found out about its encoder before the pool was embedded.

    Attributes:
        encoder: what `auto` chose; None where it found none, or where one was named.
        reason: why, for a person; where `auto` found none, the error that ends the run.
        is_failure: whether `auto` found none.
        warning: what is wrong with a trained encoder, empty if nothing; None where none was measured.
        asked: among what it was to be chosen, as the user named it.
    """

    encoder: str | None
    reason: str
    is_failure: bool = False
    warning: str | None = None
    asked: Sequence[str] = (AUTO,)


def keep_choice(out: str, choice: EncoderChoice, table: Table, measured: Sequence[Measured], sample: Sample) -> None:
    """Write OUT/measure/measure.json, last, and the ranks."""
    _keep(out, ("measure.json", "ranks.parquet"), asdict(choice), table, measured, sample)


def keep_comparison(out: str, table: Table, measured: Sequence[Measured], sample: Sample) -> str:
    """Write OUT/measure/compared.json, and the ranks; returns where."""
    return _keep(out, ("compared.json", "compared.parquet"), {}, table, measured, sample)


def kept_choice(out: str) -> EncoderChoice | None:
    """What a selection found out before; None if nothing yet.

    Raises:
        InputError: it cannot be read.
    """
    url = storage.join(out, "measure", "measure.json")
    try:
        record = json.loads(storage.read_bytes(url))
        if (version := record["version"]) != FORMAT_VERSION:
            raise InputError(f"{url} has format version {version}, this curator reads {FORMAT_VERSION}")
        return EncoderChoice(**record["choice"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{url} is damaged ({error})", advice=Redo("measure")) from error


def _keep(
    out: str,
    names: tuple[str, str],
    choice: dict[str, Any],
    table: Table,
    measured: Sequence[Measured],
    sample: Sample,
) -> str:
    columns: dict[str, list[Any]] = {field.name: [] for field in schemas.MEASURED}
    for encoder in measured:
        columns["encoder"] += [encoder.name] * len(encoder.rows)
        for name, values in zip(("target", "shard", "key"), zip(*encoder.rows, strict=True), strict=True):
            columns[name] += values
        columns["rank"] += encoder.ranks.tolist()
    parquet.write_table(storage.join(out, "measure", names[1]), schemas.MEASURED, columns)
    record = {
        "version": FORMAT_VERSION,
        "choice": choice,
        "table": table.to_json(),
        "encoders": {encoder.name: encoder.candidate.encoding.identity for encoder in measured},
        "sample": {
            "targets": {name: _described(pairs) for name, pairs in sample.targets.items()},
            "pool": _described(sample.pool),
            "min_side": sample.min_side,
        },
    }
    url = storage.join(out, "measure", names[0])
    storage.write_bytes(url, json.dumps(public_values(record), indent=2).encode())
    return url


def _described(pairs: Sequence[tuple[Any, int]]) -> list[dict[str, Any]]:
    return [{"source": source.name, **asdict(source.stat), "images": images} for source, images in pairs]
