"""One table for each kind of thing that can be swapped: built-in ones by name, others by entry point or module."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from curator.errors import InputError
from curator.plugins.identity import plugin_identity
from curator.plugins.search_path import add_plugin_folder

__all__ = ["Plugin", "Table"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A thing of a table, not imported yet.

    Attributes:
        name: what it is called by: a built-in name, the name of an entry point, or `MODULE:NAME`.
        argument: what the user wrote behind the name and a colon; empty without one.
        module: the module that defines it.
        attribute: its name in that module; names inside names are divided by dots.
        is_builtin: whether curator brings it along.
        distribution: the installed distribution that declares the entry point; None otherwise.
    """

    name: str
    argument: str
    module: str
    attribute: str
    is_builtin: bool = False
    distribution: Distribution | None = None

    def load(self) -> Any:
        """Import the module and take the object out of it.

        Raises:
            ImportError: the module is not there.
            AttributeError: it holds no such name.
        """
        value: Any = importlib.import_module(self.module)
        for name in self.attribute.split("."):
            value = getattr(value, name)
        return value

    def identity(self) -> dict[str, Any] | None:
        """What it is made of, for the identity of a stage; None for a built-in one. See `plugin_identity`."""
        return None if self.is_builtin else plugin_identity(self.module, self.distribution)


@dataclass(frozen=True)
class Table:
    """The things of one kind.

    Attributes:
        kind: what they are, as the setting that takes one is called: `selector`, `encoder`, `method`.
        group: the entry points' group, such as `curator.selectors`.
        builtin: name -> `MODULE:NAME` of the built-in ones, imported only when they are asked for.
        takes_argument: whether something may follow behind the name and a colon, as in `timm:resnet50`.
        forms: the built-in names as a user writes them, with what follows; empty where that is nothing.
    """

    kind: str
    group: str
    builtin: Mapping[str, str]
    takes_argument: bool = False
    forms: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The built-in names: help and docs never depend on what is installed."""
        return tuple(self.builtin)

    def find(self, spec: str) -> Any:
        """The thing that a user names.

        Args:
            spec: a built-in name, the name of an entry point, or `PACKAGE.MODULE:NAME`.

        Raises:
            InputError: as `locate`, or it cannot be imported.
        """
        plugin = self.locate(spec)
        try:
            return plugin.load()
        except Exception as error:
            if plugin.is_builtin:
                raise
            raise InputError(
                f"{plugin.module}:{plugin.attribute} cannot be imported: {type(error).__name__}: {error}",
                field=self.kind,
                value=spec,
            ) from error

    def locate(self, spec: str) -> Plugin:
        """Where the thing is that a user names, without importing it.

        Args:
            spec: as `find`; where the table takes arguments one may follow behind a colon, also in
                `PACKAGE.MODULE:NAME:ARGUMENT`.

        Raises:
            InputError: there is none of that name, or several.
        """
        add_plugin_folder()
        name, colon, argument = spec.partition(":")
        if not colon or self.takes_argument:
            plugin = self._named(name, argument)
            if plugin is not None:
                return plugin
        attribute, colon, argument = argument.partition(":")
        if attribute and (not colon or self.takes_argument) and _is_module(name):
            return Plugin(f"{name}:{attribute}", argument, name, attribute)
        raise self._unknown(spec, name)

    def _named(self, name: str, argument: str) -> Plugin | None:
        """The built-in thing or the entry point of a name; None if there is none."""
        points = list(entry_points(group=self.group, name=name))
        owners = [*(["curator"] if name in self.builtin else []), *map(_owner, points)]
        if len(owners) > 1:
            raise InputError(
                f"several packages have a {self.kind} of this name: {', '.join(sorted(owners))}",
                field=self.kind,
                value=name,
                advice="uninstall all but one of them, or have one renamed",
            )
        if points:
            return Plugin(name, argument, points[0].module, points[0].attr, distribution=points[0].dist)
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return Plugin(name, argument, module, attribute, is_builtin=True)
        return None

    def identity(self, spec: str) -> dict[str, Any] | None:
        """What a plug-in is made of; None for a built-in thing. See `plugin_identity`.

        Raises:
            InputError: as `locate`.
        """
        return self.locate(spec).identity()

    def _unknown(self, spec: str, name: str) -> InputError:
        known = [*self.names, *sorted(entry_points(group=self.group).names)]
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        nearest = f" (near: {near[0]})" if near else ""
        return InputError(
            f"there is no such {self.kind}{nearest}; it is {self.forms or ', '.join(self.names)}, "
            f"an entry point of the group {self.group}, or PACKAGE.MODULE:NAME of an installed package or of the "
            "working directory",
            field=self.kind,
            value=spec,
        )


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _is_module(name: str) -> bool:
    """Whether there is a module of this name. Its parent packages are imported to find out."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
