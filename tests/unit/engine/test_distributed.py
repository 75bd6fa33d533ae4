"""Distributed: a data-parallel group of two does over gloo as one process would; alone every call is a no-op."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.distributed import DataParallelGroup
from lesion.stop import Stop

# Both ranks are asked the same, and only the second is told to stop, while its third step is under way.
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, torch, torch.distributed as dist
from torch import nn
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.distributed import DataParallelGroup
from lesion.errors import PlatformError
from lesion.stop import Stop

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", store=dist.FileStore(str(folder / "store"), 2), rank=rank, world_size=2)
group, said = DataParallelGroup(rank, 2, dist.group.WORLD), {}
said["slice"] = group.slice(np.arange(5)).tolist()
said["total"], said["any"] = group.total(3 + rank), [group.any(rank == 1), group.any(False)]
layer = nn.BatchNorm1d(2)
layer.weight.grad = torch.tensor([1.0, 10.0]) * (1 + rank)
said["loss"] = float(group.sum_gradients(layer.parameters(), torch.tensor(0.5 + rank)))
said["gradient"], said["no_gradient"] = layer.weight.grad.tolist(), layer.bias.grad is None
layer.running_mean.fill_(7.0 + rank)
group.broadcast_buffers(layer)
said["mean"] = layer.running_mean.tolist()
rows = np.array([4, 2, 9]) if rank == 0 else np.zeros(0, np.intp)
logits = torch.arange(6.0).view(2, 3, 1) if rank == 0 else torch.zeros(2, 0, 0)
said["gathered"] = [part.tolist() for part in group.gather(rows, logits)]

stop = Stop()
own = folder / str(rank)
checkpoints = Checkpoints(own, {"job": 1}, stop, data_parallel=group, interval_s=300)
said["nothing"] = checkpoints.load("fold_0") is None
checkpoints.save("fold_0", State({"weight": torch.tensor([1.0 + rank])}, {"epoch": 3}))
state = checkpoints.load("fold_0")
said["loaded"] = [state.tensors["weight"].tolist(), state.values["epoch"]]
steps = 0
try:
    with stop.held():
        for _ in range(6):
            steps += 1
            if steps == 3 and rank == 1:
                stop(15, None)
            checkpoints.after_step("fold_1", lambda: State({}, {"steps": steps}))
except KeyboardInterrupt:
    said["ended"] = "stopped"
except PlatformError as error:
    said["ended"] = error.kind
said["steps"], said["files"] = steps, sorted(path.name.split(".0")[0] for path in own.glob("*.safetensors"))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("group")
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(rank), str(folder)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    return [json.loads(process.communicate(timeout=120)[0]) for process in processes]


def test_rows_are_cut_into_contiguous_slices(said):
    assert [one["slice"] for one in said] == [[0, 1, 2], [3, 4]]


def test_counts_and_wishes_are_everybodys(said):
    assert all(one["total"] == 7 and one["any"] == [True, False] for one in said)


def test_gradients_and_losses_are_summed_and_what_has_none_gets_none(said):
    assert all(one["gradient"] == [3.0, 30.0] and one["loss"] == 2.0 and one["no_gradient"] for one in said)


def test_statistics_are_the_first_ranks(said):
    assert all(one["mean"] == [7.0, 7.0] for one in said)


def test_predictions_are_gathered_though_one_rank_has_none(said):
    assert all(one["gathered"] == [[4, 2, 9], [[[0.0], [1.0], [2.0]], [[3.0], [4.0], [5.0]]]] for one in said)


def test_states_are_the_first_ranks_wherever_they_lie(said):
    assert all(one["nothing"] and one["loaded"] == [[1.0], 3] for one in said)
    assert [one["files"] for one in said] == [["fold_0", "fold_1"], []]


def test_all_stop_after_the_step_in_which_one_is_told_to(said):
    """The first is not told even later, as when its host stays: it says so."""
    assert [one["steps"] for one in said] == [3, 3]
    assert [one["ended"] for one in said] == ["peer_lost", "stopped"]


def test_with_one_process_every_call_is_a_no_op(tmp_path):
    group, layer = DataParallelGroup(), nn.Linear(1, 1)
    layer.weight.grad = torch.ones(1, 1)
    rows_S, logits_VSK = group.gather(np.arange(3), torch.zeros(1, 3, 1))
    assert group.slice(np.arange(3)).tolist() == rows_S.tolist() == [0, 1, 2] and logits_VSK.shape == (1, 3, 1)
    assert group.total(4) == 4 and group.any(True) and not group.any(False)
    assert float(group.sum_gradients(layer.parameters(), torch.tensor(2.0))) == 2.0
    assert float(layer.weight.grad) == 1.0
    checkpoints = Checkpoints(tmp_path, {}, Stop(), data_parallel=group, interval_s=300)
    checkpoints.save("fold_0", State({}, {"epoch": 1}))
    loaded = checkpoints.load("fold_0")
    assert loaded is not None and loaded.values["epoch"] == 1
