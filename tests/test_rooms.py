"""What every module keeps to: imports between rooms go one way, and the core knows no command line."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "curator": ROOT / "curator",
    "curator_pipelines": ROOT / "pipelines" / "curator_pipelines",
    "curator_ssl": ROOT / "ssl" / "curator_ssl",
}
MODULES = {
    ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for package, folder in FOLDERS.items()
    for path in sorted(folder.rglob("*.py"))
}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Advice on how to pack with tar itself.
OTHERS_FLAGS = re.compile(r"\btar --[a-z]+")


def imports_of(module: str) -> Iterator[str]:
    """All that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and not node.level, f"{module} has a relative import"
            for name in node.names:
                imported = f"{node.module}.{name.name}"
                yield imported if imported in MODULES else node.module


def layers(container: str) -> tuple[dict[str, int], list[str]]:
    """The level of each room of a package, 0 at the top, and the imports that its contract lets pass."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    contract = next(contract for contract in contracts if contract.get("containers") == [container])
    levels = {
        room.strip(" ()"): level for level, rooms in enumerate(contract["layers"]) for room in re.split("[|:]", rooms)
    }
    return levels, contract.get("ignore_imports", [])


def room_of(module: str, container: str) -> str | None:
    return module.removeprefix(container + ".").split(".")[0] if module.startswith(container + ".") else None


@pytest.mark.parametrize("container", ["curator", "curator_pipelines", "curator_pipelines.jobs", "curator_ssl"])
def test_imports_between_rooms_go_down(container: str) -> None:
    levels, exceptions = layers(container)
    upward = []
    for module in MODULES:
        room = room_of(module, container)
        for imported in imports_of(module):
            other = room_of(imported, container)
            if room in levels and other in levels and room != other and levels[room] >= levels[other]:
                upward.append(f"{module} -> {imported}")
    assert [arrow for arrow in upward if not any(fnmatch(arrow, exception) for exception in exceptions)] == []


@pytest.mark.parametrize("container", ["curator", "curator_pipelines", "curator_pipelines.jobs"])
def test_every_room_has_a_level(container: str) -> None:
    rooms = {room_of(module, container) for module in MODULES} - {None}
    assert rooms <= set(layers(container)[0])


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("curator", {"ray", "click", "rich", "curator_pipelines", "curator_ssl"}),
        (
            "curator_ssl",
            {"ray", "faiss", "curator_pipelines", "curator.index", "curator.search", "curator.selection"},
        ),
    ],
)
def test_what_a_package_never_imports(package: str, forbidden: set[str]) -> None:
    prefixes = tuple(f"{name}." for name in forbidden)
    broken = [
        f"{module} imports {imported}"
        for module in MODULES
        if module.split(".")[0] == package
        for imported in imports_of(module)
        if f"{imported}.".startswith(prefixes)
    ]
    assert broken == []


@pytest.mark.parametrize("package", ["curator", "curator_ssl"])
def test_the_core_speaks_of_no_flags(package: str) -> None:
    """Errors name settings as values; only a front end knows how to spell them."""
    # These two say how front ends spell settings.
    told = {"curator.errors", "curator.settings.setting"}
    flags = [
        f"{module}, line {node.lineno}: {match}"
        for module in MODULES
        if module.split(".")[0] == package and module not in told
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for match in FLAG.findall(OTHERS_FLAGS.sub("", node.value))
    ]
    assert flags == []


# The packages on top hold rooms and are none; nobody imports from the commands.
NO_FACE = {"curator", "curator_pipelines", "curator_ssl", "curator_pipelines.cli", "curator_pipelines.jobs"}
ROOMS = sorted(module for module, path in MODULES.items() if path.name == "__init__.py" and module not in NO_FACE)


def room_around(module: str) -> str | None:
    return module if module in ROOMS else next((room for room in [module.rpartition(".")[0]] if room in ROOMS), None)


def test_other_rooms_import_from_the_face() -> None:
    inner = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in imports_of(module)
        if (room := room_around(imported))
        and room not in (imported, room_around(module))
        # A module may be a name of the face: `from curator.io import storage`.
        and imported.rpartition(".")[2] not in face(room)
    ]
    assert inner == []


def face(room: str) -> set[str]:
    """The names that a room's stub lists, or that its __init__ says are public."""
    names = set(importlib.import_module(room).__all__)
    assert names, f"{room} shows nothing to others"
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_face_is_there(room: str) -> None:
    for name in face(room):
        assert getattr(importlib.import_module(room), name) is not None
    assert 3 <= len((importlib.import_module(room).__doc__ or "").strip().splitlines()) <= 9


@pytest.mark.parametrize("folder", ["pipelines", "ssl", *(str(p.relative_to(ROOT)) for p in ROOT.glob("tests/**/"))])
def test_source_roots_and_test_folders_are_no_packages(folder: str) -> None:
    # A top-level importable `ssl` would shadow Python's own, and `pipelines` a user's.
    assert not (ROOT / folder / "__init__.py").exists()
