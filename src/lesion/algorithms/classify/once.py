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

from lesion.algorithms.classify.check import check_before_training
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.settle import Checked, settle
from lesion.data.cache import Cache, Pictures
from lesion.data.table import Picked, Retold, Source
from lesion.engine.checkpoint import State
from lesion.files import write_atomic
from lesion.job import Job

LOOK_EVERY_S = 0.2
NAME = "checked.safetensors"


def check_once(
    config: ClassifyConfig,
    training: Source,
    test: Source | None,
    job: Job,
    cache: Cache,
    *,
    is_leader: bool,
    num_workers: int,
) -> tuple[Checked, Pictures]:
    """What training starts from, found out by one process of this host, and the pictures that it decoded on the way.

    Raises as `check_before_training` does. The other processes wait, without an end of their own: should the first one
    fail, the parent ends them.
    """
    if job.process:
        assert job.shared_dir is not None  # several processes have a folder
        state = _wait_for(job.shared_dir / NAME)
        checked, path = take_over(state, config, training, test), state.values["cache"]
        return checked, cache.pictures_of(None if path is None else Path(path), checked.training, checked.opened_S)
    cache.reserve(len(training.table()))
    checked = check_before_training(
        config,
        training,
        test,
        output=job.output_dir if is_leader else None,
        num_workers=num_workers * job.processes,  # the others leave their cores to this one
        show_progress=job.show_progress,
        keep=cache.keep,
    )
    pictures = cache.pictures(checked.training, checked.opened_S)
    if job.processes > 1 and job.shared_dir is not None:
        write_atomic(job.shared_dir / NAME, outcome(checked, cache.path).to_bytes())
    return checked, pictures


def outcome(checked: Checked, cache: Path | None) -> State:
    """What `take_over` makes the same Checked of, from the same channels; and where the decoded pictures lie."""
    group_S = checked.labelled.table.group_S
    tensors = {"training": torch.from_numpy(checked.opened_S)}
    if checked.test is not None:
        tensors["test"] = torch.from_numpy(_rows(checked.test))
    values = {"groups": None if group_S is None else group_S.tolist(), "shortcuts": dict(checked.shortcuts)}
    values["cache"] = None if cache is None else str(cache)
    return State(tensors, values)


def take_over(state: State, config: ClassifyConfig, training: Source, test: Source | None) -> Checked:
    """The outcome of another process's check as this one's own."""
    opened_S = state.tensors["training"].numpy()
    training = Picked(training, opened_S)
    groups: list[Any] | None = state.values["groups"]
    if groups is not None:  # those that share a picture may have become one
        training = Retold(training, replace(training.table(), group_S=np.array(groups)))
    test = None if test is None else Picked(test, state.tensors["test"].numpy())
    return replace(settle(config, training, test), opened_S=opened_S, shortcuts=state.values["shortcuts"])


def _rows(source: Source) -> np.ndarray[Any, np.dtype[np.intp]]:
    assert isinstance(source, Picked)  # as the check leaves them
    return source.index_S


def _wait_for(path: Path) -> State:
    while not path.exists():
        time.sleep(LOOK_EVERY_S)
    return State.from_bytes(path.read_bytes())
