"""A settings model as a function's parameters: their names, types, defaults and help."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from inspect import Parameter
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

__all__ = ["takes"]

P = ParamSpec("P")
R = TypeVar("R")
Path = str | os.PathLike[str]
# Of a docstring's lines.
WIDTH = 112


def takes(model: type[BaseModel], only: Collection[str] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a function `f(..., **settings)` the settings of a model as keyword parameters, documented ones.

    Args:
        model: declares the settings; their values are the function's to check.
        only: names of the settings that the function takes; None for all.

    Returns:
        a decorator. The function that it returns raises a TypeError, as any function does, for a name that it does not
        have, with the nearest name, and for one that is missing; None stands for the default. Paths become text.
    """
    fields = {name: field for name, field in model.model_fields.items() if only is None or name in only}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = _signature(function, fields)

        def checked(*arguments: Any, **settings: Any) -> Any:
            for name in settings:
                if name not in signature.parameters:
                    near = difflib.get_close_matches(name, signature.parameters, 1, 0.4)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}{hint}")
            bound = signature.bind(*arguments, **settings)
            return function(*bound.args, **{name: _as_text(value) for name, value in bound.kwargs.items()})

        checked.__name__, checked.__qualname__ = function.__name__, function.__qualname__
        checked.__module__, checked.__doc__ = function.__module__, _documented(function, model, fields)
        checked.__signature__ = signature  # type: ignore[attr-defined]
        return cast(Callable[P, R], checked)

    return decorate


def _signature(function: Callable[..., Any], fields: dict[str, FieldInfo]) -> inspect.Signature:
    own = inspect.signature(function)
    named = [parameter for parameter in own.parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD]
    settings = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.is_required() else field.get_default(call_default_factory=True),
            annotation=_accepted(
                Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            ),
        )
        for name, field in fields.items()
    ]
    # Those that must be given come first; the sort is stable.
    settings.sort(key=lambda parameter: parameter.default is not Parameter.empty)
    before = [parameter for parameter in named if parameter.kind is not Parameter.KEYWORD_ONLY]
    after = [parameter for parameter in named if parameter.kind is Parameter.KEYWORD_ONLY]
    return own.replace(parameters=[*before, *settings, *after])


def _accepted(annotation: Any, reads_text: bool = False) -> Any:
    """The type of what may be given for a value of some type."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _accepted(inner, reads_text or any(isinstance(item, BeforeValidator) for item in metadata))
    if get_origin(annotation) in (Union, UnionType):
        kinds = [_accepted(kind, reads_text and kind is not NoneType) for kind in get_args(annotation)]
        return reduce(or_, sorted(kinds, key=lambda kind: kind is NoneType))
    if get_origin(annotation) is list:
        return Path | Sequence[Path]
    if annotation is str:
        return str | float if reads_text else Path
    return annotation | str if reads_text and annotation in (int, float) else annotation


def _as_text(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_as_text(part) for part in value] if isinstance(value, list | tuple) else value


def _documented(function: Callable[..., Any], model: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    """The function's docstring with the help of each setting in place of the line `**settings`."""
    lines = [
        textwrap.fill(f"{name}: {_help(model, name, field)}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, field in fields.items()
    ]
    return re.sub(
        r"^    \*\*settings: .*$", lambda _: "\n".join(lines), inspect.getdoc(function) or "", flags=re.MULTILINE
    )


def _help(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    """What a declaration says of its setting, with other settings spelled as parameters."""
    declared = next((item.help for item in field.metadata if hasattr(item, "help")), None)
    return re.sub(r"\{(\w+)\}", r"`\1`", declared or _attribute(model, name))


def _attribute(model: type[BaseModel], name: str) -> str:
    """What the docstring of the class that declares a field says of it, in one line."""
    for base in model.__mro__:
        if match := re.search(rf"^    {name}: (.*(?:\n        .*)*)", inspect.getdoc(base) or "", re.MULTILINE):
            return " ".join(match[1].split())
    return f"see `{name}` of the command"
