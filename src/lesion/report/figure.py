"""Figure: report.png from all out-of-fold predictions: examples, ROC curve, distribution; ROC curves for TensorBoard.

Class names are drawn literally: not as mathematics, and long ones are cut.
"""

# H, W pixels · S samples · K outputs · Q outputs that are judged

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion.data.images import Pixels
from lesion.errors import LesionError
from lesion.evaluation.metrics import roc_auc
from lesion.targets import Target
from lesion.words import shortened

log = logging.getLogger(__name__)
T = TypeVar("T")

COLORS = ("#1b6ca8", "#c0392b")  # no, yes
NUM_EXAMPLES = 6  # of each class
MAX_ROWS = 6  # of examples: more classes than these are drawn as curves and in the matrix only
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


def draw_report(
    target: Target,
    targets_SK: NDArray[np.float32],
    probs_SK: NDArray[np.float32],
    overall: Mapping[str, Any],
    *,
    read: Callable[[int], Pixels],
) -> bytes:
    """A PNG about 1,000 px wide. `overall` are the metrics of these rows, `read` gives the picture of a row as the
    network sees it."""
    outcomes = _outcomes(target, target.judged_columns(targets_SK), target.judged_columns(probs_SK))
    num_rows = min(len(outcomes), MAX_ROWS)
    with _canvas(width=10, height=4.5 + 1.75 * num_rows) as canvas:
        halves: Any = canvas.figure.subfigures(2, 1, height_ratios=[1.75 * num_rows, 4.5])
        _draw_examples(halves[0], outcomes[:num_rows], read)
        left, right = halves[1].subplots(1, 2)
        if target.has_binary_answer:
            no, yes = outcomes
            interval = overall["interval_95"].get("roc_auc", (np.nan, np.nan))
            _draw_roc(left, yes, interval, overall["thresholds"][0])
            _draw_histogram(right, yes.is_S, yes.prob_S, overall["thresholds"][0], (no.name, yes.name))
        else:
            _draw_curves(left, outcomes, overall)
            if target.has_multiclass_answer:
                names = [outcome.name for outcome in outcomes]
                _draw_confusion(right, names, targets_SK.argmax(axis=1), probs_SK.argmax(axis=1))
            else:
                _draw_label_counts(right, outcomes)
        png = io.BytesIO()
        canvas.figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


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


def _draw_examples(figure: Any, outcomes: Sequence[_Outcome], read: Callable[[int], Pixels]) -> None:
    """A row of pictures for each class, from least to most probable, at even steps of rank: none is picked by eye."""
    what = outcomes[1].name if len(outcomes) == 2 else "their class"
    figure.suptitle(f"Held-out images and their predicted probability of {what}", fontsize=11)
    axes = figure.subplots(len(outcomes), NUM_EXAMPLES, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, (outcome, row_of_axes) in enumerate(zip(outcomes, axes, strict=True)):
        rows = np.flatnonzero(outcome.is_S)
        if not len(rows):
            continue
        ranked = rows[np.argsort(outcome.prob_S[rows], kind="stable")]
        chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, NUM_EXAMPLES).round().astype(int))]
        color = COLORS[number] if len(outcomes) == 2 else COLORS[0]
        for axis, row in zip(row_of_axes, chosen.tolist(), strict=False):
            axis.imshow(read(row))
            axis.set_title(f"{shortened(outcome.name, 18)} · {outcome.prob_S[row]:.2f}", color=color, fontsize=9)


def _draw_curves(axis: Any, outcomes: Sequence[_Outcome], overall: Mapping[str, Any]) -> None:
    """The ROC curve of each class against the rest."""
    _draw_roc_lines(axis, outcomes)
    mean = overall["metrics"].get("roc_auc", float("nan"))
    low, high = overall["interval_95"].get("roc_auc", (float("nan"), float("nan")))
    title = f"ROC, out of fold: mean AUC {mean:.3f} (95 % {low:.3f} to {high:.3f})"
    axis.set_title(title, fontsize=10)


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


def _draw_confusion(axis: Any, names: Sequence[str], true_S: NDArray[np.intp], answered_S: NDArray[np.intp]) -> None:
    """How often each class was taken for which: counts, coloured by the share of the true class."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(true_S, answered_S, labels=range(len(names)))
    axis.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            is_dark = count > 0.5 * counts[row].sum()
            axis.text(
                column, row, f"{count:,}", ha="center", va="center", color="white" if is_dark else "black", size=8
            )
        short = [shortened(name, 16) for name in names]
        axis.set_xticks(range(len(names)), short, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(names)), short, fontsize=8)
    right = np.mean(true_S == answered_S)
    axis.set(xlabel="answer", ylabel="truth", title=f"Accuracy, out of fold: {right:.3f}")


def _draw_label_counts(axis: Any, outcomes: Sequence[_Outcome]) -> None:
    """How many pictures have each label, beside how many the probabilities add up to."""
    places = np.arange(len(outcomes))
    axis.barh(places - 0.2, [outcome.is_S.sum() for outcome in outcomes], 0.4, color=COLORS[0], label="true")
    axis.barh(places + 0.2, [outcome.prob_S.sum() for outcome in outcomes], 0.4, color=COLORS[1], label="predicted")
    axis.set_yticks(places, [outcome.name for outcome in outcomes], fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel="images with the label", title="Labels, out of fold")
    axis.legend()


def _draw_roc(
    axis: Any,
    yes: _Outcome,
    interval: tuple[float, float],
    threshold: float,
) -> None:
    """The ROC curve of the positive class, which the title names, with the threshold's place on it."""
    from sklearn.metrics import roc_curve

    target_S, prob_S = yes.is_S, yes.prob_S
    false_rate, true_rate, _ = roc_curve(target_S, prob_S)
    sensitivity = np.mean(prob_S[target_S == 1] >= threshold)
    specificity = np.mean(prob_S[target_S == 0] < threshold)
    axis.plot(false_rate, true_rate, color=COLORS[0], linewidth=2)
    axis.fill_between(false_rate, true_rate, alpha=0.08, color=COLORS[0])
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="chance")
    label = f"threshold {threshold:.3f}: sensitivity {sensitivity:.2f}, specificity {specificity:.2f}"
    axis.plot(1 - specificity, sensitivity, "o", color=COLORS[1], label=label)
    auc = f"AUC {roc_auc(target_S.astype(np.float32), prob_S):.3f} (95 % {interval[0]:.3f} to {interval[1]:.3f})"
    axis.set(
        xlabel="1 − specificity",
        ylabel=f"sensitivity for {yes.name}",
        xlim=(0, 1),
        ylim=(0, 1.01),
        title=f"ROC, out of fold: {auc}",
    )
    axis.legend(loc="lower right")


def _draw_histogram(
    axis: Any,
    target_S: NDArray[np.bool_],
    prob_S: NDArray[np.float32],
    threshold: float,
    class_names: tuple[str, str],
) -> None:
    bins = np.linspace(0, 1, 31)
    marks, labels = [], []
    for value, color in enumerate(COLORS):
        probs = prob_S[target_S == value]
        share = np.full(len(probs), 1 / len(probs))
        labels.append(f"{class_names[value]} ({len(probs):,})")
        marks.append(axis.hist(probs, bins, weights=share, alpha=0.55, color=color)[2][0])
    marks.append(axis.axvline(threshold, color=COLORS[1], linewidth=1, linestyle="--"))
    axis.set(
        xlabel=f"predicted probability of {class_names[1]}",
        ylabel="share of the class",
        xlim=(0, 1),
        title="Predictions, out of fold",
    )
    _draw_legend(axis, marks, [*labels, "threshold"])
