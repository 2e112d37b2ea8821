"""Encoders measured on real images: solar cells against textiles and scikit-image's pictures."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from jobs_for_tests import CountsTasks, picture, tar_bytes, write_ready

from curator.encoders import build_backbone, ready, save_checkpoint
from curator.errors import CuratorError, InputError
from curator.settings.config import build
from curator_pipelines.config.measure import MeasureConfig
from curator_pipelines.config.select import EmbedConfig, SelectConfig
from curator_pipelines.executors import Executor, InProcessExecutor, LocalExecutor
from curator_pipelines.jobs.measure import candidates, choice, encoding, measure_run, sample as samples
from curator_pipelines.jobs.measure.measure_run import MeasureResult, run_measure
from curator_pipelines.jobs.select.embed_pool import run_embed
from curator_pipelines.jobs.select.select_run import plan_select
from curator_pipelines.jobs.train import warmup
from curator_pipelines.run.progress import Reporter

RunOn = Callable[..., Any]
TARGET_IMAGES = 12


def package_images(package: str, folder: str) -> list[Path]:
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None
    inside = (Path(found.origin).parent / folder).rglob("*")
    return sorted(path for path in inside if path.suffix in (".png", ".jpg"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`target/` (12 solar cells), and `pool-{0..1}.tar` (8 solar cells among 40 textiles and other pictures)."""
    folder = tmp_path_factory.mktemp("photos")
    solar = package_images("elpv_dataset", "data/images")[:: 2624 // (TARGET_IMAGES + 8)]
    others = [
        *package_images("conformal_clip_data", "data/textile_images")[:28],
        *package_images("skimage", "data")[:12],
    ]
    (folder / "target").mkdir()
    for path in solar[:TARGET_IMAGES]:
        shutil.copy(path, folder / "target" / path.name)
    pool = [*solar[TARGET_IMAGES : TARGET_IMAGES + 8], *others]
    for shard in range(2):
        entries = [(f"{number:04d}{path.suffix}", path.read_bytes()) for number, path in enumerate(pool[shard::2])]
        (folder / f"pool-{shard}.tar").write_bytes(tar_bytes(entries))
    return folder


@pytest.fixture
def given(photos: Path, tmp_path: Path) -> dict[str, Any]:
    """A selection that names no encoder."""
    where = {
        "target": [str(photos / "target")],
        "pool": [str(photos / "pool-{0..1}.tar")],
        "out": str(tmp_path / "run"),
    }
    return where | {"budget": "8", "clusters": 4, "device": "cpu", "precision": "fp32"}


@pytest.fixture
def small_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "ARCHITECTURE", "timm:test_efficientnet")
    monkeypatch.setattr(warmup, "EFFORTS", {"cpu": warmup.Effort(32, 4)})


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(choice, "measure", lambda *arguments: pytest.fail("measured again"))


def compare(executor: Executor, **settings: Any) -> MeasureResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_run, "make_executor", lambda *arguments: executor)
        return run_measure(build(MeasureConfig, {"device": "cpu", "precision": "fp32"} | settings), Reporter())


def of_sample(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in ("target", "pool", *names)}


# `auto`.


