"""A user's mistake is one line that says what, where and what to do; exit 2, before any work."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

Ran = Any
Select = Callable[..., Ran]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def refused(ran: Ran, *words: str) -> str:
    """The one line of a command that refused to start."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    # The encoder is announced as soon as it is loaded; everything else waits for the checks.
    lines = [line for line in ran.err.splitlines() if " encoder: " not in line]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("curator: ")
    for word in words:
        assert word in lines[0]
    return str(lines[0])


@pytest.fixture
def no(data: Path) -> Iterator[Callable[..., str]]:
    """As `refused`, for a run that has no OUT yet; afterwards nothing at all was written."""
    before = snapshot(data)
    called: list[Path] = []

    def check(ran: Ran, *words: str) -> str:
        if not called:
            called.append(data)
        assert not (data / "run").exists()
        return refused(ran, *words)

    yield check
    assert called, "the fixture was not used"
    known = snapshot(data)
    assert {path: known.get(path) for path in before} == before


def embeddings(folder: Path, vectors: np.ndarray, rows: int | None = None, column: str = "image_path") -> Path:
    """clip-retrieval's layout."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    np.save(folder / "img_emb" / "img_emb_0.npy", vectors)
    keys = [f"{index:04d}" for index in range(len(vectors) if rows is None else rows)]
    pq.write_table(pa.table({column: keys}), folder / "metadata" / "metadata_0.parquet")
    return folder


def vectors(rows: int, dim: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)


# What is not there, or stands for nothing.


@pytest.mark.parametrize("flag", ["target", "pool"])
def test_no_such_file(select: Select, no: Callable[..., str], flag: str, data: Path) -> None:
    no(select(**{flag: "nowhere.tar"}), f"--{flag}", "no such file", str(data / "nowhere.tar"))


def test_one_missing_shard_of_a_range(select: Select, no: Callable[..., str]) -> None:
    no(select(pool="pool-{0..2}.tar"), "--pool", "no such file", "pool-2.tar")


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("pool-{}.tar", "is empty"),
        ("pool-{5..3}.tar", "5 is above 3"),
        ("pool-{0..1.tar", "unbalanced"),
        ("pool-0..1}.tar", "unbalanced"),
        ("pool-{0}.tar", "is empty"),
        ("*.tarr", "nothing matches"),
        ("nowhere/*.tar", "nothing matches"),
    ],
)
@pytest.mark.parametrize("flag", ["target", "pool"])
def test_patterns_that_stand_for_nothing(
    select: Select, no: Callable[..., str], flag: str, pattern: str, word: str
) -> None:
    no(select(**{flag: pattern}), word, pattern)


def test_an_empty_list_of_urls(select: Select, no: Callable[..., str], data: Path, curator: Select) -> None:
    (data / "list.txt").write_text("# nothing\n\n")
    words = ("--target", data / "target", "--out", data / "run", "--encoder", "timm:test_vit")
    no(curator("select", *words, "--pool", f"@{data / 'list.txt'}"), "list.txt", "empty")
    no(curator("select", *words, "--pool", f"@{data / 'none.txt'}"), "none.txt", "cannot read")


def test_a_glob_that_the_shell_expanded_just_works(curator: Select, data: Path) -> None:
    for index in range(5):
        (data / "target" / f"{index}.jpg").unlink()
    for shard in range(2):
        (data / "target" / f"{shard}.tar").write_bytes((data / f"pool-{shard}.tar").read_bytes())
    pools, targets = sorted(data.glob("pool-*.tar")), sorted((data / "target").glob("*.tar"))
    ran = curator(
        "select", "--pool", *pools, "--target", *targets, "--out", data / "run", "--encoder", "timm:test_vit",
        "--weights", "random", "--clusters", 3, "--dry-run", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [found["sources"] for found in json.loads(ran.out)["sets"]] == [2, 2]


@pytest.mark.parametrize("flag", ["--target", "--pool", "--out"])
def test_a_flag_that_must_be_there(curator: Select, no: Callable[..., str], data: Path, flag: str) -> None:
    given = {"--target": data / "target", "--pool": data / "pool-0.tar", "--out": data / "run"}
    words = [word for name, value in given.items() if name != flag for word in (name, value)]
    no(curator("select", *words, "--encoder", "timm:test_vit"), flag, "missing")


# The encoder.


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("lite", ("there is no such encoder", "near: lite0")),
        ("timm:resnet5O", ("unknown model", "near: resnet50")),
        pytest.param("timm:resnet50.a1_in1", ("unknown weights", "resnet50.a1_in1k"), marks=pytest.mark.slow),
        pytest.param("torchvision:resnt50", ("unknown model", "near: resnet50"), marks=pytest.mark.slow),
        pytest.param("open_clip:ViT-B-3", ("unknown model", "ViT-B-32"), marks=pytest.mark.slow),
        ("tim:resnet50", ("there is no such encoder", "near: timm")),
        ("timm:", ("the model is missing",)),
        ("", ("there is no such encoder", "lite0, timm:MODEL")),
        ("checkpoint:x.pt", ("leave --weights away",)),
    ],
)
def test_encoders_that_are_not_there(
    select: Select, no: Callable[..., str], encoder: str, words: tuple[str, ...]
) -> None:
    no(select("--encoder", encoder), f"--encoder {encoder}", *words)


@pytest.mark.parametrize("encoder", ["warmup", "auto"])
def test_embed_has_no_target_that_could_tell(curator: Select, no: Callable[..., str], data: Path, encoder: str) -> None:
    where = ("--pool", data / "pool-0.tar", "--out", data / "run")
    no(curator("embed", *where), "--encoder", "missing")
    ran = curator("embed", *where, "--encoder", encoder)
    no(ran, f"--encoder {encoder}", "checkpoint:RUN/encoder.pt, lite0 or timm:resnet50")


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_weights_that_cannot_be_read(select: Select, no: Callable[..., str], data: Path, content: bytes | None) -> None:
    if content is not None:
        (data / "w.pt").write_bytes(content)
    no(select("--weights", data / "w.pt"), f"--weights {data / 'w.pt'}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(select: Select, no: Callable[..., str]) -> None:
    no(select("--device", "cuda"), "--device cuda", "0 GPUs", "--device cpu")


# Numbers, and what does not go together.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "0.05"), ("--budget 0.05", "--budget 5%")),
        (("--budget", "150%"), ("--budget 150%", "a share of the pool")),
        (("--budget", "0"), ("--budget 0", "1000")),
        (("--budget", "²"), ("--budget ²", "1000")),
        (("--stop", "off"), ("--stop off: something must end the selection: give --budget",)),
        (("--stop", "1.5"), ("--stop 1.5", "0.95")),
        (("--selector", "random"), ("--selector random: this selector does not stop by itself: give --budget",)),
        (("--selector", "knn"), ("--selector knn: this selector does not stop by itself: give --budget",)),
        (("--selector", "simcor", "--budget", "3"), ("--selector simcor", "simcore")),
        (("--clusters", "0"), ("--clusters 0",)),
        (("--clusters", "ten"), ("--clusters ten: should be a valid integer",)),
        (("--shard-size", "0"), ("--shard-size 0",)),
        (("--workers", "0"), ("--workers 0",)),
        (("--batch-size", "1"), ("--batch-size 1", "at least 32")),
        (("--batch-size", "0"), ("--batch-size 0",)),
        (("--seed", "-1"), ("--seed -1",)),
        (("--reference-round", "0"), ("--reference-round 0",)),
        (("--min-side", "-1"), ("--min-side -1",)),
        (("--max-bad", "0.01"), ("--max-bad 0.01", "1%")),
        (("--max-bad", "200%"), ("--max-bad 200%",)),
        (
            ("--gpus-per-worker", "1.5"),
            ("--gpus-per-worker 1.5", "a share of one GPU, such as 0.5, or a whole number of them"),
        ),
        (("--precision", "fp8"), ("--precision fp8",)),
        (("--device", "tpu"), ("--device tpu",)),
        (("--redo", "everything"), ("--redo everything",)),
    ],
)
def test_values_that_cannot_be_meant(
    select: Select, no: Callable[..., str], words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    no(select(*words), *said)


def test_a_misspelt_key_in_the_config(select: Select, no: Callable[..., str], data: Path) -> None:
    (data / "c.yaml").write_text("bugdet: 5\n")
    no(select("--config", data / "c.yaml"), "c.yaml", "unknown key 'bugdet'", "'budget'")


@pytest.mark.parametrize("flag", ["--budgett", "--pools"])
def test_a_misspelt_flag(select: Select, no: Callable[..., str], flag: str) -> None:
    no(select(flag, "5"), flag)


def test_a_budget_above_the_pool_is_a_warning(select: Select) -> None:
    ran = select("--budget", 10**20, "--manifest-only")
    assert ran.code == 0
    assert "warning: the budget of 100,000,000,000,000,000,000 is above the 16 candidates" in ran.err
    assert "16 of 16 candidates" in ran.out


def test_an_object_store_without_credentials(curator: Select, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    s3fs = pytest.importorskip("s3fs")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(data))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    refused(curator("inspect", "s3://bucket/pool-{000000..000001}.tar"), "credentials", "AWS_ACCESS_KEY_ID")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arch", "resnet1"), ("--arch torchvision:resnet1: unknown model",)),
        (("--weights", "none.pt"), ("--weights none.pt: no such file",)),
    ],
)
def test_a_training_that_cannot_begin(
    curator: Select, no: Callable[..., str], data: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    no(curator("train", "--target", data / "target", "--out", data / "run", *words), *said)


def test_training_in_the_directory_of_a_selection(curator: Select, finished_data: Path) -> None:
    before = snapshot(finished_data)
    ran = curator("train", "--target", finished_data / "target", "--out", finished_data / "run")
    refused(ran, "run directory of a selection", "--out")
    assert snapshot(finished_data) == before


def test_a_demo_where_other_data_is(curator: Select, tmp_path: Path) -> None:
    mine = tmp_path / "data" / "target" / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    refused(curator("demo", "--out", tmp_path), "target exists and is not the demo's")
    assert mine.read_bytes() == b"precious"


# What is no shard.

ZSTD = b"\x28\xb5\x2f\xfd" + bytes(600)


@pytest.mark.parametrize(
    ("compress", "tool"),
    [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz"), (lambda data: ZSTD, "zstd")],
)
def test_a_compressed_tar(
    select: Select, no: Callable[..., str], data: Path, compress: Callable[[bytes], bytes], tool: str
) -> None:
    path = data / "packed.tar"
    path.write_bytes(compress((data / "pool-0.tar").read_bytes()))
    no(select(pool="packed.tar"), str(path), f"compressed ({tool})", "decompress it first")
    path.unlink()


@pytest.mark.parametrize("flag", ["target", "pool"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_an_image_given_as_shard(select: Select, no: Callable[..., str], data: Path, flag: str, format: str) -> None:
    Image.new("RGB", (32, 32)).save(data / "photo.img", format)
    no(select(**{flag: "photo.img"}), f"--{flag}", "photo.img", "image", "folder")


@pytest.mark.parametrize("flag", ["target", "pool"])
@pytest.mark.parametrize("content", [b"pool-0.tar\npool-1.tar\n", b"x" * 5000, b""])
def test_a_text_given_as_shard(select: Select, no: Callable[..., str], data: Path, flag: str, content: bytes) -> None:
    (data / "list.txt").write_bytes(content)
    no(select(**{flag: "list.txt"}), f"--{flag}", str(data / "list.txt"), "no tar", "@")


def test_a_folder_of_images_as_pool(select: Select, no: Callable[..., str], data: Path) -> None:
    no(select(pool="target"), "--pool", "folder of images", "shards")


@pytest.mark.parametrize("flag", ["target", "pool"])
def test_a_folder_without_images(select: Select, no: Callable[..., str], data: Path, flag: str) -> None:
    (data / "empty").mkdir()
    (data / "empty" / "notes.txt").write_text("x")
    no(select(**{flag: "empty"}), f"--{flag}", str(data / "empty"), "no image")


@pytest.mark.parametrize("kind", ["texts", "no members", "no bytes", "cut"])
def test_a_target_tar_without_images(select: Select, no: Callable[..., str], data: Path, kind: str) -> None:
    path = data / "target.tar"
    with tarfile.open(path, "w") as tar:
        if kind != "no members":
            tar.addfile(tarfile.TarInfo("a.txt"))
    path.write_bytes(path.read_bytes()[: {"no bytes": 0, "cut": 300}.get(kind)])
    no(select(target="target.tar"), "--target", "no image", str(path))


# Deny lists.


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "deny.txt"),
        (b"", "no key"),
        (b"\n# only a comment\n", "no key"),
        (b"\xff\xfe\x00", "neither text nor parquet"),
        (b"PAR1 but broken", "neither text nor parquet"),
    ],
)
def test_a_deny_list_that_cannot_be_read(
    select: Select, no: Callable[..., str], data: Path, content: bytes | None, word: str
) -> None:
    if content is not None:
        (data / "deny.txt").write_bytes(content)
    no(select("--deny", data / "deny.txt"), "--deny", str(data / "deny.txt"), word)


def test_a_deny_list_without_keys(select: Select, no: Callable[..., str], data: Path) -> None:
    pq.write_table(pa.table({"name": ["x"]}), data / "deny.parquet")
    no(select("--deny", data / "deny.parquet"), "deny.parquet", "no column 'key'")


# Ready embeddings.


def test_ready_embeddings_have_nothing_to_pack(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64))
    no(select(pool="emb"), "--pool", str(data / "emb"), "--manifest-only")


def test_different_dimensions(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 32))
    embeddings(data / "photos", vectors(9, 64))
    no(select("--manifest-only", pool="emb", target="photos"), "different dimensions (32 and 64)")


def test_different_dimensions_within_the_pool(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64))
    np.save(data / "emb" / "img_emb" / "img_emb_1.npy", vectors(9, 32))
    (data / "emb" / "metadata" / "metadata_1.parquet").write_bytes(
        (data / "emb" / "metadata" / "metadata_0.parquet").read_bytes()
    )
    no(select("--manifest-only", pool="emb", target="emb"), "img_emb_1.npy", "32 dimensions", "64")


def whole_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (whole_npy(vectors(9, 64))[:-100], "cut"),
        (whole_npy(vectors(9, 64))[:50], "no npy array"),
        (b"", "no npy array"),
        (b"hello", "no npy array"),
        (whole_npy(vectors(9, 64).astype(np.float64)), "float64"),
        (whole_npy(vectors(9, 64)[0]), "(64,)"),
    ],
)
def test_arrays_that_cannot_be_used(
    select: Select, no: Callable[..., str], data: Path, content: bytes, word: str
) -> None:
    embeddings(data / "emb", vectors(9, 64))
    (data / "emb" / "img_emb" / "img_emb_0.npy").write_bytes(content)
    no(select("--manifest-only", pool="emb", target="emb"), "img_emb_0.npy", word)


def test_metadata_of_other_length(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64), rows=8)
    no(select("--manifest-only", pool="emb", target="emb"), "img_emb_0.npy", "9 rows", "metadata_0.parquet", "8")


def test_metadata_without_keys(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64), column="url")
    no(select("--manifest-only", pool="emb", target="emb"), "metadata_0.parquet", "image_path", "url")


def test_metadata_that_is_no_parquet(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64))
    (data / "emb" / "metadata" / "metadata_0.parquet").write_bytes(b"nothing")
    no(select("--manifest-only", pool="emb", target="emb"), "metadata_0.parquet", "parquet")


def test_metadata_that_is_missing(select: Select, no: Callable[..., str], data: Path) -> None:
    embeddings(data / "emb", vectors(9, 64))
    (data / "emb" / "metadata" / "metadata_0.parquet").unlink()
    no(select("--manifest-only", pool="emb", target="emb"), "img_emb_0.npy", "metadata_0.parquet")


# OUT.


@pytest.fixture
def made(finished_data: Path) -> Iterator[Path]:
    """A finished OUT, which no refused command may touch."""
    before = snapshot(finished_data / "run")
    yield finished_data / "run"
    assert snapshot(finished_data / "run") == before


def test_an_out_of_another_encoder(again: Select, made: Path) -> None:
    ran = again("--budget", 3, "--encoder", "timm:test_resnet")
    refused(ran, str(made), "different run", "timm:test_vit", "timm:test_resnet", "--out", "--redo")


def test_an_out_of_another_target(again: Select, made: Path, finished_data: Path) -> None:
    (finished_data / "other").mkdir()
    (finished_data / "other" / "x.jpg").write_bytes((finished_data / "target" / "0.jpg").read_bytes())
    ran = again("--budget", 3, target="other")
    refused(ran, str(made), "different run", str(finished_data / "target"), "--redo target")


def test_an_out_of_a_target_that_changed(again: Select, made: Path, finished_data: Path) -> None:
    added = finished_data / "target" / "new.jpg"
    added.write_bytes((finished_data / "target" / "0.jpg").read_bytes())
    ran = again("--budget", 3)
    added.unlink()
    refused(ran, "different run", str(finished_data / "target"), "changed", "--redo target")


def test_an_out_of_a_shard_that_changed(again: Select, made: Path, finished_data: Path) -> None:
    shard = finished_data / "pool-1.tar"
    before = shard.stat().st_mtime_ns
    os.utime(shard, ns=(1, 1))
    ran = again("--budget", 3)
    os.utime(shard, ns=(before, before))
    refused(ran, "different run", str(shard), "changed", "--redo pool")


def test_an_out_of_more_shards(again: Select, made: Path, finished_data: Path) -> None:
    ran = again("--budget", 3, pool="pool-1.tar")
    refused(ran, "different run", str(finished_data / "pool-0.tar"), "not given now", "--out", "--redo pool")


def test_an_out_of_another_min_side(again: Select, made: Path) -> None:
    refused(again("--budget", 3, "--min-side", 10), "different run", "min_side", "10")


def test_a_pool_inside_out(again: Select, made: Path) -> None:
    refused(again("--budget", 3, pool="run/pool"), "--pool", str(made), "inside", "another --out")


@pytest.mark.parametrize("name", ["pool", "target", "selection", "shards", "index"])
def test_an_out_that_is_not_ours(select: Select, data: Path, name: str) -> None:
    (data / "run" / name).mkdir(parents=True)
    (data / "run" / name / "mine.txt").write_text("precious")
    before = snapshot(data / "run")
    refused(select(), str(data / "run"), f"'{name}'", "no run.json", "another --out")
    assert snapshot(data / "run") == before


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"version": 99}', '"x"'])
def test_a_run_json_that_is_not_ours(select: Select, data: Path, content: str) -> None:
    (data / "run").mkdir()
    (data / "run" / "run.json").write_text(content)
    refused(select(), str(data / "run"))
    assert (data / "run" / "run.json").read_text() == content


@pytest.mark.parametrize("command", ["select", "embed", "pack", "verify"])
def test_an_out_that_is_a_file(curator: Select, data: Path, command: str) -> None:
    (data / "run").write_text("a file")
    words: dict[str, list[object]] = {
        "select": ["--target", data / "target", "--pool", data / "pool-0.tar", "--encoder", "timm:test_vit"],
        "embed": ["--pool", data / "pool-0.tar", "--encoder", "timm:test_vit"],
    }
    out = [data / "run"] if command == "verify" else ["--out", data / "run"]
    refused(curator(command, *words.get(command, []), "--weights", "random", *out) if command in words
            else curator(command, *out), str(data / "run"))  # fmt: skip
    assert (data / "run").read_text() == "a file"


# The other commands.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("embed", "--out", "o", "--encoder", "lite0"), "--pool"),
        (("embed", "--pool", "nowhere.tar", "--out", "o", "--encoder", "lite0"), "nowhere.tar"),
        (("pack",), "--out"),
        (("pack", "--out", "nowhere"), "no finished selection"),
        (("pack", "--out", "nowhere", "--shard-size", "0"), "--shard-size 0"),
        (("verify", "nowhere"), "run.json"),
        (("verify",), "OUT"),
        (("relocate", "nowhere", "/a=/b"), "no run is there"),
        (("relocate", "nowhere"), "OLD=NEW"),
        (("inspect",), "URLS"),
        (("inspect", "nowhere.tar"), "no such file"),
        (("inspect", "*.nowhere"), "nothing matches"),
    ],
)
def test_mistakes_in_other_commands(
    curator: Select, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(curator(*words), said)
    assert not list(tmp_path.iterdir())


def test_a_foreign_pool_of_another_encoder(curator: Select, select: Select, data: Path) -> None:
    words = ("--pool", data / "pool-0.tar", "--out", data / "emb", "--weights", "random", "--precision", "fp32")
    assert curator("embed", *words, "--encoder", "timm:test_resnet").code == 0
    refused(select(pool="emb/pool"), "another encoder", "test_resnet", "test_vit")
    assert not (data / "run").exists()
