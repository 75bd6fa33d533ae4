"""Label errors: turned labels are found, right ones are left alone, and odd sets give none."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.report.label_errors import likely_label_errors


def test_labels_that_were_turned_are_found_first():
    rng = np.random.default_rng(3)
    truth_S = np.arange(400) % 4 == 0
    probs_S = np.clip(np.where(truth_S, 0.9, 0.1) + rng.normal(0, 0.04, 400), 0.01, 0.99)
    labels_S = truth_S.copy()
    turned = [0, 5, 77, 200]
    labels_S[turned] = ~labels_S[turned]
    found = likely_label_errors(labels_S[:, None].astype(float), probs_S[:, None], is_multiclass=False)
    assert {row for row, _ in found} == set(turned) and all(q == 0 for _, q in found)


def test_of_several_classes_the_likelier_one_is_told():
    labels_SQ = np.eye(3)[np.arange(90) % 3]
    probs_SQ = np.where(labels_SQ == 1, 0.9, 0.05)
    probs_SQ[4] = [0.05, 0.03, 0.92]  # its label is class 1
    assert likely_label_errors(labels_SQ, probs_SQ, is_multiclass=True) == [(4, 2)]


def test_each_label_of_several_is_looked_at_by_itself():
    labels_SQ = np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], axis=1).astype(float)
    probs_SQ = np.where(labels_SQ == 1, 0.9, 0.1)
    probs_SQ[7, 1], probs_SQ[8, 0] = 0.99, 0.95
    assert likely_label_errors(labels_SQ, probs_SQ, is_multiclass=False) == [(7, 1), (8, 0)]


@pytest.mark.parametrize("is_multiclass", [True, False])
@pytest.mark.parametrize("num", [0, 1, 5])
def test_rows_of_one_class_have_none(is_multiclass, num):
    labels_SQ, probs_SQ = np.zeros((num, 3)), np.full((num, 3), 1 / 3)
    labels_SQ[:, 0] = 1
    assert likely_label_errors(labels_SQ, probs_SQ, is_multiclass=is_multiclass) == []
