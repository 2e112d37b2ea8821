"""Methods of self-supervised learning: each owns its heads, loss and momentum copies."""

from __future__ import annotations

from typing import Any

from curator.errors import InputError
from curator_ssl.methods.base import Method

__all__ = ["Method", "make_method"]


def make_method(name: str, backbone: Any, dim: int) -> Method:
    """Build a method around a backbone.

    Args:
        name: `simclr` or `byol`.
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.

    Raises:
        InputError: no such method, or its library is not installed.
    """
    if name == "simclr":
        from curator_ssl.methods.simclr import SimCLR

        return SimCLR(backbone, dim)
    if name == "byol":
        from curator_ssl.methods.byol import BYOL

        return BYOL(backbone, dim)
    raise InputError(f"--method {name}: unknown; it is simclr or byol")
