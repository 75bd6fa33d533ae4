"""Whole or none: a job that is stopped or killed while its artifact is written leaves a whole one, or none at all."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from jobs import Trained, run, small_job
from kills import run_cases

from lesion.artifact import graph_files, load_manifest, load_weights

INTERRUPTED = 130
STEPS = (2, 3, 7)  # of seven: a trial, the old manifest and two folds go, two folds come, and then the manifest


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished job of two folds, with another seed than those that are killed here."""
    return run(small_job(tmp_path_factory.mktemp("earlier"), seed=7)).root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("whole")))


def job_over(earlier: Path, root: Path, **changes: object) -> Path:
    """A job whose model/ still holds what an earlier one left there."""
    small_job(root, **changes)
    shutil.copytree(earlier / "model", root / "model")
    return root


def digests_of_whole(root: Path) -> list[str] | None:
    """The artifact's digests, all its files read; None where there is none."""
    if not (root / "model" / "manifest.json").exists():
        return None
    manifest = load_manifest(root / "model")
    for record in manifest.folds:
        load_weights(root / "model", record)
    if manifest.graph is not None:
        graph_files(root / "model", manifest.graph)
    assert not list((root / "model").glob("*.sagemaker-ignore"))
    return [record.sha256 for record in manifest.folds]


def test_a_stop_once_all_folds_are_finished_leaves_a_whole_artifact(tmp_path, earlier, whole):
    """SageMaker uploads model/ of a stopped job too."""
    roots = [job_over(earlier, tmp_path / str(step)) for step in STEPS]
    cases = [(str(root), signal.SIGTERM, "/model/", step) for root, step in zip(roots, STEPS, strict=True)]
    late = job_over(earlier, tmp_path / "late")  # the last fold's state is on its way to the disk, its result nowhere
    cases.append((str(late), signal.SIGTERM, "/checkpoints/fold_1.000000", 1))
    assert set(run_cases(cases)) == {INTERRUPTED}
    for root in [*roots, late]:
        assert digests_of_whole(root) == whole.digests, (root / "log").read_text()
        assert not (root / "output" / "failure").exists()


def test_a_kill_leaves_a_whole_artifact_or_none_and_the_next_run_mends_it(tmp_path, earlier, whole):
    roots = [job_over(earlier, tmp_path / str(step)) for step in STEPS]
    cases = [(str(root), int(signal.SIGKILL), "/model/", step) for root, step in zip(roots, STEPS, strict=True)]
    assert set(run_cases(cases)) == {-signal.SIGKILL}
    found = [digests_of_whole(root) if not parts(root) else None for root in roots]
    before = [fold["sha256"] for fold in Trained(earlier).manifest["folds"]]
    assert found == [before, None, None]
    assert run_cases([(str(roots[1]), 0, "", 0)]) == [0]
    assert digests_of_whole(roots[1]) == whole.digests
    names = sorted(path.name for path in (roots[1] / "model").iterdir())
    assert names == ["fold_0.safetensors", "fold_1.safetensors", "manifest.json"]


def parts(root: Path) -> list[Path]:
    """What a kill left of files in the writing, which never stands with a manifest."""
    left = list((root / "model").glob("*.sagemaker-ignore"))
    assert not left or left[0].name.startswith("manifest") or not (root / "model" / "manifest.json").exists()
    return left


def test_a_stop_while_the_graph_is_written_leaves_it_whole_too(tmp_path):
    root = small_job(tmp_path, export_graph=True)
    assert run_cases([(str(root), signal.SIGTERM, "/model/graph.bin", 1)]) == [INTERRUPTED]
    assert digests_of_whole(root) is not None
    assert load_manifest(root / "model").graph is not None
