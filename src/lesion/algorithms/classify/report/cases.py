"""Report cases: the images of a report: worst mistakes, the most uncertain, likely label errors. A group has one."""

# K outputs · Q outputs that are judged: one for yes or no, one a class otherwise · S samples

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.data.thumbnail import thumbnail
from lesion.data.unit import IMAGE
from lesion.errors import LesionError
from lesion.report.label_errors import likely_label_errors
from lesion.report.sections import Case, Cases, Missing
from lesion.targets import Target
from lesion.words import plural_of

NUM_CASES = 12  # of each list
THUMBNAIL_PX = 152
Array = NDArray[np.float32]
Kind = Literal["missed", "false alarm", "wrong class", "uncertain", "label", "label next"]


@dataclass(frozen=True)
class Judged:
    """The held-out rows: where each stands in the table, what is true, what was predicted, the thresholds [Q] from
    which on an output is answered (none of a multiclass answer), which outputs were answered, and from which threshold
    on each was, where other patients chose it. Probabilities are as they are served, at the deployment's prevalence."""

    index_S: NDArray[np.intp]
    targets_SQ: Array
    probs_SQ: Array
    thresholds_Q: tuple[float, ...]
    label_SQ: NDArray[np.bool_] | None = None  # by the thresholds that other patients chose
    judged_at_SQ: NDArray[np.floating] | None = None  # these; the served ones, of all patients, where there are none

    @property
    def is_yes_SQ(self) -> NDArray[np.bool_]:
        return np.asarray(self.targets_SQ == 1)

    @property
    def says_SQ(self) -> NDArray[np.bool_]:
        return np.asarray(self.probs_SQ >= np.array(self.thresholds_Q)) if self.label_SQ is None else self.label_SQ

    @property
    def distance_SQ(self) -> NDArray[np.floating]:
        """How far each probability lies from the threshold that it was compared with."""
        at = np.array(self.thresholds_Q) if self.judged_at_SQ is None else self.judged_at_SQ
        return np.asarray(np.abs(self.probs_SQ - np.clip(at, 0, 1)))


@dataclass(frozen=True)
class CaseMaker:
    """Makes a case of a row of the table: its picture, small, and its number in oof.csv; its name if asked for."""

    read: Callable[[int], Pixels]
    target: Target
    lines_S: NDArray[np.intp]
    name_S: NDArray[np.str_] | None
    group_S: NDArray[np.str_]
    unit: str  # what a group is called
    file: str = "oof.csv"  # whose lines they are

    @property
    def outputs(self) -> Sequence[str]:
        """The class that each judged output is the probability of."""
        return self.target.answer_names[1:] if self.target.has_binary_answer else self.target.class_names

    def case(
        self,
        row: int,
        kind: Kind,
        told: tuple[str | None, str],
        *,
        prob_of: str,
        prob: float,
        threshold: float | None = None,
    ) -> Case:
        """`told` is what is true, None where nobody knows, and what was answered; `threshold` what the probability was
        compared with, where that is the image's own."""
        truth, answer = told
        return Case(
            kind=kind,
            line=int(self.lines_S[row]),
            file=self.file,
            name=None if self.name_S is None else str(self.name_S[row]),
            truth=truth,
            answer=answer,
            prob_of=prob_of,
            prob=float(np.clip(prob, 0, 1)),
            threshold=None if threshold is None else float(np.clip(threshold, 0, 1)),
            picture=self._picture(row),
        )

    def _picture(self, row: int) -> str | None:
        try:
            return thumbnail(self.read(row), side_px=THUMBNAIL_PX)
        except LesionError:  # it was there before; the report is worth having without it
            return None


def mistakes(make: CaseMaker, judged: Judged) -> Cases | Missing:
    """Those answered wrong whose own class was thought least likely. Of yes or no as many missed as false alarms."""
    if make.target.has_multiclass_answer:
        truth_S, answer_S = judged.targets_SQ.argmax(axis=1), judged.probs_SQ.argmax(axis=1)
        own_S = judged.probs_SQ[np.arange(len(truth_S)), truth_S]
        wrong = np.flatnonzero(truth_S != answer_S)
        rows = _of_each_group(wrong[np.argsort(own_S[wrong], kind="stable")].tolist(), make, judged)
        how = "Answered wrong, those first whose true class had the least probability."
        return _cases([_one_of_several(make, judged, row, "wrong class") for row in rows], len(wrong), how, make.unit)
    is_wrong_SQ = judged.is_yes_SQ != judged.says_SQ
    missed = _worst(make, judged, judged.is_yes_SQ & is_wrong_SQ, "missed")
    alarms = _worst(make, judged, ~judged.is_yes_SQ & is_wrong_SQ, "false alarm")
    how = f"Answered wrong, those first that lie farthest from their threshold.{_by_others(make, judged)}"
    return _cases(_by_turns(missed, alarms), int(is_wrong_SQ.sum()), how, make.unit)


