"""The pages for people: links lead somewhere, pages say what is on them, the front picture is what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Generated, or a table of words.
WITHOUT_CONTENTS = ("cli.md", "glossary.md", "python.md", "cluster.md", "extending.md", "reliability.md", "scaling.md")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_page_is_short_and_has_contents(page: Path) -> None:
    if page.name in WITHOUT_CONTENTS:
        return
    text = page.read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(.*)\]\(#", text, re.MULTILINE) == headings
    assert len(text.splitlines()) < 200


def test_the_front_page_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 200
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= set(re.findall(r"\(docs/([a-z]+\.md)\)", text))


def test_the_front_picture_is_what_the_page_says_of_it() -> None:
    text = (ROOT / "README.md").read_text()
    record = json.loads((ROOT / "docs/front.json").read_text())
    assert "(docs/front.jpg)" in text
    assert f"$ {record['command']}" in text
    assert f"{record['cartons']} of the first {record['chosen']} are cartons" in text
    assert f"{record['chosen']} of {record['pool']:,} candidates" in text
    assert f"of the pool {record['cartons_in_pool'] / record['pool']:.0%} are" in text
    # As many thumbnails as it may have, in rows of twelve.
    assert [len(record["shown"][name]) for name in ("target", "pool", "chosen")] == [12, 24, 24]
    with Image.open(ROOT / "docs/front.jpg") as picture:
        assert picture.width > 1200


@pytest.mark.slow
def test_the_front_picture_is_what_the_command_chooses_today(tmp_path: Path) -> None:
    if "CURATOR_TEST_DATA" not in os.environ:
        pytest.skip("needs CURATOR_TEST_DATA")

    subprocess.run([sys.executable, "docs/front_picture.py", str(tmp_path)], cwd=ROOT, check=True, timeout=1200)

    assert json.loads((tmp_path / "front.json").read_text()) == json.loads((ROOT / "docs/front.json").read_text())
