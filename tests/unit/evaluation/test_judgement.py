"""Judgement: one dict that JSON takes, whose numbers are other libraries', and words where there is no number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import expit, softmax

from lesion.evaluation.judgement import Rows, judge, judge_groups
from lesion.evaluation.measures import AS_SERVED, MEASURES, RANKED


def of_two(num_rows=400, seed=0, **options):
    rng = np.random.default_rng(seed)
    prob_S1 = expit(rng.normal(-1, 1.5, (num_rows, 1)))
    target_S1 = (rng.random((num_rows, 1)) < prob_S1).astype(float)
    return Rows(target_S1, prob_S1, np.arange(num_rows) // 4, ["melanoma"], False, **options)


def of_classes(num_rows=300, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    class_S = rng.integers(0, num_classes, num_rows)
    logits_SQ = rng.normal(size=(num_rows, num_classes)) + 1.5 * np.eye(num_classes)[class_S]
    names = [f"class {k}" for k in range(num_classes)]
    return Rows(
        np.eye(num_classes)[class_S], softmax(logits_SQ, axis=1), np.arange(num_rows) // 2, names, True
    ), class_S


def every_measure(found):
    """All dicts with a value, wherever they are."""
    for value in found.values():
        if isinstance(value, dict):
            if "value" in value:
                yield value
            yield from every_measure(value)


def test_a_yes_or_no_answer_is_told_with_every_measure_inside_its_interval():
    rows = of_two(prevalence_Q=[0.02])
    rows = Rows(*(getattr(rows, name) for name in ("target_SQ", "prob_SQ", "group_S", "name_Q", "is_multiclass")),
                label_SQ=rows.prob_SQ >= 0.3, prevalence_Q=[0.02])  # fmt: skip
    found = judge(rows, num_draws=300)
    target_S, prob_S, label_S = rows.target_SQ[:, 0], rows.prob_SQ[:, 0], rows.prob_SQ[:, 0] >= 0.3
    overall = found["overall"]
    assert set(overall) == {name for name in MEASURES if not name.startswith("top_")}
    assert overall["roc_auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(target_S, prob_S))
    assert overall["brier"]["value"] == pytest.approx(sklearn.metrics.brier_score_loss(target_S, prob_S))
    assert overall["log_loss"]["value"] == pytest.approx(sklearn.metrics.log_loss(target_S, prob_S))
    assert overall["sensitivity"]["value"] == pytest.approx(sklearn.metrics.recall_score(target_S, label_S))
    assert overall == found["outputs"]["melanoma"]["measures"]
    for name, measure in overall.items():
        assert MEASURES[name].low <= measure["low"] < measure["value"] < measure["high"] <= MEASURES[name].high, name
    assert found["counts"] == {"rows": 400, "groups": 100} and found["cautions"] == [
        "400 rows of 100 groups: the calibration error (ECE) by chance is computed as if rows were independent, so it "
        "is too low if rows of a group are alike"
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_several_classes_are_told_each_and_together():
    rows, class_S = of_classes()
    found = judge(rows, num_draws=200)
    overall, named_S = found["overall"], rows.prob_SQ.argmax(axis=1)
    for name, expected in {
        "accuracy": sklearn.metrics.accuracy_score(class_S, named_S),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(class_S, named_S),
        "mcc": sklearn.metrics.matthews_corrcoef(class_S, named_S),
        "roc_auc": sklearn.metrics.roc_auc_score(class_S, rows.prob_SQ, multi_class="ovr"),
        "average_precision": sklearn.metrics.average_precision_score(rows.target_SQ, rows.prob_SQ),
        "log_loss": sklearn.metrics.log_loss(class_S, rows.prob_SQ),
        "top_2_accuracy": sklearn.metrics.top_k_accuracy_score(class_S, rows.prob_SQ, k=2),
        "sensitivity": sklearn.metrics.recall_score(class_S, named_S, average="macro"),
        "ppv": sklearn.metrics.precision_score(class_S, named_S, average="macro"),
    }.items():
        assert overall[name]["value"] == pytest.approx(expected), name
        assert overall[name]["low"] < expected < overall[name]["high"], name
    assert overall["brier"]["value"] == pytest.approx(((rows.prob_SQ - rows.target_SQ) ** 2).sum(axis=1).mean())
    recalls = sklearn.metrics.recall_score(class_S, named_S, average=None)
    for name, recall in zip(rows.name_Q, recalls, strict=True):
        assert found["outputs"][name]["measures"]["sensitivity"]["value"] == pytest.approx(recall)
    assert found["calibration_of_top_class"]["noise_line"] > 0
    slope = found["calibration_slope"]
    assert slope["low"] < slope["value"] < slope["high"]


def test_parts_are_the_rows_by_themselves_and_their_mean():
    rows, fold_S = of_two(), np.arange(400) % 3
    found = judge(rows, parts={"fold": fold_S}, num_draws=200)["parts"]["fold"]
    alone = [
        sklearn.metrics.roc_auc_score(rows.target_SQ[fold_S == f, 0], rows.prob_SQ[fold_S == f, 0]) for f in range(3)
    ]
    assert [found["values"][str(f)]["overall"]["roc_auc"]["value"] for f in range(3)] == pytest.approx(alone)
    assert found["mean"]["roc_auc"] == {"value": pytest.approx(np.mean(alone)), "parts": 3}
    assert found["values"]["0"]["counts"]["positives"] == {"melanoma": int(rows.target_SQ[fold_S == 0].sum())}


def test_a_part_with_fewer_than_ten_positives_has_counts_and_no_area():
    rows = of_two()
    is_rare_S = np.zeros(400, dtype=bool)
    is_rare_S[np.flatnonzero(rows.target_SQ[:, 0] == 1)[:9]] = is_rare_S[
        np.flatnonzero(rows.target_SQ[:, 0] == 0)[:50]
    ] = True
    rare = judge(rows, parts={"site": np.where(is_rare_S, "B", "A")}, num_draws=200)["parts"]["site"]["values"]["B"]
    assert rare["counts"] == {
        "rows": 59,
        "groups": len(np.unique(rows.group_S[is_rare_S])),
        "positives": {"melanoma": 9},
    }
    for name in RANKED:
        assert rare["overall"][name] == {"value": None, "why": "too few positives (9): no AUC with fewer than 10"}
    assert rare["overall"]["brier"]["value"] is not None


def test_a_mean_over_classes_says_which_it_leaves_out():
    rows, class_S = of_classes()
    kept = rows.where((class_S != 3) | (np.cumsum(class_S == 3) <= 4))
    found = judge(kept, num_draws=200)
    areas = [found["outputs"][f"class {k}"]["measures"]["roc_auc"]["value"] for k in range(4)]
    assert areas[3] is None and found["overall"]["roc_auc"]["value"] == pytest.approx(np.mean(areas[:3]))
    assert "mean over 3 of 4 outputs" in found["overall"]["roc_auc"]["why"]


def test_one_score_a_patient():
    rows = of_two()
    found = judge_groups(rows, "mean", num_draws=200)
    prob_G, target_G = rows.prob_SQ.reshape(100, 4).mean(axis=1), rows.target_SQ.reshape(100, 4).max(axis=1)
    assert found["overall"]["roc_auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(target_G, prob_G))
    assert found["counts"] == {"rows": 100, "groups": 100} and found["mixed"] == 0
    classes, _ = of_classes()
    mixed = judge_groups(classes, "mean", num_draws=200)
    assert mixed["mixed"] == int((classes.target_SQ.reshape(150, 2, 4).max(axis=1).sum(axis=1) > 1).sum())
    assert mixed["counts"]["rows"] == 150 - mixed["mixed"]


def test_labels_that_are_known_in_part_are_judged_where_they_are():
    rng = np.random.default_rng(0)
    target_SQ, prob_SQ = (rng.random((200, 2)) < 0.4).astype(float), rng.random((200, 2))
    target_SQ[:120, 1] = np.nan
    target_SQ[:10, 0] = np.nan
    found = judge(Rows(target_SQ, prob_SQ, np.arange(200), ["a", "b"], False, label_SQ=prob_SQ > 0.5), num_draws=200)
    assert [found["outputs"][name]["rows"] for name in "ab"] == [190, 80] and found["counts"]["rows"] == 190
    expected = sklearn.metrics.roc_auc_score(target_SQ[120:, 1], prob_SQ[120:, 1])
    assert found["outputs"]["b"]["measures"]["roc_auc"]["value"] == pytest.approx(expected)
    json.dumps(found, allow_nan=False)


def test_rows_that_no_fold_held_out_are_left_out_with_their_parts():
    rows = of_two()
    rows.prob_SQ[:100] = np.nan
    found = judge(rows, parts={"fold": np.repeat([0, 1], [100, 300])}, num_draws=200)
    assert found["counts"]["rows"] == 300 and set(found["parts"]["fold"]["values"]) == {"1"}


NO = np.zeros
HOSTILE = {
    "no rows": Rows(NO((0, 1)), NO((0, 1)), NO(0), ["yes"], False),
    "no rows, classes": Rows(NO((0, 3)), NO((0, 3)), NO(0), list("abc"), True),
    "one row": Rows(np.ones((1, 1)), np.ones((1, 1)), NO(1), ["yes"], False, label_SQ=np.ones((1, 1), bool)),
    "no positives": Rows(NO((30, 1)), np.full((30, 1), 0.2), np.arange(30), ["yes"], False, label_SQ=NO((30, 1), bool)),
    "one patient": Rows(
        np.eye(2)[np.arange(40) % 2][:, :1], NO((40, 1)) + 0.5, NO(40), ["yes"], False, label_SQ=NO((40, 1), bool)
    ),
    "surely right": Rows(
        np.eye(2)[np.arange(40) % 2], np.eye(2)[np.arange(40) % 2], np.arange(40), ["no", "yes"], True
    ),
    "surely wrong": Rows(
        np.eye(2)[np.arange(40) % 2], np.eye(2)[(np.arange(40) + 1) % 2], np.arange(40), ["no", "yes"], True
    ),
    "one class of three": Rows(np.eye(3)[NO(40, int)], np.full((40, 3), 1 / 3), np.arange(40) // 4, list("abc"), True),
    "all unknown": Rows(np.full((5, 2), np.nan), NO((5, 2)), np.arange(5), ["a", "b"], False),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("error")
def test_whatever_the_rows_there_are_words_or_numbers_and_never_a_traceback(name):
    rows = HOSTILE[name]
    found = judge(rows, parts={"fold": np.arange(len(rows.group_S)) % 2}, num_draws=200)
    found["groups"] = judge_groups(rows, "mean", num_draws=200)
    json.dumps(found, allow_nan=False)
    for measure in every_measure(found):
        assert measure["value"] is not None or measure.get("why") or "parts" in measure
    if name == "surely right":
        assert found["overall"]["roc_auc"]["value"] == 1 and 0.8 < found["overall"]["roc_auc"]["low"] < 1
        # That all answers are right says something of their certainty, though none is wrong.
        assert found["calibration_of_top_class"]["value"] == 0
    if name == "one patient":
        assert "low" not in found["overall"]["accuracy"] and found["overall"]["accuracy"]["value"] == 0.5
    if name == "no positives":
        assert found["overall"]["sensitivity"]["value"] is None and found["overall"]["specificity"]["value"] == 1


def test_without_labels_as_served_nothing_is_told_that_needs_them():
    found = judge(of_two(), num_draws=200)
    assert not set(AS_SERVED) & set(found["overall"])
    assert "no labels as served were given: nothing that needs a threshold is told" in found["cautions"]


def test_many_classes_have_measures_and_no_curves():
    rows, _ = of_classes(num_rows=600, num_classes=25)
    found = judge(rows, parts={"fold": np.arange(600) % 2}, num_draws=200)
    assert "calibration" not in found["outputs"]["class 0"] and any("25 outputs" in said for said in found["cautions"])
    assert "low" in found["overall"]["roc_auc"] and "low" in found["outputs"]["class 0"]["measures"]["roc_auc"]
