"""Own headers: what an answer's headers say of it: of which class the probability is, and what was sent and not used.

SageMaker's router strips all headers of the container but one, so that one says the same (InvokeEndpoint,
CustomAttributes: up to 1,024 characters of visible ASCII).
"""

from __future__ import annotations

from urllib.parse import quote

from lesion.algorithms.base import Predictor
from lesion.words import shortened

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MAX_ATTRIBUTES = 1024  # characters
POSITIVE_CLASS = "X-Lesion-Positive-Class"  # the class that a probability is of
MAX_CLASS_LETTERS = 80  # of its name, each up to 12 characters once it is escaped
UNUSED = "X-Lesion-Unused"  # names of what was sent and not used


def escaped_positive_class(predictor: Predictor) -> str:
    """The class that the predictor's probability is of, as a header can hold it; "" where each class has its own.

    UTF-8 in %-escapes (RFC 3986), and cut after MAX_CLASS_LETTERS.
    """
    question = predictor.describe().get("question")
    name = question.get("positive_class") if isinstance(question, dict) else None
    return "" if name is None else quote(shortened(name, MAX_CLASS_LETTERS), safe="", errors="replace")


def own_headers(positive_class: str, unused: str, *, attributes: str = "") -> dict[str, str]:
    """The headers of an answer. `positive_class` and `unused` are escaped; "" for what there is not.

    `attributes` are the client's own: they are returned unchanged, and then the router hands nothing of ours on.
    """
    headers = {POSITIVE_CLASS: positive_class, UNUSED: unused}
    headers[CUSTOM_ATTRIBUTES] = attributes or _attributes(positive_class, unused)
    return {name: value for name, value in headers.items() if value}


def _attributes(positive_class: str, unused: str) -> str:
    """ "positive_class=malignant; unused=weight:unknown_field", with as many of the names as there is room for."""
    said = f"positive_class={positive_class}" if positive_class else ""
    names = unused.split(",") if unused else []
    for num_said in range(len(names), -1, -1):
        left = [f"{len(names) - num_said}_more"] if num_said < len(names) else []
        parts = [said] if said else []
        parts += [f"unused={','.join([*names[:num_said], *left])}"] if names else []
        if len(line := "; ".join(parts)) <= MAX_ATTRIBUTES:
            return line
    return said
