"""Reporter: makes the report of a job, first without and then with what takes longer: the test set, the maps."""

# S samples · K outputs

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Options
from lesion.algorithms.classify.explanation.choice import seconds_for_maps
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.report.cases import THUMBNAIL_PX
from lesion.algorithms.classify.report.facts import NO_MAP, facts_of_job, safeguards_of, with_test
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.results.summary import Summary
from lesion.algorithms.classify.results.tables import lines_of_oof
from lesion.algorithms.classify.task import Task
from lesion.algorithms.classify.training.networks import Networks
from lesion.algorithms.classify.training.setup import Setup
from lesion.check.run import Checked
from lesion.data.table import Rows
from lesion.data.thumbnail import thumbnail
from lesion.files import write_atomic
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.figure import try_to_draw
from lesion.report.readings import explanation_from
from lesion.report.sections import Case, Cases

log = logging.getLogger(__name__)

MAPS_S = 10.0  # that the maps of the worst mistakes may take, or half of what the choice of the map may


class Reporter:
    """The report of a job, as far as it is known. Where it cannot be made, a warning says so, and the job goes on."""

    def __init__(
        self,
        setup: Setup,
        checked: Checked[Task],
        networks: Networks,
        *,
        decisions: Decisions,
        evaluation: Mapping[str, Any],
        summary: Summary,
        started: float,
    ) -> None:
        self._setup, self._checked, self._summary, self._started = setup, checked, summary, started
        self._lines_S = lines_of_oof(networks.judged, len(checked.task.labelled.table))
        self._facts = try_to_draw(
            "the report",
            lambda: facts_of_job(
                setup,
                checked.training,
                checked.task.labelled,
                summary=summary,
                decisions=decisions,
                evaluation=evaluation,
                history=[row for fold in networks.folds for row in fold.history],
                shortcuts=checked.shortcuts,
                lines_S=self._lines_S,
            ),
        )

    def add_test(self, test: Rows, probs_SK: NDArray[np.float32]) -> None:
        """Adds the metrics of a test set that has labels, or which of its images to label next."""
        self._update("the report", lambda facts: with_test(facts, self._setup, test, probs_SK, self._summary["test"]))

    def add_maps(self, predictor: Ensemble) -> None:
        """Adds how maps are made, and those of the worst mistakes, as far as time allows."""
        self._update("the maps of the report", lambda facts: self._with_maps(facts, predictor))

    def write(self, predictor: Ensemble) -> None:
        """report.html, report.json and the two cards."""
        minutes = (time.monotonic() - self._started) / 60
        self._update("the report", lambda facts: safeguards_of(facts, predictor.model, minutes))
        write_report(self._setup.run.job.output_dir, self._facts)

    def _update(self, what: str, change: Any) -> None:
        facts = self._facts
        if facts is not None and (changed := try_to_draw(what, lambda: change(facts))) is not None:
            self._facts = changed

    def _with_maps(self, facts: Facts, predictor: Ensemble) -> Facts:
        record = predictor.model.explanation
        if record is None:
            return facts.model_copy(update={"explanation": NO_MAP})
        updates: dict[str, Any] = {"explanation": explanation_from(record.model_dump())}
        if isinstance(facts.mistakes, Cases):
            ends = time.monotonic() + min(MAPS_S, seconds_for_maps(time.monotonic() - self._started) / 2)
            cases = [
                self._with_map(case, predictor) if time.monotonic() < ends else case for case in facts.mistakes.cases
            ]
            updates["mistakes"] = facts.mistakes.model_copy(update={"cases": tuple(cases)})
        return facts.model_copy(update=updates)

    def _with_map(self, case: Case, predictor: Ensemble) -> Case:
        """The case with a map of the class that its probability is of, by all networks."""
        [row] = np.flatnonzero(self._lines_S == case.line)[:1].tolist()
        picture_HWC, metadata = self._checked.training.read(row), self._setup.metadata_rows[row]
        name = case.prob_of if predictor.target.positive_class is None else ""
        [output] = predictor.executors[0]([predictor.prepare(picture_HWC, metadata, Options(map=name))])
        if output.map is None:
            return case
        return case.model_copy(update={"map": thumbnail(output.map.over(picture_HWC), side_px=THUMBNAIL_PX)})


def write_report(folder: Path, facts: Facts | None) -> None:
    """report.html, report.json and the two cards. Without them, and with a warning, where they cannot be made."""
    made = None if facts is None else try_to_draw("the report", lambda: documents(facts))
    for name, text in (made or {}).items():
        write_atomic(folder / name, text.encode())
