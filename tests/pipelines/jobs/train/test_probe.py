from __future__ import annotations

import json
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curator_pipelines.cli.main import run
from curator_ssl.probe.finetune import fine_tune


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and blue noise, a folder a class; one file that is no image, one image without a folder."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for side, count in (("train", 20), ("test", 10)):
        for channel, colour in ((0, "red"), (2, "blue")):
            folder = root / side / colour
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 90, (40, 40, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "test" / "red" / "broken.png").write_bytes(b"no image")
    (root / "test" / "red" / "notes.pdf").write_bytes(b"%PDF")
    (root / "test" / "green").mkdir()
    Image.new("RGB", (40, 40), (0, 200, 0)).save(root / "test" / "green" / "0.png")
    Image.new("RGB", (40, 40)).save(root / "train" / "loose.png")
    return root


def probe(photos: Path, *more: str) -> int:
    words = ["--encoder", "timm:test_resnet", "--weights", "random", "--precision", "fp32", "--device", "cpu"]
    sets = ["--train", str(photos / "train"), "--test", str(photos / "test"), "--label", "folder"]
    return run(["probe", *words, *sets, *more])


def test_colours_are_message_apart_and_every_sample_is_accounted_for(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One pass: how well it learns is another test's business.
    monkeypatch.setattr("curator_pipelines.jobs.train.probe.fine_tune", partial(fine_tune, epochs=1))
    assert probe(photos, "--max-bad", "10%", "--json", "--finetune", "--seeds", "2") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["classes"] == 2
    assert found["train"] == {"seen": 41, "used": 40, "unlabelled": 1, "bad": 0, "reasons": {}, "left_out": {}}
    bad = {"bad": 1, "reasons": {"decode_error": 1}, "left_out": {".pdf": 1}}
    assert found["test"] == {"seen": 22, "used": 21, "unlabelled": 0} | bad
    assert found["test_samples_of_new_classes"] == 1
    probes = found["probes"]
    assert set(probes) == {"knn 1", "knn 20", "knn 200", "linear", "finetune"}
    # The green one cannot be right.
    assert probes["knn 1"]["accuracy"] == probes["linear"]["accuracy"] == pytest.approx(20 / 21)
    assert len(probes["linear"]["seeds"]) == len(probes["finetune"]["seeds"]) == 2
    assert "1 samples without a label left out, the first loose.png in" in captured.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (
            ("--max-bad", "1%"),
            3,
            "1 of 22 samples of the test set are bad (4.55%), more than 1.00%; the first: red/broken",
        ),
        (("--label", "cls"), 2, "--train: no sample has a label by the rule cls: the first sample is blue/0.png, with"),
        (("--label", "name"), 2, "it is cls, json:FIELD, csv:FILE or folder"),
        (("--protocol", "other"), 2, "--protocol other"),
    ],
)
def test_what_is_wrong_is_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int, message: str
) -> None:
    assert probe(photos, *more) == code
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_training_is_probed_as_its_encoder_is(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["--probe-train", str(photos / "train"), "--probe-test", str(photos / "test"), "--probe-label", "folder"]
    small = ["--arch", "test_resnet", "--image-size", "32", "--batch-size", "8", "--steps", "3"]
    where = ["--out", str(tmp_path), "--device", "cpu", "--loader-workers", "0"]
    flags = ["train", "--target", str(photos / "train"), *where, *small]

    assert run([*flags, *sets, "--probe-every", "2"]) == 0

    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "knn 1" in line] == [1, 2]
    assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2]
    message = capsys.readouterr().err
    assert "probe at step 2: knn 1 " in message
    words = ["--encoder", f"checkpoint:{tmp_path}/encoder.pt", "--precision", "fp32", "--device", "cpu"]
    sides = ["--train", str(photos / "train"), "--test", str(photos / "test"), "--label", "folder"]
    assert run(["probe", *words, *sides, "--max-bad", "10%", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["probes"]
    assert lines[-1]["knn 1"] == pytest.approx(found["knn 1"]["accuracy"])
    assert lines[-1]["knn 20"] == pytest.approx(found["knn 20"]["accuracy"])


def test_a_probe_of_training_needs_all_its_flags(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--target", str(photos / "train"), "--out", "x", "--probe-every", "2"]) == 2
    assert "go together" in capsys.readouterr().err


def test_what_is_told_of_a_set(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files left out, rows of the table that match nothing, a set of one class."""
    (tmp_path / "labels.csv").write_text("key,label\nblue/0,b\nred/0,r\nblue/99,b\n")
    assert probe(photos, "--label", f"csv:{tmp_path}/labels.csv") == 0
    captured = capsys.readouterr()
    assert "labels: 1 of 3 rows match no sample, the first blue/99" in captured.err
    assert "19 without a label, 1 file left out: .pdf 1" in captured.out
    (tmp_path / "labels.csv").write_text("key,label\nblue/0,b\n")
    assert probe(photos, "--label", f"csv:{tmp_path}/labels.csv") == 2
    assert "it has one class, b (so blue/0.png); a probe needs two" in capsys.readouterr().err


def test_dots_in_keys_are_a_warning(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for colour in ("blue", "red"):
            for number in range(4):
                tar.add(photos / "train" / colour / f"{number}.png", f"{colour}/2021.{number}.png")
    words = ["--encoder", "timm:test_resnet", "--weights", "random", "--precision", "fp32", "--device", "cpu"]
    assert (
        run(["probe", *words, "--train", f"{tmp_path}/s.tar", "--test", f"{tmp_path}/s.tar", "--label", "folder"]) == 0
    )
    assert "warning: train: 8 images lie several in one sample" in capsys.readouterr().err
