"""A settings model as a function's parameters: their names, types, defaults and help."""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from inspect import Parameter
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator

from curator.settings import Declared, Setting, declared, did_you_mean

__all__ = ["takes"]

P = ParamSpec("P")
R = TypeVar("R")
Path = str | os.PathLike[str]
# The longest line of a generated docstring.
WIDTH = 112


def takes(model: type[BaseModel], only: Collection[str] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a function `f(..., **settings)` the settings of a model as keyword parameters, documented ones.

    Args:
        model: declares the settings; their values are the function's to check.
        only: names of the settings that the function takes; None for all.

    Returns:
        a decorator. The function that it returns raises a TypeError, as any function does, for a name that it does not
        have, with the nearest name, and for one that is missing. Paths become text.
    """
    settings = [setting for name, setting in declared(model).items() if only is None or name in only]

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = _signature(function, model, settings)

        def checked(*arguments: Any, **given: Any) -> Any:
            for name in given:
                if name not in signature.parameters:
                    hint = did_you_mean(name, signature.parameters)
                    raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{name}'{hint}")
            bound = signature.bind(*arguments, **given)
            return function(*bound.args, **{name: _as_text(value) for name, value in bound.kwargs.items()})

        checked.__name__, checked.__qualname__ = function.__name__, function.__qualname__
        checked.__module__, checked.__doc__ = function.__module__, _documented(function, settings)
        checked.__signature__ = signature  # type: ignore[attr-defined]
        return cast(Callable[P, R], checked)

    return decorate


def _signature(function: Callable[..., Any], model: type[BaseModel], settings: Sequence[Declared]) -> inspect.Signature:
    own = inspect.signature(function)
    named = [parameter for parameter in own.parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD]
    parameters = [
        Parameter(
            setting.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if setting.required else setting.default,
            annotation=_of_field(model, setting),
        )
        # Those that must be given come first; the sort is stable.
        for setting in sorted(settings, key=lambda setting: not setting.required)
    ]
    before = [parameter for parameter in named if parameter.kind is not Parameter.KEYWORD_ONLY]
    after = [parameter for parameter in named if parameter.kind is Parameter.KEYWORD_ONLY]
    return own.replace(parameters=[*before, *parameters, *after])


def _of_field(model: type[BaseModel], setting: Declared) -> Any:
    field = model.model_fields[setting.name]
    return _accepted(Annotated[(field.annotation, *field.metadata)])


def _accepted(annotation: Any, is_path: bool = False, reads_text: bool = False) -> Any:
    """The type of what may be given for a value of some type."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        is_path |= any(isinstance(item, Setting) and item.is_path for item in metadata)
        return _accepted(inner, is_path, reads_text or any(isinstance(item, BeforeValidator) for item in metadata))
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return reduce(or_, [*(_accepted(kind, is_path, reads_text) for kind in kinds), None])
    if get_origin(annotation) is list:
        return Path | Sequence[Path]
    if get_origin(annotation) is Literal and reads_text:
        return str
    if annotation is str:
        return str | float if reads_text else Path if is_path else str
    return annotation | str if reads_text and annotation in (int, float) else annotation


def _as_text(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_as_text(part) for part in value] if isinstance(value, list | tuple) else value


def _documented(function: Callable[..., Any], settings: Sequence[Declared]) -> str:
    """The function's docstring with the help of each setting in place of the line `**settings`."""
    lines = "\n".join(
        textwrap.fill(_line(setting), WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8) for setting in settings
    )
    text = inspect.getdoc(function) or ""
    return re.sub(r"^    \*\*settings: .*$", lambda _: lines, text, flags=re.MULTILINE)


def _line(setting: Declared) -> str:
    """The help of a setting, with other settings spelled as parameters."""
    default = f" Default: {setting.setting.default_text}." if setting.setting.default_text else ""
    return re.sub(r"\{(\w+)\}", r"`\1`", f"{setting.name}: {setting.setting.help}{default}")
