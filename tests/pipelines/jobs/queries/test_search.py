import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import picture, table
from PIL import Image

from curator.errors import InputError
from curator.search.scoring import exact_scores
from curator.store.part_store import PartStore
from curator.types import part_ids
from curator_pipelines.config.queries import SearchConfig
from curator_pipelines.config.select import EmbedConfig, build
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.queries import query_sheets
from curator_pipelines.jobs.queries.search import SearchResult, run_search
from curator_pipelines.jobs.queries.why import explain
from curator_pipelines.jobs.select import embed_pool, prepare
from curator_pipelines.run.progress import Reporter


def search(out: Path, tmp_path: Path, **question: Any) -> SearchResult:
    config = {"run": str(out), "sheet": str(tmp_path / "sheet.png"), **question}
    return run_search(build(SearchConfig, config), Reporter())


def why(out: Path, key: str, shard: str) -> Any:
    return explain(build(SearchConfig, {"run": str(out), "why": key, "shard": shard}))


def test_an_image_finds_itself_and_its_copy(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "question.png").write_bytes(picture(205, "PNG"))
    result = search(reference, tmp_path, image=str(tmp_path / "question.png"), top=3)
    assert [(hit.shard[-10:], hit.key) for hit in result.hits[:2]] == [("pool-1.tar", "0001"), ("pool-3.tar", "0001")]
    assert result.hits[1].score > 0.9999 > result.hits[2].score
    assert result.rows == 59
    assert "best 3 of 59 for image" in result.to_text() and f"sheet       {result.sheet}" in result.to_text()


