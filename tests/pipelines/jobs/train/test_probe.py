from __future__ import annotations

import json
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curator.io import parquet, schemas
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
    counts = {"blue": {"train": 20, "test": 10}, "red": {"train": 20, "test": 10}, "green": {"train": 0, "test": 1}}
    assert found["class_counts"] == counts and list(found["class_counts"]) == ["blue", "red", "green"]
    assert (found["majority"]["label"], found["majority"]["accuracy"]) == ("blue", pytest.approx(10 / 21))
    assert found["labels_used"] == {"knn": 40, "linear": 40, "finetune": 4}
    assert found["overlap"] == {"test_images": 0, "train_images": 0, "first": None}
    assert found["unmatched_labels"] == {"rows": 0, "of": 0, "first": None}
    assert found["predictions"] is None
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
    assert "unmatched   1 of 3 rows match no sample, the first blue/99" in captured.out
    assert "classes     b 1, r 1\n" in captured.out
    assert "labels      knn 2, linear 2 of 2 training labels" in captured.out
    assert "majority    0.500  (" in captured.out and " by always answering b\n" in captured.out
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


@pytest.fixture
def few(photos: Path, tmp_path: Path) -> list[str]:
    """The flags of a probe on colours of which two test images are copies of training images, one of them twice."""
    for side in ("train", "test"):
        (tmp_path / side).mkdir()
        for colour in ("blue", "red"):
            (tmp_path / side / colour).symlink_to(photos / side / colour)
    (tmp_path / "test" / "red").unlink()
    (tmp_path / "test" / "red").mkdir()
    for name, source in (("0", "train/blue/7"), ("1", "train/red/7"), ("2", "train/red/7"), ("3", "test/red/3")):
        (tmp_path / "test" / "red" / f"{name}.png").write_bytes((photos / f"{source}.png").read_bytes())
    words = ["--encoder", "timm:test_resnet", "--weights", "random", "--precision", "fp32", "--device", "cpu"]
    return ["probe", *words, "--train", f"{tmp_path}/train", "--test", f"{tmp_path}/test", "--label", "folder"]


def test_images_of_both_sets_are_told_and_kept(
    few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*few, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["test"]["used"] == 14
    first = {
        "test": {"shard": f"{tmp_path}/test", "key": "red/0.png"},
        "train": {"shard": f"{tmp_path}/train", "key": "blue/7.png"},
    }
    assert found["overlap"] == {"test_images": 3, "train_images": 2, "first": first}
    assert "warning: 3 test images are in the training set too, byte for byte, the first red/0.png in" in captured.err


def test_a_share_of_the_labels_is_drawn_with_each_seed(
    few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator_pipelines.jobs.train.probe.fine_tune", partial(fine_tune, epochs=1))
    flags = [*few, "--label-share", "20%", "--seeds", "2", "--predictions", f"{tmp_path}/p.parquet"]
    assert run([*flags, "--json", "--finetune"]) == 0
    text, table = capsys.readouterr().out, (tmp_path / "p.parquet").read_bytes()
    found = json.loads(text)
    assert found["labels_used"] == {"knn": 8, "linear": 8, "finetune": 8}
    assert [len(found["probes"][name]["seeds"]) for name in ("knn 1", "knn 200", "linear")] == [2, 2, 2]
    assert len(found["linear_regularisation"]) == 2
    assert run([*flags, "--json", "--finetune"]) == 0
    assert capsys.readouterr().out == text
    assert (tmp_path / "p.parquet").read_bytes() == table


def test_all_labels_are_the_default(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*few, "--json"]) == 0
    text = capsys.readouterr().out
    assert run([*few, "--json", "--label-share", "100%"]) == 0
    assert capsys.readouterr().out == text


def test_predictions_are_a_row_a_test_image(few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{tmp_path}/out/p.parquet"
    assert run([*few, "--predictions", url, "--seeds", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predictions"] == url
    rows = parquet.read_table(url, schemas.PREDICTIONS).to_pylist()
    assert len(rows) == found["test"]["used"]
    assert {row["shard"] for row in rows} == {f"{tmp_path}/test"}
    assert [row["label"] for row in rows] == [row["key"].partition("/")[0] for row in rows]
    for probe_name, column in (("knn 1", "knn_1"), ("linear", "linear")):
        accuracies = found["probes"][probe_name]["seeds"]
        assert {len(row[column]) for row in rows} == {len(accuracies)}
        for seed, accuracy in enumerate(accuracies):
            assert np.mean([row[column][seed] == row["label"] for row in rows]) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label-share", "0%"], "--label-share 0%: should be greater than 0"),
        (["--predictions", "p.csv"], "--predictions p.csv: predictions are a file that ends with .parquet"),
    ],
)
def test_what_cannot_be_asked_for(
    few: list[str], capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert run([*few, *more]) == 2
    assert message in capsys.readouterr().err


def test_predictions_that_cannot_be_written_are_told_before_any_label_is_read(
    few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert run([*few, "--predictions", f"{tmp_path}/file/p.parquet"]) == 2
    told = capsys.readouterr().err
    assert "cannot be written" in told and "labels" not in told
