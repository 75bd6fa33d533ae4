"""Compare: two jobs' out-of-fold predictions of the same images, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lesion.compared_runs import Run, grouped_alike, read_run, refuse_unlike
from lesion.files import write_atomic
from lesion.words import number_of, shortened

MOST_SHOWN = 10


def compare_runs(run_a: Path, run_b: Path, *, margin: float, output: Path | None = None) -> str:
    """What is said about B beside A, in words; and all of it to `output` as JSON. `margin` is from 0 to less than 1.

    Raises UserError where a file is no out-of-fold table, or the two hold other images, targets or classes, or groups
    that cross.
    """
    from lesion.evaluation.comparison import compare

    a, b = read_run(run_a), read_run(run_b)
    refuse_unlike(a, b)
    a, b, grouping = grouped_alike(a, b)
    found = compare(a.rows, b.rows, margin=margin)
    numbers = found["changed"].pop("rows")
    found["changed"]["images"] = [_changed_image(a, b, row) for row in numbers]
    found = {"a": str(a.path), "b": str(b.path), "labels": {"a": a.threshold, "b": b.threshold}, **found}
    found |= {"unit": a.unit if a.unit == b.unit else "group", "grouping": grouping}
    if output is not None:
        write_atomic(output, (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
    return "\n".join(_lines(found))


def _changed_image(a: Run, b: Run, row: int) -> dict[str, Any]:
    names = np.array(a.rows.name_Q)
    truth = names[a.rows.target_SQ[row] == 1].tolist()
    said = [names[np.asarray(run.rows.label_SQ)[row]].tolist() for run in (a, b)]
    probs = [dict(zip(names.tolist(), np.round(run.rows.prob_SQ[row], 6).tolist(), strict=True)) for run in (a, b)]
    if len(names) > 1:  # of many classes those that are spoken of
        spoken = {*truth, *said[0], *said[1]}
        probs = [{name: prob for name, prob in of.items() if name in spoken} for of in probs]
    return {
        "image": str(a.name_S[row]),
        "target": truth,
        "a": said[0],
        "b": said[1],
        "probs_a": probs[0],
        "probs_b": probs[1],
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"A: {found['a']} (threshold {found['labels']['a']})",
        f"B: {found['b']} (threshold {found['labels']['b']})",
        f"{found['rows']} images of {number_of(found['groups'], found['unit'])}. Differences are B minus A, with 95 % "
        f"intervals by {found['unit']}.",
        *filter(None, [found["grouping"]]),
        "",
    ]
    for name, measure in found["measures"].items():
        lines.append(f"{name:18} A {measure['a']:.4f}  B {measure['b']:.4f}  {_difference(measure['difference'])}")
    lines.append("")
    if (test := found["delong"]) is not None:
        lines.append(
            f"DeLong's test: {test['why']}"
            if "why" in test
            else f"DeLong's test of the areas: p = {test['p']:.3g} (standard error {test['error']:.4f})"
        )
    lines += [f"{shortened(name, 40)}: {why}" for name, why in found["unranked"].items()]
    lines.append(_verdict(found["non_inferiority"], found["margin"]))
    changed = found["changed"]
    lines.append(f"{number_of(len(changed['images']), 'image')} changed sides:")
    for name, counts in changed["outputs"].items():
        won, lost = (
            f"{counts[f'positives_{way}']} positive and {counts[f'negatives_{way}']} negative"
            for way in ("won", "lost")
        )
        lines.append(f"  {shortened(name, 40)}: B is right where A is wrong on {won}, wrong where A is right on {lost}")
    for image in changed["images"][:MOST_SHOWN]:
        truth, *said = (", ".join(image[key]) or "negative" for key in ("target", "a", "b"))
        lines.append(f"  {shortened(image['image'], 60)}: is {truth}, A says {said[0]}, B says {said[1]}")
    if len(changed["images"]) > MOST_SHOWN:
        lines.append(f"  and {len(changed['images']) - MOST_SHOWN} more: --output writes them all")
    return lines


def _difference(difference: dict[str, Any]) -> str:
    interval = f" ({difference['low']:+.4f} to {difference['high']:+.4f})" if "low" in difference else ""
    why = f" [{difference['why']}]" if "why" in difference else ""
    return f"difference {difference['value']:+.4f}{interval}{why}"


def _verdict(found: dict[str, Any], margin: float) -> str:
    if found["is_met"] is None:
        return f"Whether B is inferior to A cannot be said: {found['why']}."
    low = f"the lower end of the difference of areas is {found['low']:+.4f}"
    if found["is_superior"]:
        return f"B is better than A: {low}."
    if found["is_met"]:
        return f"B is not inferior to A by a margin of {margin:g}: {low}."
    return f"It is not shown that B is not inferior to A by a margin of {margin:g}: {low}."