def test_the_sheet_begins_with_the_question_and_shows_the_hits_in_their_order(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(query_sheets, "write_sheet", lambda *arguments: drawn.append(arguments) or True)
    (tmp_path / "question.png").write_bytes(picture(205, "PNG"))
    result = search(reference, tmp_path, image=str(tmp_path / "question.png"), top=3)
    _, title, legend, (question, hits) = drawn[0]
    assert title.startswith("Search: image question.png; best 3") and "similarity" in legend
    assert [tile.lines[0] for tile in question.tiles] == ["question.png"] and shows(question.tiles[0], 205)
    assert [tile.lines for tile in hits.tiles] == [(f"{hit.score:.4f}", hit.key) for hit in result.hits]
    # The nearest are the picture and its copy.
    assert shows(hits.tiles[0], 205) and hits.tiles[0].image == hits.tiles[1].image != hits.tiles[2].image

    search(reference, tmp_path, key="0004", shard="pool-2.tar", top=3)
    _, _, _, (question, hits) = drawn[1]
    assert [tile.lines for tile in question.tiles] == [("0004",)] and question.tiles[0].image == hits.tiles[0].image


def shows(tile: Any, number: int) -> bool:
    expected = Image.open(io.BytesIO(picture(number, "PNG"))).convert("RGB")
    expected.thumbnail((192, 192))
    shown = np.asarray(Image.open(io.BytesIO(tile.image)), np.float32)
    return bool(np.abs(shown - np.asarray(expected, np.float32)).mean() < 12)


def test_what_the_sheet_cannot_show_is_told_and_ends_no_search(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / "run")
    reporter = Reporter(quiet=True)
    (tmp_path / "run" / "search.png").mkdir()
    asked = {"run": str(tmp_path / "run"), "key": "0004", "shard": "pool-2.tar"}
    result = run_search(build(SearchConfig, asked), reporter)
    assert result.sheet == "" and len(result.hits) == 20 and "sheet" not in result.to_text()
    assert any("the contact sheet was not written" in warning for warning in reporter.warnings)
    with pytest.raises(InputError, match="it is a folder"):
        run_search(build(SearchConfig, asked | {"sheet": str(tmp_path / "run" / "search.png")}), reporter)


def test_a_key_finds_what_a_full_scan_finds(reference: Path, tmp_path: Path) -> None:
    result = search(reference / "pool", tmp_path, key="0004", shard="pool-2.tar", top=59)
    store = PartStore(str(reference / "pool"))
    rows = np.concatenate([vectors for _, vectors in store.parts()])
    ids = np.concatenate([part_ids(part, len(vectors)) for part, vectors in store.parts()])
    query = store.vectors(2)[4].astype(np.float64)
    scores = exact_scores(rows, np.broadcast_to((query / np.linalg.norm(query)).astype(np.float32), rows.shape))
    order = np.lexsort((ids, -scores))
    assert [hit.id for hit in result.hits] == ids[order].tolist()
    assert [hit.score for hit in result.hits] == scores[order].tolist()
    assert result.hits[0].key == "0004"


def test_words_find_by_the_text_tower(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "make_executor", lambda *arguments, **named: InProcessExecutor())
    encoder = {"encoder": "open_clip:ViT-S-32-alt", "weights": "random", "device": "cpu", "precision": "fp32"}
    config = {"pool": [f"{data}/pool-2.tar"], "out": str(tmp_path / "clip"), **encoder}
    embed_pool.run_embed(build(EmbedConfig, config), Reporter())

    result = search(tmp_path / "clip", tmp_path, text="a red bicycle", top=2)

    import open_clip

    from curator.encoders.weights import random_weights

    with random_weights():
        model = open_clip.create_model("ViT-S-32-alt", pretrained_text=False).eval()
    words = model.encode_text(open_clip.get_tokenizer("ViT-S-32-alt")(["a red bicycle"]))[0].detach().numpy()
    rows = PartStore(str(tmp_path / "clip" / "pool")).vectors(0).astype(np.float32)
    scores = rows @ (words / np.linalg.norm(words))
    assert [hit.score for hit in result.hits] == pytest.approx(np.sort(scores)[::-1][:2], abs=1e-5)
    with pytest.raises(InputError, match="is not the encoder that embedded"):
        search(tmp_path / "clip", tmp_path, text="a", encoder="open_clip:ViT-S-32", weights="random")


def test_why(reference: Path) -> None:
    chosen = table(str(reference), "selection", "selected.parquet")
    third = why(reference, chosen[2]["key"], chosen[2]["shard"])
    assert (third.fate, third.position, third.round) == ("chosen", 3, chosen[2]["round"])
    credited = {view.centroid: view for view in third.centroids}[chosen[2]["centroid"]]
    assert credited.score == pytest.approx(chosen[2]["score"], abs=0)
    assert third.last_score == chosen[-1]["score"]
    assert third.centroids[0].rank >= 1

    denied = why(reference, "0005", "pool-1.tar")
    if denied.fate == "skipped":
        assert denied.reason == "denied"
        assert "denied" in denied.to_text()
    taken = {(row["shard"], row["key"]) for row in chosen}
    store = PartStore(str(reference / "pool"))
    shard = store.registered()[1].url
    key = next(k for k in store.metadata(1)["image_path"].to_pylist() if (shard, k) not in taken and k != "0005")
    missed = why(reference, key, shard)
    assert (missed.fate, missed.position) == ("not reached", None)
    assert "the selection ended before (budget)" in missed.to_text()

    # The rank of the best row of a centroid is 1, of its worst the number of rows.
    rows = np.concatenate([vectors for _, vectors in store.parts()])
    centroids = np.load(reference / "selection" / "centroids.npy")
    for view in missed.centroids:
        scores = exact_scores(rows, np.broadcast_to(centroids[view.centroid], rows.shape))
        assert view.rank == 1 + int((scores > np.float32(view.score)).sum())


def test_questions_that_cannot_be_answered(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one question is needed, not none: give image, or give key"):
        search(reference, tmp_path)
    with pytest.raises(InputError, match="key='0001': this key is in 4 shards: give shard="):
        search(reference, tmp_path, key="0001")
    with pytest.raises(InputError, match="no embedded sample has this key"):
        search(reference, tmp_path, key="nobody")
    with pytest.raises(InputError, match="embedded by an open_clip encoder"):
        search(reference, tmp_path, text="words")
    with pytest.raises(InputError, match="no embedded pool here"):
        search(tmp_path, tmp_path, key="1")
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^image=.*x\.jpg"):
        search(reference, tmp_path, image=str(tmp_path / "x.jpg"))
