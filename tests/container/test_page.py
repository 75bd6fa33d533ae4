"""Page: a picture tried by hand, in a real browser, on a server as `lesion serve` starts it on a laptop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from browser import Browser
from containers import Docker

from processes import Server, free_port, wait_until

BROWSER = "lesion:test-browser"


@pytest.fixture(scope="module")
def page(docker: Docker, trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page, opened: a browser's window, the server behind it, and a folder that both see."""
    docker.build(BROWSER, Path(__file__).parent / "chromium")
    folder = tmp_path_factory.mktemp("page")
    picture = sorted((trained_root / "input/data/training/train_jpg").iterdir())[0]
    (folder / "it's a picture.jpg").write_bytes(picture.read_bytes())
    (folder / "broken.jpg").write_bytes(picture.read_bytes()[:300])
    server = Server.start(trained_root, folder / "log").wait_until_ready()
    port = free_port()
    options = ("--network", "host", "--volume", f"{folder}:{folder}:ro")
    try:
        with docker.start(BROWSER, f"--port={port}", options=options) as container:
            driver = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_ready(driver), "the driver did not become ready", lambda: container.log)
            window = Browser.open(driver)
            window.resize(1200, 900)
            window.go(server.url("/"))
            window.wait_for("#about", "version")
            yield SimpleNamespace(window=window, server=server, folder=folder, picture=folder / "it's a picture.jpg")
            window.close()
    finally:
        server.stop()


def _is_ready(driver: str) -> bool:
    try:
        return bool(requests.get(f"{driver}/status", timeout=2).json()["value"]["ready"])
    except requests.RequestException:
        return False


def test_a_picture_with_metadata_is_answered_as_the_same_request_and_the_same_command_are(page):
    window: Browser = page.window
    window.type("#picture", str(page.picture))
    window.type("[name=age_approx]", "45")
    window.click("[name=sex] option[value=female]")
    window.click("#ask")
    window.wait_for("#probability", "%")
    shown = float(window.run("return document.querySelector('#probability').dataset.value"))
    files = {"image": page.picture.read_bytes()}
    answer = requests.post(page.server.url("/invocations"), files=files, data={"age_approx": 45, "sex": "female"})
    [prediction] = answer.json()["predictions"]
    assert shown == prediction["probability"]
    assert window.text("#answer .label") == prediction["label"]
    assert window.text("#probability") == f"{100 * shown:.1f} %"
    command = window.text("#curl")
    ran = subprocess.run(["bash", "-c", command], cwd=page.folder, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["predictions"][0]["probability"] == shown
    assert window.complaints() == []


def test_metadata_that_is_not_given_is_not_sent(page):
    window: Browser = page.window
    window.go(page.server.url("/"))
    window.wait_for("#fields", "anatom")
    window.type("#picture", str(page.picture))
    assert "--form-string" not in window.text("#curl")
    window.click("#ask")
    window.wait_for("#probability", "%")
    shown = float(window.run("return document.querySelector('#probability').dataset.value"))
    assert shown == page.server.ask(page.picture.read_bytes()).json()["predictions"][0]["probability"]


def test_a_broken_picture_is_answered_by_the_servers_own_words(page):
    window: Browser = page.window
    window.type("#picture", str(page.folder / "broken.jpg"))
    window.click("#ask")
    window.wait_for("#answer .bad")
    assert "not a picture that can be decoded" in window.text("#answer")
    assert window.run("return document.querySelector('#probability')") is None


def test_a_picture_that_is_dropped_is_taken(page):
    window: Browser = page.window
    window.go(page.server.url("/"))
    window.wait_for("#about", "version")
    window.run(
        "const held = new DataTransfer(); held.items.add(new File([new Uint8Array([1, 2])], 'dropped.png'));"
        "document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer: held, cancelable: true}))"
    )
    window.wait_for("#curl", "dropped.png")
    assert not window.run("return document.querySelector('#ask').disabled")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_stands_out_of_the_window(page, width):
    window: Browser = page.window
    window.go(page.server.url("/"))
    window.wait_for("#fields", "anatom")
    window.run(f"document.body.style.width = '{width}px'")
    window.type("#picture", str(page.picture))
    window.click("#ask")
    window.wait_for("#probability", "%")
    assert window.run("return document.querySelector('main').scrollWidth") <= width


def test_every_field_has_a_label(page):
    script = "return [...document.querySelectorAll('input, select')].every((field) => field.labels.length === 1)"
    assert page.window.run(script)
