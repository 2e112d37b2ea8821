"""One pool with every kind of damage: good samples are used, bad ones are in the ledger, accounts balance."""

from __future__ import annotations

import functools
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from curator.store.part_store import PartStore
from curator_pipelines.cli.main import run
from curator_pipelines.executors import InProcessExecutor

BLOCK = 512
ODD_KEYS = [
    "k" * 300,
    "a/b/c/d",
    "with space",
    "schlüssel-日本-🦜",
    "semi;colon'quote",
    "-dash",
    "v1/x",
    "v2/x",
    "UPPER",
    "upper",
    "__key__",
    "C:\\win",
]


def picture(seed: int, kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (32 + seed % 7, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_png(seed: int) -> bytes:
    """16 bits a pixel."""
    pixels = np.random.default_rng(seed).integers(0, 65535, (36, 40), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def animated(seed: int, kind: str) -> bytes:
    frames = [Image.open(io.BytesIO(picture(seed + 7 * step))) for step in range(3)]  # of one size
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def flipped(seed: int) -> bytes:
    """A JPEG whose second half is garbage with markers in it: no decoder can finish it."""
    data = bytearray(picture(seed))
    data[20:60] = bytes(255 - byte for byte in data[20:60])
    return bytes(data)


Files = list[tuple[str, bytes]]


def tar_bytes(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header_of(tar: bytes, name: str) -> int:
    return tar.index(name.encode().ljust(100, b"\0"))


@dataclass(frozen=True)
class Shard:
    """What a shard holds: its bytes, the keys that must be used, and the lines that must be in the ledger."""

    data: bytes
    good: list[str]
    bad: list[tuple[str, str, int]]  # key, reason, offset


def three(seed: int) -> tuple[Files, bytes]:
    """Samples a, b, c of an image and a json each."""
    files = [
        (f"{key}.{ext}", picture(seed + number) if ext == "jpg" else b'{"a": 1}')
        for number, key in enumerate("abc")
        for ext in ("jpg", "json")
    ]
    return files, tar_bytes(files)


def cut_in_a_member() -> Shard:
    _, data = three(10)
    at = header_of(data, "b.jpg")
    return Shard(data[: at + BLOCK + 100], ["a"], [("b", "truncated", at)])


def cut_in_a_header() -> Shard:
    _, data = three(20)
    at = header_of(data, "c.jpg")
    return Shard(data[: at + 200], ["a", "b"], [("", "truncated", at)])


def cut_between_members() -> Shard:
    _, data = three(30)
    at = header_of(data, "c.jpg")
    return Shard(data[:at], ["a", "b"], [("", "truncated", at)])


def a_bad_header() -> Shard:
    _, data = three(40)
    at = header_of(data, "b.jpg")
    broken = bytearray(data)
    broken[at + 124 : at + 136] = b"not a number"
    return Shard(bytes(broken), ["a", "c"], [("b", "bad_header", at)])


def a_bad_header_without_name() -> Shard:
    _, data = three(50)
    at = header_of(data, "b.jpg")
    broken = bytearray(data)
    broken[at : at + BLOCK] = b"\xff" * BLOCK
    # What is left of the sample, its json, belongs to the same line.
    return Shard(bytes(broken), ["a", "c"], [("b", "bad_header", at)])


def bad_images() -> Shard:
    files = [
        ("ok.jpg", picture(60)),
        ("flipped.jpg", flipped(61)),
        ("text.jpg", b"I am a text, really."),
        ("empty.jpg", b""),
        ("half.png", picture(62, "PNG")[:700]),
        ("last.png", picture(63, "PNG")),
    ]
    data = tar_bytes(files)
    bad = [
        (name.partition(".")[0], reason, header_of(data, name))
        for name, reason in [
            ("flipped.jpg", "decode_error"),
            ("text.jpg", "decode_error"),
            ("empty.jpg", "empty_image"),
            ("half.png", "decode_error"),
        ]
    ]
    return Shard(data, ["ok", "last"], bad)


def bad_structure() -> Shard:
    files = [
        ("dir.jpg/", b""),
        (".hidden.jpg", b"x"),
        ("README", b"no dot"),
        ("d/._a.jpg", b"resource fork"),
        ("nopic.json", b"{}"),
        ("nopic.txt", b"x"),
        ("twin.jpg", picture(70)),
        ("twin.JPG", picture(71)),
        ("dup.jpg", picture(72)),
        ("p.jpg", picture(73)),
        ("dup.jpg", picture(74)),
        ("q.jpg", picture(75)),
        ("p.json", b"{}"),
    ]
    data = tar_bytes(files)
    second_dup = header_of(data[header_of(data, "p.jpg") :], "dup.jpg") + header_of(data, "p.jpg")
    return Shard(
        data,
        ["twin", "dup", "p", "q"],
        [
            ("nopic", "no_image", header_of(data, "nopic.json")),
            ("dup", "duplicate_key", second_dup),
            ("p", "duplicate_key", header_of(data, "p.json")),
        ],
    )


def odd_but_good() -> Shard:
    images = {
        "cmyk.jpg": picture(80, mode="CMYK"),
        "grey.jpg": picture(81, mode="L"),
        "deep.png": deep_png(82),
        "palette.png": picture(83, "PNG", "P"),
        "alpha.png": picture(84, "PNG", "RGBA"),
        "two.png": picture(85, "PNG", "1"),
        "moving.gif": animated(86, "GIF"),
        "moving2.webp": animated(90, "WEBP"),
        "tall.bmp": picture(94, "BMP"),
        "page.tiff": picture(95, "TIFF", compression="tiff_lzw"),
        "LOUD.JPEG": picture(96),
        "dots.seg.mask.png": picture(97, "PNG"),
        "wrong.png": picture(98),  # a JPEG by its bytes
    }
    return Shard(tar_bytes(list(images.items())), [name.partition(".")[0] for name in images], [])


def odd_keys() -> Shard:
    files = [(f"{key}.jpg", picture(200 + number)) for number, key in enumerate(ODD_KEYS)]
    return Shard(tar_bytes(files), ODD_KEYS, [])


def not_tars() -> dict[str, Shard]:
    return {
        "no-members": Shard(tar_bytes([]), [], []),
        "no-bytes": Shard(b"", [], [("", "truncated", 0)]),
        "a-text": Shard(b"I am no tar at all. " * 100, [], [("", "bad_header", 0)]),
    }


SHARDS: dict[str, Shard] = {
    "cut-in-a-member": cut_in_a_member(),
    "cut-in-a-header": cut_in_a_header(),
    "cut-between-members": cut_between_members(),
    "bad-header": a_bad_header(),
    "bad-header-without-name": a_bad_header_without_name(),
    "bad-images": bad_images(),
    "bad-structure": bad_structure(),
    "odd-but-good": odd_but_good(),
    "odd-keys": odd_keys(),
    **not_tars(),
}
GOOD = sorted((name, key) for name, shard in SHARDS.items() for key in shard.good)
BAD = sorted((name, *line) for name, shard in SHARDS.items() for line in shard.bad)
SEEN = len(GOOD) + len(BAD)


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


@dataclass(frozen=True)
class Finished:
    """The data, the run directory and the words of the command."""

    data: Path
    out: Path
    words: list[str]


@pytest.fixture(scope="module", autouse=True)
def in_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curator_pipelines.jobs.select.prepare.make_executor", lambda *given: InProcessExecutor(2))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, in_process: None) -> Finished:
    """All of it selected and packed, but for a few samples that are denied."""
    data = tmp_path_factory.mktemp("damaged")
    (data / "target").mkdir()
    for number in range(4):
        (data / "target" / f"{number}.jpg").write_bytes(picture(number))
    (data / "pool").mkdir()
    for name, shard in SHARDS.items():
        (data / "pool" / f"{name}.tar").write_bytes(shard.data)
    (data / "deny.txt").write_text(f"LOUD\n{data}/pool/odd-keys.tar\twith space\n")
    words = [
        "select", "--target", str(data / "target"), "--pool", str(data / "pool"), "--out", str(data / "run"),
        "--encoder", "timm:test_vit", "--weights", "random", "--precision", "fp32", "--clusters", "3",
        "--stop", "0.001", "--shard-size", "7", "--deny", str(data / "deny.txt"),
    ]  # fmt: skip
    assert run([*words, "--max-bad", "60%"]) == 0
    return Finished(data, data / "run", words)


def shard_name(url: str) -> str:
    return Path(url).stem


def test_every_bad_sample_is_in_the_ledger_with_its_reason_and_place(finished: Finished) -> None:
    lines = rows(finished.out / "quarantine.parquet")
    found = sorted((shard_name(line["shard"]), line["key"], line["reason"], line["offset"]) for line in lines)
    assert found == BAD
    assert all(line["detail"] for line in lines)
    decoding = {"decode_error", "empty_image"}
    assert all((line["station"] == "decode") == (line["reason"] in decoding) for line in lines)


def test_every_good_sample_is_embedded(finished: Finished) -> None:
    store = PartStore(str(finished.out / "pool"))
    found = [
        (shard_name(row["shard"]), row["image_path"])
        for part in store.finished()
        for row in store.metadata(part).to_pylist()
    ]
    assert sorted(found) == GOOD


def test_the_done_marks_add_up(finished: Finished) -> None:
    store = PartStore(str(finished.out / "pool"))
    marks = [store.done_mark(*mark) for mark in store.finished().items()]
    assert len(marks) == len(SHARDS)
    assert all(mark.seen == mark.embedded + len(mark.ledger) for mark in marks)
    assert sum(mark.seen for mark in marks) == SEEN
    assert sum(mark.embedded for mark in marks) == store.count() == len(GOOD)
    assert sum(len(mark.ledger) for mark in marks) == len(BAD)


def test_candidates_are_chosen_passed_over_or_not_reached(finished: Finished) -> None:
    chosen = rows(finished.out / "selection" / "selected.parquet")
    skipped = rows(finished.out / "selection" / "skipped.parquet")
    names = [(shard_name(row["shard"]), row["key"]) for row in chosen + skipped]
    assert sorted(names) == GOOD  # the pool ran out: nothing was not reached
    assert sorted((shard_name(row["shard"]), row["key"], row["reason"]) for row in skipped) == [
        ("odd-but-good", "LOUD", "denied"),
        ("odd-keys", "with space", "denied"),
    ]


def test_chosen_are_packed_under_their_own_keys(finished: Finished) -> None:
    chosen = rows(finished.out / "selection" / "selected.parquet")
    manifest = rows(finished.out / "shards" / "manifest.parquet")
    assert sorted((row["shard"], row["key"]) for row in manifest) == sorted(
        (row["shard"], row["key"]) for row in chosen
    )
    assert {row["key"] for row in manifest} >= set(ODD_KEYS) - {"with space"}
    assert len({(row["out_shard"], row["out_key"]) for row in manifest}) == len(manifest)


def original(finished: Finished, row: dict[str, Any]) -> dict[str, bytes]:
    data = (finished.data / "pool" / f"{shard_name(row['shard'])}.tar").read_bytes()
    return {m["ext"]: data[m["offset"] : m["offset"] + m["size"]] for m in row["members"]}


def test_the_tars_open_with_tarfile_and_hold_the_original_bytes(finished: Finished) -> None:
    manifest = rows(finished.out / "shards" / "manifest.parquet")
    packed: dict[tuple[str, str], Counter[bytes]] = {}
    for path in sorted((finished.out / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                packed.setdefault((path.name, member.name.partition(".")[0]), Counter())[file.read()] += 1
    assert packed == {(row["out_shard"], row["out_key"]): Counter(original(finished, row).values()) for row in manifest}


def test_the_tars_open_with_webdataset(finished: Finished) -> None:
    manifest = rows(finished.out / "shards" / "manifest.parquet")
    urls = [str(path) for path in sorted((finished.out / "shards").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert sorted(sample["__key__"] for sample in samples) == sorted(row["out_key"] for row in manifest)
    images = {"jpg", "jpeg", "png", "gif", "webp", "bmp", "tiff"}
    assert all(any(name.rpartition(".")[2].lower() in images for name in sample) for sample in samples)


def test_verify_says_sound(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(finished.out)]) == 0
    assert "is sound" in capsys.readouterr().out


def test_inspect_finds_the_same(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    capsys.readouterr()
    assert run(["inspect", str(finished.data / "pool"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == len(GOOD)
    assert Counter(found["bad"]) == Counter(reason for _, _, reason, _ in BAD)


def test_above_max_bad_is_exit_3_with_the_ledger_written(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / "run") if word == str(finished.out) else word for word in finished.words]
    capsys.readouterr()
    assert run(words) == 3  # 1% is the default
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{len(BAD)} of {SEEN} samples of the pool are bad" in error
    assert "more than 10 (as many as are allowed" in error
    assert "quarantine.parquet" in error
    assert len(rows(tmp_path / "run" / "quarantine.parquet")) == len(BAD)
    assert not (tmp_path / "run" / "selection").exists()

    # Allowing more goes on from there, and embeds nothing again.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "pool").rglob("*") if path.is_file()}
    assert run([*words, "--max-bad", "60%"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "parts were finished before" in capsys.readouterr().err


@pytest.mark.parametrize(("allowed", "code"), [(0, 3), (1, 0)])
def test_the_limit_is_exact(tmp_path: Path, allowed: int, code: int) -> None:
    good: Callable[[int], tuple[str, bytes]] = lambda number: (f"{number:02d}.jpg", picture(number))  # noqa: E731
    (tmp_path / "t.tar").write_bytes(tar_bytes([good(0), good(1)]))
    (tmp_path / "p.tar").write_bytes(tar_bytes([*map(good, range(9)), ("bad.jpg", b"x")]))
    words = ["--target", tmp_path / "t.tar", "--pool", tmp_path / "p.tar", "--out", tmp_path / "run"]
    words += ["--encoder", "timm:test_vit", "--weights", "random", "--precision", "fp32", "--budget", 2]
    # One of ten is bad.
    limit = ["--max-bad", "10%" if allowed else "9.99%"]
    assert run(["select", *map(str, words), *limit]) == code
    assert len(rows(tmp_path / "run" / "quarantine.parquet")) == 1


def test_small_images_are_left_out_and_not_counted_as_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = io.BytesIO()
    Image.new("RGB", (8, 50)).save(small, "PNG")
    samples = functools.reduce(
        lambda files, number: [*files, (f"{number}.jpg", picture(number)), (f"s{number}.png", small.getvalue())],
        range(4),
        [],
    )
    (tmp_path / "p.tar").write_bytes(tar_bytes(samples))
    (tmp_path / "t.tar").write_bytes(tar_bytes([("a.png", small.getvalue())]))
    words = ["--target", tmp_path / "t.tar", "--pool", tmp_path / "p.tar", "--out", tmp_path / "run"]
    words += ["--encoder", "timm:test_vit", "--weights", "random", "--precision", "fp32", "--budget", 4]
    assert run(["select", *map(str, words), "--min-side", "32", "--max-bad", "0%"]) == 0
    assert "8 samples seen, 4 embedded, 0 bad, 4 too small" in capsys.readouterr().out
    found = rows(tmp_path / "run" / "quarantine.parquet")
    assert [(line["key"], line["reason"]) for line in found] == [(f"s{number}", "too_small") for number in range(4)]
