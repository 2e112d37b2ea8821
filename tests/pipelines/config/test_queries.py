from typing import Any

import pytest

from curator.errors import InputError
from curator.settings import build
from curator_pipelines.config import SubmitConfig


def config(**settings: Any) -> SubmitConfig:
    return build(SubmitConfig, {"words": ["select"], **settings})


def test_variables_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "as it is")

    given = config(env=["A=1", "B=", "C=a=b", "HERE"])

    assert given.environment() == {"A": "1", "B": "", "C": "a=b", "HERE": "as it is"}
    assert config().environment() == {}


@pytest.mark.parametrize("env", ["NOT_SET_ANYWHERE", "=1", "A B=1", ""])
def test_no_variable(env: str) -> None:
    with pytest.raises(InputError, match="env="):
        config(env=[env]).environment()


def test_a_value_is_not_shown_in_an_error() -> None:
    with pytest.raises(InputError) as raised:
        config(env=["A-B=secret"]).environment()

    assert "secret" not in str(raised.value)


def test_what_a_command_reserves() -> None:
    given = config(entrypoint_num_cpus="0.5", entrypoint_memory="1000", entrypoint_resources=["head=0.1", "a=b=2"])

    assert given.reserved() == {
        "entrypoint_num_cpus": 0.5,
        "entrypoint_memory": 1000,
        "entrypoint_resources": {"head": 0.1, "a=b": 2.0},
    }
    assert config().reserved() == {}


@pytest.mark.parametrize("resource", ["head", "=1", "head=", "head=0", "head=much", "head=inf"])
def test_no_resource(resource: str) -> None:
    with pytest.raises(InputError, match=r"head=0\.1"):
        config(entrypoint_resources=[resource]).reserved()
