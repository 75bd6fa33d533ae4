"""Report page: seen in a real browser, on a phone, a desktop and paper, in the light and in the dark."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from containers import Docker
from test_page import BROWSER, _is_ready, luminance, see, tell

from lesion.report.page import render
from processes import free_port, wait_until
from report_facts import FACTS


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    for name, make in FACTS.items():
        (folder / f"{name}.html").write_text(render(make()))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def window(docker: Docker, pages: Path) -> Iterator[Browser]:
    docker.build(BROWSER, Path(__file__).parent / "chromium")
    port = free_port()
    options = ("--network", "host", "--volume", f"{pages}:{pages}:ro")
    with docker.start(BROWSER, f"--port={port}", options=options) as container:
        wait_until(
            lambda: _is_ready(f"http://127.0.0.1:{port}"), "the driver did not become ready", lambda: container.log
        )
        window = Browser.open(f"http://127.0.0.1:{port}")
        yield window
        window.close()


def visit(window: Browser, pages: Path, name: str) -> None:
    window.complaints()
    window.go((pages / f"{name}.html").as_uri())
    window.wait_for("h1")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", FACTS)
def test_nothing_stands_out_of_the_screen_and_nothing_complains(window, pages, name, width):
    see(window, width, 800)
    visit(window, pages, name)
    window.run("for (const details of document.querySelectorAll('details')) details.open = true")
    script = "const page = document.documentElement; return [innerWidth, page.scrollWidth - page.clientWidth]"
    assert window.run(script) == [width, 0]
    assert window.run("return [...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert window.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_and_line_stands_out_from_the_paper(window, pages, scheme):
    """4.5 to 1 for text, 3 to 1 for what a chart needs to be read (WCAG 2.2, 1.4.3 and 1.4.11)."""
    see(window, 1280, 900, scheme)
    visit(window, pages, "multiclass")
    paper = luminance(window, "body", "backgroundColor")
    assert (paper < 0.05) == (scheme == "dark")
    texts = ("h1", ".soft", "a", ".level.warning", ".level.note", ".level.error", ".level.gap", ".why", ".tag")
    for selector, of, least in [
        *((selector, "color", 4.5) for selector in texts),
        *((f"svg .line.c{k}", "stroke", 3.0) for k in range(5)),
        ("svg text", "fill", 4.5),
        ("svg text.axis", "fill", 4.5),
    ]:
        seen = luminance(window, selector, of)
        assert (max(seen, paper) + 0.05) / (min(seen, paper) + 0.05) >= least, selector


def test_all_can_be_reached_by_the_keyboard(window, pages):
    see(window, 1280, 900)
    visit(window, pages, "binary")
    reachable = "a[href], button, input, summary, .scroll"
    assert window.run(f"return [...document.querySelectorAll('{reachable}')].every((found) => found.tabIndex === 0)")
    assert window.run("return [...document.querySelectorAll('input')].every((field) => field.labels.length === 1)")


def test_mistakes_are_filtered_and_a_threshold_is_tried(window, pages):
    see(window, 1280, 900)
    visit(window, pages, "binary")
    shown = "return [...document.querySelectorAll('#worst [data-kind]')].filter((one) => !one.hidden).length"
    before = window.run(shown)
    window.click('[data-filters="#worst"] button[value="missed"]')
    assert 0 < window.run(shown) < before
    window.click('[data-filters="#worst"] button[value=""]')
    assert window.run(shown) == before
    told = window.text("#try output")
    assert "found" in told and "false alarms" in told
    window.run("const s = document.querySelector('#slider'); s.value = s.max; s.dispatchEvent(new Event('input'))")
    assert window.text("#try output").startswith("From 1.000 on: sensitivity 0.0 %")
    assert window.complaints() == []


def test_a_thousand_classes_can_be_searched(window, pages):
    see(window, 1280, 900)
    visit(window, pages, "thousand")
    window.run("document.querySelector('#classes details').open = true")
    window.type('[data-search="#class-table"]', "class 0042")
    script = "return [...document.querySelectorAll('#class-table tbody tr')].filter((row) => !row.hidden).length"
    assert window.run(script) == 1


def test_it_prints_with_all_that_was_folded(window, pages):
    see(window, 1280, 900)
    visit(window, pages, "binary")
    told = tell(window, "Page.printToPDF", printBackground=True, preferCSSPageSize=True)
    printed = base64.b64decode(told["data"])
    assert printed.startswith(b"%PDF") and 20_000 < len(printed) < 5 * 2**20
    assert window.run("return [...document.querySelectorAll('details')].every((details) => details.open)")
