"""Figure: ROC curves as a picture, for TensorBoard, which shows no SVG. The report's charts are in svg.py.

Class names are drawn literally: not as mathematics, and long ones are cut.
"""

# S samples · K outputs · Q outputs that are judged

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.errors import LesionError
from lesion.evaluation.metrics import roc_auc
from lesion.targets import Target
from lesion.words import shortened

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_NAME = 24  # characters of a class
# What can come of drawing that is no bug: a picture that cannot be read any more; fonts or matplotlib's folders that
# cannot; no memory; and what FreeType, Agg and the layout say of text or sizes that they have no room for.
UNDRAWN = (LesionError, OSError, MemoryError, ValueError, RuntimeError, ArithmeticError)


def try_to_draw(what: str, draw: Callable[[], T]) -> T | None:
    """What `draw` returns, or None and a warning: no job whose work is done ends for a picture."""
    try:
        return draw()
    except UNDRAWN as error:
        log.warning("%s cannot be drawn; all other results are written: %s: %s", what, type(error).__name__, error)
        return None


def draw_roc(target: Target, targets_SK: NDArray[np.float32], probs_SK: NDArray[np.float32]) -> Pixels:
    """The ROC curve of yes, or of each class against the rest, as uint8 RGB [600, 600, 3]."""
    outcomes = _outcomes(target, target.judged_columns(targets_SK), target.judged_columns(probs_SK))
    with _canvas(width=6, height=6) as canvas:
        _draw_roc_lines(canvas.figure.subplots(), outcomes[1:] if target.has_binary_answer else outcomes)
        canvas.draw()
        rgba_HWC = np.asarray(canvas.buffer_rgba())
    return np.ascontiguousarray(rgba_HWC[:, :, :3])


@contextmanager
def _canvas(*, width: float, height: float) -> Iterator[Any]:
    """A canvas of this size in inches, independent of the user's matplotlibrc.

    Letters that no font has are drawn as boxes, without a warning for each.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield FigureCanvasAgg(Figure(figsize=(width, height), layout="constrained"))


@dataclass(frozen=True)
class _Outcome:
    """One thing that can be true of a picture: its name, short enough to be drawn, of which rows it is, and the
    probability each was given."""

    name: str
    is_S: NDArray[np.bool_]
    prob_S: NDArray[np.float32]


def _outcomes(target: Target, judged_SQ: NDArray[np.float32], prob_SQ: NDArray[np.float32]) -> list[_Outcome]:
    """No and yes, each with the probability of yes; or each class with its own."""
    if target.has_binary_answer:
        pairs = enumerate(target.answer_names)
        return [_Outcome(shortened(n, MAX_NAME), judged_SQ[:, 0] == value, prob_SQ[:, 0]) for value, n in pairs]
    names = enumerate(target.class_names)
    return [_Outcome(shortened(n, MAX_NAME), judged_SQ[:, q] == 1, prob_SQ[:, q]) for q, n in names]


def _draw_roc_lines(axis: Any, outcomes: Sequence[_Outcome]) -> None:
    """A curve for each outcome that some rows are and some are not, with its area."""
    from sklearn.metrics import roc_curve

    curves, labels = [], []
    for outcome in outcomes:
        if outcome.is_S.any() and not outcome.is_S.all():
            false_rate, true_rate, _ = roc_curve(outcome.is_S, outcome.prob_S)
            area = roc_auc(outcome.is_S.astype(np.float32), outcome.prob_S)
            curves += axis.plot(false_rate, true_rate, linewidth=1.5)
            labels.append(f"{outcome.name}: {area:.3f}")
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":")
    axis.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    if len(outcomes) <= 12 and curves:  # no curve, no legend
        _draw_legend(axis, curves, labels, loc="lower right", fontsize=8)


def _draw_legend(axis: Any, marks: Sequence[Any], labels: Sequence[str], **style: Any) -> None:
    """A legend with all labels. matplotlib itself leaves out those that begin with an underscore."""
    legend = axis.legend(marks, ["label"] * len(marks), **style)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)
