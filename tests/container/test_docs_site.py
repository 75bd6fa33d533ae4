"""The site: it is built without a warning, every link of every page leads somewhere, and every public door is on it."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import lesion_jobs
from lesion.commands.registry import COMMANDS

sys.path.insert(0, str(Path(__file__).parent))  # environments
from environments import PROJECT, environment

from machine import needs

LIMIT_S = 600


class Page(HTMLParser):
    """What a page links to, and what can be linked to on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := told.get(name))]
        self.anchors |= {value for value in (told.get("id"), told.get("name")) if value}


def dead_links(site: Path) -> list[str]:
    """Links of the site's pages to files or anchors of the site that are not there. Outside links are not followed."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]  # there a template of the theme lies
    pages = {path: Page(path) for path in paths}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


@pytest.fixture(scope="module")
def site() -> Path:
    """The site as `make docs` builds it; what is there already is not installed again."""
    needs("make")
    environment("docs", PROJECT / "docs" / "requirements.txt")
    done = subprocess.run(
        ["make", "--assume-old=.venv/.dev", "--assume-old=build/venvs/docs/made-from.txt", "docs"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return PROJECT / "build" / "docs"


def test_every_link_on_it_leads_to_a_page_and_a_heading(site):
    assert len(list(site.rglob("*.html"))) > 80
    assert dead_links(site) == []


def test_a_dead_link_would_be_found(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html"></a><a href="#top"></a><a href="#end"></a>')
    assert dead_links(tmp_path) == ["a.html: b.html", "a.html: #end"]


def test_every_verb_and_every_command_is_in_the_reference(site):
    verbs = Page(site / "docs" / "reference" / "jobs.html").anchors
    assert {f"lesion_jobs.{name}" for name in lesion_jobs.__all__} - verbs == {"lesion_jobs.Place"}  # its former name
    commands = (site / "docs" / "reference" / "command-line.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"lesion {name}" not in commands] == []
