"""What the program knows of a setting beside its type and its default: one declaration, read by everything else.

From it come the option of the command line, the key of the config file, `--help`, docs/cli.md and the identity of the
stages. Cheap to import: no pydantic here.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from curator.settings.stages import STAGES

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = ["Declared", "Setting", "declared", "did_you_mean", "setting_of"]


@dataclass(frozen=True)
class Setting:
    """Stands in the `Annotated` type of a field of a config model.

    Attributes:
        help: one sentence; `{name}` stands for another setting, which each front end spells in its own way.
        metavar: what `--help` shows for the value; empty for one that follows from the type.
        default_text: a default that depends on something, in words; empty where the field's own default is shown.
        changes: the first stage that another value changes; None if it changes nothing.
        by_content: the value names something (images, weights, a list of samples): identities of stages hold what it
            resolves to, not the name.
        choices: the names that a shell completes. A tuple holds all of them; a mapping is a table of built-in names,
            beside which names of other packages may be given.
        is_path: the value may be a file or a folder of this machine.
        is_argument: given by its place on the command line, without a flag.
    """

    help: str
    metavar: str = ""
    default_text: str = ""
    changes: str | None = "select"
    by_content: bool = False
    choices: Collection[str] = ()
    is_path: bool = False
    is_argument: bool = False


@dataclass(frozen=True)
class Declared:
    """A setting of one model, with what the type and the default say.

    Attributes:
        name: the field's name.
        setting: the declaration.
        type: without None and without what is annotated.
        optional: whether None is a value.
        required: whether there is no default.
        default: the real default; None for a setting that is required.
    """

    name: str
    setting: Setting
    type: Any
    optional: bool
    required: bool
    default: Any

    @property
    def is_list(self) -> bool:
        """Whether it is a list, of which each value may be given by itself."""
        return get_origin(self.type) is list

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping, of which each NAME=VALUE may be given by itself."""
        return get_origin(self.type) is dict

    @property
    def choices(self) -> tuple[str, ...]:
        """The names to choose from, of a plug-in table the built-in ones; empty where anything may be given."""
        return get_args(self.type) if get_origin(self.type) is Literal else tuple(self.setting.choices)

    @property
    def metavar(self) -> str:
        """What stands for the value in `--help`."""
        if self.setting.metavar or self.choices:
            return self.setting.metavar or "|".join(self.choices)
        return "URLS" if self.is_list else {int: "N", float: "X"}.get(self.type, "TEXT")

    @property
    def default_text(self) -> str:
        """The default for a person; empty where there is nothing to say."""
        if self.setting.default_text or self.default is None or self.default is False or self.default in ([], {}):
            return self.setting.default_text
        if isinstance(self.default, float):
            return f"{100 * self.default:g}%" if self.metavar.endswith("%") else f"{self.default:g}"
        return ", ".join(self.default) if self.is_list else str(self.default)


def declared(model: type[BaseModel]) -> dict[str, Declared]:
    """Name -> setting of every field of a model: its own in their order, then those of its bases.

    Raises:
        TypeError: a field without a `Setting`, or one that names no stage.
    """
    classes = [base for base in model.__mro__ if base is not object]
    names = dict.fromkeys(name for base in classes for name in inspect.get_annotations(base))
    return {name: _declaration(model, name, model.model_fields[name]) for name in names if name in model.model_fields}


def setting_of(field: FieldInfo) -> Setting | None:
    """The declaration in a field's type; None if there is none."""
    return next((item for item in field.metadata if isinstance(item, Setting)), None)


def _declaration(model: type[BaseModel], name: str, field: FieldInfo) -> Declared:
    setting = setting_of(field)
    if setting is None:
        raise TypeError(f"{model.__name__}.{name} has no Setting in its Annotated type")
    if setting.changes is not None and setting.changes not in STAGES:
        raise TypeError(f"{model.__name__}.{name} changes {setting.changes}, which is no stage")
    kind = field.annotation
    optional = get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)
    if optional:
        kind = next(inner for inner in get_args(kind) if inner is not NoneType)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True, validated_data={})
    return Declared(name, setting, kind, optional, required, default)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of an error about a name that is not there: the nearest name, else all of them."""
    names = list(names)
    near = difflib.get_close_matches(name, names, 1, 0.4)
    return f"; did you mean '{near[0]}'?" if near else f"; one of {', '.join(names)}"
