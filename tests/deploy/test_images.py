"""deploy/Dockerfile and the scripts: what they are built on, who runs in them, and what the linters say."""

from __future__ import annotations

import re

from deploy_for_tests import DEPLOY, ROOT, run_tool


def instructions() -> list[list[str]]:
    """The Dockerfile's instructions, each as words."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def stages() -> dict[str, list[list[str]]]:
    """Stage -> its instructions with those of what it is built on, the base image first."""
    made: dict[str, list[list[str]]] = {}
    for words in instructions():
        if words[0] == "FROM":
            current = made.setdefault(words[3], [*made.get(words[1], [words])])
        else:
            current.append(words)
    return made


def test_the_base_is_pinned_by_version_and_digest() -> None:
    bases = {words[1] for words in instructions() if words[0] == "FROM"} - set(stages())
    assert len(bases) == 1
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base) for base in bases)


def test_nobody_is_root_at_the_end() -> None:
    for target in ("cpu", "cuda"):
        users = [words[1] for words in stages()[target] if words[0] == "USER"]
        assert users == ["1000"], target


def test_what_is_copied_exists_and_may_be_seen() -> None:
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [words for words in instructions() if words[0] == "COPY" and "--from" not in words[1]]
    assert copied
    for words in copied:
        for source in (word for word in words[1:-1] if not word.startswith("--")):
            assert (ROOT / source).exists(), source
            assert f"!{source}" in allowed, source
    assert allowed[1] == "*"


def test_what_the_package_needs_to_build_is_copied() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    copied = {word.split("/")[0] for words in instructions() if words[0] == "COPY" for word in words[1:]}
    packages = re.search(r"^packages = (\[.*\])$", pyproject, re.MULTILINE)
    assert packages
    for path in re.findall(r'"([^"]+)"', packages[1]):
        assert path.split("/")[0] in copied
    assert {"README.md", "LICENSE"} <= copied


def test_hadolint() -> None:
    run_tool("hadolint", "deploy/Dockerfile")


def test_shellcheck() -> None:
    scripts = sorted(str(path.relative_to(ROOT)) for path in DEPLOY.rglob("*") if path.suffix in (".sh", ".sbatch"))
    assert "deploy/retry.sh" in scripts
    run_tool("shellcheck", *scripts)
