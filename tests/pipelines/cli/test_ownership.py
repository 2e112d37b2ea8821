"""While one run holds OUT, another is refused, and looking is free."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curator.io.run_lock import owned

Command = Callable[..., Any]


@pytest.fixture
def held(finished_data: Path) -> Iterator[str]:
    out = str(finished_data / "run")
    with owned(out):
        yield out


@pytest.mark.parametrize("command", ["select", "embed", "pack"])
def test_a_second_run_is_refused(
    command: str, held: str, again: Command, curator: Command, finished_data: Path
) -> None:
    pool = ["--pool", finished_data / "pool-{0..1}.tar", "--encoder", "timm:test_vit", "--weights", "random"]
    words = {"embed": ["embed", "--out", held, *pool], "pack": ["pack", "--out", held]}
    ran = again() if command == "select" else curator(*words[command])

    assert ran.code == 2
    assert ran.out == ""
    assert f"{held} is in use by process {os.getpid()} of " in ran.err
    assert " since 20" in ran.err


def test_looking_needs_no_lock(held: str, again: Command, curator: Command, finished_data: Path) -> None:
    assert again("--dry-run").code == 0
    assert curator("verify", held).code == 0
    assert curator("inspect", finished_data / "pool-0.tar").code == 0


def test_nothing_is_left(again: Command, finished_data: Path) -> None:
    assert again("--budget", 3).code == 0
    assert not (finished_data / "run" / "owner.json").exists()
