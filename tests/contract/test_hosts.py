"""Hosts: several that train one job, here as processes with an address each on the loopback interface."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from jobs import Trained, run, small_frame, small_job
from safetensors.torch import load_file

from processes import kill_all, train, wait_for_text

SETTINGS = {"epochs": 2}


def write_roots(folder: Path, num_hosts: int, **settings: object) -> list[Path]:
    """A root for each host, with the same data, and the file that tells it who it is."""
    names = [f"127.0.0.{number}" for number in range(1, num_hosts + 1)]
    first = small_job(folder / "job", **{**SETTINGS, **settings})
    for name in names:
        shutil.copytree(first, folder / name)
        resources = {"current_host": name, "hosts": names[::-1], "network_interface_name": "lo"}
        (folder / name / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    return [folder / name for name in names]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The job of `roots` on one host."""
    return run(small_job(tmp_path_factory.mktemp("alone"), **SETTINGS, folds=3))


@pytest.fixture
def roots(tmp_path) -> list[Path]:
    return write_roots(tmp_path, 2, folds=3)


def test_two_hosts_make_the_artifact_of_one_and_only_the_first_writes_it(roots, alone):
    second = train(roots[1])  # comes first, and waits for its leader
    wait_for_text(roots[1] / "log", "waiting for all")
    first = train(roots[0])
    assert [first.wait(120), second.wait(120)] == [0, 0], (roots[0] / "log").read_text() + (
        roots[1] / "log"
    ).read_text()
    together = Trained(roots[0])
    assert together.digests == alone.digests
    assert together.oof.equals(alone.oof) and together.learned.equals(alone.learned)
    assert list((roots[1] / "model").iterdir()) == [] and list((roots[1] / "output" / "data").iterdir()) == []
    logs = [(root / "log").read_text() for root in roots]
    assert "fold=0 epoch=1" in logs[0] and "fold=1 epoch=1" not in logs[0] and "fold=1 epoch=1" in logs[1]
    assert logs[0].count("metric validation:roc_auc=") == 1 and "metric validation" not in logs[1]


@pytest.mark.parametrize("lost", [0, 1], ids=["the leader", "another host"])
def test_a_host_that_is_lost_ends_the_other(roots, lost):
    processes = [train(root) for root in roots]
    wait_for_text(roots[lost] / "log", "epoch=0")
    kill_all(processes[lost])
    processes[lost].wait(60)
    assert processes[1 - lost].wait(60) == 3
    failure = (roots[1 - lost] / "output" / "failure").read_text()
    assert failure.startswith(f"{roots[1 - lost].name}: host {roots[lost].name} ended before the job was done")


def test_the_cause_is_told_by_the_host_that_has_it(roots):
    picture = next((roots[1] / "input" / "data" / "training" / "train_jpg").iterdir())
    picture.write_bytes(b"no picture")
    processes = [train(root) for root in roots]
    assert [process.wait(60) for process in processes] == [3, 2]
    assert (roots[1] / "output" / "failure").read_text().startswith(f"{roots[1].name}: 1 of ")


def test_a_host_that_gets_no_fold_waits_for_the_others(tmp_path):
    roots = write_roots(tmp_path, 3, folds=2, parallel="folds")
    processes = [train(root) for root in roots]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert len(Trained(roots[0]).digests) == 2 and "epoch=" not in (roots[2] / "log").read_text()


def test_hosts_with_several_processes_cut_every_batch_among_all(tmp_path):
    """Two hosts of two: the weights of one process alone, with a network without BatchNorm and dropout."""
    plain = {"model": "test_convnext", "metadata_columns": [], "frame": small_frame(8), "batch_size_train": 8}
    alone = run(small_job(tmp_path / "alone", **SETTINGS, **plain))
    roots = write_roots(tmp_path, 2, **plain, processes=2)
    processes = [train(root) for root in roots]
    assert [process.wait(120) for process in processes] == [0, 0], (roots[0] / "log").read_text()
    for fold in range(2):
        one, other = (load_file(root / "model" / f"fold_{fold}.safetensors") for root in (alone.root, roots[0]))
        torch.testing.assert_close(other, one, rtol=0, atol=5e-5)  # as in test_processes
    assert list((roots[1] / "model").iterdir()) == []
    logs = [(root / "log").read_text() for root in roots]
    assert logs[0].count("metric epoch:roc_auc=") == 4 and "fold=0 epoch=" not in logs[1]


@pytest.mark.parametrize("first", [0, 1], ids=["the leader first", "the other first"])
def test_hosts_that_are_stopped_go_on_together(roots, alone, first):
    """The signal comes to one a moment sooner, whose end the other then sees."""
    processes = [train(root) for root in roots]
    wait_for_text(roots[1] / "log", "fold=1 epoch=0")
    for number in (first, 1 - first):
        processes[number].send_signal(signal.SIGTERM)
        time.sleep(1)
    assert [process.wait(60) for process in processes] == [143, 143]
    assert not any((root / "output" / "failure").exists() for root in roots)
    again = [train(root) for root in roots]
    assert [process.wait(120) for process in again] == [0, 0]
    assert "resumes in epoch" in (roots[1] / "log").read_text() or "is finished" in (roots[1] / "log").read_text()
    assert Trained(roots[0]).digests == alone.digests
