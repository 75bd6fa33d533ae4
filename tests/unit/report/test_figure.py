"""Figure: any name can be drawn, and is drawn as it is written; a picture that cannot be drawn is a warning."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.data.images import Pixels
from lesion.errors import PlatformError, UserError
from lesion.report.figure import draw_report, draw_roc, try_to_draw
from lesion.targets import Target, TaskType

WORDS = (
    *(r"costs $5_$", "under $1_0$", r"\frac", "$$", r"$\frac{1}{0}$", "%s", "{x}", "<b>", "_a_", "^_", "a&b#~"),
    *("🔬👩‍⚕️", "良性", "شامة", "\u202eabc\u200f", "a\nb\r", "n\0ul", "\x1b[31mred", "caf\udce9", "x" * 10_000, ""),
)


def picture(_row: int) -> Pixels:
    return np.full((40, 40, 3), 127, np.uint8)


def report(kind: TaskType, names: tuple[str, ...]) -> bytes:
    """Of as many rows of each class, and probabilities that say nothing. Warnings fail, as in all tests."""
    num_outputs = 1 if kind == "binary" else len(names)
    rows = np.arange(10 * len(names))
    if kind == "binary":
        targets_SK = (rows % 2).astype(np.float32)[:, None]
    else:
        targets_SK = (rows[:, None] % len(names) == np.arange(num_outputs)).astype(np.float32)
    probs_SK = np.random.default_rng(0).random((len(rows), num_outputs), np.float32)
    overall = {"interval_95": {}, "metrics": {}, "thresholds": [0.5] * num_outputs}
    target = Target(kind, names)
    assert draw_roc(target, targets_SK, probs_SK).shape == (600, 600, 3)
    return draw_report(target, targets_SK, probs_SK, overall, read=picture)


@pytest.mark.parametrize("first", range(0, len(WORDS) - 1, 2))
def test_any_two_words_are_names_of_no_and_yes(first):
    assert report("binary", WORDS[first : first + 2]).startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("names", [WORDS[:11], WORDS[11:]], ids=["signs", "letters"])
def test_any_words_are_names_of_classes(kind, names):
    assert report(kind, names).startswith(b"\x89PNG")


@pytest.mark.parametrize(("one", "other"), [("_a_", "_b_"), ("$a$", "$b$"), ("$a$", "a"), (r"\alpha", r"\beta")])
def test_what_is_written_is_what_is_seen(one, other):
    assert report("multiclass", (one, "x", "y")) != report("multiclass", (other, "x", "y"))


@pytest.mark.parametrize(
    "error",
    [
        UserError("the picture is gone", do="Bring it back."),
        PlatformError("the disk is gone", do="Mount it."),
        OSError(30, "Read-only file system"),
        ValueError("Image size is too large"),
        RuntimeError("FreeType: cannot open resource"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_drawn_is_a_warning(error, caplog):
    def draw() -> bytes:
        raise error

    assert try_to_draw("report.png", draw) is None
    [said] = caplog.messages
    assert said.startswith("report.png cannot be drawn; all other results are written:") and str(error) in said


def test_a_bug_is_no_warning():
    with pytest.raises(KeyError):
        try_to_draw("report.png", lambda: {}["a"])
