"""Readings: what evaluation says of rows, as plain dicts of JSON, to the sections of a report.

Knows the dicts' forms (`judgement.judge`, `subgroups.judge_subgroups`, `point_summary.summarise_points`,
`conformal.verify_sets`, `selective.risk_coverage` and `refer`, the artifact's record of explanations) and computes
nothing. A value of them is {"value", "low", "high"}, or {"value": None, "why"}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesion.evaluation.enough import MIN_ROWS
from lesion.report.sections import (
    ClassMetrics,
    Confusion,
    Curve,
    Group,
    Metric,
    Missing,
    Number,
    OperatingPoint,
    PerThousand,
    Subgroup,
    Subgroups,
    Uncertainty,
)
from lesion.report.words import METRIC_NAMES, sentence, shown
from lesion.words import plural_of, shortened

Json = Mapping[str, Any]
FIRST = ("roc_auc", "average_precision", "partial_auc", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")
MAX_COVERED = 10  # classes whose coverage is told
OF_CALIBRATION: tuple[tuple[str, str, str, tuple[float, str, str] | None], ...] = (
    # key, name, note; the best value, and what probabilities are where the value is below or above it
    (
        "intercept",
        "Calibration intercept",
        "0 is best: above it, probabilities are too low",
        (0, "too high", "too low"),
    ),
    (
        "slope",
        "Calibration slope",
        "1 is best: below it, probabilities are too extreme",
        (1, "too extreme", "too cautious"),
    ),
    ("observed_to_expected", "Observed : expected", "1 is best", None),
)
OF_SUBGROUPS = ("auc", "sensitivity", "specificity", "observed_expected")


def number_of(known: Json) -> Number:
    """A value with its interval where it has one, or its reason."""
    interval = (known["low"], known["high"]) if known.get("low") is not None and known.get("high") is not None else None
    return Number.of(known.get("value"), interval, why=known.get("why") or "not defined for these rows")


def metrics_from(measures: Json, flattered: Json | None = None) -> tuple[Metric, ...]:
    """The measures of `judge`, those first that a report is read for; `flattered` are the same at the best epoch of the
    rows that judge it."""
    order = [*(key for key in FIRST if key in measures), *(key for key in measures if key not in FIRST)]
    return tuple(
        Metric(
            key=key,
            name=METRIC_NAMES.get(key, key.replace("_", " ").capitalize()),
            number=number_of(measures[key]),
            flattered=number_of(flattered[key]) if flattered is not None and key in flattered else None,
            note=_note(key, measures),
        )
        for key in order
    )


def _note(key: str, measures: Json) -> str:
    """What is to be said of a measure that has a value: its caution, or at which prevalence it holds."""
    if measures[key].get("value") is None:
        return ""
    at_rows = f"{key}_at_prevalence" in measures
    return measures[key].get("why") or ("at the prevalence of these rows" if at_rows else "")


def calibration_from(output: Json) -> tuple[Metric, ...]:
    """Intercept, slope, observed : expected, and ECE beside what chance makes of it, of one output of `judge`."""
    known = output.get("calibration", {})
    found = []
    for key, name, note, said in OF_CALIBRATION:
        if key in known:
            number = number_of(known[key])
            doubt = _off(number, key, *said) if said else ""
            found.append(Metric(key=f"calibration_{key}", name=name, number=number, note=note, doubt=doubt))
    if (ece := known.get("ece")) is not None:
        noise = ece.get("noise_line")
        note = "" if noise is None else f"by chance up to {noise:.3f}: that of 95 % of perfectly calibrated models"
        number, doubt = number_of(ece), ""
        if noise is not None and number.value is not None and number.value > noise:
            doubt = (
                f"probabilities are {number.value:.3f} from the observed shares on average (ECE), more than the "
                f"{noise:.3f} that chance makes of a perfect model"
            )
        found.append(Metric(key="ece", name="ECE", number=number, note=note, doubt=doubt))
    return tuple(found)


def _off(number: Number, key: str, best: float, below: str, above: str) -> str:
    """What is wrong with probabilities whose intercept or slope has an interval that leaves out the best value."""
    if number.interval is None or number.interval[0] <= best <= number.interval[1]:
        return ""
    low, high = number.interval
    return f"probabilities are {above if low > best else below}: {key} {number.value:.1f} ({low:.1f} to {high:.1f})"


def calibration_of(judged: Json) -> tuple[Metric, ...]:
    """As `calibration_from`, of the only output; of several classes their common slope, and the ECE of the class that
    is answered. Labels are each for themselves: none."""
    outputs = list(judged["outputs"].values())
    if len(outputs) == 1:
        return calibration_from(outputs[0])
    if "calibration_slope" not in judged:
        return ()
    found = {"slope": judged["calibration_slope"], "ece": judged["calibration_of_top_class"]}
    return calibration_from({"calibration": found})


def classes_from(judged: Json) -> tuple[ClassMetrics, ...]:
    """Each output of `judge` by itself."""
    return tuple(
        ClassMetrics(
            name=name,
            num_rows=output["positives"],
            num_groups=output.get("groups_with_positives"),
            metrics=metrics_from(_first(output["measures"])),
        )
        for name, output in judged["outputs"].items()
    )


def calibration_curves(judged: Json, *, most: int = 7, note: str = "") -> tuple[Curve, ...] | Missing:
    """The smooth calibration curves of the outputs that have one, with their bands, and what is to be said of each."""
    found, why = [], "No output has a calibration curve."
    for name, output in judged["outputs"].items():
        curve = output.get("calibration", {}).get("curve", {})
        if "probability" in curve:
            x, y = (tuple(curve[key]) for key in ("probability", "observed"))
            low, high = _band(curve)
            found.append(Curve(name=name, x=x, y=y, low=low, high=high, note=note))
        else:
            why = curve.get("why", why)
    return tuple(found[:most]) or Missing(why=sentence(why))


def decision_curves(judged: Json) -> tuple[Curve, ...] | Missing:
    """Net benefit of the first output that has one, beside acting on all and acting on none; of several outputs its
    name is told, since the classes or labels have nothing in common."""
    why, num_outputs = "No output has a decision curve.", len(judged["outputs"])
    for name, output in judged["outputs"].items():
        curve = output.get("decision_curve", {})
        if "threshold" in curve:
            x = tuple(curve["threshold"])
            low, high = _band(curve)
            title, note = "the model", ""
            if num_outputs > 1:
                title = f"the model, for {shortened(name, 40)}"
                note = f"1 of {num_outputs} {'classes' if 'calibration_slope' in judged else 'labels'}"
            model = Curve(name=title, x=x, y=tuple(curve["net_benefit"]), low=low, high=high, note=note)
            act_on_all = Curve(name="act on all", x=x, y=tuple(curve["all"]))
            return (model, act_on_all, Curve(name="act on none", x=x, y=(0.0,) * len(x)))
        why = curve.get("why", why)
    return Missing(why=sentence(why))


def point_from(
    summary: Json, *, name: str, output: str, threshold: float, is_chosen: bool, how: str
) -> OperatingPoint | Missing:
    """An operating point as `summarise_points` judged it."""
    if summary["prevalence"] is None:
        return Missing(why="There are no rows to judge a threshold on.")
    per = summary.get("per_1000")
    thousand = None
    if per is not None:
        positives = round(per["positives"])
        found = min(round(per["found"]["value"]), positives)
        alarms = round(per["false_alarms"]["value"])
        thousand = PerThousand(positives=positives, found=found, false_alarms=alarms)
    counts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    tp, fp, fn, tn = (summary[key] for key in counts)
    return OperatingPoint(
        name=name,
        output=output,
        threshold=threshold,
        is_chosen=is_chosen,
        how=how,
        sensitivity=number_of(summary["sensitivity"]),
        specificity=number_of(summary["specificity"]),
        ppv=number_of(summary["ppv"]),
        npv=number_of(summary["npv"]),
        prevalence=summary["prevalence"],
        confusion=Confusion(tp=tp, fp=fp, fn=fn, tn=tn),
        per_1000=thousand,
    )


def subgroups_from(judged: Json, *, unit: str, at_rows: str = "") -> Subgroups | Missing:
    """The levels of each column as `judge_subgroups` judged them; flagged where one of its gaps is. `at_rows`: at which
    prevalence the probabilities are, where that is another than the endpoint's."""
    rows = [_subgroup(column, level) for column, levels in judged["columns"].items() for level in levels]
    if not rows:
        return Missing(why="The table has no column by which to make subgroups.")
    how = (
        f"Each subgroup beside all others, with 95 % intervals by {unit}. A gap is flagged where its p, corrected by "
        f"{judged['correction']} for {judged['num_tests']} tests, is below {judged['alpha']:g}. Sensitivity is told "
        f"of {MIN_ROWS} positives or more, specificity of {MIN_ROWS} negatives or more, the rest of as many of both."
    )
    if at_rows:
        how += f" Observed : expected is {at_rows}."
    if (certain := judged.get("share_of_certain_tones")) is not None:
        how += (
            " A skin tone that is measured in a photograph has a band that is certain (two standard errors are within "
            f"it) in {certain:.0%} of the images that show skin."
        )
    return Subgroups(rows=tuple(rows), how=how)


