"""HEIC images, where the package that reads them is installed."""

from __future__ import annotations

from functools import cache

__all__ = ["HEIF_ADVICE", "can_read_heif"]

HEIF_ADVICE = "pip install 'coreset-curator[heic]'"


@cache
def can_read_heif() -> bool:
    """True where pillow-heif is installed: from then on Pillow opens HEIC and HEIF files too."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