def uncertain(make: CaseMaker, judged: Judged) -> Cases | Missing:
    """Those nearest to their threshold, or whose two most probable classes are nearest to one another."""
    if make.target.has_multiclass_answer:
        top_S2 = np.sort(judged.probs_SQ, axis=1)[:, -2:]
        nearest = np.argsort(top_S2[:, 1] - top_S2[:, 0], kind="stable").tolist()
        rows = _of_each_group(nearest, make, judged, NUM_CASES // 2)
        how = "The two most probable classes are nearly as probable."
        return _cases([_one_of_several(make, judged, row, "uncertain") for row in rows], None, how, make.unit)
    q_S = judged.distance_SQ.argmin(axis=1)
    nearest = np.argsort(judged.distance_SQ.min(axis=1), kind="stable").tolist()
    rows = _of_each_group(nearest, make, judged, NUM_CASES // 2)
    cases = [_yes_or_no(make, judged, (row, int(q_S[row])), "uncertain", says=None) for row in rows]
    return _cases(cases, None, f"Nearest to their threshold.{_by_others(make, judged)}", make.unit)


def label_next(make: CaseMaker, probs_SQ: Array, thresholds_Q: tuple[float, ...]) -> Cases | Missing:
    """Of images without a label those whose label would teach most: the least certain answers (uncertainty sampling,
    Lewis & Gale 1994), one of a patient."""
    nobody_knows = np.zeros_like(probs_SQ)
    found = uncertain(make, Judged(np.arange(len(probs_SQ)), nobody_knows, probs_SQ, thresholds_Q))
    if isinstance(found, Missing):
        return found
    cases = [case.model_copy(update={"kind": "label next", "truth": None}) for case in found.cases]
    return Cases(cases=tuple(cases), how=f"Images of the test set, which have no label. {found.how}", num=len(probs_SQ))


def label_errors(make: CaseMaker, judged: Judged) -> Cases | Missing:
    """Rows whose label cleanlab doubts, the likeliest errors first."""
    is_multiclass = make.target.has_multiclass_answer
    found = likely_label_errors(judged.targets_SQ, judged.probs_SQ, is_multiclass=is_multiclass)
    output_of: dict[int, int] = {}
    for row, q in found:
        output_of.setdefault(row, q)
    cases = []
    for row in _of_each_group(output_of, make, judged):
        q = output_of[row]
        if is_multiclass:
            cases.append(_one_of_several(make, judged, row, "label"))
        else:
            cases.append(_yes_or_no(make, judged, (row, q), "label", says=not judged.is_yes_SQ[row, q]))
    if not cases:
        return Missing(why="No label is likely wrong, by confident learning on the held-out predictions.")
    how = (
        "Labels that the held-out predictions contradict (confident learning, Northcutt et al. 2021). Each is a "
        "question, not an error: hard images and rare classes are among them. “truth” is the label, “answer” what is "
        "likelier."
    )
    return Cases(cases=tuple(cases), how=how, num=len(output_of))


def _worst(make: CaseMaker, judged: Judged, is_wrong_SQ: NDArray[np.bool_], kind: Kind) -> list[Case]:
    """Half a list of the wrong outputs, farthest from their thresholds first; of a row its worst output."""
    far_SQ = judged.distance_SQ
    places = sorted(np.argwhere(is_wrong_SQ).tolist(), key=lambda place: (-far_SQ[place[0], place[1]], place))
    output_of: dict[int, int] = {}
    for row, q in places:
        output_of.setdefault(row, q)
    rows = _of_each_group(output_of, make, judged, NUM_CASES // 2)
    return [_yes_or_no(make, judged, (row, output_of[row]), kind, says=None) for row in rows]


def _one_of_several(make: CaseMaker, judged: Judged, row: int, kind: Kind) -> Case:
    names = make.target.class_names
    truth, answer = int(judged.targets_SQ[row].argmax()), int(judged.probs_SQ[row].argmax())
    prob = float(judged.probs_SQ[row, answer])
    return make.case(int(judged.index_S[row]), kind, (names[truth], names[answer]), prob_of=names[answer], prob=prob)


def _yes_or_no(make: CaseMaker, judged: Judged, place: tuple[int, int], kind: Kind, *, says: bool | None) -> Case:
    """The case of one output of a row; `says` is the answer, where it is not that of the threshold."""
    row, q = place
    name = make.outputs[q]
    no = make.target.answer_names[0] if make.target.has_binary_answer else f"not {name}"
    answer = judged.says_SQ[row, q] if says is None else says
    told = (name if judged.is_yes_SQ[row, q] else no, name if answer else no)
    at = None if judged.judged_at_SQ is None or says is not None else float(judged.judged_at_SQ[row, q])
    prob = float(judged.probs_SQ[row, q])
    return make.case(int(judged.index_S[row]), kind, told, prob_of=name, prob=prob, threshold=at)


def _by_others(make: CaseMaker, judged: Judged) -> str:
    """Why an image has a threshold of its own, and a probability that the endpoint does not say."""
    if judged.judged_at_SQ is None:
        return ""
    return f" Probability and threshold of each are by what other {plural_of(make.unit)} taught, not those served."


def _of_each_group(rows: Iterable[int], make: CaseMaker, judged: Judged, most: int = NUM_CASES) -> list[int]:
    """The first rows, of each group one: else a patient with many images would fill the list."""
    seen: set[str] = set()
    kept: list[int] = []
    for row in rows:
        group = str(make.group_S[judged.index_S[row]])
        if group not in seen:
            seen.add(group)
            kept.append(row)
            if len(kept) == most:
                break
    return kept


def _cases(cases: Sequence[Case], num: int | None, how: str, unit: str) -> Cases | Missing:
    if not cases:
        return Missing(why="There are none." if num == 0 else "There is nothing to show.")
    of = "" if num is None else f" {num:,} in all."
    one = "" if unit == IMAGE else f" At most one of a {unit} is shown."
    return Cases(cases=tuple(cases), how=f"{how}{of}{one}", num=num)


def _by_turns(first: Sequence[Case], second: Sequence[Case]) -> list[Case]:
    """Turn by turn, the longer one's rest at the end."""
    most = max(len(first), len(second))
    return [case for k in range(most) for case in (*first[k : k + 1], *second[k : k + 1])]
