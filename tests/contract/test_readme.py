"""README and docs: what they show is what happens, and what they link to is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from factories import draw_picture
from lesion.algorithms.anomaly.config import GanSettings
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.registry import ALGORITHMS, DEFAULT, find_algorithm
from lesion.config import describe, table
from lesion.sagemaker import read_server_settings
from processes import Server

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
PAGES = [Path(name) for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")] + sorted(
    path.relative_to(PROJECT) for path in (PROJECT / "docs").rglob("*.md")
)


# Those that a new user needs first.
FIRST = (
    *("model", "pretrained", "image_size", "epochs", "learning_rate", "batch_size_train"),
    *("folds", "group_column", "target_column", "metadata_columns", "recipe", "seed"),
)


def test_the_page_of_hyperparameters_is_what_the_command_prints():
    page = (PROJECT / "docs/hyperparameters.md").read_text(encoding="utf-8")
    assert page == describe(ClassifyConfig) + "\n", "lesion describe hyperparameters > docs/hyperparameters.md"


def test_the_readmes_table_shows_the_first_hyperparameters_as_the_page_does():
    shown = re.search(r"<!-- hyperparameters -->\n(.*?)\n<!-- /hyperparameters -->", README, flags=re.DOTALL)
    assert shown is not None and shown[1] == table(ClassifyConfig, FIRST)


def test_the_page_of_sources_shows_the_known_data_sets_as_the_command_does(command):
    page = (PROJECT / "docs/sources.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- known tables -->\n(.*?)\n<!-- /known tables -->", page, flags=re.DOTALL)
    assert shown is not None and shown[1] in command("describe", "sources").stdout


def test_the_page_tells_the_defaults_of_the_servers_variables():
    page = (PROJECT / "docs/sagemaker.md").read_text(encoding="utf-8")
    settings = read_server_settings({})
    limits = settings.limits
    told = (
        f"| `SAGEMAKER_BIND_TO_PORT` | {settings.port} |",
        f"| `SAGEMAKER_MAX_PAYLOAD_IN_MB` | {limits.max_payload_bytes >> 20} |",
        f"| `MODEL_SERVER_TIMEOUT` | {limits.hung_s:g} |",
        f"| `MODEL_SERVER_WORKERS` | {settings.num_workers} |",
        f"| `LESION_MAX_REQUESTS` | {limits.max_requests} |",
        f"| `LESION_MAX_BODIES_MIB` | {limits.max_bodies_bytes >> 20} |",
        f"| `LESION_MAX_PIXELS` | {limits.max_pixels:,} |",
        f"| `LESION_MAX_WAIT_MS` | {round(1000 * limits.max_wait_s)} |",
        f"| `LESION_PRECISION` | `{settings.precision}` |",
    )
    assert [words for words in told if words not in page] == []


def test_the_glossary_has_each_word_once_and_in_order():
    page = (PROJECT / "docs/glossary.md").read_text(encoding="utf-8")
    tables = [re.findall(r"^\| (.+?) \|", part, flags=re.MULTILINE)[1:] for part in page.split("\n## ")[1:]]
    assert [words for words in tables if words != sorted(words, key=str.lower)] == []
    words = [word for table in tables for word in table]
    assert len(set(words)) == len(words) > 90


def test_every_setting_that_is_written_down_can_be_set():
    """As `name=value` on a page, of the page's algorithm; what was decided in docs/decisions/ may have changed."""
    docs = PROJECT / "docs"
    paths = [path for room in (".", "how-to", "tutorials") for path in (docs / room).glob("*.md")]
    pages = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    num_found = 0
    for stem, page in {"README": README, **pages}.items():
        for name, value in re.findall(r"`(\w+)=([^`\s]+)`", page):
            algorithm = value if name == "algorithm" else stem if stem in ALGORITHMS else DEFAULT
            config = find_algorithm(algorithm).config
            if name in config.model_fields:
                num_found += 1
                needed = {"head_init": "probe"} if (name, value) == ("epochs", "0") else {}
                if algorithm == "anomaly" and name in GanSettings.model_fields:
                    needed = {"scorer": "gan"}
                config.parse({**needed, name: value})
    assert num_found >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=["picture", "json"])
def test_an_example_request_is_answered_in_the_shape_it_shows(example: str, server: Server, tmp_path: Path):
    draw_picture(tmp_path / "picture.jpg", is_positive=True, seed=0)
    script = example.replace("localhost:8080", f"127.0.0.1:{server.port}")
    answer = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    shown = re.findall(r"^# (.*)$", example, flags=re.MULTILINE)[-1]
    assert shape(json.loads(answer.stdout)) == shape(json.loads(shown))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_and_heading_that_is_linked_to_exists(page: Path):
    text = (PROJECT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        target = (PROJECT / page).parent / path if path else PROJECT / page
        if "://" not in link:
            assert target.exists(), link
            assert not heading or heading in headings(target), link


def headings(page: Path) -> set[str]:
    """The anchors that a page has on GitHub: its headings in lower case, with hyphens, without punctuation."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.strip().lower()).replace(" ", "-") for line in lines}


def test_decisions_are_numbered_once_and_listed_in_their_order():
    folder = PROJECT / "docs/decisions"
    names = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert re.findall(r"\(([0-9]{4}-[^)]+)\)", (folder / "README.md").read_text(encoding="utf-8")) == names


def shape(answer: object) -> object:
    """An answer with its numbers and words replaced by their types."""
    if isinstance(answer, dict):
        return {name: shape(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [shape(value) for value in answer]
    return type(answer)
