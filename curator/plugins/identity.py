"""What a plug-in is made of: a change in any of its modules makes anew what it made."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

__all__ = ["plugin_identity"]

# Their version is recorded elsewhere: a plug-in that is developed in our checkout has them beside it.
OWN_PACKAGES = frozenset({"curator", "curator_pipelines", "curator_ssl"})


def plugin_identity(module: str, distribution: Distribution | None = None) -> dict[str, Any]:
    """The identity of all modules of a plug-in. Nothing in it depends on the folder that it stands in.

    Args:
        module: the module that defines it; it must be there to be imported.
        distribution: the installed distribution that it comes from, if one declares it.

    Returns:
        `sha256` over the names and bytes of its Python files: all of the top-level package, or those of a module in a
        single file and of the modules beside it that it imports, directly or through each other. A distribution
        adds its name and version, and its other Python files.
    """
    files = dict(_files_of(module))
    identity: dict[str, Any] = {"module": module}
    if distribution is not None:
        files |= _files_of_distribution(distribution)
        identity |= {"distribution": distribution.name, "version": distribution.version}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return identity | {"sha256": digest.hexdigest()}


def _files_of_distribution(distribution: Distribution) -> dict[str, Path]:
    """The Python files that an installation wrote. An editable one wrote none but a helper that holds its folder."""
    listed = {path.as_posix(): Path(str(path.locate())) for path in distribution.files or ()}
    installed = {name: path for name, path in listed.items() if not name.startswith("__editable__")}
    return {name: path for name, path in installed.items() if path.suffix == ".py" and path.is_file()}


def _files_of(module: str) -> Iterator[tuple[str, Path]]:
    """Name -> path of the Python files that belong to a module."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None:
        return
    if spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            yield from _beside(Path(folder).parent, [top])
    elif spec.origin and spec.origin.endswith(".py"):
        yield from _beside(Path(spec.origin).parent, [top])


def _package(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        yield path.relative_to(folder.parent).as_posix(), path


def _beside(folder: Path, tops: list[str]) -> Iterator[tuple[str, Path]]:
    """The files of top-level modules in a folder, and of those in it that they import."""
    known: set[str] = set(OWN_PACKAGES)
    # Where packages are installed, everything is beside everything: what is imported has a version of its own.
    follows = not any(folder.glob("*.dist-info"))
    while tops:
        top = tops.pop()
        if top in known:
            continue
        known.add(top)
        files = list(_module_in(folder, top))
        yield from files
        if follows:
            tops += [name for _, path in files for name in _imported(path)]


def _module_in(folder: Path, top: str) -> Iterable[tuple[str, Path]]:
    file = folder / f"{top}.py"
    if (folder / top).is_dir():
        return _package(folder / top)
    return [(file.name, file)] if file.is_file() else []


def _imported(path: Path) -> Iterator[str]:
    """The top-level names that a file imports anywhere."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
