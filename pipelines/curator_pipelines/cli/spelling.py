"""How the command line spells a setting. Cheap to import."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["as_flag", "spelled"]


def as_flag(field: str, value: Any = None) -> str:
    """A setting as a flag, with its value.

    >>> as_flag("manifest_only", True), as_flag("out"), as_flag("redo", "pool")
    ('--manifest-only', '--out', '--redo pool')
    """
    name = field.replace("_", "-")
    if value is None or value is True:
        return f"--{name}"
    if value is False:
        return f"--no-{name}"
    return f"--{name} {' '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def spelled(text: str) -> str:
    """A text of a declaration, with every `{setting}` as its flag.

    >>> spelled("Off with {budget}.")
    'Off with --budget.'
    """
    return re.sub(r"\{(\w+)\}", lambda match: as_flag(match[1]), text)
