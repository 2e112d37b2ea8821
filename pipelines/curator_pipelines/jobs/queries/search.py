"""`curator search`: does my pool contain this image, this sample's like, or what these words say?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curator.errors import InputError, SampleError
from curator.io import storage
from curator.io.urls import absolute
from curator.selection import best_rows
from curator.store.deny_list import DenyList
from curator.store.part_store import PartStore
from curator.store.row_reader import RowReader
from curator_pipelines.config.queries import SearchConfig
from curator_pipelines.jobs.queries.contact_sheet import write_hits_sheet
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.run_directory import RunDirectory

__all__ = ["Found", "Hit", "find_key", "open_run", "run_search"]


@dataclass(frozen=True)
class Hit:
    """A sample of the pool."""

    id: int
    shard: str
    key: str
    score: float


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        query: what was asked.
        rows: samples in the pool.
        hits: the best, best first.
        sheet: the contact sheet; empty where there are no images to show.
    """

    query: str
    rows: int
    hits: list[Hit]
    sheet: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person: score, key, shard."""
        lines = [f"{hit.score:.4f}  {hit.key}  {hit.shard}" for hit in self.hits]
        sheet = f"; {self.sheet}" if self.sheet else ""
        return "\n".join([*lines, f"best {len(self.hits)} of {self.rows:,} for {self.query}{sheet}"])


def run_search(config: SearchConfig, reporter: Reporter) -> Found:
    """Score every row of OUT/pool exactly, in one streaming pass, and keep the best.

    Raises:
        InputError: no such run or key, or the encoder is not the one that made the pool's embeddings.
    """
    run = open_run(config.run)
    if config.key is not None:
        query = RowReader(run.pool).vectors(np.array([find_key(run.pool, config.key, config.shard)]))[0]
        asked = f"key {config.key}"
    elif config.image is not None:
        query, asked = _of_image(run, config, reporter), f"image {config.image}"
    else:
        assert config.text is not None
        query, asked = _of_text(run, config), f"text {config.text!r}"
    wide = query.astype(np.float64)
    unit = (wide / np.linalg.norm(wide)).astype(np.float32)[None]
    with reporter.stage("search", run.pool.count(), "rows") as progress:
        queues = best_rows(run.pool, unit, config.top, progress=progress)
    ids, scores = queues.ids[0], queues.scores[0].tolist()
    rows = run.pool.rows(ids, ["shard", "image_path"])
    columns = (ids.tolist(), rows["shard"].to_pylist(), rows["image_path"].to_pylist(), scores)
    hits = [Hit(*fields) for fields in zip(*columns, strict=True)]
    sheet = absolute(config.sheet) if config.sheet else run.path("search.png")
    shown = write_hits_sheet(run.pool, ids, scores, asked, sheet)
    return Found(asked, queues.rows, hits, sheet if shown else "")


def open_run(url: str) -> RunDirectory:
    """The run directory, also where its pool is named.

    Raises:
        InputError: it has no embedded pool.
    """
    url = absolute(url)
    run = RunDirectory(url)
    if not run.record and url.endswith("/pool"):
        run = RunDirectory(url.removesuffix("/pool"))
    if not run.record or not run.pool.finished():
        raise InputError(f"--run {url}: no embedded pool here; give the OUT of curator select or curator embed")
    return run


def find_key(store: PartStore, key: str, shard: str | None) -> int:
    """The id of a sample, by its key, and by the end of its shard's name where the key occurs in several.

    Raises:
        InputError: no such sample, or several.
    """
    ids, _ = DenyList(frozenset([key]), {}, "").find(store)
    shards = store.rows(ids, ["shard"])["shard"].to_pylist()
    found = [(int(row), name) for row, name in zip(ids, shards, strict=True) if shard is None or name.endswith(shard)]
    if not found:
        where = f" in {shard}" if shard else ""
        raise InputError(f"key {key}: no embedded sample of this name{where}; quarantine.parquet has those left out")
    if len(found) > 1:
        raise InputError(f"key {key} is in {len(found)} shards: add --shard, such as --shard {found[0][1]}")
    return found[0][0]


def _encoder_settings(run: RunDirectory, config: SearchConfig) -> dict[str, Any]:
    """The encoder that made the pool's embeddings, unless flags name where else to load it from."""
    known = run.record.get("config", {})
    spec = config.encoder or known.get("encoder")
    weights = config.weights or (None if config.encoder else known.get("weights"))
    if spec == "warmup":
        # The weights of the run are those that the warm-up began with.
        spec, weights = f"checkpoint:{run.path('encoder.pt')}", None
    return {
        "spec": spec,
        "weights": weights,
        "device": known.get("device", "auto"),
        "precision": run.record["identities"]["pool"].get("precision", "auto"),
        "batch_size": known.get("batch_size"),
    }


def _check_same(run: RunDirectory, tensors: str, spec: str) -> None:
    identity = run.record["identities"]["pool"]
    if identity.get("tensors") != tensors:
        raise InputError(
            f"--encoder {spec} is not what embedded {run.url}/pool ({json.dumps(identity)}): "
            "give its --encoder and --weights, or search by --key"
        )


def _of_image(run: RunDirectory, config: SearchConfig, reporter: Reporter) -> np.ndarray:
    import torch

    from curator.encoders.load import load_encoder
    from curator.images.decode import decode_image

    assert config.image is not None
    try:
        image = decode_image(storage.read_bytes(absolute(config.image)))
    except (OSError, SampleError) as error:
        raise InputError(f"--image {config.image}: {error}") from error
    settings = _encoder_settings(run, config)
    encoder = load_encoder(**settings)
    _check_same(run, encoder.tensors_hash, settings["spec"])
    pixels = torch.zeros(encoder.input_shape, dtype=torch.uint8)
    pixels[0] = encoder.preprocess.fit(image.pixels)
    vector: np.ndarray = encoder.encode(pixels)[0]
    return vector


def _of_text(run: RunDirectory, config: SearchConfig) -> np.ndarray:
    from curator.encoders.open_clip_text import load_text_encoder

    assert config.text is not None
    settings = _encoder_settings(run, config)
    encode, tensors = load_text_encoder(settings["spec"], settings["weights"])
    _check_same(run, tensors, settings["spec"])
    return encode(config.text)
