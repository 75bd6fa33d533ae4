"""Once: the check before training is done by the first process of a host, and the others take over what came of it.

What is handed over is what opening the pictures found out: which rows are kept, merged groups, shortcuts. The rest
follows from the tables, which every process reads itself.
"""

# S samples

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lesion.algorithms.base import Job
from lesion.algorithms.classify.check import check_before_training
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.settle import Checked, settle
from lesion.data.table import Picked, Retold, Source
from lesion.engine.checkpoint import State
from lesion.files import write_atomic

LOOK_EVERY_S = 0.2
NAME = "checked.safetensors"


def check_once(
    config: ClassifyConfig, training: Source, test: Source | None, job: Job, *, is_leader: bool, num_workers: int
) -> Checked:
    """What training starts from, found out by one process of this host; raises as `check_before_training` does.

    The other processes wait, without an end of their own: should the first one fail, the parent ends them.
    """
    if job.process:
        assert job.shared_dir is not None  # several processes have a folder
        return take_over(_wait_for(job.shared_dir / NAME), config, training, test)
    checked = check_before_training(
        config,
        training,
        test,
        output=job.output_dir if is_leader else None,
        num_workers=num_workers * job.processes,  # the others leave their cores to this one
        show_progress=job.show_progress,
    )
    if job.processes > 1 and job.shared_dir is not None:
        write_atomic(job.shared_dir / NAME, outcome(checked).to_bytes())
    return checked


def outcome(checked: Checked) -> State:
    """What `take_over` makes the same Checked of, from the same channels."""
    group_S = checked.labelled.table.group_S
    tensors = {"training": torch.from_numpy(_rows(checked.training))}
    if checked.test is not None:
        tensors["test"] = torch.from_numpy(_rows(checked.test))
    values = {"groups": None if group_S is None else group_S.tolist(), "shortcuts": dict(checked.shortcuts)}
    return State(tensors, values)


def take_over(state: State, config: ClassifyConfig, training: Source, test: Source | None) -> Checked:
    training = Picked(training, state.tensors["training"].numpy())
    groups: list[Any] | None = state.values["groups"]
    if groups is not None:  # those that share a picture may have become one
        training = Retold(training, replace(training.table(), group_S=np.array(groups)))
    test = None if test is None else Picked(test, state.tensors["test"].numpy())
    return replace(settle(config, training, test), shortcuts=state.values["shortcuts"])


def _rows(source: Source) -> np.ndarray[Any, np.dtype[np.intp]]:
    assert isinstance(source, Picked)  # as the check leaves them
    return source.index_S


def _wait_for(path: Path) -> State:
    while not path.exists():
        time.sleep(LOOK_EVERY_S)
    return State.from_bytes(path.read_bytes())
