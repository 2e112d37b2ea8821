"""The report in a real browser: nothing breaks, nothing is loaded, pictures can be hovered over and enlarged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_for_tests import Browser, open_browser

from curator.settings import build
from curator_pipelines.config import ReportConfig
from curator_pipelines.jobs.report.report_run import run_report
from curator_pipelines.run.progress import Reporter

SECTIONS = ["headline", "line", "curve", "coverage", "map", "sources", "skipped", "left-out", "facts"]
ARROW_RIGHT, ESCAPE, ENTER, TAB = "\ue014", "\ue00c", "\ue007", "\ue004"
FIRST = "[data-strip='The first chosen'] button.picture"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the reference run."""
    out = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(reference, out)
    run_report(build(ReportConfig, {"out": str(out)}), Reporter(quiet=True))
    return out / "report.html"


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
    browser.picture(Path(os.environ.get("CURATOR_PICTURES", tmp_path)) / f"report-{width}.png")


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
    width = browser.run("return document.querySelector('#enlarged img').getBoundingClientRect().width")
    assert width > 300
    browser.press(ARROW_RIGHT)
    assert browser.run(enlarged)[1] not in (caption, "")
    browser.press(ESCAPE)
    assert browser.run(enlarged)[0] is False


def test_by_keyboard_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    focused = "return [document.activeElement.className, document.activeElement.dataset.caption]"
    for _ in range(3):  # the first may go to the window, which a slow machine shows late
        browser.press(TAB)
        name, caption = browser.run(focused)
        if name:
            break
    assert name == "picture"
    assert browser.run("return document.getElementById('tip').textContent") == caption
    browser.press(ENTER)
    assert browser.run("return document.getElementById('enlarged').open")
    browser.press(ESCAPE)
    unnamed = "return [...document.querySelectorAll('.picture img, svg')].filter((i) => !i.alt && !i.ariaLabel).length"
    assert browser.run(unnamed) == 0


def test_points_of_the_map_show_their_picture(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('#points-chosen use.pictured').scrollIntoView({block: 'center'})")
    point = """
        const point = document.querySelector('#points-chosen use.pictured');
        const box = point.getBoundingClientRect();
        const at = {clientX: box.x + 1, clientY: box.y + 1, bubbles: true};
        point.dispatchEvent(new MouseEvent('mousemove', at));
        const tip = document.getElementById('tip');
        const names = JSON.parse(document.getElementById('plane-names').textContent).chosen;
        const number = [...document.querySelectorAll('#points-chosen use')].indexOf(point);
        const own = document.querySelector(`button.picture[data-name="${names[number]}"] img`);
        return [tip.hidden, tip.querySelector('img').src === own.src, names.length,
                document.querySelectorAll('#points-chosen use').length];
    """
    hidden, is_own, names, points = browser.run(point)
    assert not hidden and is_own and names == points


def test_dark_and_light(browser: Browser, page: Path) -> None:
    browser.open(page)
    seen = set()
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.command("Emulation.setEmulatedMedia", media)
        seen.add(browser.run("return getComputedStyle(document.body).backgroundColor"))
        ink = browser.run("return getComputedStyle(document.querySelector('#curve svg text')).fill")
        assert ink == browser.run("return getComputedStyle(document.body).color")
    assert len(seen) == 2
