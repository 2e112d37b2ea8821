import inspect
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

import curator
from curator.settings.setting import Setting
from curator.settings.values import Seed, Share, Text, Urls, Workers
from curator_pipelines.api.signature import takes
from curator_pipelines.config.queries import CompareConfig
from curator_pipelines.config.select import Config, EmbedConfig, PackConfig, SelectConfig

MODELS = {"select": SelectConfig, "embed": EmbedConfig, "pack": PackConfig, "compare": CompareConfig}


class Settings(Config):
    seed: Annotated[Seed, Setting("The seed of everything.")] = 3
    out: Annotated[str, Setting("The folder.", is_path=True)]
    pool: Annotated[Urls, Setting("The images.")] = Field(default=[])
    budget: Annotated[Text | None, Setting("The most.", default_text="no limit beside {seed}")] = None
    max_bad: Annotated[Share, Setting("The share.")] = 0.5
    workers: Annotated[Workers, Setting("Their number.")] = None
    kind: Annotated[Literal["a", "b"] | None, Setting("The kind.")] = None


@takes(Settings)
def some_function(first: int, *, progress: bool = False, **settings: Any) -> dict[str, Any]:
    """Do it.

    Args:
        first: comes first.
        **settings: see below.
        progress: tell.
    """
    return {"first": first, "progress": progress} | settings


def test_the_signature_is_the_models() -> None:
    text = str(inspect.signature(some_function)).replace("collections.abc.", "").replace("typing.", "")

    assert text == (
        "(first: int, *, out: str | os.PathLike[str], seed: int = 3, "
        "pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = [], budget: str | float | None = None, "
        "max_bad: float | str = 0.5, workers: int | str | None = None, kind: Optional[Literal['a', 'b']] = None, "
        "progress: bool = False) -> dict[str, Any]"
    )
    assert "    first: comes first.\n    seed: The seed of everything.\n" in (some_function.__doc__ or "")
    assert "    budget: The most. Default: no limit beside `seed`.\n" in (some_function.__doc__ or "")


def test_only_what_is_given_is_passed_on_and_paths_as_text() -> None:
    assert some_function(1, out=Path("run"), pool=(Path("a"), "b"), budget=5) == {
        "first": 1,
        "progress": False,
        "out": "run",
        "pool": ["a", "b"],
        "budget": 5,
    }


def test_a_wrong_name_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"some_function\(\) .* 'budgett'; did you mean 'budget'\?"):
        some_function(1, out="run", budgett=3)
    with pytest.raises(TypeError, match="missing a required argument: 'out'"):
        some_function(1)


@pytest.mark.parametrize("name", MODELS)
def test_names_and_defaults_of_the_public_functions_are_the_models(name: str) -> None:
    parameters = dict(inspect.signature(getattr(curator, name)).parameters)
    assert parameters.pop("progress").default is False
    fields = MODELS[name].model_fields
    assert set(parameters) == set(fields)
    for parameter, field in fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        assert parameters[parameter].default == default


@pytest.mark.parametrize("name", [*MODELS, "select_rows"])
def test_every_parameter_is_documented_once(name: str) -> None:
    function = getattr(curator, name)
    arguments = function.__doc__.partition("\nArgs:\n")[2].partition("\n\n")[0]
    documented = re.findall(r"^    (\w+): \S", arguments, re.MULTILINE)
    assert sorted(documented) == sorted(inspect.signature(function).parameters)
    assert "--" not in function.__doc__
