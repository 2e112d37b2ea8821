from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curator.embedding.read_decode_encode import embed_source
from curator.encoders.encoder import Encoder
from curator.encoders.load import load_encoder
from curator.errors import Reason
from curator.sources import Remark
from curator.sources.find import find_sources
from curator.sources.source import Source

SAMPLES = 7 * 32 + 5


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32", batch_size=32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Small pictures, of which every fiftieth is cut off."""
    path = tmp_path_factory.mktemp("source") / "shard.tar"
    random = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for number in range(SAMPLES):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(buffer, "JPEG")
            data = buffer.getvalue()[: 100 if number % 50 == 49 else None]
            member = tarfile.TarInfo(f"{number:04d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return find_sources([str(path)], "pool", folders=False)[0]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_several_batches_at_a_time_give_the_same_bits_in_the_same_order(
    threads: int, source: Source, encoder: Encoder
) -> None:
    one_by_one, account = embed_source(source, encoder, threads=1)
    block, mark = embed_source(source, encoder, threads=threads)
    assert np.array_equal(block.vectors.view(np.uint16), one_by_one.vectors.view(np.uint16))
    assert block.rows == one_by_one.rows
    assert [row.key for row in block.rows] == [f"{n:04d}" for n in range(SAMPLES) if n % 50 != 49]
    assert mark.ledger == account.ledger
    assert {line.reason for line in mark.ledger} == {Reason.DECODE_ERROR}


def test_an_encoder_that_fails_in_its_thread_fails_here(
    source: Source, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pixels: torch.Tensor) -> np.ndarray:
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(encoder, "encode", fail)
    with pytest.raises(MemoryError, match="no room"):
        embed_source(source, encoder, threads=2)


def test_links_beside_images_are_in_the_done_mark(tmp_path: Path, encoder: Encoder) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 50)).save(buffer, "JPEG")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        image, hard, soft = tarfile.TarInfo("./a.jpg"), tarfile.TarInfo("./b.jpg"), tarfile.TarInfo("./b.txt")
        image.size = len(buffer.getvalue())
        hard.type, hard.linkname = tarfile.LNKTYPE, "./a.jpg"
        soft.type, soft.linkname = tarfile.SYMTYPE, "a.txt"
        tar.addfile(image, io.BytesIO(buffer.getvalue()))
        tar.addfile(hard)
        tar.addfile(soft)
    (source,) = find_sources([str(tmp_path)], "pool", folders=False)
    block, mark = embed_source(source, encoder)
    assert [row.key for row in block.rows] == ["a", "b"]
    assert block.rows[0].sha256 == block.rows[1].sha256
    assert (mark.seen, mark.embedded, mark.ledger) == (2, 2, [])
    # The bytes of the image that is a link lie elsewhere.
    assert mark.remarks.counts == {Remark.LINKS: 1, Remark.UNHASHED: 1}
