"""Gathered: what the captured requests and answers amount to: samples and counts by the reference's names.

Scores and labels are those that clients were told; the images of the requests are measured again, as in training.
Nothing is kept of a request but numbers: no image, no metadata, no name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from lesion.algorithms.base import Reference
from lesion.data.decode.frames import noting
from lesion.data.decode.images import decode_when_it_fits
from lesion.drift.answers import Refusal, read_answers
from lesion.drift.captured import BadLine, Body, Exchange
from lesion.drift.job import Period
from lesion.errors import UserError
from lesion.read_ahead import read_ahead
from lesion.serve.records import Record
from lesion.serve.requests import decode

MOST_EXAMPLES = 5


@dataclass
class Gathered:
    """Samples and counts. `shares` has for each name how many images had it, and of how many it is known."""

    values: dict[str, list[float]] = field(default_factory=dict)
    shares: dict[str, list[int]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # images that were not answered, by the error's kind
    faults: Counter[str] = field(default_factory=Counter)  # what could not be used, by FAULTS
    examples: dict[str, list[str]] = field(default_factory=dict)  # the first of each fault
    num_lines: int = 0
    num_requests: int = 0  # of the period
    num_answers: int = 0  # images that were answered or refused
    num_images: int = 0  # that were measured
    num_outside: int = 0  # requests before or after the period
    num_cut: int = 0  # answers without all classes (top_k)
    first: datetime | None = None
    last: datetime | None = None

    def add_fault(self, fault: str, example: str) -> None:
        self.faults[fault] += 1
        examples = self.examples.setdefault(fault, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(example)

    def add(self, values: Iterable[tuple[str, float]], shares: Iterable[tuple[str, bool]]) -> None:
        for name, value in values:
            self.values.setdefault(name, []).append(value)
        for name, has_it in shares:
            count = self.shares.setdefault(name, [0, 0])
            count[0] += has_it
            count[1] += 1


BAD_LINE, FOREIGN, BAD_ANSWER, BAD_REQUEST, BAD_IMAGE = "line", "foreign", "answer", "request", "image"
FAULTS = {
    BAD_LINE: "lines that are not data capture",
    FOREIGN: "answers of another model",
    BAD_ANSWER: "answers that cannot be read",
    BAD_REQUEST: "requests that cannot be read",
    BAD_IMAGE: "images that cannot be read",
}
Measured = tuple[dict[str, float], dict[str, bool]]


@dataclass(frozen=True)
class Look:
    """What one exchange's request showed: the measures of each image, or why it cannot be read."""

    images: tuple[Measured | str, ...] = ()
    fault: str = ""


def gather(
    lines: Iterable[Exchange | BadLine], reference: Reference, *, period: Period = (None, None), num_cores: int = 1
) -> Gathered:
    """What the lines amount to. Lines, answers and images that cannot be used are counted, with the first reasons."""
    found = Gathered()
    looks = read_ahead(lambda one: (one, _look(one, reference, period)), lines, num_threads=num_cores)
    for exchange, look in looks:
        found.num_lines += 1
        if isinstance(exchange, BadLine):
            found.add_fault(BAD_LINE, f"{exchange.where}: {exchange.why}")
        elif look is None:
            found.num_outside += 1
        else:
            _add(found, exchange, look, reference)
    return found


def _add(found: Gathered, exchange: Exchange, look: Look, reference: Reference) -> None:
    found.num_requests += 1
    if (time := exchange.time) is not None:
        found.first, found.last = min(found.first or time, time), max(found.last or time, time)
    if look.fault:
        found.add_fault(BAD_REQUEST, look.fault)
    for image in look.images:
        if isinstance(image, str):
            found.add_fault(BAD_IMAGE, image)
        else:
            found.num_images += 1
            found.add(image[0].items(), image[1].items())
    if exchange.answer is not None:
        _add_answers(found, exchange.answer, reference)


def _add_answers(found: Gathered, body: Body, reference: Reference) -> None:
    try:
        answers = read_answers(body)
    except (ValueError, RecursionError, AttributeError) as error:
        found.add_fault(BAD_ANSWER, str(error)[:200])
        return
    for told in answers:
        found.num_answers += 1
        found.add([], [("refused", isinstance(told, Refusal))])
        if isinstance(told, Refusal):
            found.refusals[told.kind] += 1
            continue
        try:
            values, shares = reference.read_answer(told)
        except ValueError as error:
            found.add_fault(FOREIGN, str(error))
            continue
        found.num_cut += not values
        found.add(values.items(), shares.items())


def _look(one: Exchange | BadLine, reference: Reference, period: Period) -> Look | None:
    """The measures of an exchange's images; None where it is outside of the period."""
    if isinstance(one, BadLine):
        return None
    start, end = period
    if one.time is not None and ((start is not None and one.time < start) or (end is not None and one.time >= end)):
        return None
    if one.request is None:
        return Look()
    try:
        invocation = decode(
            one.request.content, one.request.media_type, metadata_columns=tuple(reference.metadata_columns)
        )
    except UserError as error:
        return Look(fault=str(error)[:200])
    return Look(tuple(_measures(record, reference) for record in invocation.records))


def _measures(record: Record | UserError, reference: Reference) -> Measured | str:
    """The values and shares of an image, or why it cannot be read; of a DICOM file with several frames the first that
    is answered."""
    if isinstance(record, UserError):
        return str(record)[:200]
    try:
        frame = record.frames(reference.dicom_frames, decode_px=reference.decode_px)[0]
        with noting() as noted:
            if isinstance(frame.picture, bytes):
                image_HWC = decode_when_it_fits(
                    frame.picture, name=frame.name, frame=frame.frame, decode_px=frame.decode_px
                )
            else:
                image_HWC = frame.pixels(max_pixels=frame.picture.size)
    except UserError as error:
        return str(error)[:200]
    values, shares = reference.read_image(image_HWC, noted.size_px or image_HWC.shape[:2])
    return dict(values), dict(shares)
