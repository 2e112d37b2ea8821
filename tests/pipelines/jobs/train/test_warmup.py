from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import picture

from curator.encoders.encoder import hash_tensors
from curator.encoders.load import load_encoder
from curator.errors import Change, CuratorError, InputError
from curator.settings.config import build
from curator_pipelines.cli.spelling import as_flag
from curator_pipelines.config.select import SelectConfig
from curator_pipelines.config.train import WarmupConfig
from curator_pipelines.jobs.select.select_run import plan_select
from curator_pipelines.jobs.train import warmup
from curator_pipelines.jobs.train.warmup import Effort, run_warmup, untrained_twin
from curator_pipelines.run import RunDirectory
from curator_pipelines.run.progress import Reporter
from curator_ssl.backbones import make_backbone
from curator_ssl.outputs.collapse import NothingLearned

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "ARCHITECTURE", "timm:test_efficientnet")
    monkeypatch.setattr(warmup, "EFFORTS", {"cpu": Effort(32, 4)})


@pytest.fixture
def default_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run with the default encoder."""
    return settings | {"encoder": "warmup", "weights": None}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "curator_pipelines.jobs.train.train_run.train_on_samples", lambda *a, **k: pytest.fail("trained again")
    )


def test_select_trains_once_and_uses_what_is_there(
    run: Run, default_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    first = run(out=str(out), **default_run)
    encoder = (out / "encoder.pt").read_bytes()
    monkeypatch.setattr(
        "curator_pipelines.jobs.train.train_run.train_on_samples", lambda *a, **k: pytest.fail("trained again")
    )

    again = run(out=str(out), **default_run)

    assert (out / "encoder.pt").read_bytes() == encoder
    assert again.results[""].selection == first.results[""].selection and again.results[""].packed.reused
    # A finished encoder is an input: another run takes it over without training.
    other = tmp_path / "other"
    other.mkdir()
    (other / "encoder.pt").write_bytes(encoder)
    assert run(out=str(other), **default_run).results[""].selection == first.results[""].selection


def test_images_are_embedded_larger_than_they_are_trained_on(default_run: dict[str, Any], tmp_path: Path) -> None:
    flags = {"out": str(tmp_path), "target": default_run["target"], "device": "cpu"}
    run_warmup(build(WarmupConfig, flags | {"metrics_file": str(tmp_path / "curator.prom")}), Reporter())

    trained, kept = (load_encoder(f"checkpoint:{tmp_path}/{name}") for name in ("warmup/encoder.pt", "encoder.pt"))
    assert (trained.preprocess.crop, kept.preprocess.crop) == ((32, 32), (64, 64))
    assert kept.tensors_hash == trained.tensors_hash
    assert "curator_exit_code{" in (tmp_path / "curator.prom").read_text()


def test_a_stopped_warmup_goes_on(default_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise CuratorError("stopped")

    config = build(WarmupConfig, {"out": str(tmp_path), "target": default_run["target"], "device": "cpu"})
    with monkeypatch.context() as patch:
        patch.setattr("curator_ssl.train_loop.save_encoder", fail)
        with pytest.raises(CuratorError, match="stopped"):
            run_warmup(config, Reporter())
    assert not (tmp_path / "encoder.pt").exists()

    assert "all 4 steps were done before" in run_warmup(config, Reporter()).text
    assert (tmp_path / "encoder.pt").exists()
    assert "trained before" in run_warmup(config, Reporter()).text


@pytest.mark.slow
def test_redo_trains_anew(run: Run, default_run: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out=str(out), **default_run)
    before = (out / "encoder.pt").read_bytes()

    run(out=str(out), **default_run | {"redo": "warmup", "seed": 4})

    assert (out / "encoder.pt").read_bytes() != before


def test_a_run_with_another_encoder_is_refused_before_training(
    run: Run, default_run: dict[str, Any], reference: Path, no_training: None
) -> None:
    with pytest.raises(InputError, match="begun with another encoder"):
        run(out=str(reference), **default_run)


def test_a_dry_run_says_so_and_touches_nothing(
    default_run: dict[str, Any], tmp_path: Path, no_training: None, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_select(build(SelectConfig, default_run | {"out": str(tmp_path / "run")}), Reporter())

    assert "would be trained" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_other_settings_are_refused(default_run: dict[str, Any], tmp_path: Path) -> None:
    flags = {"out": str(tmp_path), "target": default_run["target"], "device": "cpu"}
    run_warmup(build(WarmupConfig, flags), Reporter())

    with pytest.raises(InputError, match=r"warmup_epochs was None, now 3.*redo='warmup'"):
        run_warmup(build(WarmupConfig, flags | {"warmup_epochs": "3"}), Reporter())


@pytest.mark.slow
def test_a_stopped_redo_goes_on_without_the_flag(
    run: Run, default_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run(out=str(out), **default_run)
    with monkeypatch.context() as patch:
        patch.setattr("curator_pipelines.jobs.train.train_run.train_on_samples", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(out=str(out), **default_run | {"redo": "warmup", "seed": 4})

    run(out=str(out), **default_run | {"seed": 4})

    fresh = tmp_path / "fresh"
    run(out=str(fresh), **default_run | {"seed": 4})
    selected = [(folder / "selection/selected.parquet").read_bytes() for folder in (out, fresh)]
    assert selected[0] == selected[1]


@pytest.mark.slow
def test_all_targets_are_trained_on(
    run: Run, default_run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (target,) = default_run["target"]

    run(
        out=str(tmp_path),
        **default_run | {"target": [f"one={target}", f"two={default_run['pool'][0]}"], "max_bad": 0.1},
    )

    assert (tmp_path / "encoder.pt").exists()
    assert (tmp_path / "two/selection/selected.parquet").exists()
    assert "(9 of the target" not in capsys.readouterr().err


def test_a_ready_pool_wants_its_own_encoder(
    default_run: dict[str, Any], reference: Path, tmp_path: Path, no_training: None
) -> None:
    config = build(SelectConfig, default_run | {"out": str(tmp_path), "pool": [f"{reference}/pool"]})

    with pytest.raises(InputError, match="must come from the same encoder"):
        plan_select(config, Reporter())


def test_nothing_is_measured_with_a_stand_in(default_run: dict[str, Any], tmp_path: Path, no_training: None) -> None:
    with pytest.raises(InputError, match="is to be trained first"):
        plan_select(build(SelectConfig, default_run | {"out": str(tmp_path)}), Reporter(), calibrated=True)


def test_the_untrained_twin_is_the_network_before_its_first_step(default_run: dict[str, Any], tmp_path: Path) -> None:
    flags = {"out": str(tmp_path), "target": default_run["target"], "device": "cpu", "seed": 5}
    assert untrained_twin(RunDirectory(str(tmp_path))) is None

    run_warmup(build(WarmupConfig, flags), Reporter())

    url = untrained_twin(RunDirectory(str(tmp_path)))
    twin, trained = load_encoder(f"checkpoint:{url}"), load_encoder(f"checkpoint:{tmp_path}/encoder.pt")
    assert twin.preprocess == trained.preprocess and twin.architecture == trained.architecture
    first = make_backbone("timm:test_efficientnet", 32, seed=5)
    assert twin.tensors_hash == hash_tensors(first.model) != trained.tensors_hash


def test_the_small_network_is_trained_by_means_and_embeds_by_maxima(
    default_run: dict[str, Any], tmp_path: Path
) -> None:
    flags = {"out": str(tmp_path), "target": default_run["target"], "device": "cpu", "warmup_arch": "small_resnet"}
    run_warmup(build(WarmupConfig, flags), Reporter())

    paths = [f"{tmp_path}/warmup/encoder.pt", f"{tmp_path}/encoder.pt", untrained_twin(RunDirectory(str(tmp_path)))]
    trained, kept, twin = (load_encoder(f"checkpoint:{path}") for path in paths)
    assert [each.architecture for each in (trained, kept, twin)] == ["small_resnet", *2 * ["small_resnet_max"]]
    assert kept.tensors_hash == trained.tensors_hash


def test_architecture_and_size_are_the_users(default_run: dict[str, Any], tmp_path: Path) -> None:
    flags = {"out": str(tmp_path), "target": default_run["target"], "device": "cpu"}

    # A transformer's tensors depend on the size that it is trained at.
    run_warmup(build(WarmupConfig, flags | {"warmup_arch": "test_vit", "warmup_size": 48}), Reporter())

    encoder = load_encoder(f"checkpoint:{tmp_path}/encoder.pt")
    assert (encoder.architecture, encoder.preprocess.crop) == ("timm:test_vit", (48, 48))


def test_a_warmup_that_learns_nothing_says_so_in_flags_that_exist(
    default_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn_nothing(*arguments: object, **named: object) -> None:
        raise NothingLearned("nothing was learned", advice=Change("lr", "lower"))

    monkeypatch.setattr("curator_pipelines.jobs.train.train_run.train_on_samples", learn_nothing)
    config = build(WarmupConfig, {"out": str(tmp_path), "target": default_run["target"], "device": "cpu"})

    with pytest.raises(CuratorError) as failure:
        run_warmup(config, Reporter())

    assert failure.value.exit_code == 1
    message = failure.value.text(as_flag)
    assert message.startswith("the warm-up failed: nothing was learned: give another --warmup-arch")
    for model in (WarmupConfig, SelectConfig):
        assert set(re.findall(r"--([a-z-]+)", message)) <= {name.replace("_", "-") for name in model.model_fields}


def test_one_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/0.png").write_bytes(picture(0))
    flags = {"out": str(tmp_path / "run"), "target": [str(tmp_path / "photos")], "device": "cpu"}
    with pytest.raises(InputError, match="1 image: a warm-up tells images apart"):
        run_warmup(build(WarmupConfig, flags), Reporter())


def test_an_architecture_that_is_none_is_told_by_the_setting_of_the_warmup(
    default_run: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="unknown model") as caught:
        run_warmup(
            build(
                WarmupConfig, {"out": str(tmp_path), "target": default_run["target"], "warmup_arch": "timm:resnet5O"}
            ),
            Reporter(),
        )
    assert caught.value.field == "warmup_arch"
