"""Figure: out-of-fold predictions as one picture: the ROC curve, and how the probabilities of both classes lie."""

# S samples

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from lesion.metrics import roc_auc


def draw_report(
    target_S: NDArray[np.float32],
    prob_S: NDArray[np.float32],
    interval: tuple[float, float],
    threshold: float,
    class_names: tuple[str, str],
) -> bytes:
    """A PNG of about 1,000 × 450 px.

    `interval` is the 95 % interval of the ROC AUC, `threshold` the stored decision point.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    curve, histogram = figure.subplots(1, 2)
    false_rate, true_rate, at = roc_curve(target_S, prob_S)
    chosen = int(np.argmin(np.abs(at - threshold)))
    curve.plot(false_rate, true_rate, color="#1b6ca8", linewidth=2)
    curve.fill_between(false_rate, true_rate, alpha=0.08, color="#1b6ca8")
    curve.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="chance")
    curve.plot(
        false_rate[chosen],
        true_rate[chosen],
        "o",
        color="#c0392b",
        label=f"threshold {threshold:.3f}: sensitivity {true_rate[chosen]:.2f}, "
        f"specificity {1 - false_rate[chosen]:.2f}",
    )
    curve.set(
        xlabel="1 − specificity",
        ylabel="sensitivity",
        xlim=(0, 1),
        ylim=(0, 1.01),
        title=f"ROC, out of fold: AUC {roc_auc(target_S, prob_S):.3f} (95 % {interval[0]:.3f} to {interval[1]:.3f})",
    )
    curve.legend(loc="lower right")
    bins = np.linspace(0, 1, 31)
    for value, color in ((0, "#1b6ca8"), (1, "#c0392b")):
        probs = prob_S[target_S == value]
        share = np.full(len(probs), 1 / len(probs))
        histogram.hist(
            probs, bins, weights=share, alpha=0.55, color=color, label=f"{class_names[value]} ({len(probs):,})"
        )
    histogram.axvline(threshold, color="#c0392b", linewidth=1, linestyle="--", label="threshold")
    histogram.set(
        xlabel=f"predicted probability of {class_names[1]}",
        ylabel="share of the class",
        xlim=(0, 1),
        title="Predictions",
    )
    histogram.legend()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()
