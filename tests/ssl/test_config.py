from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from curator.errors import InputError
from curator.settings.config import build
from curator.settings.setting import declared
from curator_ssl.config import TrainConfig
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.samples import Samples
from curator_ssl.data.schedule import make_schedule
from curator_ssl.optim import OPTIMIZERS
from curator_ssl.outputs.checkpoints import run_identity
from curator_ssl.resolve import resolve_length, resolve_machine
from curator_ssl.train_step import build_method


@pytest.fixture(scope="module")
def samples(shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return find_samples(shards, [], str(tmp_path_factory.mktemp("samples"))).samples


def resolve(samples: Samples, **values: Any) -> TrainConfig:
    small = {"arch": "test_convnext", "image_size": 32, "batch_size": 8, "device": "cpu"}
    return resolve_length(resolve_machine(build(TrainConfig, small | values)), samples)


class TestResolved:
    @pytest.mark.parametrize(
        "values", [{}, {"steps": 7}, {"epochs": "3"}, {"optimizer": "lars"}, {"target_share": "25%"}]
    )
    def test_nothing_is_unset_and_its_json_is_it(self, samples: Samples, values: dict[str, Any]) -> None:
        if "target_share" in values:
            samples = replace(samples, targets=20)

        config = resolve(samples, **values)

        content = config.model_dump(mode="json")
        # How much may be bad has a rule of its own where nothing is given.
        assert type(config) is TrainConfig and [name for name in content if content[name] is None] == ["max_bad"]
        assert TrainConfig.model_validate(content) == config
        assert resolve_length(resolve_machine(config), samples) == config

    def test_defaults_of_the_optimizer_and_the_method(self, samples: Samples) -> None:
        config = resolve(samples, optimizer="lars", method_option=["temperature=0.3"])
        assert (config.lr, config.weight_decay) == (OPTIMIZERS["lars"].lr, OPTIMIZERS["lars"].weight_decay)
        assert config.method_option == {"temperature": 0.3, "projection": 128}

    def test_how_long(self, samples: Samples) -> None:
        # 37 samples, 8 a step: 4 steps an epoch.
        config = resolve(samples, epochs=10)
        assert (config.steps, config.steps_per_epoch, config.lr_ramp, config.save_every) == (40, 4, 2, 4)
        assert resolve(samples, steps=7).epochs == 1.75

    @pytest.mark.parametrize(("share", "begins"), [("0%", None), ("25%", 30), ("1%", 39), ("100%", 0)])
    def test_where_the_end_on_the_target_begins(self, samples: Samples, share: str, begins: int | None) -> None:
        samples = replace(samples, targets=20)
        config = resolve(samples, epochs=10, finish_on_target=share)
        assert (config.steps, make_schedule(config, samples).target_from) == (40, begins)


class TestIdentity:
    def test_every_setting_is_in_it_unless_it_says_otherwise(self, samples: Samples) -> None:
        config = resolve(samples)
        backbone, _ = build_method(config, torch.device("cpu"))

        identity = run_identity(config, samples, backbone)

        free = {name for name, each in declared(TrainConfig).items() if each.setting.changes is None}
        assert identity.keys() | free == {*TrainConfig.model_fields, "samples", "plugin"} - {"target", "shards"}
        assert free == {
            "out", "epochs", "device", "precision", "loader_workers", "sync_bn", "compile", "save_every", "max_bad",
            "log_to", "probe_every", "probe_train", "probe_test", "probe_label",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "some"}, "epochs='some': give a number of epochs, or auto"),
        ({"epochs": "0"}, "epochs=0: should be greater than 0"),
        ({"optimizer": "adam"}, "optimizer='adam': unknown; did you mean 'adamw'"),
        ({"method_option": ["temperature"]}, "give NAME=VALUE"),
    ],
)
def test_what_does_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(TrainConfig, values)


def test_it_is_declared_without_torch() -> None:
    check = "import sys, curator_ssl.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_the_rate_rises_and_falls_and_grows_with_the_batch() -> None:
    config = TrainConfig(batch_size=512, steps=100, lr=0.1, lr_ramp=10)
    rates = [config.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.02) and max(rates) == rates[9] == rates[10] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] < 0.001
    assert rates[55] == pytest.approx(0.1)
