"""The page of a comparison in a real browser: nothing breaks, nothing is loaded, pictures are told and enlarged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_for_tests import Browser, open_browser

from curator.settings import build
from curator_pipelines.config import CompareConfig
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.compare import run_compare
from curator_pipelines.run.progress import Reporter

SECTIONS = ["runs", "pictures", "overlap", "curves", "precision", "coverage", "settings"]
ARROW_RIGHT, ESCAPE, ENTER, TAB = "\ue014", "\ue00c", "\ue007", "\ue004"
FIRST = "[data-strip='In both'] button.picture"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(
    reference: Path, settings: dict[str, Any], run_on: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The reference run beside one by another selector."""
    folder = tmp_path_factory.mktemp("compared")
    given = {name: value for name, value in settings.items() if name != "clusters"} | {"budget": "30"}
    run_on(InProcessExecutor(), out=str(folder / "random"), selector="random", **given)
    config = {"runs": [str(reference), str(folder / "random")], "out": str(folder / "compare.html")}
    run_compare(build(CompareConfig, config), Reporter(quiet=True))
    return folder / "compare.html"


@pytest.mark.parametrize("width", [400, 1600])
def test_every_section_is_shown_without_errors_or_requests(
    browser: Browser, page: Path, width: int, tmp_path: Path
) -> None:
    browser.open(page, width)
    shown = "return [...document.querySelectorAll('section')].filter((s) => s.offsetHeight > 20).map((s) => s.id)"
    assert browser.run(shown) == SECTIONS
    broken = "return [...document.images].filter((i) => i.closest('.picture') && !i.naturalWidth).length"
    assert browser.run(broken) == 0
    # Nothing sticks out to the right.
    assert browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert browser.messages("browser") == []
    assert {url for url in browser.requests() if not url.startswith(("data:", "chrome:"))} == {page.as_uri()}
    # To be looked at, where somebody says where to.
    browser.picture(Path(os.environ.get("CURATOR_PICTURES", tmp_path)) / f"compare-{width}.png")


def test_hovering_tells_and_a_click_enlarges(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(f'document.querySelector("{FIRST}").scrollIntoView()')
    browser.hover(FIRST)
    tip = "return document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    caption = browser.run(f'return document.querySelector("{FIRST}").dataset.caption')
    assert browser.run(tip) == caption and caption.startswith("score ") and ".tar" in caption
    browser.run(f'document.querySelector("{FIRST}").click()')
    enlarged = "const d = document.getElementById('enlarged'); return [d.open, d.querySelector('p').textContent]"
    assert browser.run(enlarged) == [True, caption]
    browser.press(ARROW_RIGHT)
    assert browser.run(enlarged)[1] not in (caption, "")
    browser.press(ESCAPE)
    assert browser.run(enlarged)[0] is False


def test_by_keyboard_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    for _ in range(3):  # the first may go to the window, which a slow machine shows late
        browser.press(TAB)
        if browser.run("return document.activeElement.className") == "picture":
            break
    assert browser.run("return document.getElementById('tip').textContent")
    browser.press(ENTER)
    assert browser.run("return document.getElementById('enlarged').open")
    browser.press(ESCAPE)
    unnamed = "return [...document.querySelectorAll('.picture img, svg')].filter((i) => !i.alt && !i.ariaLabel).length"
    assert browser.run(unnamed) == 0


def test_dark_and_light(browser: Browser, page: Path) -> None:
    browser.open(page)
    seen = set()
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.command("Emulation.setEmulatedMedia", media)
        ink = browser.run("return getComputedStyle(document.querySelector('#curves svg text')).fill")
        assert ink == browser.run("return getComputedStyle(document.body).color")
        curve = (
            "return getComputedStyle(document.querySelector('#curves svg [id^=line2d] path[style*=series-1]')).stroke"
        )
        letter = "return getComputedStyle(document.querySelector('dt b.series-1')).borderBottomColor"
        assert browser.run(curve) == browser.run(letter)
        seen.add((browser.run("return getComputedStyle(document.body).backgroundColor"), browser.run(letter)))
    assert len(seen) == 2
