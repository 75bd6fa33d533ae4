"""The memory of a training process, as it is estimated before one starts, and how many a host then has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.training.memory import PROCESS_BYTES, processes_on_cpu, training_bytes
from lesion.sagemaker import training_environment

GIB = 2**30
SMALL = {"model": "mobilenetv2_050", "pretrained": False, "image_size": 160, "batch_size_train": 16}
# Of Adam's second step, the first that has all of its memory; as much as `lesion train` gives its processes.
STEPS = """
import json, sys, timm, torch
model, image_size, batch = json.loads(sys.argv[1])
torch.set_num_threads(1)
network = timm.create_model(model, num_classes=0).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.Adam(network.parameters())
for _ in range(2):
    images = torch.zeros(batch, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    optimizer.zero_grad()
    network(images).sum().backward()
    optimizer.step()
peak_kib = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])  # getrusage has the parent's
print(1024 * peak_kib())
"""


@pytest.mark.parametrize("model", ["mobilenetv2_050", "resnet10t"])
def test_no_less_is_estimated_than_two_steps_take_and_not_twice_as_much(model, tmp_path):
    config = ClassifyConfig(**SMALL | {"model": model, "precision": "fp32"})
    size = json.dumps([model, config.image_size, config.batch_size])
    environment = training_environment(tmp_path)
    taken = int(subprocess.check_output([sys.executable, "-c", STEPS, size], env=environment))
    assert taken < training_bytes(config) < 2 * taken


@pytest.mark.parametrize(
    ("memory_gib", "cores", "settings", "number"),
    [
        (64, 2, {}, 2),
        (64, 8, {"folds": 3}, 3),
        (64, 1, {}, 1),
        (1, 8, {}, 1),
        (64, 8, {"batch_size_train": "auto"}, 1),
        (64, 8, {"parallel": "data"}, 1),
        (64, 8, {"model": "no_such_network"}, 1),  # the check says so, with the names that there are
    ],
)
def test_a_fold_a_core_as_far_as_the_memory_holds_them(memory_gib, cores, settings, number):
    config = ClassifyConfig(**SMALL | {"folds": 6} | settings)
    assert processes_on_cpu(config, num_cores=cores, memory_bytes=memory_gib * GIB) == number


def test_memory_for_two_and_a_half_holds_two_and_gradient_accumulation_makes_room(caplog):
    caplog.set_level("INFO")
    config = ClassifyConfig(**SMALL)
    memory_bytes = round(2.5 * training_bytes(config) / 0.8)
    assert processes_on_cpu(config, num_cores=8, memory_bytes=memory_bytes) == 2
    assert "processes=2: as many as the memory holds" in caplog.text
    halved = ClassifyConfig(**SMALL | {"gradient_accumulation": 2})
    assert training_bytes(halved) - PROCESS_BYTES < 0.6 * (training_bytes(config) - PROCESS_BYTES)
