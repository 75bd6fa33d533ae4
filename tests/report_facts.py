"""Report facts: realistic ones of every kind of job, made of drawn scores, for tests of page, dossier and cards."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from lesion.report.facts import Facts
from lesion.report.sections import (
    Case,
    Cases,
    CheckFinding,
    ClassMetrics,
    Confusion,
    ConfusionMatrix,
    Cost,
    Crosstab,
    Curve,
    Curves,
    DataCard,
    FlowStep,
    Fold,
    Gain,
    Group,
    Headline,
    JudgedSet,
    Judging,
    LeakCheck,
    Metric,
    Missing,
    Number,
    OperatingPoint,
    PerThousand,
    Question,
    Reproduction,
    SetCounts,
    Setting,
    Shortcuts,
    Subgroup,
    Subgroups,
    Uncertainty,
)

FIVE = ("nevus", "melanoma", "basal cell carcinoma", "actinic keratosis", "vascular lesion")
WHY = Missing(why="Fewer than 10 positives: only counts are told.")


def number(value: float, width: float = 0.02) -> Number:
    return Number.of(value, (value - width, min(value + width, 1.0)))


def metric(key: str, name: str, value: float, flattered: float | None = None) -> Metric:
    return Metric(key=key, name=name, number=number(value), flattered=None if flattered is None else number(flattered))


def picture(seed: int, side_px: int = 128) -> str:
    """A drawn lesion as a data URI."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side_px, :side_px]
    spot = np.hypot(x - rng.integers(45, 80), y - rng.integers(45, 80)) < rng.integers(18, 40)
    image_HWC = np.where(spot[..., None], rng.integers(40, 130, 3), [224, 180, 160]) + rng.normal(
        0, 9, (side_px, side_px, 3)
    )
    file = io.BytesIO()
    Image.fromarray(np.clip(image_HWC, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def scores(seed: int, num: int = 600, share: float = 0.15, shift: float = 1.6) -> tuple[Any, Any]:
    """Truth and probabilities [num] of one output."""
    rng = np.random.default_rng(seed)
    is_yes = rng.random(num) < share
    return is_yes, 1 / (1 + np.exp(-(rng.normal(0, 1, num) + shift * is_yes - 1.2)))


def roc(name: str, seed: int, note: str = "") -> Curve:
    is_yes, prob = scores(seed)
    at = np.unique(np.round(np.concatenate([[0.0], prob, [1.0]]), 3))[::-1]
    sensitivity = [float(np.mean(prob[is_yes] >= t)) for t in at]
    false_rate = [float(np.mean(prob[~is_yes] >= t)) for t in at]
    return Curve(name=name, x=tuple(false_rate), y=tuple(sensitivity), at=tuple(map(float, at)), note=note)


def curves(names: tuple[str, ...]) -> Curves:
    steps = tuple(np.linspace(0.02, 0.9, 20).tolist())
    ups = tuple(float(x**1.15) for x in steps)
    band = {"low": tuple(max(y - 0.06, 0) for y in ups), "high": tuple(min(y + 0.06, 1) for y in ups)}
    first = names[0]
    return Curves(
        roc=tuple(roc(name, seed, "AUC 0.902") for seed, name in enumerate(names)),
        pr=tuple(Curve(name=n, x=(0, 0.2, 0.6, 1), y=(1, 0.9, 0.6, 0.15), note="AP 0.61") for n in names),
        calibration=(Curve(name=first, x=steps, y=ups, **band),),
        decision=(
            Curve(name="model", x=steps, y=tuple(0.12 * (1 - x) for x in steps)),
            Curve(name="act on all", x=steps, y=tuple(0.15 - 0.2 * x for x in steps)),
            Curve(name="act on none", x=steps, y=tuple(0.0 for _ in steps)),
        ),
        learning=tuple(
            Curve(name=f"fold {f}", x=tuple(range(8)), y=tuple(0.9 - 0.25 * 0.6**e - 0.01 * f for e in range(8)))
            for f in range(3)
        ),
        learning_metric="ROC AUC",
    )


def point(
    name: str, output: str, threshold: float, sensitivity: float, specificity: float, **more: Any
) -> OperatingPoint:
    return OperatingPoint(
        name=name,
        output=output,
        threshold=threshold,
        sensitivity=number(sensitivity, 0.05),
        specificity=number(specificity, 0.03),
        ppv=number(0.41, 0.06),
        npv=number(0.973, 0.01),
        prevalence=0.15,
        per_1000=PerThousand(
            positives=150, found=round(150 * sensitivity), false_alarms=round(850 * (1 - specificity))
        ),
        how="Chosen on the other folds.",
        **more,
    )


def cases(kinds: tuple[str, ...], num: int, output: str) -> Cases:
    made = []
    for k in range(num):
        kind = kinds[k % len(kinds)]
        is_ill = kind in {"missed", "wrong class"} or (kind != "false alarm" and k % 2 == 0)
        made.append(
            Case(
                kind=kind,  # type: ignore[arg-type]
                line=17 + 31 * k,
                truth=output if is_ill else "benign",
                answer="benign" if is_ill else output,
                prob_of=output,
                prob=round(0.02 + 0.05 * k if is_ill else 0.93 - 0.05 * k, 3),
                picture=picture(k),
                map=picture(100 + k) if k % 3 == 0 else None,
                note="the five networks differ by 31 points" if k == 1 else "",
            )
        )
    return Cases(cases=tuple(made), how="Those answered most surely, and wrong.", num=57)


@cache
def binary() -> Facts:
    flow = (
        FlowStep(what="rows of the table", change=3_600, left=3_600),
        FlowStep(what="images that cannot be read", change=-4, left=3_596),
        FlowStep(what="copies of an image that the test set has too", change=-12, left=3_584),
        FlowStep(what="rows that are trained on and judged", change=3_584, left=3_584),
    )
    return Facts(
        title="Melanoma, HAM10000: training report",
        made="2026-11-30 10:00 UTC",
        question=Question(kind="binary", classes=("benign", "melanoma"), positive_class="melanoma"),
        headline=Headline(
            metric=metric("roc_auc", "ROC AUC", 0.913, 0.925),
            judged_on="Held-out images of 1,204 patients, none of whom the network had seen.",
        ),
        judging=Judging(
            how="Each image is judged by a network that was not trained on its patient, at the epoch that the other "
            "folds chose, and at the threshold that the other folds chose.",
            unit="patient",
            num_rows=3_584,
            num_units=1_204,
            interval="95 % intervals by resampling patients 2,000 times.",
        ),
        data=DataCard(
            sets=(
                SetCounts(
                    name="training", num_rows=3_584, num_groups=1_204, classes={"benign": 3_315, "melanoma": 269}
                ),
                SetCounts(name="test", num_rows=240, num_groups=80, classes={"benign": 210, "melanoma": 30}),
            ),
            flow=flow,
            crosstabs=(
                Crosstab(
                    column="sex",
                    rows={"male": {"benign": 1700, "melanoma": 150}, "female": {"benign": 1615, "melanoma": 119}},
                ),
            ),
            fingerprint="8c1f",
        ),
        leaks=LeakCheck(
            verdict="Training started: no errors, 2 warnings.",
            leaks=(
                CheckFinding(
                    level="warning",
                    name="copies_in_test",
                    what="12 pairs of copies of the same image in training and test",
                    do="on_leak=auto leaves 12 training rows out",
                    num_rows=24,
                ),
            ),
            others=(
                CheckFinding(
                    level="note",
                    name="missing_values",
                    what="age_approx is empty in 31 of 3,600 rows (1%)",
                    num_rows=31,
                ),
            ),
        ),
        metrics=(
            metric("roc_auc", "ROC AUC", 0.913, 0.925),
            metric("average_precision", "Average precision", 0.61),
            Metric(key="ece", name="ECE", number=number(0.013, 0.004), note="by chance up to 0.017"),
            Metric(
                key="pauc",
                name="Partial AUC above 80 % sensitivity",
                number=Number(why="fewer than 10 positives in a fold"),
            ),
        ),
        folds=tuple(
            Fold(
                fold=f,
                num_rows=717,
                num_groups=240,
                classes={"benign": 663, "melanoma": 54},
                best_epoch=5 + f,
                metrics={"roc_auc": 0.91 - 0.01 * f, "log_loss": 0.2},
            )
            for f in range(3)
        ),
        sets=(
            JudgedSet(
                name="Test set",
                judged="By the ensemble, none of whose networks saw it:",
                num_rows=240,
                num_groups=80,
                classes={"benign": 210, "melanoma": 30},
                metrics=(metric("roc_auc", "ROC AUC", 0.898),),
            ),
        ),
        curves=curves(("melanoma",)),
        operating_points=(
            point(
                "Youden",
                "melanoma",
                0.214,
                0.86,
                0.83,
                is_chosen=True,
                confusion=Confusion(tp=231, fp=563, fn=38, tn=2_752),
            ),
            point("sensitivity 95 %", "melanoma", 0.081, 0.951, 0.62),
            point("specificity 95 %", "melanoma", 0.512, 0.58, 0.951),
        ),
        confusion=ConfusionMatrix(classes=("benign", "melanoma"), counts=((2_752, 563), (38, 231))),
        mistakes=cases(("missed", "false alarm"), 10, "melanoma"),
        uncertain=cases(("uncertain",), 5, "melanoma"),
        label_errors=cases(("label",), 4, "melanoma"),
        label_next=Missing(why="There are no images without a label."),
        explanation=Group(
            how="Grad-CAM on the last stage, chosen by deletion.", metrics=(metric("deletion", "Deletion AUC", 0.31),)
        ),
        subgroups=Subgroups(
            rows=(
                subgroup("sex", "male", 0.92),
                subgroup("sex", "female", 0.90),
                subgroup("age", "20 to 39", 0.84, flagged=True),
                subgroup("age", "60 to 79", 0.93),
                Subgroup(
                    column="skin tone",
                    value="dark",
                    num_rows=31,
                    num_groups=9,
                    num_positives=2,
                    metrics=(Metric(key="roc_auc", name="ROC AUC", number=Number(why="2 positives: counts only")),),
                    note="small group",
                ),
            ),
            how="Gaps to all others; flagged where the interval, corrected by Holm for 5 comparisons, leaves out 0.",
        ),
        uncertainty=Uncertainty(
            target_coverage=0.9,
            coverage=number(0.905, 0.015),
            unit="patient",
            set_sizes={"0": 3, "1": 3_100, "2": 481},
            selective=Curve(name="", x=(0.2, 0.5, 0.8, 1.0), y=(0.98, 0.96, 0.94, 0.913)),
            selective_metric="ROC AUC",
            how="Split conformal prediction, by patient.",
        ),
        familiarity=Group(
            how="Distance of the features from those of training.",
            metrics=(metric("auroc", "AUROC against flowers", 0.99),),
        ),
        quality=Group(
            how="Blur, exposure, dark corners, ink and hair, by the training images' own percentiles.",
            metrics=(metric("blurred", "Share of blurred images", 0.031),),
        ),
        gains=(
            Gain(
                what="test-time augmentation (3 views)",
                metric="ROC AUC",
                before=number(0.905),
                after=number(0.913),
                difference=Number.of(0.008, (0.002, 0.014)),
            ),
        ),
        shortcuts=Shortcuts(
            by={"size": number(0.55), "border": number(0.61), "all": number(0.63)},
            network=number(0.913),
            how="A small tree ensemble on size, border and mean colour, by the same folds.",
        ),
        cost=Cost(
            minutes=68.2,
            steps={"checking the data": 1.2, "training": 64.0, "this report": 0.4},
            device="2 CPU cores",
            images_per_s=61.0,
        ),
        settings=(
            Setting(name="model", value="mobilenetv2_100", is_default=False),
            Setting(name="image_size", value=160, is_default=False),
            Setting(name="metadata_columns", value=None, is_default=True),
            Setting(name="epochs", value=15, is_default=True),
            Setting(name="fit", value="crop", is_default=True),
        ),
        versions={"lesion": "0.1.0", "torch": "2.7.1", "timm": "1.0.15"},
        reproduction=Reproduction(
            commands=("lesion train --root my_job",), seed=0, data_fingerprint="8c1f22", artifact="ab12cd34ef56"
        ),
    )


def subgroup(column: str, value: str, auc: float, *, flagged: bool = False) -> Subgroup:
    return Subgroup(
        column=column,
        value=value,
        num_rows=900,
        num_groups=310,
        num_positives=70,
        metrics=(metric("roc_auc", "ROC AUC", auc), metric("sensitivity", "Sensitivity", auc - 0.05)),
        is_flagged=flagged,
    )


def multiclass() -> Facts:
    counts = tuple(tuple(int(180 / (k + 1)) if k == j else (7 * k + 3 * j) % 11 for j in range(5)) for k in range(5))
    return _of_classes(FIVE, "multiclass").model_copy(
        update={
            "operating_points": Missing(why="The most probable class is answered: there is no threshold."),
            "confusion": ConfusionMatrix(
                classes=FIVE, counts=counts, pairs=(("melanoma", "nevus", 9), ("nevus", "melanoma", 7))
            ),
        }
    )


def multilabel() -> Facts:
    names = ("ink", "hair", "ruler")
    points = tuple(point("Youden", name, 0.3, 0.8, 0.85, is_chosen=True) for name in names)
    return _of_classes(names, "multilabel").model_copy(update={"operating_points": points})


@cache
def thousand() -> Facts:
    """A thousand classes, of which one name is hostile and one very long."""
    names = (*(f"class {k:04d}" for k in range(998)), "<script>alert(1)</script>", "x" * 5_000)
    pairs = tuple((names[k], names[k + 1], 40 - k) for k in range(30))
    return _of_classes(names, "multiclass").model_copy(update={"confusion": ConfusionMatrix(pairs=pairs)})


def _of_classes(names: tuple[str, ...], kind: Any) -> Facts:
    facts = binary()
    classes = tuple(
        ClassMetrics(
            name=name,
            num_rows=20 + k % 400,
            num_groups=9 + k % 90,
            metrics=(
                metric("roc_auc", "ROC AUC", 0.99 - 0.0001 * k - 0.01 * (k % 7)),
                metric("average_precision", "Average precision", 0.7),
            ),
        )
        for k, name in enumerate(names)
    )
    counts = {name: 20 + k % 400 for k, name in enumerate(names)}
    return facts.model_copy(
        update={
            "title": f"{len(names)} classes: training report",
            "question": Question(kind=kind, classes=names, positive_class=None),
            "data": facts.data.model_copy(
                update={
                    "sets": (SetCounts(name="training", num_rows=sum(counts.values()), num_groups=900, classes=counts),)
                }
            ),
            "metrics": (
                metric("roc_auc", "ROC AUC", 0.95),
                metric("accuracy", "Accuracy", 0.81),
                metric("balanced_accuracy", "Balanced accuracy", 0.74),
            ),
            "classes": classes,
            "folds": tuple(
                one.model_copy(update={"classes": counts})
                for one in facts.folds
                if not isinstance(facts.folds, Missing)
            ),  # type: ignore[union-attr]
            "curves": curves(names[:7]),
            "operating_points": WHY,
            "mistakes": cases(("wrong class",), 6, names[-1]),
        }
    )


def anomaly() -> Facts:
    """Anomaly detection by a GAN: a score and no probability, cases of four pictures, rates by threshold."""
    facts = binary()
    shown = cases(("missed", "false alarm"), 8, "anomalous")
    four = [
        one.model_copy(
            update={
                "truth": (one.truth or "").replace("benign", "normal"),
                "answer": one.answer.replace("benign", "normal"),
                **{name: picture(200 + 10 * k + at) for at, name in enumerate(("reconstruction", "map", "flags"))},
                "map_shows": "The distance from normal",
            }
        )
        for k, one in enumerate(shown.cases)
    ]
    falling = Curve(name="false-positive rate", x=(0.4, 0.5, 0.6), y=(1.0, 0.05, 0.0))
    found = Curve(name="sensitivity", x=(0.4, 0.5, 0.6), y=(1.0, 0.8, 0.3))
    none = Missing(why="A score is no probability.")
    return facts.model_copy(
        update={
            "title": "Anomalies: training report",
            "question": Question(
                kind="binary", classes=("normal", "anomalous"), positive_class="anomalous", answer="score"
            ),
            "operating_points": (point("specificity=0.95", "anomalous", 0.5, 0.8, 0.95, is_chosen=True),),
            "mistakes": shown.model_copy(update={"cases": tuple(four)}),
            "curves": Curves(
                roc=(roc("anomalous", 3),),
                pr=none,
                calibration=none,
                decision=none,
                learning=none,
                thresholds=(falling, found),
            ),
            "folds": Missing(why="Groups are held out once."),
        }
    )


def no_folds() -> Facts:
    """A job with a validation channel: one network, no cross-validation, images without patients."""
    facts = binary()
    judging = facts.judging.model_copy(
        update={
            "unit": "image",
            "num_units": facts.judging.num_rows,
            "how": "One network, judged on the validation set.",
        }
    )
    sets = tuple(one.model_copy(update={"num_groups": None}) for one in facts.data.sets)
    return facts.model_copy(
        update={
            "judging": judging,
            "data": facts.data.model_copy(update={"sets": sets}),
            "folds": Missing(why="A validation set was given: one network, no folds."),
            "gains": Missing(why="One network and one view: nothing is averaged."),
        }
    )


def reasons() -> Facts:
    """All that can be missing is, each with its reason."""
    gone = {
        name: Missing(why=f"The part {name} could not be measured: one class only.")
        for name, field in Facts.model_fields.items()
        if "Missing" in str(field.annotation)
    }
    missing = dict.fromkeys(("roc", "pr", "calibration", "decision", "learning"), WHY)
    return binary().model_copy(update={**gone, "curves": Curves(**missing), "metrics": (), "sets": (), "settings": ()})


FACTS: dict[str, Callable[[], Facts]] = {
    "anomaly": anomaly,
    "binary": binary,
    "multiclass": multiclass,
    "multilabel": multilabel,
    "thousand": thousand,
    "no_folds": no_folds,
    "reasons": reasons,
}
