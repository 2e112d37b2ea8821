"""Things by name: built-in, by entry point, or by module; and what they are made of."""

import subprocess
import sys
from pathlib import Path

import pytest

from curator.errors import InputError
from curator.plugins import Table, plugin_identity

TABLE = Table("selector", "curator.tests", {"join": "posixpath:join", "split": "posixpath:split"})
WITH_ARGUMENT = Table("encoder", "curator.tests", {"join": "posixpath:join"}, takes_argument=True)


def write_distribution(folder: Path, name: str, points: str, version: str = "1.0") -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[curator.tests]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which is not on the path yet."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def test_builtin_by_name():
    import posixpath

    assert TABLE.names == ("join", "split")
    assert TABLE.find("join") is posixpath.join
    assert TABLE.identity("join") is None


def test_builtin_with_an_argument():
    assert WITH_ARGUMENT.locate("join:a:b").argument == "a:b"
    with pytest.raises(InputError, match="there is no such selector"):
        TABLE.locate("join:a")


def test_entry_point(site: Path):
    write_distribution(site, "outside", "mine = posixpath:dirname")

    assert TABLE.names == ("join", "split")  # never what happens to be installed
    assert TABLE.find("mine")("/a/b") == "/a"
    assert WITH_ARGUMENT.locate("mine:x").argument == "x"
    identity = TABLE.identity("mine")
    assert identity is not None
    assert identity["distribution"] == "outside" and identity["version"] == "1.0"


def test_entry_point_named_as_a_builtin(site: Path):
    write_distribution(site, "outside", "join = posixpath:dirname")

    with pytest.raises(InputError, match="several packages have a selector of this name: curator, outside"):
        TABLE.find("join")
    TABLE.find("split")


def test_two_distributions_with_one_name(site: Path):
    write_distribution(site, "outside", "mine = posixpath:dirname")
    write_distribution(site, "other", "mine = posixpath:basename")

    with pytest.raises(InputError, match=r"selector='mine': .*: other, outside: uninstall all but one"):
        TABLE.find("mine")


def test_module_of_the_working_directory(work: Path):
    (work / "own_thing.py").write_text("class A:\n    B = 7\n")

    assert TABLE.find("own_thing:A.B") == 7
    assert WITH_ARGUMENT.locate("own_thing:A:x").argument == "x"


def test_unknown_names_give_the_nearest():
    with pytest.raises(InputError, match=r"selector='joim': there is no such selector \(near: join\)"):
        TABLE.find("joim")
    with pytest.raises(InputError, match="no such selector"):
        TABLE.find("no.such.module:NAME")


def test_what_cannot_be_imported(work: Path):
    (work / "broken_thing.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(InputError, match="ModuleNotFoundError: No module named 'no_such_module_at_all'"):
        TABLE.find("broken_thing:A")
    with pytest.raises(InputError, match="AttributeError"):
        TABLE.find("posixpath:no_such_name")


def sha256(folder: Path, module: str) -> str:
    """The identity as a process of its own sees it, in a folder."""
    command = f"from curator.plugins import *; add_plugin_folder(); print(plugin_identity({module!r})['sha256'])"
    done = subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_identity_covers_modules_beside_it(tmp_path: Path):
    (tmp_path / "own.py").write_text("def late():\n    import helper\n")
    (tmp_path / "helper.py").write_text("from tools.deep import x\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "deep.py").write_text("x = 1\n")
    (tmp_path / "unrelated.py").write_text("")
    before = sha256(tmp_path, "own")

    (tmp_path / "unrelated.py").write_text("y = 1\n")
    assert sha256(tmp_path, "own") == before
    (tmp_path / "tools" / "deep.py").write_text("x = 2\n")
    assert sha256(tmp_path, "own") != before


def test_identity_covers_a_package(tmp_path: Path):
    for folder in ("one", "two"):
        package = tmp_path / folder / "own" / "inner"
        package.mkdir(parents=True)
        (package / "a.py").write_text("x = 1\n")
        (package / "b.py").write_text("y = 1\n")
    before = sha256(tmp_path / "one", "own.inner.a")

    assert sha256(tmp_path / "two", "own.inner.a") == before
    (package / "b.py").write_text("y = 2\n")
    assert sha256(tmp_path / "two", "own.inner.a") != before


def test_identity_stops_at_installed_packages(site: Path):
    write_distribution(site, "outside", "mine = outside_module:x")
    (site / "outside_module.py").write_text("import neighbour\n")
    (site / "neighbour.py").write_text("")
    before = plugin_identity("outside_module")

    (site / "neighbour.py").write_text("z = 1\n")
    assert plugin_identity("outside_module") == before
