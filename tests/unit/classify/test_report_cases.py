"""Report cases: the worst first, one of a patient, as many missed as false alarms; by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lesion.algorithms.classify.report.cases import CaseMaker, Judged, mistakes, uncertain
from lesion.data.decode.images import Pixels
from lesion.errors import UserError
from lesion.report.sections import Cases, Missing
from lesion.targets import Target


def read(row: int) -> Pixels:
    if row == 3:
        raise UserError("gone", do="Bring it back.")
    return np.full((40, 60, 3), 127, np.uint8)


def maker(target: Target, groups: str) -> CaseMaker:
    num = len(groups)
    return CaseMaker(read, target, np.arange(num) + 2, None, np.array(list(groups)), "lesion")


def judged(targets_SQ: object, probs_SQ: object, thresholds_Q: tuple[float, ...] = ()) -> Judged:
    targets_SQ = np.asarray(targets_SQ, np.float32)
    return Judged(np.arange(len(targets_SQ)), targets_SQ, np.asarray(probs_SQ, np.float32), thresholds_Q)


def lines(cases: Cases | Missing) -> list[tuple[int | None, str]]:
    assert isinstance(cases, Cases)
    return [(case.line, case.kind) for case in cases.cases]


def test_missed_and_false_alarms_take_turns_and_a_patient_has_one():
    target = Target("binary", ("benign", "malignant"))
    # rows     0    1    2    3    4    5
    truth = [[1], [1], [1], [0], [0], [0]]
    probs = [[0.4], [0.1], [0.2], [0.9], [0.6], [0.3]]
    found = mistakes(maker(target, "abbcde"), judged(truth, probs, (0.5,)))
    assert lines(found) == [(3, "missed"), (5, "false alarm"), (2, "missed"), (6, "false alarm")]
    assert found.how.endswith("5 in all. At most one of a lesion is shown.")
    assert found.num == 5  # row 2 too, of the patient of row 1
    worst, alarm = found.cases[:2]
    assert (worst.truth, worst.answer, worst.prob_of) == ("malignant", "benign", "malignant")
    assert worst.picture.startswith("data:image/jpeg") and alarm.picture is None  # that one cannot be read any more


def test_of_several_classes_the_least_probable_truth_is_first():
    target = Target("multiclass", ("a", "b", "c"))
    probs = [[0.6, 0.3, 0.1], [0.1, 0.85, 0.05], [0.3, 0.3, 0.4], [0.5, 0.49, 0.01]]
    rows = judged(np.eye(3)[[1, 0, 2, 0]], probs)
    found = mistakes(maker(target, "abcd"), rows)
    assert lines(found) == [(3, "wrong class"), (2, "wrong class")]
    assert (found.cases[0].truth, found.cases[0].answer, round(found.cases[0].prob, 2)) == ("a", "b", 0.85)
    assert lines(uncertain(maker(target, "abcd"), rows))[0] == (5, "uncertain")


def test_a_label_is_called_by_its_name_and_its_own_threshold():
    target = Target("multilabel", ("ink", "hair"))
    rows = judged([[1, 0], [0, 1]], [[0.35, 0.2], [0.1, 0.5]], (0.4, 0.6))
    [first, second] = mistakes(maker(target, "ab"), rows).cases
    assert (first.truth, first.answer, first.prob_of) == ("hair", "not hair", "hair")
    assert (second.truth, second.answer, second.prob_of) == ("ink", "not ink", "ink")


def test_an_image_stands_beside_the_threshold_that_other_patients_chose_for_it():
    target = Target("binary", ("benign", "malignant"))
    rows = judged([[1], [1], [0]], [[0.34], [0.2], [0.3]], (0.16,))  # 0.34 is missed at 0.41, and 0.16 is served
    at_S1 = np.array([[0.41], [0.15], [0.41]], np.float32)
    rows = replace(rows, judged_at_SQ=at_S1, label_SQ=rows.probs_SQ >= at_S1)
    found = mistakes(maker(target, "abc"), rows)
    [case] = found.cases
    assert (case.line, case.kind, round(case.prob, 2), round(case.threshold, 2)) == (2, "missed", 0.34, 0.41)
    assert "by what other lesions taught, not those served" in found.how
    nearest = uncertain(maker(target, "abc"), rows).cases
    assert [case.line for case in nearest] == [3, 2, 4]  # .05, .07 and .11 from their own


def test_without_mistakes_there_are_none():
    target = Target("binary", ("benign", "malignant"))
    found = mistakes(maker(target, "ab"), judged([[1], [0]], [[0.9], [0.1]], (0.5,)))
    assert found == Missing(why="There are none.")
