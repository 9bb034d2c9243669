"""A headless Chromium, driven through its DevTools protocol over two pipes.

`--remote-debugging-pipe` reads commands from descriptor 3 and writes answers and events to 4, each
a JSON object that a NUL ends; so no port and no WebSocket is needed.
"""

import base64
import json
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .processes import POLL_S, start, stop

PATIENCE_S: Final = 20.0
PROGRAM: Final = shutil.which("chromium")
_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-extensions", "--hide-scrollbars"),
    "--remote-debugging-pipe",
)
_COMPLAINTS: Final = frozenset(
    {
        "Runtime.exceptionThrown",
        "Log.entryAdded",
        "Audits.issueAdded",
        "Page.javascriptDialogOpening",
    }
)
# A child's descriptors keep their numbers; this puts two of them where the browser looks.
_MOVE: Final = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

Json = dict[str, Any]


class Tab:
    """One page. `complaints` is what the browser found wrong with it: errors, what its policy
    forbade, what could not be loaded."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[Json] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str, width: int = 1200, height: int = 900, *, dark: bool = False) -> None:
        """Go to `url`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=url)

    def scripts(self, *, allowed: bool) -> None:
        """Whether the next page may run any."""
        self._call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def value(self, expression: str) -> Any:  # noqa: ANN401  whatever JavaScript answers
        """What `expression` comes to. Raises AssertionError where it throws."""
        said = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, expression: str) -> Any:  # noqa: ANN401  as above
        """Its first true value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.value(expression)):
            if time.monotonic() > deadline:
                shown = self.value("document.body.innerText")
                raise AssertionError(f"never true: {expression}\n{shown}\n{self.complaints}")
            time.sleep(POLL_S)
        return value

    def type(self, selector: str, text: str) -> None:
        """Write into a field and press Enter, as a hand does."""
        self.value(f"document.querySelector({selector!r}).focus()")
        self._call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self._call("Input.dispatchKeyEvent", type=kind, **key)

    def screenshot(self, path: Path) -> None:
        """What is to be seen, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: object) -> Json:
        self._number += 1
        number = self._number
        command: Json = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            said = self._next(deadline)
            if said.get("id") == number:
                assert "error" not in said, (method, said["error"])
                result: Json = said["result"]
                return result
            if said.get("method") in _COMPLAINTS:
                self.complaints.append(said)

    def _next(self, deadline: float) -> Json:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            octets = os.read(self._answers, 1 << 16) if ready else b""
            assert octets, "the browser does not answer"
            self._buffer += octets
        one, _, self._buffer = self._buffer.partition(b"\0")
        said: Json = json.loads(one)
        return said


@contextmanager
def chromium(directory: Path) -> Iterator[Tab]:
    """A browser of its own, its profile and its log below `directory`, until the block ends."""
    assert PROGRAM is not None, "chromium is not installed"
    there, commands = os.pipe()
    answers, here = os.pipe()
    flags = [*_FLAGS, f"--user-data-dir={directory}/profile"]
    arguments = [sys.executable, "-c", _MOVE, str(there), str(here), PROGRAM, *flags]
    process = start(
        arguments, directory / "chromium.log", {"HOME": str(directory)}, pass_fds=(there, here)
    )
    os.close(there)
    os.close(here)
    try:
        yield Tab(commands, answers)
    finally:
        os.close(commands)  # which ends it
        stop(process)
        os.close(answers)
