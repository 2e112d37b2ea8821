"""What errors advise: only what the command at hand can take."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from curator.errors import Advice, Another, Change, InputError, Leave, Redo, Use
from curator_pipelines.cli.main import COMMANDS, cli, settings_of, spelling

ROOT = Path(__file__).parents[3]
SOURCES = [path for folder in ("curator", "pipelines", "ssl") for path in sorted((ROOT / folder).rglob("*.py"))]
OF_SETTINGS = {"Use": Use, "Another": Another, "Leave": Leave}


def calls() -> Iterator[tuple[str, str]]:
    """Every advice in the sources that names its setting or stage: its class and the name."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in {*OF_SETTINGS, "Change", "Redo"} and isinstance(first, ast.Constant):
                    yield node.func.id, first.value


def advice_of(kind: str, name: str) -> Advice:
    if kind == "Redo":
        return Redo(name)
    return Change(name, "smaller") if kind == "Change" else OF_SETTINGS[kind](name)


ADVICE = sorted(set(calls()))


def flags_of(command: str) -> set[str]:
    found = cli.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    return {flag for option in found.params for flag in (*option.opts, *option.secondary_opts)}


def test_every_advice_names_a_setting_of_some_command() -> None:
    assert len(ADVICE) > 30
    known = set().union(*(settings_of([command]) or set() for command in COMMANDS))
    assert {name for kind, name in ADVICE if kind != "Redo"} <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_told_of_a_flag_that_it_lacks(command: str) -> None:
    for kind, name in ADVICE:
        error = InputError("this is wrong", field=None if kind == "Redo" else name, advice=advice_of(kind, name))
        text = error.text(spelling([command]), settings_of([command]))
        told = text.partition("run the command that made it again, with ")[0]
        assert set(re.findall(r"--[a-z][a-z-]*", told)) <= flags_of(command), text
        if kind == "Redo":
            assert f"--redo {name}" in text


def test_messages_spell_no_flags() -> None:
    """So that Python's users read none, and each command writes its own."""
    for path in SOURCES:
        if "cli" in path.parts or path.name == "submit.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)] if is_raise(node) else []
            assert not [text for text in texts if isinstance(text, str) and re.search(r"(?<![\w-])--[a-z]", text)], path


def is_raise(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise)
