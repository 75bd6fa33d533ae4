"""Browser: Chromium in a container, driven by the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import requests

from processes import wait_until

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's own name of a reference to an element
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@dataclass(frozen=True)
class Browser:
    """One window. Elements are found by CSS selectors."""

    session: str  # its address

    @classmethod
    def open(cls, driver: str) -> Browser:
        """A window of the driver at that address."""
        wanted = {"goog:chromeOptions": {"args": ARGUMENTS}, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _call("post", f"{driver}/session", capabilities={"alwaysMatch": wanted})
        return cls(f"{driver}/session/{made['sessionId']}")

    def go(self, url: str) -> None:
        _call("post", f"{self.session}/url", url=url)

    def resize(self, width: int, height: int) -> None:
        _call("post", f"{self.session}/window/rect", width=width, height=height)

    def type(self, selector: str, text: str) -> None:
        """Keys into a field; into one for files a path."""
        _call("post", f"{self._element(selector)}/value", text=text)

    def click(self, selector: str) -> None:
        _call("post", f"{self._element(selector)}/click")

    def run(self, script: str) -> Any:
        """What a script returns."""
        return _call("post", f"{self.session}/execute/sync", script=script, args=[])

    def text(self, selector: str) -> str:
        return str(self.run(f"return document.querySelector({selector!r})?.textContent ?? ''"))

    def wait_for(self, selector: str, text: str = "") -> None:
        """Returns when an element is there and holds the text."""
        script = f"return document.querySelector({selector!r})?.textContent ?? null"

        def is_there() -> bool:
            found = self.run(script)
            return found is not None and text in found

        wait_until(is_there, f"'{text}' did not come in {selector}", lambda: "")

    def complaints(self) -> list[str]:
        """What the page's console holds since it was last asked: errors, and what the content policy forbade."""
        return [entry["message"] for entry in _call("post", f"{self.session}/se/log", type="browser")]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(_call("get", f"{self.session}/screenshot"))

    def close(self) -> None:
        _call("delete", self.session)

    def _element(self, selector: str) -> str:
        found = _call("post", f"{self.session}/element", using="css selector", value=selector)
        return f"{self.session}/element/{found[ELEMENT]}"


def _call(method: str, address: str, /, **fields: object) -> Any:
    response = requests.request(method, address, json=fields if method == "post" else None, timeout=120)
    assert response.ok, response.text
    return response.json()["value"]
