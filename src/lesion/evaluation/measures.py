"""Measures: what each number of a judgement means: which way is better, its range, and who defined it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MIN_SENSITIVITY = 0.8  # of ISIC 2024's partial area
RATES = (0.9, 0.95)  # at which the other rate is told
TOP = (2, 3, 5)  # classes that may hold the true one


@dataclass(frozen=True)
class Measure:
    """A number in `low` to `high`; `source` is the paper that defines it."""

    better: Literal["higher", "lower"]
    low: float
    high: float
    source: str


RANKED = {  # of the order of the probabilities alone; a row's label plays no part
    "roc_auc": Measure("higher", 0, 1, "Mann & Whitney 1947; Hanley & McNeil 1982"),
    "average_precision": Measure("higher", 0, 1, "step sum over recall, as scikit-learn"),
    "partial_auc": Measure("higher", 0, 1 - MIN_SENSITIVITY, "ISIC 2024: area above 80 % sensitivity"),
    "partial_auc_scaled": Measure("higher", 0, 1, "ISIC 2024's area ÷ 0.2"),
    **{
        f"sensitivity_at_{rate * 100:.0f}_specificity": Measure("higher", 0, 1, "Pepe 2003, ch. 4.3: ROC(1 − rate)")
        for rate in RATES
    },
    **{
        f"specificity_at_{rate * 100:.0f}_sensitivity": Measure("higher", 0, 1, "Pepe 2003, ch. 4.3: 1 − ROC⁻¹(rate)")
        for rate in RATES
    },
}
AS_SERVED = {  # of the labels that were given out
    "sensitivity": Measure("higher", 0, 1, "Yerushalmy 1947"),
    "specificity": Measure("higher", 0, 1, "Yerushalmy 1947"),
    "ppv": Measure("higher", 0, 1, "Vecchio 1966, at these rows' prevalence"),
    "npv": Measure("higher", 0, 1, "Vecchio 1966, at these rows' prevalence"),
    "accuracy": Measure("higher", 0, 1, "share of rows that are right"),
    "balanced_accuracy": Measure("higher", 0, 1, "Brodersen et al. 2010: mean recall of the classes"),
    "mcc": Measure("higher", -1, 1, "Matthews 1975; several classes: Gorodkin 2004, eq. 8"),
}
AT_PREVALENCE = {  # by Bayes' rule from sensitivity and specificity, where positives are as common as stated
    "ppv_at_prevalence": Measure("higher", 0, 1, "Vecchio 1966: Bayes' rule"),
    "npv_at_prevalence": Measure("higher", 0, 1, "Vecchio 1966: Bayes' rule"),
}
OF_PROBABILITIES = {
    "brier": Measure("lower", 0, 1, "Brier 1950; over several classes the sum, 0 to 2"),
    "log_loss": Measure("lower", 0, math.inf, "Good 1952, in nats; probabilities kept 1e-7 from 0 and 1"),
}
TOP_K = {f"top_{k}_accuracy": Measure("higher", 0, 1, "true class among the k most probable") for k in TOP}
MEASURES: dict[str, Measure] = RANKED | AS_SERVED | AT_PREVALENCE | OF_PROBABILITIES | TOP_K
