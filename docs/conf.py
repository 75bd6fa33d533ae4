"""Sphinx's settings for the site, which `make docs` builds: the Markdown files as they lie in the project, and what
docstrings and `--help` say.

The source folder is the whole project, so that a link means the same on the site as in the repository.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "src"))
# What our modules import lies in the project's environment. It comes last: its docutils is too old for Sphinx.
sys.path += map(str, PROJECT.glob(".venv/lib/python3.*/site-packages"))

from lesion.evaluation.measures import MEASURES

MEASURES_TABLE = ["| measure | better | range | definition |", "|---|---|---|---|"] + [
    f"| `{name}` | {one.better} | {one.low:g} to {one.high:g} | {one.source} |" for name, one in MEASURES.items()
]

project = "Lesion"
root_doc = "docs/index"
include_patterns = ["*.md", "benchmarks/README.md", "docs/**"]
exclude_patterns = [".*", "build", "container", "local_test", "notebooks", "shared", "src", "tests"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinxarg.ext"]
suppress_warnings = ["toc.not_included"]  # decisions: their README is the list of them
myst_heading_anchors = 4  # the names that GitHub gives them
myst_ref_domains = ["std", "py"]
myst_enable_extensions = ["substitution"]
myst_substitutions = {"measures": "\n".join(MEASURES_TABLE)}
default_role = "code"  # a docstring writes `name`, as Markdown does
smartquotes = False  # which would make one dash of the two of an option

html_theme = "pydata_sphinx_theme"
html_theme_options = {"header_links_before_dropdown": 6, "secondary_sidebar_items": ["page-toc"]}
html_title = "Lesion"
html_show_sourcelink = False
html_copy_source = False

MARKUP = re.compile(r"`[^`]*`|[|*]")  # code, which stays, or what reStructuredText would take for markup


def escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("`") else f"\\{found[0]}"


def read_as_markdown(*event: Any) -> None:
    """Docstrings are Markdown in small: an indented block is code, and | and * outside of `code` are characters.

    Changes the docstring's lines, the last of what Sphinx tells.
    """
    lines: list[str] = event[-1]
    is_code = False
    kept: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("    ") and not (is_code or before):
            kept += ["::", ""]
        is_code = line.startswith("    ") if line else is_code
        kept.append(line if is_code else MARKUP.sub(escaped, line))
    lines[:] = kept


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", read_as_markdown)
