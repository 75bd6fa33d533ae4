"""Run: what running out of memory is called, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.transforms import Preprocess
from lesion.engine.run import Run, open_run
from lesion.errors import LesionError, PlatformError, UserError
from lesion.sagemaker import read_job


@pytest.fixture
def run(tmp_path):
    job = replace(read_job(tmp_path), shared_dir=tmp_path)
    preprocess = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with open_run(job, ClassifyConfig(device="cpu"), preprocess, writes=[tmp_path / "model" / "it"]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("met", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …"), UserError),
        (MemoryError(), PlatformError),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] can't allocate memory: you tried …"), PlatformError),
    ],
)
def test_running_out_of_memory_names_the_step_and_the_setting(run: Run, met: Exception, kind: type[LesionError]):
    with (
        pytest.raises(kind, match="out of memory while predicting fold 2") as refused,
        run.step("predicting fold 2", remedy="lower batch_size_predict"),
    ):
        raise met
    assert refused.value.kind == "memory" and str(refused.value).endswith("Lower batch_size_predict.")


@pytest.mark.parametrize(("num_workers", "expected"), [("auto", [2, 5]), (1, [1, 1])])
def test_a_process_reads_with_as_many_threads_as_it_computes_with_unless_the_user_set_a_number(
    tmp_path: Path, num_workers: str | int, expected: list[int]
):
    before = torch.get_num_threads()
    job = replace(read_job(tmp_path), num_cores=2)
    config = ClassifyConfig(device="cpu", num_workers=num_workers)
    with open_run(job, config, Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), writes=[]) as run:
        found = [(run.machine().num_workers, run.machine().num_cores, torch.get_num_threads())]
        run.take_cores(5)  # as for a fold that is alone on its host, and once all folds are finished
        found.append((run.machine().num_workers, run.machine().num_cores, torch.get_num_threads()))
    torch.set_num_threads(before)
    assert found == [(expected[0], 2, 2), (expected[1], 5, 5)]


def test_any_other_error_is_left_as_it_is(run: Run):
    with pytest.raises(RuntimeError, match="shapes"), run.step("training", remedy="wait"):
        raise RuntimeError("shapes do not fit")


def test_the_step_in_work_lies_where_the_parent_of_a_killed_process_reads_it(run: Run, tmp_path: Path):
    with run.step("training fold 0", remedy="lower image_size"):
        assert (tmp_path / "step_0").read_text() == "training fold 0\nlower image_size"
    assert (tmp_path / "step_0").read_text() == ""


def test_a_step_within_a_step_goes_back_to_the_one_that_it_is_a_part_of(run: Run, tmp_path: Path):
    with run.step("training fold 0", remedy="lower image_size"):
        with run.step("predicting fold 0", remedy="lower batch_size_predict"):
            assert (tmp_path / "step_0").read_text().startswith("predicting fold 0")
        assert (tmp_path / "step_0").read_text().startswith("training fold 0")