def test_auto_takes_lite0_and_the_choice_stands(
    run_on: RunOn, given: dict[str, Any], no_measuring: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(given["out"])
    with monkeypatch.context() as patch:
        patch.setattr(choice, "follow", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_on(InProcessExecutor(), **given)
    record = json.loads((out / "measure/measure.json").read_text())
    assert record["choice"]["encoder"] == "lite0" and not (out / "pool").exists()
    names = [row["encoder"] for row in record["table"]["rows"]]
    assert names == ["lite0", "chance"] and record["table"]["rows"][1]["worse_than_above"]
    ranks = pq.read_table(out / "measure/ranks.parquet")
    assert ranks["encoder"].to_pylist() == ["lite0"] * TARGET_IMAGES
    assert np.median(ranks["rank"].to_numpy()) == record["table"]["rows"][0]["median_rank"] < 0.2

    # Stopped after the measurement, and from then on in an OUT that was begun; other candidates change nothing.
    no_measuring()
    monkeypatch.setattr(ready, "READY", {"timm:test_vit": ""})
    run_on(InProcessExecutor(), **given)
    counted = CountsTasks()
    run_on(counted, **given)
    assert not counted.payloads
    run_record = json.loads((out / "run.json").read_text())
    assert run_record["config"]["encoder"] == "lite0"
    chosen = pq.read_table(out / "selection/selected.parquet")
    assert len(chosen) == 8


@pytest.mark.slow
def test_measured_anew_what_stays_right_stays(run_on: RunOn, given: dict[str, Any]) -> None:
    run_on(InProcessExecutor(), **given)
    before = (Path(given["out"]) / "measure/measure.json").stat().st_mtime_ns
    counted = CountsTasks()

    run_on(counted, **given | {"redo": "measure"})

    assert counted.embedded == []
    assert (Path(given["out"]) / "measure/measure.json").stat().st_mtime_ns > before


@pytest.mark.slow
def test_a_run_begun_with_a_named_encoder_keeps_it_until_it_is_measured_anew(
    run_on: RunOn, given: dict[str, Any], no_measuring: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"encoder": "timm:test_vit", "weights": "random"}
    run_on(InProcessExecutor(), **given | named)
    with monkeypatch.context():
        no_measuring()
        counted = CountsTasks()
        run_on(counted, **given)
        assert not counted.payloads
    monkeypatch.undo()

    again = CountsTasks()
    run_on(again, **given | {"redo": "measure"})

    assert sorted(again.embedded) == ["pool-0.tar", "pool-1.tar", "target"]
    assert json.loads((Path(given["out"]) / "run.json").read_text())["config"]["encoder"] == "lite0"


@pytest.mark.slow
def test_the_first_is_replaced_only_where_a_later_one_is_significantly_better(
    run_on: RunOn, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`PACKAGE.MODULE:NAME` makes of lite0 one that sees nothing, as a candidate before it and behind it."""
    blind = "jobs_for_tests:blind_lite0"
    monkeypatch.setattr(ready, "READY", {blind: "", "lite0": ""})
    run_on(InProcessExecutor(), **given | {"manifest_only": True})
    record = json.loads((Path(given["out"]) / "measure/measure.json").read_text())
    assert record["choice"]["encoder"] == "lite0"
    monkeypatch.setattr(ready, "READY", {"lite0": "", blind: ""})
    run_on(InProcessExecutor(), **given | {"redo": "measure"})
    assert "encoder auto: lite0" in capsys.readouterr().err


@pytest.mark.slow
def test_what_none_can_tell_apart_ends_the_run_with_the_same_line_again(
    run_on: RunOn, given: dict[str, Any], tmp_path: Path, small_warmup: None, no_measuring: Callable[[], None]
) -> None:
    """Target and pool are the same noise."""
    (tmp_path / "noise").mkdir()
    for number in range(9):
        (tmp_path / "noise" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "pool.tar").write_bytes(tar_bytes([(f"{number}.png", picture(100 + number)) for number in range(40)]))
    noise = given | {"target": [str(tmp_path / "noise")], "pool": [str(tmp_path / "pool.tar")]}
    out = Path(given["out"])
    with pytest.raises(CuratorError, match=r"better than chance: .* lite0 \(.* and warmup \(.*: give encoder") as first:
        run_on(InProcessExecutor(), **noise)
    assert first.value.exit_code == 1
    rows = json.loads((out / "measure/measure.json").read_text())["table"]["rows"]
    assert {row["encoder"] for row in rows} == {"lite0", "warmup", "warmup, untrained", "chance"}
    no_measuring()
    with pytest.raises(CuratorError) as again:
        run_on(InProcessExecutor(), **noise)
    assert str(again.value) == str(first.value) and again.value.exit_code == 1
    # By name it goes on.
    run_on(InProcessExecutor(), **noise | {"encoder": "timm:test_vit", "weights": "random"})


@pytest.mark.slow
def test_a_warm_up_by_name_that_learned_nothing_is_used_with_a_warning(
    run_on: RunOn, given: dict[str, Any], small_warmup: None, no_measuring: Callable[[], None]
) -> None:
    named = given | {"encoder": "warmup"}
    first = run_on(InProcessExecutor(), **named)
    assert any("NOT MEASURABLY BETTER THAN THE SAME NETWORK UNTRAINED" in warning for warning in first.warnings)
    no_measuring()
    assert run_on(InProcessExecutor(), **named).warnings == first.warnings


@pytest.mark.usefixtures("emulated_bf16")
def test_another_runs_pool_comes_with_its_encoder(
    run_on: RunOn, given: dict[str, Any], tmp_path: Path, no_measuring: Callable[[], None]
) -> None:
    config = {"pool": given["pool"], "out": str(tmp_path / "web"), "encoder": "timm:test_vit", "weights": "random"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curator_pipelines.jobs.select.prepare.make_executor", lambda *arguments: InProcessExecutor())
        run_embed(build(EmbedConfig, config | {"device": "cpu", "precision": "bf16"}), Reporter())
    no_measuring()
    own = {name: value for name, value in given.items() if name != "precision"}

    run_on(InProcessExecutor(), **own | {"pool": [f"{tmp_path}/web/pool"]})

    record = json.loads((Path(given["out"]) / "run.json").read_text())
    assert (record["config"]["encoder"], record["config"]["precision"]) == ("timm:test_vit", "bf16")


def test_ready_embeddings_of_no_run_want_their_encoder_named(given: dict[str, Any], tmp_path: Path) -> None:
    pool = write_ready(tmp_path / "ready", [np.eye(8, dtype=np.float32)])
    with pytest.raises(InputError, match=r"nothing says of which encoder.*give encoder"):
        plan_select(build(SelectConfig, given | {"pool": [pool], "manifest_only": True}), Reporter())


@pytest.mark.slow
def test_a_plan_says_what_stands_in_and_then_what_was_chosen(
    run_on: RunOn, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    plan_select(build(SelectConfig, given), Reporter())
    said = capsys.readouterr().err
    assert "first the encoder would be chosen, by measuring lite0" in said and not Path(given["out"]).exists()
    run_on(InProcessExecutor(), **given)
    capsys.readouterr()
    plan_select(build(SelectConfig, given), Reporter())
    assert "encoder auto: lite0, with which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([0, 1, 2, 3, 4], "the target has 5 images: at least 7 are needed"),
        ([0] * 9, "the target has none of 9 images that differ: at least 7 are needed"),
    ],
)
@pytest.mark.slow
def test_too_little_to_measure_with_is_one_line_and_nothing_is_written(
    run_on: RunOn, given: dict[str, Any], tmp_path: Path, images: list[int], said: str
) -> None:
    (tmp_path / "few").mkdir()
    for number, seed in enumerate(images):
        (tmp_path / "few" / f"{number}.png").write_bytes(picture(seed))
    few = given | {"target": [str(tmp_path / "few")]}
    with pytest.raises(InputError, match=said) as caught:
        run_on(InProcessExecutor(), **few)
    assert "\n" not in str(caught.value) and not (Path(given["out"]) / "measure").exists()
    with pytest.raises(InputError, match=said):
        compare(InProcessExecutor(), **of_sample(few), encoder=["lite0"])


def test_weights_want_an_encoder() -> None:
    some = {"target": ["t"], "pool": ["p"], "out": "o"}
    with pytest.raises(InputError, match=r"weights='w\.pt': .* none is named: give encoder"):
        build(SelectConfig, some | {"weights": "w.pt"})
    with pytest.raises(InputError, match=r"weights='w\.pt': .* 2 are named: give encoder"):
        build(SelectConfig, some | {"weights": "w.pt", "encoder": ["lite0", "timm:resnet18"]})
    for encoders in (["auto"], ["warmup"], ["lite0", "timm:resnet18"]):
        with pytest.raises(InputError, match="weights of one encoder"):
            build(MeasureConfig, some | {"weights": "w.pt", "encoder": encoders})
    with pytest.raises(InputError, match="encoder='lite0': it is named twice"):
        build(MeasureConfig, some | {"encoder": ["lite0", "timm:resnet18", "lite0"]})


# Several named encoders.

# Cheap ones of the tests: one that sees, and two that do not.
SHARP, DULL, ALSO_DULL = "jobs_for_tests:sharp", "jobs_for_tests:dull", "jobs_for_tests:dull:too"


@pytest.mark.slow
def test_of_several_named_ones_the_best_is_taken_and_stands(
    run_on: RunOn, given: dict[str, Any], no_measuring: Callable[[], None]
) -> None:
    """The first, which sees nothing, is replaced; and the pool is embedded by one alone."""
    out = Path(given["out"])
    named = given | {"encoder": [DULL, SHARP]}
    counted = CountsTasks()
    run_on(counted, **named)
    record = json.loads((out / "measure/measure.json").read_text())
    assert record["choice"]["encoder"] == SHARP and record["choice"]["asked"] == [DULL, SHARP]
    assert {row["encoder"] for row in record["table"]["rows"]} == {SHARP, DULL, "chance"}
    assert json.loads((out / "run.json").read_text())["config"]["encoder"] == SHARP
    assert sorted(counted.embedded) == ["pool-0.tar", "pool-1.tar", "target"]

    no_measuring()
    for again in (named, given | {"encoder": [SHARP, "timm:test_vit"]}, given | {"encoder": SHARP}, given):
        counted = CountsTasks()
        run_on(counted, **again)
        assert not counted.payloads
    with pytest.raises(InputError, match=r"begun with jobs_for_tests:sharp, which is none of these: .*redo='measure'"):
        run_on(InProcessExecutor(), **given | {"encoder": ["timm:test_vit", DULL]})


@pytest.mark.slow
def test_a_warm_up_among_several_is_measured_with_its_twin(
    run_on: RunOn, given: dict[str, Any], small_warmup: None
) -> None:
    out = Path(given["out"])
    run_on(InProcessExecutor(), **given | {"encoder": ["warmup", SHARP], "warmup_epochs": 1})
    record = json.loads((out / "measure/measure.json").read_text())
    assert {row["encoder"] for row in record["table"]["rows"]} == {SHARP, "warmup", "warmup, untrained", "chance"}
    assert record["choice"]["encoder"] == SHARP and not (out / "measure/untrained").exists()
    assert {"measure", "warmup"} <= set(json.loads((out / "run.json").read_text())["stages"])


@pytest.mark.slow
def test_none_of_several_beats_chance_and_others_are_measured_anew(
    run_on: RunOn, given: dict[str, Any], no_measuring: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = given | {"encoder": [DULL, ALSO_DULL]}
    with pytest.raises(CuratorError, match=r"encoder='jobs_for_tests:dull, .*better than chance") as first:
        run_on(InProcessExecutor(), **blind)
    no_measuring()
    with pytest.raises(CuratorError) as again:
        run_on(InProcessExecutor(), **blind)
    assert str(again.value) == str(first.value)
    monkeypatch.undo()
    assert not (Path(given["out"]) / "encoder.pt").exists()
    run_on(InProcessExecutor(), **given | {"encoder": [DULL, SHARP]})


@pytest.mark.slow
def test_a_plan_of_several_says_so_and_a_measurement_alone_embeds_nothing(
    run_on: RunOn, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    named = given | {"encoder": [SHARP, DULL]}
    plan_select(build(SelectConfig, named), Reporter())
    assert f"by measuring {SHARP}, {DULL} on your images" in capsys.readouterr().err
    run_on(InProcessExecutor(), **named)
    capsys.readouterr()
    for encoders in ([SHARP, DULL], [SHARP, "auto"]):
        plan = plan_select(build(SelectConfig, given | {"encoder": encoders, "redo": "measure"}), Reporter())
        assert [each.finished for each in plan.sets] == [1, 2]
        assert "another one would embed everything again" in capsys.readouterr().err
    plan = plan_select(build(SelectConfig, given | {"encoder": [DULL, "timm:test_vit"], "redo": "measure"}), Reporter())
    assert [each.finished for each in plan.sets] == [0, 0]


def test_an_encoder_that_was_measured_is_not_loaded_again(
    run_on: RunOn, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = encoding.load_encoding
    for module in (encoding, candidates):
        monkeypatch.setattr(module, "load_encoding", lambda spec, *rest: (loaded.append(spec), load(spec, *rest))[1])
    run_on(InProcessExecutor(), **given | {"encoder": [DULL, SHARP]})
    assert loaded == [DULL, SHARP]


@pytest.mark.slow
def test_a_shard_that_cannot_be_read_is_said_once(given: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.tar"
    shutil.copy(photos / "pool-0.tar", gone)

    class Removed(InProcessExecutor):
        def map(self, *arguments: Any, **named: Any) -> Any:
            gone.unlink()
            return super().map(*arguments, **named)

    reporter = Reporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_run, "make_executor", lambda *arguments: Removed())
        settings = {"device": "cpu", "precision": "fp32"} | of_sample(given) | {"encoder": [SHARP, DULL]}
        run_measure(build(MeasureConfig, settings | {"pool": [*given["pool"], str(gone)]}), reporter)
    assert len([text for text in reporter.warnings if "cannot read" in text]) == 1


# `curator measure`.


@pytest.fixture
def trained(tmp_path: Path) -> str:
    """An encoder in a file of ours; its weights are random, so that it differs from its twin by the seed alone."""
    backbone = build_backbone("timm:test_efficientnet", 64, seed=5)
    save_checkpoint(
        str(tmp_path / "encoder.pt"),
        architecture=backbone.architecture,
        preprocess=backbone.preprocess,
        state_dict=backbone.model.state_dict(),
        meta={},
    )
    return f"checkpoint:{tmp_path}/encoder.pt"


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def workers(request: pytest.FixtureRequest) -> Any:
    return LocalExecutor(workers=2) if request.param == "local" else request.getfixturevalue("make_ray")(2)


@pytest.mark.slow
def test_a_table_of_encoders_their_twins_and_chance_wherever_it_is_made(
    given: dict[str, Any], trained: str, tmp_path: Path, workers: Executor
) -> None:
    encoders = [trained]
    result = compare(workers, **of_sample(given), encoder=encoders, out=str(tmp_path / "workers"))
    here = compare(InProcessExecutor(), **of_sample(given), encoder=encoders, out=str(tmp_path / "here"))

    rows = {row.encoder: row for row in result.table.rows}
    assert set(rows) == {trained, f"{trained}, untrained", "chance"}
    assert result.table.rows[0].worse_than_above is None and rows["chance"].hours is None
    medians = [row.median_rank for row in result.table.rows]
    assert medians == sorted(medians)
    assert (result.table.target_images, result.table.pool_images) == (TARGET_IMAGES, 48)
    assert [row.median_rank for row in here.table.rows] == medians
    kept = [(tmp_path / name / "measure/compared.parquet").read_bytes() for name in ("workers", "here")]
    assert kept[0] == kept[1]
    sheets = [(tmp_path / name / "measure/contact_sheet.jpg").read_bytes() for name in ("workers", "here")]
    assert sheets[0] == sheets[1] and f"sheet       {result.sheet}" in result.to_text()
    assert not (tmp_path / "here/measure/untrained").exists()
    text = result.to_text()
    assert "the selector csls is worth a try" in text and "budget" in result.to_json()["csls"]
    assert "compare encoders and grade none" in text and "never decide" in text and "may have seen" in text


def test_a_named_warm_up_is_the_runs(given: dict[str, Any], trained: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(tmp_path / "encoder.pt", tmp_path / "run/encoder.pt")
    result = compare(InProcessExecutor(), **of_sample(given, "out"), encoder=["warmup"])
    assert {row.encoder: row.note for row in result.table.rows}["warmup"].startswith(
        "it was trained to tell these images apart"
    )


@pytest.mark.slow
def test_several_targets_count_as_much_as_each_other(given: dict[str, Any], photos: Path) -> None:
    (target,) = given["target"]
    two = {"pool": given["pool"], "target": [f"cells={target}", f"all={photos}/pool-0.tar"]}
    result = compare(InProcessExecutor(), **two, encoder=["lite0"])
    assert result.table.target_images == TARGET_IMAGES + 24
    alone = [compare(InProcessExecutor(), **two | {"target": [url]}, encoder=["lite0"]) for url in two["target"]]
    medians = [max(row.median_rank for row in one.table.rows if row.encoder == "lite0") for one in (result, *alone)]
    assert medians[0] == pytest.approx((medians[1] + medians[2]) / 2)


def test_an_encoder_that_gives_nan(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.encoders.check_preprocess.lowest_cosine", lambda encoder, images: 1.0)
    tensors = build_backbone("timm:test_vit").model.state_dict()
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}
    torch.save(broken, tmp_path / "nan.pt")
    weights = str(tmp_path / "nan.pt")
    with pytest.raises(InputError, match="encoder='timm:test_vit': 60 of 60 images got a vector that is not finite"):
        compare(InProcessExecutor(), **of_sample(given), encoder=["timm:test_vit"], weights=weights)


def test_bad_images_are_counted_and_said(given: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(given["target"][0], tmp_path / "target")
    (tmp_path / "target" / "a.png").write_bytes(b"no image")
    result = compare(
        InProcessExecutor(), **of_sample(given) | {"target": [str(tmp_path / "target")]}, encoder=["lite0"]
    )
    assert result.table.bad == 1 and "1 bad samples left out" in result.to_text()


def test_ready_embeddings_are_ranked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = write_ready(tmp_path / "t", [np.float32([1, 0, 0, 0]) + 0.1 * rng.standard_normal((20, 4), np.float32)])
    pool = write_ready(tmp_path / "p", [rng.standard_normal((300, 4), np.float32)])
    result = compare(InProcessExecutor(), target=[target], pool=[pool])
    assert [row.encoder for row in result.table.rows] == ["ready embeddings", "chance"]
    assert result.table.rows[0].median_rank < 0.02 and result.table.rows[0].hours is None


def test_the_sample_is_of_up_to_20_shards(photos: Path) -> None:
    from curator.sources import find_sources

    (shard,) = find_sources([str(photos / "pool-0.tar")], "pool", folders=False)
    shards = [shard] * 50
    sample = samples.draw({"a": shards[:3], "b": shards[:1]}, shards, seed=1)
    assert [len(pairs) for pairs in (*sample.targets.values(), sample.pool)] == [3, 1, 20]
    assert [pairs[0][1] for pairs in (*sample.targets.values(), sample.pool)] == [334, 1000, 100]
