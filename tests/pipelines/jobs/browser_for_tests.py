"""A real browser: Debian's chromium, spoken to by chromedriver's HTTP interface (W3C WebDriver)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Browser", "open_browser"]

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One page at a time."""

    def __init__(self, port: int, options: dict[str, Any]) -> None:
        self._server = f"http://127.0.0.1:{port}"
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._session = ""
        self._session = f"/session/{self._call('POST', '/session', options)['sessionId']}"

    def open(self, path: Path, width: int = 1600, height: int = 1000) -> None:
        """Load a page into a window of this size, which may be narrower than a window can be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", size)
        # What the browser's own first page asked for.
        self.requests()
        self._call("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def hover(self, selector: str) -> None:
        origin = self._call("POST", "/element", {"using": "css selector", "value": selector})
        move = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": {ELEMENT: origin[ELEMENT]}}
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def press(self, key: str) -> None:
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """What the console said (`browser`), or the events of the network and others (`performance`)."""
        logged: list[dict[str, Any]] = self._call("POST", "/se/log", {"type": kind})
        return logged

    def requests(self) -> list[str]:
        """URLs that were asked for since this was last called."""
        events = [json.loads(line["message"])["message"] for line in self.messages("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def command(self, name: str, settings: dict[str, Any]) -> None:
        """One of the DevTools protocol."""
        self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": settings})

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        self._call("DELETE", "")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._server + self._session + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with self._direct.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()[:500]}") from error


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """A browser; the test is skipped where there is none, and fails where CURATOR_NEEDS_BROWSER says there must be."""
    driver, chromium = (shutil.which(name) for name in ("chromedriver", "chromium"))
    if driver is None or chromium is None:
        text = "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)"
        if os.environ.get("CURATOR_NEEDS_BROWSER"):
            pytest.fail(text)
        pytest.skip(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = Browser(port, _options(chromium, folder, port))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(20)


def _options(chromium: str, folder: Path, port: int) -> dict[str, Any]:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    chrome = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={folder}/profile", "about:blank"]}
    wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    return {"capabilities": {"alwaysMatch": wanted}}
