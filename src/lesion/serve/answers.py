"""Answers: probabilities to the bytes that a client reads. Knows media types, no HTTP server."""

# F folds · K outputs

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from werkzeug.datastructures import MIMEAccept

from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.errors import UserError
from lesion.serve.attributes import Options
from lesion.serve.records import Form, Question

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MEDIA_TYPES = {JSON: JSON, LINES: LINES, CSV: CSV, "application/x-jsonlines": LINES}
# Lines in, lines out: batch transform puts the two together again.
DEFAULTS: dict[Form, str] = {"lines": LINES, "csv": CSV}
WEIGHT = re.compile(r"q\s*=\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
NUM_REASONS = 3  # told of a request of which no record can be answered
REASON_LETTERS = 300  # of each; SageMaker hands on the first 2,048 of an answer that is a refusal


@dataclass(frozen=True)
class Answer:
    """Each fold's probabilities of one picture [F, K]."""

    probs_FK: NDArray[np.float64]

    @property
    def probs_K(self) -> NDArray[np.float32]:
        """Their mean."""
        return np.asarray(self.probs_FK.mean(axis=0), dtype=np.float32)


@dataclass(frozen=True)
class About:
    """What details tell of the server: the model's version, which folds it asks, the request's id."""

    model: str
    folds: Sequence[int]
    request_id: str


def choose_accept(accept: str, form: Form) -> str:
    """The media type to answer with: what the client prefers, and where it leaves that open, what fits its request.

    Raises UserError of kind `accept` (406) for one that we do not write.
    """
    default = DEFAULTS.get(form, JSON)
    wanted = MIMEAccept(_wanted(accept))
    if not wanted:
        return default
    chosen = wanted.best_match([default, *MEDIA_TYPES])
    if chosen is None:
        raise UserError(
            f"Accept '{accept[:80]}' asks for what is not answered here",
            do=f"Send one of {', '.join(MEDIA_TYPES)}.",
            kind="accept",
        )
    return MEDIA_TYPES[chosen]


def _wanted(accept: str) -> Iterator[tuple[str, float]]:
    """The media types of an Accept header with their weights, 1 where none is given or none can be read.

    werkzeug's own parser drops what is not RFC 9110 to the letter, so that Java's default, which ends in
    `*; q=.2, */*; q=.2`, would ask for nothing that is answered. Parameters such as a charset are not chosen by.
    """
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [found[1] for part in parameters if (found := WEIGHT.fullmatch(part))]
        if kind:
            yield ("*/*" if kind == "*" else kind), min(float(weights[0]), 1.0) if weights else 1.0


def raise_if_none(answers: Sequence[Answer | UserError]) -> None:
    """Raises UserError where no picture of a request could be answered, with the first reasons: 400, and not 200."""
    errors = [answer for answer in answers if isinstance(answer, UserError)]
    if not errors or len(errors) < len(answers):
        return
    first = errors[0]
    if len(errors) == 1:  # another object: one that is raised again would keep this frame, and with it the records
        raise UserError(first.what, where=first.where, do=first.do, kind=first.kind)
    reasons = " ".join(str(error)[:REASON_LETTERS] for error in errors[:NUM_REASONS])
    more = f" The first {NUM_REASONS}:" if len(errors) > NUM_REASONS else ""
    is_one_kind = all(error.kind == first.kind for error in errors)
    raise UserError(
        f"none of the {len(errors)} records can be answered",
        do=f"Correct them.{more} {reasons}",
        kind=first.kind if is_one_kind else "bad_request",
    )


def encode(
    answers: Sequence[Answer | UserError],
    question: Question,
    model: ClassifierRecord,
    options: Options,
    about: About,
    *,
    media_type: str,
) -> bytes:
    """The answer of that media type. No newline at its end: batch transform adds one after each answer."""
    return ENCODERS[media_type](answers, question, model, options, about)


def _as_json(
    answers: Sequence[Answer | UserError], question: Question, model: ClassifierRecord, options: Options, about: About
) -> bytes:
    """{"predictions": [one object a picture]}; to the brief's payload its one object, or the bare probability of yes,
    as the brief's clients read it: `float(response)`."""
    if question.form == "payload" and not options.details and isinstance(answers[0], Answer):
        if model.question.is_yes_no:
            return json.dumps(_exact(_asked(answers[0].probs_K, model))).encode()
        return json.dumps(_prediction(answers[0], model, options, about)).encode()

    def prediction(answer: Answer, number: int) -> dict[str, Any]:
        return {**_prediction(answer, model, options, about), **_unused(question, number, options)}

    predictions = _each_or_error(answers, prediction)
    more = {"model": about.model, "request_id": about.request_id} if options.details else {}
    return json.dumps({"predictions": predictions, **more}).encode()


def _as_lines(
    answers: Sequence[Answer | UserError], question: Question, model: ClassifierRecord, options: Options, about: About
) -> bytes:
    """{"prediction": [a probability a class]} on each line, as the built-in image classification answers."""

    def line(answer: Answer, number: int) -> dict[str, Any]:
        probs = [_exact(prob) for prob in answer.probs_K]
        if model.question.kind == "binary":
            probs = [_exact(1 - probs[0]), probs[0]]
        if not options.details:
            return {"prediction": probs}
        rest = {**_prediction(answer, model, options, about), **_unused(question, number, options)}
        return {"prediction": probs, **rest, "model": about.model, "request_id": about.request_id}

    return "\n".join(map(json.dumps, _each_or_error(answers, line))).encode()


def _as_csv(
    answers: Sequence[Answer | UserError], _: Question, model: ClassifierRecord, __: Options, ___: About
) -> bytes:
    """A row a picture without a header: the probability of yes, or one a class, then the label or labels; for a picture
    that could not be answered ERROR, as many columns, and the error's kind."""
    num_answers = 1 if model.question.is_yes_no else model.question.num_outputs

    def cells(answer: Answer | UserError) -> list[object]:
        if isinstance(answer, UserError):
            return ["ERROR", *[""] * (num_answers - 1), answer.kind]
        probs = model.question.asked(answer.probs_K[None])[0]
        return [*map(_exact, probs), "|".join(model.labels(answer.probs_K))]

    return "\n".join(_row(cells(answer)) for answer in answers).encode()


def _row(cells: Sequence[object]) -> str:
    """A row without its end. Written with both signs of one, since the writer quotes those that it ends rows with."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


Encoder = Callable[[Sequence[Answer | UserError], Question, ClassifierRecord, Options, About], bytes]
ENCODERS: dict[str, Encoder] = {JSON: _as_json, LINES: _as_lines, CSV: _as_csv}


def _prediction(answer: Answer, model: ClassifierRecord, options: Options, about: About) -> dict[str, Any]:
    """What is asked first: "probability" of yes where that is the question, "probabilities" by class where there are
    several, and the "label", or the "labels" where any number can be true. Details: the same of each fold, and the
    spread between the least and the most that a fold says of what is answered."""
    target, labels = model.question, model.labels(answer.probs_K)
    told = _probabilities(answer.probs_K, model)
    if options.top_k is not None and "probabilities" in told:
        likeliest = sorted(told["probabilities"].items(), key=lambda item: -item[1])
        told["probabilities"] = dict(likeliest[: options.top_k])
    told |= {"labels": labels} if target.kind == "multilabel" else {"label": labels[0]}
    if options.details:
        folds = [_fold(probs_K.astype(np.float32), model) for probs_K in answer.probs_FK]
        spread_K = np.ptp(answer.probs_FK, axis=0)
        if target.kind == "multilabel":
            spread: Any = dict(zip(target.class_names, map(_exact, spread_K), strict=True))
        elif target.is_yes_no:
            spread = _exact(_asked(spread_K, model))
        else:
            spread = _exact(spread_K[answer.probs_K.argmax()])
        told |= {"folds": {str(fold): of_fold for fold, of_fold in zip(about.folds, folds, strict=True)}}
        told |= {"spread": spread}
    return told


def _probabilities(probs_K: NDArray[np.float32], model: ClassifierRecord) -> dict[str, Any]:
    target = model.question
    told: dict[str, Any] = {}
    if target.is_yes_no:
        told["probability"] = _exact(_asked(probs_K, model))
    if target.kind != "binary":
        told["probabilities"] = dict(zip(target.class_names, map(_exact, probs_K), strict=True))
    return told


def _fold(probs_K: NDArray[np.float32], model: ClassifierRecord) -> Any:
    told = _probabilities(probs_K, model)
    return told["probability"] if "probability" in told else told["probabilities"]


def _unused(question: Question, number: int, options: Options) -> dict[str, Any]:
    """What came with a picture and was not used, where details are asked for and there is some."""
    unused = question.unused_of(number) if options.details else ()
    return {"unused": list(unused)} if unused else {}


def _each_or_error(
    answers: Sequence[Answer | UserError], write: Callable[[Answer, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {"error": {"kind": answer.kind, "message": str(answer)}}
        if isinstance(answer, UserError)
        else write(answer, number)
        for number, answer in enumerate(answers)
    ]


def _asked(values_K: NDArray[Any], model: ClassifierRecord) -> float:
    return float(model.question.asked(values_K[None])[0, 0])


def _exact(value: float | np.floating[Any]) -> float:
    """A float32 in the digits that bring it back, not those of its double."""
    return float(f"{float(value):.9g}")
