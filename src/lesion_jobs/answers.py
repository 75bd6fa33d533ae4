"""Answers: what an endpoint or a batch answered of an image, read from its bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lesion.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """An endpoint's prediction of one picture: binary, multiclass or multilabel; or how anomalous it is."""

    probability: float | None  # of the positive class; None for multiclass and multilabel, and of anomalies
    label: str | None  # none where metadata was sent, which is answered with a bare probability, and where `labels` are
    probabilities: Mapping[str, float] = field(default_factory=dict)  # of each of several classes
    labels: tuple[str, ...] = ()  # where any number can be true: those that are
    anomaly_score: float | None = None  # 0 to 1, of algorithm=anomaly alone, as what follows
    is_anomalous: bool | None = None
    anomalous_fraction: float | None = None  # of the picture


def decode_answer(body: bytes, *, where: object) -> Prediction:
    """The prediction in an answer, of either shape. Raises UserError for an error's body.

    The SDK's local mode hands those over as if they were answers.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return Prediction(float(answer), None)
    match answer:
        case {"predictions": [one]}:
            answer = one
    match answer:
        case {"probabilities": dict() as probabilities, "labels": list() as labels}:
            return Prediction(None, None, probabilities, tuple(labels))
        case {"probabilities": dict() as probabilities, "label": str() as label}:
            return Prediction(answer.get("probability"), label, probabilities)
        case {"probability": float() | int() as probability, "label": str() as label}:
            return Prediction(float(probability), label)
        case {"anomaly_score": float() | int() as score, "is_anomalous": bool() as is_anomalous}:
            fraction = answer.get("anomalous_fraction")
            return Prediction(
                None, None, anomaly_score=float(score), is_anomalous=is_anomalous, anomalous_fraction=fraction
            )
        case {"error": str() as kind, "message": str() as message}:
            raise UserError("the endpoint refused", where=where, do=message, kind=kind)
    words = body[:200].decode(errors="replace")
    raise UserError(f"the answer is not Lesion's: {words}", where=where, do="See the endpoint's logs.")
