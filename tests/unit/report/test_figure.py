"""Figure: any name can be drawn, and is drawn as it is written; a picture that cannot be drawn is a warning."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.errors import PlatformError, UserError
from lesion.report.figure import draw_roc, try_to_draw
from lesion.targets import Target, TaskType

WORDS = (
    *(r"costs $5_$", "under $1_0$", r"\frac", "$$", r"$\frac{1}{0}$", "%s", "{x}", "<b>", "_a_", "^_", "a&b#~"),
    *("🔬👩‍⚕️", "良性", "شامة", "\u202eabc\u200f", "a\nb\r", "n\0ul", "\x1b[31mred", "caf\udce9", "x" * 10_000, ""),
)


def roc(kind: TaskType, names: tuple[str, ...]) -> bytes:
    """The curves of as many rows of each class, and probabilities that say nothing. Warnings fail, as in all tests."""
    num_outputs = 1 if kind == "binary" else len(names)
    rows = np.arange(10 * len(names))
    if kind == "binary":
        targets_SK = (rows % 2).astype(np.float32)[:, None]
    else:
        targets_SK = (rows[:, None] % len(names) == np.arange(num_outputs)).astype(np.float32)
    probs_SK = np.random.default_rng(0).random((len(rows), num_outputs), np.float32)
    picture_HWC = draw_roc(Target(kind, names), targets_SK, probs_SK)
    assert picture_HWC.shape == (600, 600, 3)
    return picture_HWC.tobytes()


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("names", [WORDS[:11], WORDS[11:]], ids=["signs", "letters"])
def test_any_words_are_names_of_classes(kind, names):
    assert roc(kind, names)


@pytest.mark.parametrize(("one", "other"), [("_a_", "_b_"), ("$a$", "$b$"), ("$a$", "a"), (r"\alpha", r"\beta")])
def test_what_is_written_is_what_is_seen(one, other):
    assert roc("multiclass", (one, "x", "y")) != roc("multiclass", (other, "x", "y"))


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

    assert try_to_draw("the report", draw) is None
    [said] = caplog.messages
    assert said.startswith("the report cannot be drawn; all other results are written:") and str(error) in said


def test_a_bug_is_no_warning():
    with pytest.raises(KeyError):
        try_to_draw("the report", lambda: {}["a"])
