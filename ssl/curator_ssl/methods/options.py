"""The options of the built-in methods, and how an option is checked. Cheap to import: no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from curator.errors import InputError
from curator.settings import did_you_mean

__all__ = ["BYOLOptions", "NoOptions", "SimCLROptions", "describe_options", "options_of", "read_options"]

Positive = Annotated[float, Field(gt=0)]
Width = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none."""


@dataclass(frozen=True)
class SimCLROptions:
    """The options of SimCLR.

    Attributes:
        temperature: what similarities are divided by.
        projection: columns of the projection head's output.
    """

    temperature: Positive = 0.2
    projection: Width = 128


@dataclass(frozen=True)
class BYOLOptions:
    """The options of BYOL.

    Attributes:
        momentum: how much of itself the target network keeps in the first step; it rises to 1 over the run.
        hidden: columns of the hidden layer of both heads.
        projection: columns of the heads' output.
    """

    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99
    hidden: Width = 4096
    projection: Width = 256


# The options of the built-in methods, for help that does not import torch.
BUILTIN_OPTIONS = {"simclr": SimCLROptions, "byol": BYOLOptions}


def describe_options() -> str:
    """The options of the built-in methods with their defaults, for help."""
    described = (
        f"{method} has " + ", ".join(f"{option.name} ({option.default:g})" for option in fields(options))
        for method, options in BUILTIN_OPTIONS.items()
    )
    return "; ".join(described)


def read_options(method: str, declared: type[Any], values: Mapping[str, Any]) -> Any:
    """An instance of a method's options, from texts or values; what is not given has its default.

    Args:
        method: the method's name, for messages.
        declared: a dataclass whose every field has a default.
        values: option -> value.

    Raises:
        InputError: there is no such option, or the value does not fit.

    >>> read_options("simclr", SimCLROptions, {"temperature": "0.2"})
    SimCLROptions(temperature=0.2, projection=128)
    """
    names = [option.name for option in fields(declared)]
    for name in values:
        if name not in names:
            known = did_you_mean(name, names) if names else ": it has none"
            raise InputError(f"{method} has no such option{known}", field="method_option", value=name)
    try:
        return TypeAdapter(declared).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise InputError(
            first["msg"].removeprefix("Input ").partition(", unable to parse")[0],
            field="method_option",
            value=f"{name}={values[name]}",
        ) from error


def options_of(method: str, declared: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method as plain values, with nothing unset; see `read_options`."""
    return asdict(read_options(method, declared, values))
