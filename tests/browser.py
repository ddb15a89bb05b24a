"""A real browser for pages: opens files, runs scripts in them, and keeps what it complains about.

Speaks the Chrome DevTools protocol over a pipe: https://chromedevtools.github.io/devtools-protocol.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium")

# The browser reads from descriptor 3 and writes to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage"),
    # Tests may run as root, which Chromium's own sandbox does not allow.
    *("--no-sandbox", "--no-first-run", "--disable-extensions", "--disable-background-networking"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def program() -> str | None:
    """The browser that is installed, None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@dataclass(slots=True)
class Page:
    """An open page; ``requests`` and ``complaints`` grow while scripts run in it."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        """The value of a script, or of what it promises; raises AssertionError where it fails."""
        wanted = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", wanted)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.run(f"{frame}.then(() => true)")

    def resize(self, width: int, height: int) -> None:
        """Make the window so large."""
        size: dict[str, object] = {"width": width, "height": height}
        size |= {"deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)
        self.settle()

    def prefer(self, scheme: str) -> None:
        """Ask for light or dark pages."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", {"features": features})
        self.settle()

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"})["data"])

    def call(self, method: str, values: Mapping[str, object]) -> Any:
        """Call a method of the protocol."""
        return self.browser.call(method, values, self)


class Browser:
    """A running browser."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process = process
        self._to, self._back = to, back
        self._number = 0
        self._rest = b""

    def open(self, file: Path) -> Page:
        """Open a file in a page of its own and wait until it has loaded."""
        blank = Page(self, "")
        target = self.call("Target.createTarget", {"url": "about:blank"}, blank)["targetId"]
        attach = {"targetId": target, "flatten": True}
        page = Page(self, self.call("Target.attachToTarget", attach, blank)["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable", {})
        page.call("Page.navigate", {"url": file.as_uri()})
        while True:
            message = self._receive()
            self._note(message, page)
            if message.get("method") == "Page.loadEventFired":
                break
        page.settle()
        return page

    def call(self, method: str, values: Mapping[str, object], page: Page) -> Any:
        """Send a command and wait for its answer; events on the way are noted."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": values}
        if page.session:
            message["sessionId"] = page.session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self._to, text) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer, page)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._back)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._back, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, message: dict[str, Any], page: Page) -> None:
        """Keep what is requested, and what goes wrong."""
        if message.get("sessionId") != page.session:
            return
        about = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                page.requests.append(about["request"]["url"])
            case "Runtime.exceptionThrown":
                page.complaints.append(json.dumps(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                page.complaints.append(json.dumps(about["args"]))
            case "Log.entryAdded":
                page.complaints.append(about["entry"]["text"])


@contextmanager
def running(executable: str, folder: Path) -> Iterator[Browser]:
    """A browser that keeps its files in a folder."""
    theirs, to = os.pipe()
    back, answers = os.pipe()
    # Away from the descriptors that they will become.
    handed = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (theirs, answers)]
    command = [sys.executable, "-c", _START, *map(str, handed)]
    process = subprocess.Popen(
        [*command, executable, *_OPTIONS, f"--user-data-dir={folder}"],
        pass_fds=handed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for each in (theirs, answers, *handed):
        os.close(each)
    browser = Browser(process, to, back)
    try:
        yield browser
    finally:
        browser.close()
