"""Verdict: what an evaluation shows of a model, and beside a champion, as a file for programs that decide by it.

Its numbers are those of metrics.json and of `lesion compare`; what cannot be shown counts as not shown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lesion.compare import compare_runs
from lesion.compared_runs import read_run
from lesion.errors import UserError
from lesion.files import write_atomic

VERDICT, COMPARISON = "verdict.json", "comparison.json"


def check_champion(champion: Path | None, output: Path) -> None:
    """Raises UserError, before anything is computed, for a folder without an evaluation, and for one that `output`
    would overwrite."""
    if champion is not None and read_run(champion).path.resolve().parent == output.resolve():
        raise UserError(
            "the champion's evaluation would be overwritten, and the model compared with itself",
            where=output,
            do="Write to another folder than the champion's.",
        )


def write_verdict(evaluation: Path, *, champion: Path | None, margin: float) -> str:
    """Writes verdict.json beside the metrics.json in `evaluation`; returns its sentences.

    `champion` is the folder of another model's evaluation on the same set. `roc_auc_low` is the lower end of the 95 %
    interval, and 0 where there is none, for then no area is shown. `is_not_inferior`, with a champion only, is whether
    the lower end of the difference of areas, by patient, is above −margin (Piaggio et al. 2012).
    """
    judged = json.loads((evaluation / "metrics.json").read_bytes())
    (evaluation / COMPARISON).unlink(missing_ok=True)  # of an earlier evaluation, in a folder that is written again
    area = judged["judged"]["overall"].get("roc_auc", {})
    found: dict[str, Any] = {"roc_auc": area.get("value"), "roc_auc_low": area.get("low", 0.0)}
    said = [_said_of_area(area, judged["unit"])]
    if champion is not None:
        found |= {"margin": margin, "is_not_inferior": False}
        try:
            compare_runs(champion, evaluation, margin=margin, output=evaluation / COMPARISON)
        except UserError as error:  # such as an image that one of them refused: the evaluation stands, the proof fails
            said.append(f"It cannot be compared with the champion: {error}")
        else:
            compared = json.loads((evaluation / COMPARISON).read_bytes())
            found["is_not_inferior"] = bool(compared["non_inferiority"]["is_met"])
            said.append(_said_of_difference(compared))
    found["said"] = " ".join(said)
    write_atomic(evaluation / VERDICT, (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode())
    return str(found["said"])


def _said_of_area(area: dict[str, Any], unit: str) -> str:
    if area.get("value") is None:
        return f"No ROC AUC is shown: {area.get('why', 'too few images of a class')}."
    if "low" not in area:
        return f"ROC AUC {area['value']:.4f}, without an interval: {area.get('why', 'too few images')}."
    return f"ROC AUC {area['value']:.4f}, 95 % interval by {unit} {area['low']:.4f} to {area['high']:.4f}."


def _said_of_difference(compared: dict[str, Any]) -> str:
    shown = compared["non_inferiority"]
    if shown["is_met"] is None:
        return f"Whether it is inferior to the champion cannot be said: {shown['why']}."
    difference = compared["measures"]["roc_auc"]["difference"]
    verdict = "Not inferior to the champion" if shown["is_met"] else "Not shown to be as good as the champion"
    return (
        f"{verdict} by a margin of {compared['margin']:g}: "
        f"difference {difference['value']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f})."
    )
