"""Setup: what follows from the hyperparameters of an epoch: step settings, batch slices, cores of a fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesion import sagemaker
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import Task
from lesion.algorithms.classify.training.parallel import are_batches_cut, cores_of_fold, refuse_small_parts
from lesion.errors import UserError


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "size", "parts", "is_taken"),
    [
        (65, 64, 1, 16, True),  # batches of 33 and 32: parts of 2
        (65, 64, 1, 17, False),
        (256, 64, 4, 8, True),
        (256, 64, 4, 9, False),  # slices of 16
        (3, 64, 1, 1, True),  # nothing is cut
    ],
)
def test_parts_of_a_batch_have_two_pictures_at_least(num_rows, batch_size, size, parts, is_taken):
    config = ClassifyConfig(batch_size_train=batch_size, gradient_accumulation=parts)
    training_FS = np.repeat([True, False], [num_rows, 9])[None]
    if is_taken:
        refuse_small_parts(config, training_FS, size)
    else:
        with pytest.raises(UserError, match=f"gradient_accumulation={parts} divides batches of"):
            refuse_small_parts(config, training_FS, size)


def test_slices_too_small_for_batchnorm_are_refused_where_batches_must_be_cut():
    training_FS = np.repeat([True, False], [6, 6])[None]  # six rows: two batches of three
    words = "a batch of 4 images divided among 2 processes leaves slices of 1, and BatchNorm needs at least 2"
    with pytest.raises(UserError, match=words):
        are_batches_cut(ClassifyConfig(batch_size_train=4, parallel="data"), training_FS, 2)
    assert not are_batches_cut(ClassifyConfig(batch_size_train=4), training_FS, 2)
    assert are_batches_cut(ClassifyConfig(batch_size_train=6, parallel="data"), training_FS, 2)  # of three
    assert are_batches_cut(ClassifyConfig(batch_size_train=6), training_FS, 2)  # fewer folds than processes
    assert not are_batches_cut(ClassifyConfig(batch_size_train=6, parallel="folds"), training_FS, 2)


def test_rows_that_are_held_back_from_all_are_in_no_batch():
    valid_FS = np.repeat(np.eye(4, dtype=bool), [3, 3, 3, 60], axis=1)
    task = Task(labels=None, labelled=None, valid_FS=valid_FS, kinds={}, is_last_held_back=True)  # type: ignore[arg-type]
    assert task.training_FS.sum(axis=1).tolist() == [6, 6, 6]
    with pytest.raises(UserError, match="batches of 6 images"):
        refuse_small_parts(ClassifyConfig(batch_size_train=64, gradient_accumulation=4), task.training_FS, 1)


def test_the_folds_of_a_last_round_share_all_cores_of_their_host(tmp_path):
    alone = replace(sagemaker.read_job(tmp_path), num_cores=4)
    two = replace(alone, processes=2, num_cores=2)
    three_on_each = [replace(alone, hosts=("a", "b"), rank=rank, processes=3, num_cores=2) for rank in (0, 1)]
    assert [cores_of_fold(fold, 5, alone) for fold in range(5)] == [4, 4, 4, 4, 4]
    assert [cores_of_fold(fold, 5, two) for fold in range(5)] == [2, 2, 2, 2, 4]
    assert [cores_of_fold(fold, 2, two) for fold in range(2)] == [2, 2]
    assert [cores_of_fold(fold, 8, three_on_each[0]) for fold in (0, 1, 2, 6, 7)] == [2, 2, 2, 3, 3]
    assert [cores_of_fold(fold, 10, three_on_each[1]) for fold in (3, 4, 5, 9)] == [2, 2, 2, 6]
