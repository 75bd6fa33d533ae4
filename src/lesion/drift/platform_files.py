"""Platform files: what SageMaker Model Monitor reads of a monitoring container, in its own schemas. Pure.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from lesion.drift.compared import Comparison, Violation, num_compared
from lesion.drift.gathered import Gathered

VIOLATIONS, STATISTICS = "constraint_violations.json", "statistics.json"
NUM_BUCKETS = 10
MOST_METRIC_LETTERS = 255  # of a name in CloudWatch


def violations_json(violations: Sequence[Violation]) -> dict[str, Any]:
    """constraint_violations.json."""
    return {"violations": [asdict(violation) for violation in violations]}


def statistics_json(found: Gathered) -> dict[str, Any]:
    """statistics.json: of each value that was measured its moments and a histogram; of each share a number of 0 or 1
    for every image."""
    features = [_feature(name, np.array(values)) for name, values in found.values.items()]
    for name, (hits, num) in found.shares.items():
        features.append(_feature(name, np.repeat([0.0, 1.0], [num - hits, hits])))
    return {"version": 0, "dataset": {"item_count": found.num_answers}, "features": features}


def _feature(name: str, values_N: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    counts_B, edges_B = np.histogram(values_N, bins=NUM_BUCKETS)
    buckets = [
        {"lower_bound": low, "upper_bound": high, "count": float(count)}
        for low, high, count in zip(edges_B[:-1].tolist(), edges_B[1:].tolist(), counts_B.tolist(), strict=True)
    ]
    return {
        "name": name,
        "inferred_type": "Fractional",
        "numerical_statistics": {
            "common": {"num_present": len(values_N), "num_missing": 0},
            "mean": float(values_N.mean()),
            "sum": float(values_N.sum()),
            "std_dev": float(values_N.std()),
            "min": float(values_N.min()),
            "max": float(values_N.max()),
            "distribution": {"kll": {"buckets": buckets}},
        },
    }


def metric_rows(
    comparisons: Sequence[Comparison], violations: Sequence[Violation], *, time: datetime, dimensions: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A line of cloudwatch_metrics.jsonl for each index of drift, and for the number of violations.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
    """
    values = {f"drift_{one.name}": one.difference.size for one in comparisons if one.difference is not None}
    listed = [{"Name": name, "Value": value} for name, value in dimensions.items() if value]
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {"MetricName": _metric_name(name), "Timestamp": told, "Dimensions": listed, "Value": float(value)}
        for name, value in {**values, "drift_violations": len(violations)}.items()
    ]


def _metric_name(name: str) -> str:
    """Class names are the user's; CloudWatch takes ASCII."""
    return name.encode("ascii", "replace").decode()[:MOST_METRIC_LETTERS]


def exit_message(comparisons: Sequence[Comparison], violations: Sequence[Violation], *, verdict: str) -> str:
    """What the job's ExitMessage says, as the platform's own container words it; where nothing was compared, the
    `verdict` too."""
    if violations:
        told = f"CompletedWithViolations: Job completed successfully with {len(violations)} violations."
    else:
        told = "Completed: Job completed successfully with no violations."
    return told if num_compared(comparisons) else f"{told} {verdict}"
