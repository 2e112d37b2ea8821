"""Which settings a stage's result is a function of: it follows from their declarations."""

from __future__ import annotations

from typing import Any

from curator.settings import Config, declared

__all__ = ["identity_settings"]


def identity_settings(config: Config, stage: str) -> dict[str, Any]:
    """Name -> resolved value, defaults included, of every setting that is part of a stage's identity.

    These are the settings that declare the stage as the first one they change, and those that it reads as well. What
    is declared `by_content` is left out: the stage adds what it resolves to.
    """
    values, read, unread = config.resolved(), config.read_by(stage), config.unread()
    return {
        name: values[name]
        for name, item in declared(type(config)).items()
        if (item.setting.changes == stage or name in read) and not item.setting.by_content and name not in unread
    }
