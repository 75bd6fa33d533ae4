"""Resumable: a pass over pictures whose results so far are checkpoints: a killed job does none of them again."""

# N batch · S samples

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.data.cache import Pictures
from lesion.data.loader import Batch, Dataset, load_batches, ordered_batches
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.run import Run


def compute_rows(
    name: str,
    rows_S: NDArray[np.intp],
    compute: Callable[[Batch], Tensor],
    pictures: Pictures,
    *,
    batch_size: int,
    run: Run,
    checkpoints: Checkpoints,
) -> Tensor:
    """What `compute` gives for these rows [S, ...] on the CPU, batch by batch in their order, as this process's part of
    the pass called `name`. With several processes each computes a slice, and all get the whole.

    A state is kept as often as the job wants it. Raises KeyboardInterrupt when the job is stopped.
    """
    everyone = run.processes.as_group()
    own_S = everyone.slice(rows_S)
    state_name = f"{name}_{everyone.rank}_of_{everyone.size}"
    dataset = pictures_alone(pictures, rows_S)
    state = checkpoints.load(state_name)
    parts = [] if state is None else [state.tensors["results"]]

    def so_far() -> State:
        return State({"results": torch.cat(parts)}, {})

    done = sum(map(len, parts))
    batches = ordered_batches(own_S[done:], batch_size)
    with run.progress(len(own_S)) as bar:
        bar.update(done)
        for batch in load_batches(dataset, batches, num_workers=run.num_workers):
            with torch.inference_mode():
                parts.append(compute(batch).cpu())
            bar.update(len(batch.index_N))
            checkpoints.after_step(state_name, so_far)
    if not parts:  # more processes than rows: nothing, in the shape of what the others have
        [batch] = load_batches(dataset, [rows_S[:1]], num_workers=0)
        parts.append(compute(batch).cpu()[:0])
    checkpoints.save(state_name, so_far())
    results = torch.cat(parts)
    return everyone.gather(own_S, results[None])[1][0]


def pictures_alone(pictures: Pictures, rows_S: NDArray[np.intp]) -> Dataset:
    """The pictures of these rows as a loader takes them, without metadata and targets."""
    nothing_S0 = np.zeros((int(rows_S.max(initial=-1)) + 1, 0), dtype=np.float32)
    return Dataset(pictures, nothing_S0, nothing_S0, nothing_S0[:0].sum(axis=0))
