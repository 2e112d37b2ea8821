"""An installation with no more than one extra brings, made of the environment at hand: everything else is hidden."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = "coreset-curator"

# Runs first in every process of Python, so that workers of the command are under it too. What it hides, neither
# `import` nor `find_spec` finds, and no entry point names.
SITECUSTOMIZE = """
import importlib.machinery, importlib.metadata, json, os, sys

with open(os.path.join(os.path.dirname(__file__), "hidden.json")) as file:
    HIDDEN = json.load(file)


class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if path is None and name in HIDDEN["modules"] else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context=importlib.metadata.DistributionFinder.Context()):
        for found in importlib.metadata.MetadataPathFinder.find_distributions(context):
            if found.metadata["Name"].lower().replace("_", "-") not in HIDDEN["distributions"]:
                yield found


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""


@cache
def project() -> dict[str, list[str]]:
    """Extra -> requirements, with those of the base under an empty name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def brought_by(*extras: str) -> set[str]:
    """Names of the installed distributions that the base with these extras requires, in any depth."""
    found: set[tuple[str, str]] = set()
    left = [Requirement(text) for extra in ("", *extras) for text in project()[extra]]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in found:
                found.add((name, extra))
                left += list(required_by(name, extra))
    return {name for name, extra in found}


def required_by(name: str, extra: str) -> Iterator[Requirement]:
    """The requirements of an installed distribution, or of one of its extras."""
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def hide_all_but(folder: Path, *extras: str) -> dict[str, str]:
    """The environment of a process that sees nothing but the base and these extras.

    Args:
        folder: an empty folder for what hides the rest.
        extras: of coreset-curator.
    """
    kept = brought_by(*extras)
    modules, distributions = set[str](), set[str]()
    shown = set[str]()
    for module, owners in importlib.metadata.packages_distributions().items():
        names = {canonicalize_name(owner) for owner in owners}
        (shown if names & {*kept, OURS} else modules).add(module)
        distributions |= names - {*kept, OURS}
    hidden = {"modules": sorted(modules - shown), "distributions": sorted(distributions)}
    (folder / "hidden.json").write_text(json.dumps(hidden))
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    paths = [folder, ROOT, ROOT / "pipelines", ROOT / "ssl"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
