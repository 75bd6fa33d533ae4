"""Processes: several that train one job on one host, a fold each or every batch cut among them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jobs import Trained, draw_weights, small_frame, small_job
from safetensors.torch import load_file

import processes
from factories import write_hyperparameters
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import questions
from lesion.algorithms.classify.train import train
from lesion.check.outcome import Outcome, take_over
from lesion.check.run import check_before_training
from lesion.sagemaker import read_job
from processes import LIMIT_S, children, kill_all, wait_for_text
from warm import Command

PLAIN = {"model": "test_convnext", "metadata_columns": []}  # neither BatchNorm nor dropout
ENDLESS = {"epochs": 10_000, "patience": 10_000}


STARTED: list[Command] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """A test that fails ends what it started: some of these jobs have no end of their own."""
    yield
    for parent in STARTED:
        if parent.poll() is None:
            kill_all(parent)
            parent.wait(LIMIT_S)
    STARTED.clear()


def start(root: Path) -> Command:
    """The job on two cores, so that its processes have as many threads on any machine."""
    STARTED.append(processes.train(root, cores=sorted(os.sched_getaffinity(0))[:2]))
    return STARTED[-1]


def finish(root: Path) -> Trained:
    assert start(root).wait(LIMIT_S) == 0, (root / "log").read_text()
    return Trained(root)


def run_alone(root: Path, *, num_threads: int) -> Trained:
    """The job in this one process, with as many threads as one of several has, or all of them."""
    job = replace(read_job(root), num_cores=num_threads)
    train(job, ClassifyConfig.parse(job.hyperparameters))
    return Trained(root)


def failure(root: Path) -> str:
    return (root / "output" / "failure").read_text()


def test_a_fold_each_gives_what_one_process_gives_with_as_many_threads(tmp_path):
    alone = run_alone(small_job(tmp_path / "alone", epochs=2), num_threads=1)
    both = finish(small_job(tmp_path / "both", epochs=2, processes=2))
    assert both.digests == alone.digests
    assert both.oof.equals(alone.oof) and both.learned.equals(alone.learned)
    log = (both.root / "log").read_text()
    assert "/0 fold=0 epoch=1" in log and "/1 fold=1 epoch=1" in log
    assert log.count(" copies=") == log.count(" config ") == log.count("metric validation:roc_auc=") == 1


def test_by_default_a_cpu_trains_a_fold_a_core_and_as_two_processes_do_that_were_asked_for(tmp_path):
    asked = finish(small_job(tmp_path / "asked", processes=2))
    by_default = finish(small_job(tmp_path / "by_default", processes="auto"))
    assert by_default.digests == asked.digests and by_default.oof.equals(asked.oof)
    log = (by_default.root / "log").read_text()
    assert "processes=2: a fold a core (cores=2, about " in log
    assert "/0 fold=0 epoch=" in log and "/1 fold=1 epoch=" in log


def test_features_to_start_from_are_made_once_and_in_parts(tmp_path):
    weights = draw_weights(tmp_path / "given.safetensors")
    settings = {"frame": small_frame(9), "model": "test_resnet", "pretrained": weights, "metadata_columns": []}
    settings |= {"head_init": "probe", "epochs": 0}
    alone = run_alone(small_job(tmp_path / "alone", **settings), num_threads=1)
    both = finish(small_job(tmp_path / "both", **settings, processes=2))
    pd.testing.assert_frame_equal(both.oof, alone.oof, rtol=1e-4)
    rows = re.findall(r"features=\d+ views=1 rows=(\d+)", (both.root / "log").read_text())
    assert [int(number) for number in rows] == [len(both.oof) // 2]  # the first process tells its part


def test_every_batch_cut_among_two_gives_the_weights_of_one(tmp_path):
    """Ten training rows in batches of five, so slices of three and two."""
    settings = {**PLAIN, "frame": small_frame(10), "epochs": 3, "batch_size_train": 5}
    alone = run_alone(small_job(tmp_path / "alone", **settings), num_threads=2)
    both = finish(small_job(tmp_path / "both", **settings, processes=2, parallel="data"))
    for fold in range(2):
        one, other = (load_file(job.root / "model" / f"fold_{fold}.safetensors") for job in (alone, both))
        # Sums in another order, and Adam makes steps of one size of gradients of any: a tenth of its step is allowed.
        torch.testing.assert_close(other, one, rtol=0, atol=5e-5)
    pd.testing.assert_frame_equal(both.learned, alone.learned, rtol=1e-4)
    log = (both.root / "log").read_text()
    assert "parallel=data processes=2" in log and log.count("fold=1 epoch=2") == 1


def job_of_two(root: Path) -> Path:
    return small_job(root, frame=small_frame(12), epochs=3, batch_size_train=4, processes=2, parallel="data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What two processes make that nobody stops."""
    return finish(job_of_two(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_are_stopped_go_on_together(tmp_path, whole, number):
    """With BatchNorm and dropout, and at whatever step the signal finds them."""
    root = job_of_two(tmp_path)
    parent = start(root)
    wait_for_text(root / "log", "fold=1 epoch=0")
    if number == signal.SIGKILL:
        kill_all(parent)
        parent.wait(LIMIT_S)
    else:
        parent.send_signal(number)
        assert parent.wait(LIMIT_S) == 143 and not (root / "output" / "failure").exists()
    again = finish(root)
    assert "fold=0 is finished" in (root / "log").read_text()
    assert again.digests == whole.digests
    pd.testing.assert_frame_equal(again.learned, whole.learned, check_exact=True)


def test_a_job_that_is_stopped_leaves_the_finished_folds_of_all_its_processes(tmp_path):
    """The first has folds 0 and 2, the second fold 1. Ctrl-C finds the first in fold 2."""
    root = small_job(tmp_path, folds=3, epochs=30, patience=30, processes=2)
    assert processes.stop(root, "fold=2 epoch=0", signal.SIGINT, has_states=("fold_1.0", 1)) == 130
    assert not (root / "output" / "failure").exists()
    assert [fold["fold"] for fold in Trained(root).payload["folds"]] == [0, 1]


@pytest.mark.parametrize(("parallel", "lost"), [("folds", 1), ("data", 0)])
def test_a_process_that_is_killed_ends_the_job_with_its_name(tmp_path, parallel, lost):
    root = small_job(tmp_path, frame=small_frame(8), batch_size_train=4, processes=2, parallel=parallel, **ENDLESS)
    parent = start(root)
    wait_for_text(root / "log", "epoch=1")
    os.kill(children(parent.pid)[lost], signal.SIGKILL)
    assert parent.wait(LIMIT_S) == 137
    told = (
        rf"process {lost} of 2 was killed by SIGKILL( while [a-z 0-9-]+)?, most likely out of memory: lower processes, "
    )
    assert re.match(told, failure(root))


def test_the_error_of_one_process_is_the_jobs(tmp_path):
    """A picture that was good when the check read it is in one slice of each epoch."""
    settings = {"frame": small_frame(8), "batch_size_train": 4, "processes": 2, "parallel": "data", **ENDLESS}
    root = small_job(tmp_path, **settings, cache="off")
    parent = start(root)
    wait_for_text(root / "log", "epoch=1")
    picture = root / "input" / "data" / "training" / "train_jpg" / "IMG_003_0.jpg"
    picture.write_bytes(b"no picture")
    assert parent.wait(LIMIT_S) == 2
    assert picture.name in failure(root)


def test_what_the_first_process_dropped_and_merged_the_others_drop_and_merge(tmp_path):
    """Broken pictures and two that are copies: else the processes would not agree on the folds."""
    settings = {"frame": small_frame(14), "on_bad_image": "drop", "on_leak": "merge_groups"}
    job = read_job(small_job(tmp_path, **settings, has_test=True, processes=2))
    pictures = job.channels["training"] / "train_jpg"
    (pictures / "IMG_000_0.jpg").write_bytes(b"no picture")
    (pictures / "IMG_002_0.jpg").write_bytes((pictures / "IMG_004_0.jpg").read_bytes())
    (job.channels["training"] / "test_jpg" / "TEST_IMG_001_0.jpg").write_bytes(b"no picture")
    asked = questions(ClassifyConfig.parse(job.hyperparameters), check_settings=lambda: [])
    opened = asked.open(job.channels)
    first, _ = check_before_training(asked, opened, output=None, num_workers=1, show_progress=False)
    handed_over = Outcome.from_bytes(Outcome.of(first).to_bytes())
    other = take_over(handed_over, asked, *asked.open(job.channels).whole())

    table, other_table = first.training.table(), other.training.table()
    assert len(table) == 27 and table.fingerprint() == other_table.fingerprint()
    assert list(table.name_S) == list(other_table.name_S) and list(table.group_S) == list(other_table.group_S)
    groups = dict(zip(table.name_S, table.group_S, strict=True))
    assert groups["IMG_002_0"] == groups["IMG_004_0"]
    assert list(first.test.table().name_S) == list(other.test.table().name_S) and len(other.test.table()) == 4
    np.testing.assert_array_equal(other.task.valid_FS, first.task.valid_FS)
    np.testing.assert_array_equal(other.training.index_S, first.training.index_S)
    np.testing.assert_array_equal(other.task.labelled.targets_SK, first.task.labelled.targets_SK)
    np.testing.assert_array_equal(other.training.read(4), first.training.read(4))  # behind the row that was dropped
    assert other.task.kinds == first.task.kinds and other.shortcuts == first.shortcuts and first.shortcuts


def test_another_number_of_processes_keeps_the_finished_fold_and_begins_the_other_again(tmp_path):
    """Alone it was killed in its second fold; now two processes train each fold together, and see slices of a batch."""
    root = small_job(tmp_path, epochs=3)
    assert processes.stop(root, "fold=1 epoch=1", signal.SIGKILL, has_states=("fold_1.step", 2)) == 137
    finished = load_file(processes.states(root, "fold_0")[0])
    hyperparameters = json.loads((root / "input/config/hyperparameters.json").read_text())
    write_hyperparameters(root, {**hyperparameters, "processes": 2, "parallel": "data"})
    resumed = finish(root)
    said = (root / "log").read_text()
    assert "fold=0 is finished" in said and "fold=0 epoch=" not in said
    assert "fold=1 starts again: it was begun by 1" in said and "fold=1 epoch=0" in said
    weights = load_file(resumed.root / "model" / "fold_0.safetensors")
    assert all(torch.equal(finished[f"weights.{name}"], tensor) for name, tensor in weights.items())
