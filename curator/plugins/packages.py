"""Packages that only some installations have: asked for before work starts."""

from __future__ import annotations

import importlib.util
from typing import Any

from curator.errors import InputError

__all__ = ["require_package"]


def require_package(module: str, extra: str, *, field: str | None = None, value: Any = None) -> None:
    """Refuse to begin what a package is missing for. Imports nothing.

    Args:
        module: the module's top-level name.
        extra: the extra of coreset-curator that brings it; empty where the base brings it.
        field: the setting that needs it.
        value: the setting's value.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        name = f"'coreset-curator[{extra}]'" if extra else "coreset-curator"
        raise InputError(
            f"this needs the package {module}, which is not installed",
            field=field,
            value=value,
            advice=f"pip install {name}",
        )
