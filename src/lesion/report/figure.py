"""Figure: out-of-fold predictions as one picture: examples of both classes, ROC curve, spread of probabilities."""

# H, W pixels · S samples

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.images import Pixels
from lesion.metrics import roc_auc

COLORS = ("#1b6ca8", "#c0392b")  # class 0, class 1
NUM_EXAMPLES = 6  # of each class


def draw_report(
    target_S: NDArray[np.float32],
    prob_S: NDArray[np.float32],
    *,
    interval: tuple[float, float],
    threshold: float,
    class_names: tuple[str, str],
    read: Callable[[int], Pixels],
) -> bytes:
    """A PNG of about 1,000 × 800 px.

    `interval` is the 95 % interval of the ROC AUC, `threshold` the stored decision point, `read` gives the picture of
    a row as the network sees it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=[3.5, 4.5])
    _draw_examples(halves[0], target_S, prob_S, class_names, read)
    curve, histogram = halves[1].subplots(1, 2)
    _draw_roc(curve, target_S, prob_S, interval, threshold)
    _draw_histogram(histogram, target_S, prob_S, threshold, class_names)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


def _draw_examples(
    figure: Any,
    target_S: NDArray[np.float32],
    prob_S: NDArray[np.float32],
    class_names: tuple[str, str],
    read: Callable[[int], Pixels],
) -> None:
    """A row of pictures for each class, from least to most probable, at even steps of rank: none is picked by eye."""
    figure.suptitle(f"Held-out pictures and their predicted probability of {class_names[1]}", fontsize=11)
    axes = figure.subplots(2, NUM_EXAMPLES, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for value in (0, 1):
        rows = np.flatnonzero(target_S == value)
        ranked = rows[np.argsort(prob_S[rows], kind="stable")]
        chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, NUM_EXAMPLES).round().astype(int))]
        for axis, row in zip(axes[value], chosen.tolist(), strict=False):
            axis.imshow(read(row))
            axis.set_title(f"{class_names[value]} · {prob_S[row]:.2f}", color=COLORS[value], fontsize=9)


def _draw_roc(
    axis: Any,
    target_S: NDArray[np.float32],
    prob_S: NDArray[np.float32],
    interval: tuple[float, float],
    threshold: float,
) -> None:
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve(target_S, prob_S)
    sensitivity = np.mean(prob_S[target_S == 1] >= threshold)
    specificity = np.mean(prob_S[target_S == 0] < threshold)
    axis.plot(false_rate, true_rate, color=COLORS[0], linewidth=2)
    axis.fill_between(false_rate, true_rate, alpha=0.08, color=COLORS[0])
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="chance")
    label = f"threshold {threshold:.3f}: sensitivity {sensitivity:.2f}, specificity {specificity:.2f}"
    axis.plot(1 - specificity, sensitivity, "o", color=COLORS[1], label=label)
    auc = f"AUC {roc_auc(target_S, prob_S):.3f} (95 % {interval[0]:.3f} to {interval[1]:.3f})"
    axis.set(
        xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01), title=f"ROC, out of fold: {auc}"
    )
    axis.legend(loc="lower right")


def _draw_histogram(
    axis: Any,
    target_S: NDArray[np.float32],
    prob_S: NDArray[np.float32],
    threshold: float,
    class_names: tuple[str, str],
) -> None:
    bins = np.linspace(0, 1, 31)
    for value, color in enumerate(COLORS):
        probs = prob_S[target_S == value]
        share = np.full(len(probs), 1 / len(probs))
        label = f"{class_names[value]} ({len(probs):,})"
        axis.hist(probs, bins, weights=share, alpha=0.55, color=color, label=label)
    axis.axvline(threshold, color=COLORS[1], linewidth=1, linestyle="--", label="threshold")
    axis.set(
        xlabel=f"predicted probability of {class_names[1]}",
        ylabel="share of the class",
        xlim=(0, 1),
        title="Predictions, out of fold",
    )
    axis.legend()
