"""Documents: the files that facts become, by name: the page, the facts themselves with the dossier, and two cards.

An external evaluation has no cards: they tell how a model was made, and its training report knows that.
"""

from __future__ import annotations

import json

from lesion.report.facts import JSON, Facts
from lesion.report.guidelines import guidelines
from lesion.report.model_card import model_card, sagemaker_text
from lesion.report.page import render

PAGE, CARD, SAGEMAKER_CARD = "report.html", "model_card.md", "sagemaker_model_card.json"


def documents(facts: Facts) -> dict[str, str]:
    """The text of each file."""
    content = {**facts.model_dump(mode="json"), "guidelines": guidelines(facts)}
    texts = {JSON: json.dumps(content, indent=1) + "\n", PAGE: render(facts)}
    if facts.is_external:
        return texts
    return {
        **texts,
        CARD: model_card(facts),
        SAGEMAKER_CARD: sagemaker_text(facts),
    }