def _subgroup(column: str, level: Json) -> Subgroup:
    flagged = [key for key, gap in level.get("gaps", {}).items() if gap["is_flagged"]]
    notes = []
    for key in flagged:
        gap = level["gaps"][key]
        value = f"× {gap['value']:.2f}" if gap["is_ratio"] else f"{gap['value']:+.3f}"
        notes.append(f"{METRIC_NAMES.get(key, key)} {value} beside all others")
    return Subgroup(
        column=column,
        value=str(level["level"]),
        num_rows=level["rows"],
        num_groups=level.get("groups"),
        num_positives=level["positives"],
        metrics=tuple(
            Metric(key=key, name=METRIC_NAMES[key], number=number_of(level[key]))
            for key in OF_SUBGROUPS
            if key in level
        ),
        is_flagged=bool(flagged),
        note="; ".join(notes),
    )


def uncertainty_from(found: Json, *, unit: str, how: str) -> Uncertainty:
    """Prediction sets as `verify_sets` verified them, the curve of `risk_coverage`, and what `refer` says."""
    verified, risk, served = found["verified"], found["risk"], found.get("served")
    said, sizes = [how] if how else [], _sizes(verified)
    if sizes:
        said.append(f"{sizes}. The most probable class is always in, so that more than asked may be covered.")
    if served is not None and sizes and _sizes(served) != sizes:
        units = plural_of(unit)
        said.append(f"The served sets are made by all {units}, those told here by fewer; served: {_sizes(served)}.")
    by_class = {}
    if verified.get("is_by_class"):
        pairs = zip(found["classes"], verified["by_class"], strict=True)
        known = [(name, number_of(one)) for name, one in pairs if one["value"] is not None]
        # Of many classes the least covered.
        by_class = dict(
            sorted(known, key=lambda pair: pair[1].value or 0.0)[:MAX_COVERED] if len(known) > MAX_COVERED else known
        )
    selective: Curve | Missing = Missing(why=sentence(risk.get("why") or "There is no curve."))
    if "coverage" in risk:
        selective = Curve(name="", x=tuple(risk["coverage"]), y=tuple(risk["risk"]), at=_or_none(risk.get("certainty")))
    return Uncertainty(
        target_coverage=verified["stated"],
        coverage=number_of(verified["coverage"]),
        by_class=by_class,
        unit=unit,
        selective=selective,
        selective_metric="share of wrong answers",
        referral=_referral(found["referral"]),
        how=" ".join(said),
    )


