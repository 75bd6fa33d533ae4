"""Metric lines: what the classifier reports in the log for SageMaker."""

from __future__ import annotations

from lesion.evaluation.metric_names import BETTER
from lesion.metric_lines import MetricLine, by_name

# Told apart by their first word, since a tuner takes the latest value under a name: `epoch:` comes once an epoch of
# each fold, `fold:` once a fold, `validation:` once a job, over all out-of-fold rows, `test:` for a labelled test set.
METRIC_LINES = by_name(
    (
        MetricLine("epoch:train_loss", "lower"),
        *(MetricLine(f"epoch:{name}", better) for name, better in BETTER.items()),
        MetricLine("epoch:lr", None, num_decimals=9),
        MetricLine("epoch:images_per_s", "higher"),
        MetricLine("epoch:wait_share", "lower"),  # of the training loop's time, in 0 to 1
        *(MetricLine(f"fold:{name}", better) for name, better in BETTER.items()),
        *(MetricLine(f"validation:{name}", better) for name, better in BETTER.items()),
        *(MetricLine(f"test:{name}", better) for name, better in BETTER.items()),
    )
)
