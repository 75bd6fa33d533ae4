"""What a server applies of an evaluation loads and runs where neither scipy, scikit-learn, pandas nor torch exists."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for name in ("scipy", "sklearn", "pandas", "torch"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from lesion.evaluation.calibrators import Calibrator, OutputMap, shift_prior
from lesion.evaluation.conformal import PredictionSets, two_classes
from lesion.evaluation.familiarity import Familiarity
from lesion.evaluation.operating_points import RocCurve, parse_spec, resolve
from lesion.evaluation.pooling import Pooling
from lesion.evaluation.selective import certainty_of_point

probs_FK = np.array([[0.2], [0.6]])
calibrator = Calibrator(False, (OutputMap("isotonic", 0.05, 0.0, (-1.0, 1.0), (-2.0, 0.5)),))
pooled_K = Pooling(False, (0.0,)).apply(probs_FK)
prob_K = shift_prior(calibrator.apply(pooled_K), [0.3], [0.1], is_multiclass=False)
point = resolve(RocCurve((0.5, 0.1), (0.5, 1.0), (0.0, 0.5), 2, 2), parse_spec("sensitivity=0.9"))
PredictionSets("lac", 0.9, (0.5,), (99,)).apply(two_classes(prob_K[0]))
certainty_of_point(prob_K, point.threshold)
"""


def test_serving_needs_numpy_alone():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
