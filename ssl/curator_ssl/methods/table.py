"""The methods there are: built in, or anyone's own. Cheap to import: a method is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curator.errors import InputError
from curator.plugins import Table
from curator_ssl.methods.options import options_of, read_options

if TYPE_CHECKING:
    from curator_ssl.methods.base import Method

__all__ = ["METHODS", "find_method", "make_method", "method_options"]

METHODS = Table(
    kind="method",
    group="curator.methods",
    builtin={"simclr": "curator_ssl.methods.simclr:SimCLR", "byol": "curator_ssl.methods.byol:BYOL"},
)


def find_method(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        InputError: there is no such method, what has the name is no method, or a package that it needs is missing.
    """
    from curator_ssl.methods.base import Method

    method = METHODS.find(name)
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise InputError("this is no subclass of curator_ssl.methods.base.Method", field="method", value=name)
    method.check_packages()
    return method


def method_options(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method by name, those that are not given with their defaults.

    Raises:
        InputError: as `find_method`; there is no such option, or the value does not fit.
    """
    return options_of(name, find_method(name).Options, values)


def make_method(name: str, backbone: Any, dim: int, values: Mapping[str, Any]) -> Method:
    """Build a method around a backbone.

    Args:
        name: a built-in name, an entry point of `curator.methods`, or `PACKAGE.MODULE:NAME`.
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.
        values: option -> value; those that are not given have their defaults.

    Raises:
        InputError: as `method_options`, or the method's library is not installed.
    """
    method = find_method(name)
    return method(backbone, dim, read_options(name, method.Options, values))
