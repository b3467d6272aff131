"""A headless Chromium that clicks, spoken to over two pipes: no port, no package.

Source: the Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
_WAIT_S = 60.0  # a busy machine takes its time to start a browser
_FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-extensions", "--disable-sync", "--window-size=1280,800",
)  # fmt: skip
_AS_ROOT = ("--no-sandbox",) * (os.geteuid() == 0)  # which the browser's sandbox refuses


class Page:
    """One tab. What it asks of the network and says on the console is kept."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, for the browser's profile."""
        assert CHROMIUM
        # The browser reads commands from descriptor 3 and writes answers to 4.
        shell = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", shell, "sh", CHROMIUM, *_FLAGS, *_AS_ROOT,
             f"--user-data-dir={folder}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._n_calls, self._session, self._unread = 0, "", b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the group that it leads
        self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; RuntimeError where it is refused."""
        assert self._process.stdin
        self._n_calls += 1
        command: dict[str, Any] = {"id": self._n_calls, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._process.stdin.write(json.dumps(command).encode() + b"\0")
        self._process.stdin.flush()
        deadline = time.monotonic() + _WAIT_S
        while True:
            message = self._receive(deadline)
            if message.get("id") != self._n_calls:
                self.events.append(message)
            elif "error" in message:
                raise RuntimeError(f"{method}: {message['error']}")
            else:
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._process.stdout
        while b"\0" not in self._unread:
            pipe = self._process.stdout.fileno()
            ready, *_ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(pipe, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("the browser ended, or did not answer in time")
            self._unread += data
        first, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, path: Path) -> None:
        """Show a file, and wait until it is loaded."""
        self.call("Page.navigate", url=path.as_uri())
        self.until(
            f"document.URL == {json.dumps(path.as_uri())} && document.readyState == 'complete'"
        )

    def ask(self, expression: str) -> Any:
        """The value of some JavaScript. RuntimeError where it throws."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"])
        return said["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript. TimeoutError where it does not come true."""
        deadline = time.monotonic() + _WAIT_S
        while not self.ask(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def _middle(self, selector: str) -> dict[str, float]:
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{ block: 'center' }})")
        box = self.ask(f"{found}.getBoundingClientRect().toJSON()")
        return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        place = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def wheel(self, selector: str, *, down_px: float) -> None:
        """Turn the wheel over the middle of an element."""
        place = self._middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=down_px, **place)

    def key(self, name: str, text: str = "") -> None:
        """Press and release a key, such as Escape; `text` is what it writes."""
        codes = {"Escape": 27, "Enter": 13, "Tab": 9}
        sent = {"key": name, "windowsVirtualKeyCode": codes.get(name, 0)}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **sent, **({"text": text} if text else {})
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **sent)

    def picture(self, to: Path, *, width_px: int = 1280, height_px: int = 800) -> None:
        """Write what is seen as a PNG."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px, height=height_px, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        to.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def prefers(self, scheme: str) -> None:
        """Ask for a "light" or "dark" page."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def _met(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] == method]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What was said on the console or thrown."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [said for method in methods for said in self._met(method)]

    @property
    def fetched(self) -> list[str]:
        """Addresses that were asked for, but for what the file itself holds."""
        asked = [each["request"]["url"] for each in self._met("Network.requestWillBeSent")]
        return [url for url in asked if not url.startswith("data:")]
