"""Help and docs say what the models say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from curator.settings.config import Config
from curator.settings.setting import Setting, declared
from curator_pipelines.cli.main import cli
from curator_pipelines.cli.options import UrlCommand, options
from curator_pipelines.cli.spelling import spelled
from curator_pipelines.config.identity import identity_settings
from curator_pipelines.config.queries import DedupConfig, SearchConfig
from curator_pipelines.config.select import EmbedConfig, IndexConfig, PackConfig, SelectConfig, build

BASE = {"target": ["t"], "pool": ["p"], "out": "o", "encoder": "lite0"}


@pytest.fixture
def reference() -> Iterator[Any]:
    sys.path.insert(0, str(Path(__file__).parents[3] / "docs"))
    import write_cli_reference  # type: ignore[import-not-found]

    yield write_cli_reference
    sys.path.pop(0)


class Example(Config):
    """Every kind of setting."""

    pool: Annotated[list[str], Setting("The pool.")]
    count: Annotated[int, Setting("How many.")] = 7
    share: Annotated[float, Setting("A share.", metavar="P%")] = 0.05
    kind: Annotated[str, Setting("Beside {count}.", choices=("good", "better"))] = "good"
    fast: Annotated[bool, Setting("Fast.")] = False
    sure: Annotated[bool | None, Setting("Sure.", default_text="by {kind}")] = None


def help_of(model: type[Config]) -> str:
    @click.command(cls=UrlCommand)
    @options(model)
    def command(**flags: Any) -> None:
        click.echo(repr(flags))

    return CliRunner().invoke(command, ["--help"]).output


def test_help_follows_from_the_types_and_defaults() -> None:
    lines = [" ".join(line.split()) for line in help_of(Example).splitlines()]
    assert "--pool URLS The pool." in lines
    assert "--count N How many. [default: 7]" in lines
    assert "--share P% A share. [default: 5%]" in lines
    assert "--kind good|better Beside --count. [default: good]" in lines
    assert "--fast Fast." in lines
    assert "--sure / --no-sure Sure. [default: by --kind]" in lines


def test_another_default_is_another_help() -> None:
    class Changed(Example):
        count: Annotated[int, Setting("How many.")] = 8

    assert "[default: 8]" in help_of(Changed)
    assert "[default: 7]" not in help_of(Changed)


def test_another_default_is_another_reference(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is rendered from the models: with another default it is no longer what is stored."""
    monkeypatch.setattr(SelectConfig.model_fields["shard_size"], "default", 4321)
    monkeypatch.delitem(sys.modules, "curator_pipelines.cli.select_command", raising=False)
    assert "4321" not in reference.REFERENCE.read_text()
    assert "[default: 4321]" in reference.render()
    monkeypatch.undo()
    sys.modules.pop("curator_pipelines.cli.select_command", None)
    assert "4321" not in reference.render()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("select", SelectConfig),
        ("embed", EmbedConfig),
        ("index", IndexConfig),
        ("pack", PackConfig),
        ("search", SearchConfig),
        ("dedup", DedupConfig),
    ],
)
def test_help_and_reference_show_every_real_default(name: str, model: type[Config], reference: Any) -> None:
    page = reference.REFERENCE.read_text().partition(f"## curator {name}\n")[2].partition("\n## ")[0]
    for text in (CliRunner().invoke(cli, [name, "--help"]).output, page):
        words = " ".join(text.split())
        for setting in declared(model).values():
            if setting.default not in (None, False, []):
                assert spelled(f"[default: {setting.default_text}]") in words, setting.name


def complete(words: list[str], incomplete: str) -> list[str]:
    completion = ShellComplete(cli, {}, "curator", "_CURATOR_COMPLETE")
    return [item.value for item in completion.get_completions(words, incomplete)]


def test_a_shell_completes_choices() -> None:
    assert complete(["select", "--selector"], "k") == ["knn"]
    assert complete(["select", "--redo"], "in") == ["index"]
    assert complete(["embed", "--precision"], "") == ["auto", "fp32", "bf16"]


def test_what_a_selector_does_not_read_is_not_in_the_identity_of_its_selection() -> None:
    def names(**settings: Any) -> set[str]:
        return set(identity_settings(build(SelectConfig, BASE | {"budget": 3} | settings), "select"))

    assert names() >= {"clusters", "stop", "reference_round", "search", "recall", "seed", "budget", "dedup"}
    assert not names(selector="knn") & {"clusters", "stop", "reference_round", "search", "recall", "seed"}
    assert names(selector="random") & {"clusters", "stop", "seed"} == {"seed"}
    assert not names() & {"target", "pool", "exclude", "deny", "encoder", "weights", "precision", "batch_size"}


def test_defaults_that_depend_on_something_are_in_the_identity_as_resolved() -> None:
    def value(name: str, **settings: Any) -> Any:
        return identity_settings(build(SelectConfig, BASE | settings), "select")[name]

    assert value("stop") == value("stop", stop="auto") == "auto"
    assert value("stop", preset="paper") == value("stop", stop="0.95") == 0.95
    assert value("clusters") == value("clusters", clusters="auto") is None
    assert value("clusters", preset="paper") == 100
    assert value("stop", budget=3) is value("stop", budget=3, stop="off") is None
    assert value("budget", budget="5%") == value("budget", budget="5.0%")
