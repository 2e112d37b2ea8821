"""`curator search`: the rows of the pool nearest to an image, to a sample of the pool, or to words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, InputError, SampleError, Use
from curator.io import absolute, public_name, storage
from curator.search import best_rows
from curator.store import DenyList, PartReader, RowReader
from curator_pipelines.config import SearchConfig
from curator_pipelines.jobs.pictures import Original
from curator_pipelines.jobs.queries.query_sheets import file_name, write_hits_sheet
from curator_pipelines.run import Reporter, RunDirectory

__all__ = ["Hit", "SearchResult", "find_key", "open_run", "run_search"]


@dataclass(frozen=True)
class Hit:
    """A sample of the pool.

    Attributes:
        id: its id.
        shard: the name of its shard.
        key: its key.
        score: its similarity to the question.
    """

    id: int
    shard: str
    key: str
    score: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        query: the question.
        rows: the number of samples in the pool.
        hits: the best samples, best first.
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
        """For a person: score, key and shard of each hit."""
        hits = [f"{hit.score:.4f}  {hit.key}  {hit.shard}" for hit in self.hits]
        sheet = [f"sheet       {self.sheet}"] if self.sheet else []
        return "\n".join([*hits, f"best {len(self.hits)} of {self.rows:,} for {self.query}", *sheet])


def run_search(config: SearchConfig, reporter: Reporter) -> SearchResult:
    """Score every row of OUT/pool exactly, in one streaming pass, and keep the best.

    Raises:
        InputError: no such run or key, or the encoder is not the one that made the pool's embeddings.
    """
    run = open_run(config.run)
    sheet = absolute(config.sheet) if config.sheet else run.path("search.png")
    if config.sheet:
        storage.check_writable(sheet, "sheet")
    question, vector, asked = _question(run, config)
    wide = vector.astype(np.float64)
    unit = (wide / np.linalg.norm(wide)).astype(np.float32)[None]
    with reporter.stage("search", run.pool.count(), "rows") as progress:
        best = best_rows(run.pool, unit, config.top, progress=progress)
    ids, scores = best.ids[0], best.scores[0].tolist()
    rows = run.pool.rows(ids, ["shard", "image_path"])
    columns = (ids.tolist(), rows["shard"].to_pylist(), rows["image_path"].to_pylist(), scores)
    hits = [Hit(*fields) for fields in zip(*columns, strict=True)]
    # Where a file is, is nobody's matter who sees the sheet.
    title = f"image {file_name(config.image)}" if config.image else question
    is_drawn = write_hits_sheet(sheet, run.pool, [*zip(ids.tolist(), scores, strict=True)], title, asked, reporter)
    return SearchResult(question, best.rows, hits, public_name(sheet) if is_drawn else "")


def open_run(url: str) -> RunDirectory:
    """Open a run directory by its URL or by the URL of its pool.

    Raises:
        InputError: it has no embedded pool.
    """
    url = absolute(url)
    run = RunDirectory(url)
    if not run.record and url.endswith("/pool"):
        run = RunDirectory(url.removesuffix("/pool"))
    if not run.record or not run.pool.finished():
        raise InputError(
            "there is no embedded pool here",
            field="run",
            value=url,
            advice="give the run directory of a selection or of an embedded pool",
        )
    return run


def find_key(store: PartReader, key: str, shard: str | None, *, field: str = "key") -> int:
    """Return the id of a sample.

    Args:
        store: the parts to look in.
        key: the sample's key.
        shard: the end of its shard's name; needed where the key is in several shards.
        field: the setting that the key comes from.

    Raises:
        InputError: no such sample, or several.
    """
    ids, _ = DenyList(frozenset([key]), {}, "").find(store)
    shards = store.rows(ids, ["shard"])["shard"].to_pylist()
    matches = [(int(row), name) for row, name in zip(ids, shards, strict=True) if shard is None or name.endswith(shard)]
    if not matches:
        where = f" in {shard}" if shard else ""
        raise InputError(
            f"no embedded sample has this key{where}; quarantine.parquet has those that were left out",
            field=field,
            value=key,
        )
    if len(matches) > 1:
        raise InputError(
            f"this key is in {len(matches)} shards", field=field, value=key, advice=Use("shard", matches[0][1])
        )
    return matches[0][0]


def _question(run: RunDirectory, config: SearchConfig) -> tuple[str, NDArray[Any], Original | int | None]:
    """The question in words, its vector (dim,), and its image: a file, a sample of the pool, or none of words."""
    if config.key is not None:
        row = find_key(run.pool, config.key, config.shard)
        return f"key {config.key}", RowReader(run.pool).vectors(np.array([row]))[0], row
    if config.image is not None:
        image = Original("file", absolute(config.image))
        return f"image {config.image}", _embed_image(run, config, config.image), image
    assert config.text is not None
    return f"text {config.text!r}", _embed_text(run, config, config.text), None


def _encoder_settings(run: RunDirectory, config: SearchConfig) -> dict[str, Any]:
    """The encoder that made the pool's embeddings, unless the settings say where else to load it from."""
    recorded = run.record.get("config", {})
    spec = config.encoder or recorded.get("encoder")
    weights = config.weights or (None if config.encoder else recorded.get("weights"))
    if spec == "warmup":
        # The weights of the run are those that the warm-up began with.
        spec, weights = f"checkpoint:{run.path('encoder.pt')}", None
    return {
        "spec": spec,
        "weights": weights,
        "device": recorded.get("device", "auto"),
        "precision": run.record["identities"]["pool"].get("precision", "auto"),
        "batch_size": recorded.get("batch_size"),
    }


def _check_same(run: RunDirectory, tensors: str, spec: str) -> None:
    identity = run.record["identities"]["pool"]
    if identity.get("tensors") != tensors:
        raise InputError(
            f"this is not the encoder that embedded {run.url}/pool ({json.dumps(identity)})",
            field="encoder",
            value=spec,
            advice=(Another("encoder"), Another("weights"), Use("key")),
        )


def _embed_image(run: RunDirectory, config: SearchConfig, url: str) -> NDArray[Any]:
    import torch

    from curator.encoders import load_encoder
    from curator.images import decode_image

    try:
        image = decode_image(storage.read_bytes(absolute(url)))
    except (OSError, SampleError) as error:
        raise InputError(str(error), field="image", value=url) from error
    settings = _encoder_settings(run, config)
    encoder = load_encoder(**settings)
    _check_same(run, encoder.tensors_hash, settings["spec"])
    pixels = torch.zeros(encoder.input_shape, dtype=torch.uint8)
    pixels[0] = encoder.preprocess.fit(image.pixels)
    vector: NDArray[Any] = encoder.encode(pixels)[0]
    return vector


def _embed_text(run: RunDirectory, config: SearchConfig, text: str) -> NDArray[Any]:
    from curator.encoders import load_text_encoder

    settings = _encoder_settings(run, config)
    encode, tensors = load_text_encoder(settings["spec"], settings["weights"])
    _check_same(run, tensors, settings["spec"])
    return encode(text)
