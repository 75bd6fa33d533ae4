"""Report data: which rows a job was trained and judged on, and what the check found, without a name of a row."""

# S samples

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.check.report import JSON as CHECK_JSON
from lesion.data.labels.encode import Labelled
from lesion.data.table import Rows
from lesion.report.sections import CheckFinding, Crosstab, DataCard, FlowStep, LeakCheck, Missing, SetCounts

UNCERTAIN = "left out for an uncertain label or none (on_uncertain=drop)"
UNUSED = "not used: anomalous, and not held out (only normal images are learned from)"
LEAKS = re.compile("^(copies_(across|in)_|group_|groups_(across|alike)|contradicting_copies|no_groups|large_group)")
# Findings whose words hold no name of a row, group or file; of the others only what stands before the first colon.
NAMELESS = {
    "no_groups",
    "shortcuts",
    "cut_off",
    "sides",
    "unused_columns",
    "absent_columns",
    "missing_values",
    "upscaled",
}


def check_found(folder: Path) -> dict[str, Any]:
    """check.json of the job; empty where it is not there or is none."""
    try:
        found = json.loads((folder / CHECK_JSON).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def data_card(
    found: Mapping[str, Any], training: Rows, labelled: Labelled, judged_S: NDArray[np.intp], *, num_unused: int = 0
) -> DataCard:
    """The rows on their way from the table to what is judged, `judged_S`; `num_unused` of them neither taught nor
    judged."""
    sets = [SetCounts(name="training", **labelled.counts(np.arange(len(labelled.table))))]
    if "test" in found.get("sets", {}):
        sets.append(SetCounts(name="test", **found["sets"]["test"]))
    opened, kept, judged = training.num_opened, len(labelled.table), len(judged_S)
    uncertain = labelled.table.num_uncertain
    flow = [FlowStep(what="rows of the table or folders", change=opened + uncertain, left=opened + uncertain)]
    if uncertain:
        flow.append(FlowStep(what=UNCERTAIN, change=-uncertain, left=opened))
    if opened > kept:
        out = "left out: images that cannot be read, leaks, or empty cells (see Leaks)"
        flow.append(FlowStep(what=out, change=kept - opened, left=kept))
    if num_unused:
        kept -= num_unused
        flow.append(FlowStep(what=UNUSED, change=-num_unused, left=kept))
    flow.append(FlowStep(what="used for training or validation", change=kept, left=kept))
    if judged < kept:
        flow.append(FlowStep(what="never held out: only trained on", change=judged - kept, left=judged))
    flow.append(FlowStep(what="held out once, and judged here", change=judged, left=judged))
    tables = tuple(Crosstab(column=column, rows=rows) for column, rows in found.get("counts", {}).items())
    return DataCard(sets=tuple(sets), flow=tuple(flow), crosstabs=tables, fingerprint=labelled.table.fingerprint())


def leak_check(found: Mapping[str, Any], summary: Mapping[str, Any]) -> LeakCheck | Missing:
    if "findings" not in found:
        return Missing(why="The check's result (check.json) is not beside this report.")
    findings = [_finding(finding) for finding in found["findings"]]
    shared = summary.get("groups_on_both_sides", {})
    return LeakCheck(
        verdict=str(found["verdict"]).replace("Training would start", "The check let training start"),
        leaks=tuple(one for one in findings if LEAKS.match(one.name)),
        others=tuple(one for one in findings if not LEAKS.match(one.name)),
        shared_groups=shared.get("groups", 0),
        shared_rows=shared.get("rows", 0),
    )


def _finding(finding: Mapping[str, Any]) -> CheckFinding:
    """Without names of rows, groups and files."""
    what, do = finding["what"], finding["do"]
    if finding["name"] not in NAMELESS:
        what, do = (re.split(": |, such as |; the first", text)[0] for text in (what, do))
    rows = finding["rows"]
    return CheckFinding(level=finding["level"], name=finding["name"], what=what, do=do, num_rows=len(rows))