def _sizes(sets: Json) -> str:
    """How large sets are, in words; "" without rows."""
    if sets["mean_size"] is None:
        return ""
    return (
        f"{sets['mean_size']:.2f} classes in a set on average, {sets['share_of_one_class']:.0%} of sets hold one class"
    )


def explanation_from(record: Json) -> Group:
    """How maps are made, and what was measured when their method was chosen, of the artifact's record of them."""
    where = f" on {record['level']}" if record.get("level") else ""
    chance = record["chance"]
    agreement = "with the map that needs no gradient: rank correlation, 1 is the same order"
    other = record.get("randomised_other")
    chance_of_random = "near 0 is right" if other is None else f"maps of different images {other:.2f}"
    rows = [
        (
            "insertion",
            "Insertion: area under the curve",
            record["insertion"],
            f"a random map {chance['insertion']:.3f}",
        ),
        ("deletion", "Deletion: area under the curve", record["deletion"], f"a random map {chance['deletion']:.3f}"),
        ("agreement", "Agreement", record.get("agreement"), agreement),
        ("randomised", "Agreement with a network of random weights", record.get("randomised"), chance_of_random),
    ]
    metrics = tuple(
        Metric(key=key, name=name, number=Number.of(value, why="not measured"), note=note)
        for key, name, value, note in rows
    )
    how = f"{record['method']}{where}, chosen by deletion and insertion on {record['num_pictures']} validation images."
    return Group(
        metrics=metrics,
        how=f"{how} A map shows what moved the answer, not what is ill.",
        warning=record["warning"],
    )


def _referral(found: Json) -> str:
    """In a sentence what the answers are worth if the least certain images go to a person; "" where it is not known."""
    answered, referred = found.get("answered", {}), found.get("referred", {})
    if answered.get("value") is None or referred.get("value") is None:
        return ""
    wrong, of_referred = (shown(number_of(one), percent=True) for one in (answered, referred))
    return (
        f"If the least certain {found['share_referred']:.0%} of the images are referred to a person, {wrong} of the "
        f"other answers are wrong; of those that are referred {of_referred} would be."
    )


def _first(measures: Json) -> Json:
    """Those that a table of many rows has room for; all, where none of these is among them."""
    return {key: measures[key] for key in FIRST if key in measures} or measures


def _band(curve: Json) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """The ends of a curve's band; None where it has none, as of a single patient."""
    low, high = (tuple(curve.get(key) or (None,)) for key in ("low", "high"))
    return (None, None) if None in (*low, *high) else (low, high)


def _or_none(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
