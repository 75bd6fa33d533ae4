"""Metric lines: what anomaly detection reports in the log for SageMaker."""

from __future__ import annotations

from lesion.metric_lines import MetricLine, by_name

# `validation:` over the held-out rows, `test:` over a labelled test set.
METRIC_LINES = by_name(
    MetricLine(f"{rows}:{name}", better)  # type: ignore[arg-type]
    for rows in ("validation", "test")
    for name, better in (
        ("false_positive_rate", "lower"),
        ("roc_auc", "higher"),
        ("pixel_roc_auc", "higher"),
    )
)
