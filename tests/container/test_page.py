"""Page: a picture tried by hand, in a real browser, on a server as `lesion serve` starts it on a laptop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from browser import Browser
from containers import Docker
from werkzeug.serving import make_server

from factories import sample_frame, write_channel, write_hyperparameters
from lesion.algorithms.anomaly.algorithm import ANOMALY
from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.sagemaker import read_job
from lesion.serve.app import create_app
from processes import Server, free_port, wait_until

BROWSER = "lesion:test-browser"
GOLDEN = Path(__file__).parents[1] / "golden" / "artifact_v3"  # of three classes melanoma is asked about
# What a shell, curl and HTML each take for their own.
HOSTILE = """it's "one" \\ of $(touch run), <b>bold<b>; `touch run`.jpg"""
ENTER = "\ue007"


@pytest.fixture(scope="module")
def folder(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine and the browser both see: pictures, and one that is none."""
    folder = tmp_path_factory.mktemp("page")
    picture = sorted((trained_root / "input/data/training/train_jpg").iterdir())[0]
    for name in ("picture.jpg", HOSTILE):
        (folder / name).write_bytes(picture.read_bytes())
    (folder / "broken.jpg").write_bytes(picture.read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def server(trained_root: Path, folder: Path) -> Iterator[Server]:
    server = Server.start(trained_root, folder / "log").wait_until_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def window(docker: Docker, folder: Path, server: Server) -> Iterator[Browser]:
    """A browser's window, which is closed before the server stops: a browser keeps connections in reserve."""
    docker.build(BROWSER, Path(__file__).parent / "chromium")
    port = free_port()
    driver = f"http://127.0.0.1:{port}"
    options = ("--network", "host", "--volume", f"{folder}:{folder}:ro")
    with docker.start(BROWSER, f"--port={port}", options=options) as container:
        wait_until(lambda: _is_ready(driver), "the driver did not become ready", lambda: container.log)
        window = Browser.open(driver)
        yield window
        window.close()


@pytest.fixture
def page(window: Browser, server: Server, folder: Path) -> SimpleNamespace:
    """The page, freshly opened: the browser's window, the server behind it, and a picture that both see."""
    see(window, 1200, 900)
    visit(window, server.url(""))
    return SimpleNamespace(window=window, server=server, picture=folder / "picture.jpg")


def _is_ready(driver: str) -> bool:
    try:
        return bool(requests.get(f"{driver}/status", timeout=2).json()["value"]["ready"])
    except requests.RequestException:
        return False


def visit(window: Browser, url: str) -> None:
    window.complaints()  # those of another test
    window.go(f"{url}/")
    window.wait_for("#about", "version")


def tell(window: Browser, command: str, **values: object) -> Any:
    """A command of Chromium's own (https://chromedevtools.github.io/devtools-protocol/)."""
    told = requests.post(f"{window.session}/goog/cdp/execute", json={"cmd": command, "params": values}, timeout=60)
    assert told.ok, told.text
    return told.json()["value"]


def see(window: Browser, width: int, height: int, scheme: str = "light") -> None:
    """A screen of that size: the window itself is never under 500 px wide."""
    mobile = width < 500
    tell(window, "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
    tell(window, "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def shown(window: Browser) -> float:
    """The probability that the page shows, in all its digits."""
    window.wait_for("#probability", "%")
    return float(window.run("return document.querySelector('#probability').dataset.value"))


def texts(window: Browser, selector: str) -> list[str]:
    script = f"return [...document.querySelectorAll({selector!r})].map((found) => found.textContent)"
    return list(window.run(script))


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


@pytest.mark.parametrize("name", ["picture.jpg", HOSTILE], ids=["a plain name", "a hostile name"])
def test_a_picture_with_metadata_is_answered_as_the_same_request_and_the_same_command_are(page, folder, name):
    window: Browser = page.window
    window.type("#picture", str(folder / name))
    window.wait_for("#hint", f"{name}, 80 × 64 px")
    window.type("[name=age_approx]", "45")
    window.click("[name=sex] option[value=female]")
    window.click("#ask")
    probability = shown(window)
    asked = {
        "files": {"image": page.picture.read_bytes()},
        "data": {"age_approx": 45, "sex": "female"},
        "headers": {"X-Amzn-SageMaker-Custom-Attributes": "details=true"},
    }
    told = requests.post(page.server.url("/invocations"), timeout=60, **asked).json()
    [prediction] = told["predictions"]
    assert probability == prediction["probability"]
    assert window.text("#answer .label") == prediction["label"]
    assert window.text("#probability") == percent(probability)
    assert f"3 networks (the dots) differ by {100 * prediction['spread']:.1f} points" in window.text("#answer")
    model = requests.get(page.server.url("/model"), timeout=5).json()
    assert f"“malignant” is predicted from {percent(model['question']['thresholds']['malignant'])} on" in window.text(
        "#answer"
    )
    assert f"Model {told['model']}, request " in window.text("#answer")
    ran = subprocess.run(
        ["bash", "-c", window.text("#curl")], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ran.stdout)["predictions"] == told["predictions"]
    assert not (folder / "run").exists() and window.run("return document.querySelector('b')") is None
    assert window.complaints() == []


def test_fields_are_those_of_the_model_and_none_need_be_known(page):
    window: Browser = page.window
    fields = "return [...document.querySelectorAll('#fields input, #fields select')].map((field) => field.name)"
    assert set(window.run(fields)) == {"sex", "age_approx", "anatom_site_general_challenge"}
    assert texts(window, "[name=sex] option") == ["not known", "female", "male"]
    assert window.run("return document.querySelector('[name=age_approx]').type") == "number"
    assert window.run("return document.querySelector('#ask').disabled")  # no picture yet
    window.type("#picture", str(page.picture))
    assert "--form-string" not in window.text("#curl")
    window.click("#ask")
    assert shown(window) == page.server.ask(page.picture.read_bytes()).json()["predictions"][0]["probability"]
    assert window.complaints() == []


def test_an_answer_goes_when_the_question_changes(page):
    window: Browser = page.window
    window.type("#picture", str(page.picture))
    window.type("[name=age_approx]", "45" + ENTER)  # asks too
    before = shown(window)
    window.type("[name=age_approx]", "0")  # 450
    assert window.text("#answer") == "" and "'age_approx=450'" in window.text("#curl")
    window.click("#ask")
    assert shown(window) != before
    window.click("[name=sex] option[value=male]")
    assert window.text("#answer") == "" and "'sex=male'" in window.text("#curl")


def test_a_broken_picture_is_answered_by_the_servers_own_words(page, folder):
    window: Browser = page.window
    window.type("#picture", str(folder / "broken.jpg"))
    window.wait_for("#hint", "broken.jpg (this browser cannot show it)")
    window.click("#ask")
    window.wait_for("#answer .bad", "the image cannot be decoded")
    refused = page.server.ask((folder / "broken.jpg").read_bytes())
    assert refused.status_code == 400 and window.run("return document.querySelector('#probability')") is None
    [complaint] = window.complaints()  # the browser's own note of the status
    assert "status of 400" in complaint


def test_a_picture_that_is_dropped_is_taken(page):
    window: Browser = page.window
    for where in ("#drop", "h1"):  # also beside the box, where the browser would leave the page for it
        window.run(
            f"const held = new DataTransfer(); held.items.add(new File([new Uint8Array([1, 2])], '{where}.png'));"
            f"const drop = new DragEvent('drop', {{dataTransfer: held, cancelable: true, bubbles: true}});"
            f"return document.querySelector('{where}').dispatchEvent(drop)"
        )
        window.wait_for("#curl", f"{where}.png")
        assert not window.run("return document.querySelector('#ask').disabled")
    window.click("#ask")
    window.wait_for("#answer .bad", "the image cannot be decoded")


@pytest.mark.parametrize("has_clipboard", [True, False], ids=["with a clipboard", "as by http from another machine"])
def test_the_command_can_be_copied(page, has_clipboard):
    window: Browser = page.window
    tell(window, "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    window.run("return navigator.clipboard.writeText('something else')")
    read = "return navigator.clipboard.readText()"
    if not has_clipboard:
        window.run(
            "window.held = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', {value: undefined})"
        )
        read = "return window.held.readText()"
    window.type("#picture", str(page.picture))
    window.click("#copy")
    window.wait_for("#copied", "Copied")
    assert window.run(read).strip() == window.text("#curl")


@pytest.mark.parametrize("width", [360, 700, 1200])
def test_nothing_stands_out_of_the_screen(page, width):
    window: Browser = page.window
    see(window, width, 800)
    window.type("#picture", str(page.picture))
    window.click("#ask")
    shown(window)
    window.click("summary")
    script = "const page = document.documentElement; return [innerWidth, page.scrollWidth - page.clientWidth]"
    assert window.run(script) == [width, 0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_the_paper(page, folder, scheme):
    """4.5 to 1, as WCAG 2.2 asks for text (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    window: Browser = page.window
    see(window, 1200, 900, scheme)
    paper = luminance(window, "body", "backgroundColor")
    assert (paper < 0.05) == (scheme == "dark")
    window.type("#picture", str(folder / "broken.jpg"))
    window.click("#ask")
    window.wait_for("#answer .bad", "cannot be decoded")
    for selector in ("h1", "#about", "#hint", "label.field", "[name=sex]", ".soft", ".bad", "pre", "#copy", "summary"):
        text = luminance(window, selector, "color")
        assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5, selector


def luminance(window: Browser, selector: str, of: str) -> float:
    """As WCAG has it, of a colour that the browser gives as rgb(1, 2, 3)."""
    colour = window.run(f"return getComputedStyle(document.querySelector('{selector}')).{of}")
    levels = [int(number) / 255 for number in re.findall("[0-9]+", colour)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_field_has_a_label_and_all_can_be_reached_by_the_keyboard(page):
    window: Browser = page.window
    window.type("#picture", str(page.picture))
    reachable = "input, select, button, summary, [href]"
    script = f"return [...document.querySelectorAll('main :is({reachable})')].every((found) => found.tabIndex === 0)"
    assert window.run(script)
    script = "return [...document.querySelectorAll('input, select')].every((field) => field.labels.length === 1)"
    assert window.run(script)
    assert window.run("return document.querySelector('#answer').getAttribute('role')") == "status"


QUESTIONS: dict[str, dict[str, object]] = {
    "a class of interest": {},
    "one of several": {"of_interest": None, "thresholds": []},
    "any of several": {"kind": "multilabel", "of_interest": None, "thresholds": [0.001, 0.999, 0.5]},
}
NO_IMAGE_IS_USUAL = {
    "on_low_quality": "warn",
    "num_pictures": 100,
    "bounds": {"brightness": [254.0, None], "short_side_px": [10_000.0, None]},
    "share_warned": {},
}


@contextmanager
def serving(model_dir: Path) -> Iterator[str]:
    """An artifact's app in this process, where torch is imported already; its address."""
    predictor = algorithm_of_artifact(model_dir).load(
        model_dir, device="cpu", num_cores=2, fold=None, precision="auto", operating_point=None
    )
    app = create_app(predictor, num_cores=2, has_page=True)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["pipeline"].stop()


@pytest.mark.parametrize("name", QUESTIONS)
def test_classes_are_shown_the_likeliest_first(window, folder, tmp_path, name):
    shutil.copytree(GOLDEN, tmp_path / "model")
    manifest = json.loads((tmp_path / "model/manifest.json").read_text())
    manifest["payload"]["target"] |= QUESTIONS[name]
    manifest["payload"]["quality"] = NO_IMAGE_IS_USUAL
    (tmp_path / "model/manifest.json").write_text(json.dumps(manifest))
    see(window, 390, 844)
    with serving(tmp_path / "model") as url:
        visit(window, url)
        window.type("#picture", str(folder / "picture.jpg"))
        assert texts(window, "[name=prior] option") == ["not known", "yes", "no"]
        window.click("[name=prior] option:nth-child(2)")
        window.click("#ask")
        window.wait_for("#answer", "request")
        form: dict[str, Any] = {"files": {"image": (folder / "picture.jpg").read_bytes()}, "data": {"prior": "yes"}}
        [prediction] = requests.post(f"{url}/invocations", timeout=60, **form).json()["predictions"]
        assert window.complaints() == []
    labels = prediction.get("labels") or [prediction["label"]]
    assert window.text("#answer .label") == ", ".join(labels)
    assert prediction["warnings"] == ["too_small", "dark"]
    assert window.text("#answer .bad") == "This image is unusual: too small, dark."
    likeliest = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])
    rows = [("melanoma", prediction["probability"])] if "probability" in prediction else []
    assert texts(window, ".row > :last-child") == [percent(value) for _, value in [*rows, *likeliest]]
    names = texts(window, ".row > :first-child")
    for text, (word, _) in zip(names, [*rows, *likeliest], strict=True):
        verdict = ("yes; yes from" if word in labels else "no; yes from") if "labels" in prediction else ""
        assert text.startswith(word + verdict)
    window.click("#ask")  # of a server that is gone
    window.wait_for("#answer .bad", "No prediction: ")


def test_an_answer_of_another_algorithm_is_shown_as_it_is(window, folder, tmp_path):
    write_channel(tmp_path / "input/data/training", sample_frame())
    settings = {"model": "test_resnet", "pretrained": False, "image_size": 48, "strides": "4,8", "memory_patches": 100}
    write_hyperparameters(tmp_path, {"algorithm": "anomaly", "held_out": 0.5, "num_workers": 0, **settings})
    job = read_job(tmp_path)
    ANOMALY.train(job, AnomalyConfig.parse(job.hyperparameters))
    see(window, 390, 844)
    with serving(tmp_path / "model") as url:
        visit(window, url)
        window.type("#picture", str(folder / "picture.jpg"))
        window.click("#ask")
        window.wait_for("#answer", "request")
        form: dict[str, Any] = {"files": {"image": (folder / "picture.jpg").read_bytes()}}
        details = {"X-Amzn-SageMaker-Custom-Attributes": "details=true"}
        told = requests.post(f"{url}/invocations", headers=details, timeout=60, **form).json()
        assert window.complaints() == []
    [prediction] = told["predictions"]
    assert {"anomaly_score", "is_anomalous"} <= set(prediction)
    assert json.loads(window.text("#answer pre")) == prediction and told["model"] in window.text("#answer")
