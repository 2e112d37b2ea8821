"""Which Ray cluster a command joins. Cheap to import: no ray here."""

from __future__ import annotations

import os

__all__ = ["ray_address"]


def ray_address(given: str | None) -> str | None:
    """The cluster's address: what was given, else RAY_ADDRESS; None for this machine alone."""
    return given or os.environ.get("RAY_ADDRESS") or None
