"""Documents: the files that facts become, by name: the page, the facts themselves with the dossier, and two cards."""

from __future__ import annotations

import json
from pathlib import Path

from lesion.files import make_folder, write_atomic
from lesion.report.facts import JSON, Facts
from lesion.report.guidelines import guidelines
from lesion.report.model_card import model_card, sagemaker_card
from lesion.report.page import render

PAGE, CARD, SAGEMAKER_CARD = "report.html", "model_card.md", "sagemaker_model_card.json"


def documents(facts: Facts) -> dict[str, str]:
    """The text of each file."""
    content = {**facts.model_dump(mode="json"), "guidelines": guidelines(facts)}
    return {
        JSON: json.dumps(content, indent=1) + "\n",
        PAGE: render(facts),
        CARD: model_card(facts),
        SAGEMAKER_CARD: json.dumps(sagemaker_card(facts), indent=1) + "\n",
    }


def write_documents(folder: Path, facts: Facts) -> None:
    """Writes the files, each complete or absent. Raises PlatformError where the disk refuses."""
    make_folder(folder)
    for name, text in documents(facts).items():
        write_atomic(folder / name, text.encode())
