"""Settings that go together under one name: those of the paper, and those of its authors' code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

__all__ = ["PRESETS", "Preset"]

Preset: TypeAlias = Literal["paper", "authors"]

PAPER: Mapping[str, Any] = MappingProxyType(
    {"encoder": ["warmup"], "clusters": 100, "stop": "0.95", "reference_round": 1, "skip_own": False}
)
PRESETS: Mapping[Preset, Mapping[str, Any]] = MappingProxyType(
    # The paper compares each round with the first one, the code that its authors published with the twentieth.
    {"paper": PAPER, "authors": MappingProxyType({**PAPER, "reference_round": 20})}
)
