"""Whole or none: a job that is stopped or killed while its artifact is written leaves a whole one, or none at all."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import Trained, run, small_job
from kills import train_until

from lesion.artifact import load_manifest, path_of_file

INTERRUPTED = 130
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGINT)
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


@dataclass(frozen=True)
class Ended:
    """The roots of jobs that a signal met: those over an earlier artifact by their step, and each one's exit status."""

    stopped: list[Path]
    killed: list[Path]
    with_graph: Path
    statuses: dict[Path, int]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, earlier: Path) -> Ended:
    """To be written to by one test only."""
    folder = tmp_path_factory.mktemp("ended")
    stopped = [job_over(earlier, folder / f"stopped_{step}") for step in STEPS]
    late = job_over(earlier, folder / "late")  # the last fold's state is on its way to the disk, its result nowhere
    killed = [job_over(earlier, folder / f"killed_{step}") for step in STEPS]
    with_graph = small_job(folder / "with_graph", export_graph=True)
    cases = [
        *((root, number, "/model/", step) for root, number, step in zip(stopped, STOPS, STEPS, strict=True)),
        (late, signal.SIGTERM, "/checkpoints/fold_1.000000", 1),
        *((root, signal.SIGKILL, "/model/", step) for root, step in zip(killed, STEPS, strict=True)),
        (with_graph, signal.SIGTERM, "/model/graph.bin", 1),
    ]
    return Ended([*stopped, late], killed, with_graph, {case[0]: train_until(*case) for case in cases})


def digests_of_whole(root: Path) -> list[str] | None:
    """The artifact's digests, all its files read; None where there is none."""
    if not (root / "model" / "manifest.json").exists():
        return None
    manifest = load_manifest(root / "model")
    for name in manifest.files:
        path_of_file(root / "model", manifest, name)  # its digest is compared
    assert not list((root / "model").glob("*.sagemaker-ignore"))
    return [record.sha256 for name, record in sorted(manifest.files.items()) if name.endswith(".safetensors")]


def test_a_stop_once_all_folds_are_finished_leaves_a_whole_artifact(ended, whole):
    """SageMaker uploads model/ of a stopped job too."""
    for root in ended.stopped:
        assert ended.statuses[root] == INTERRUPTED
        assert digests_of_whole(root) == whole.digests, (root / "log").read_text()
        assert not (root / "output" / "failure").exists()


def test_a_kill_leaves_a_whole_artifact_or_none_and_the_next_run_mends_it(earlier, ended, whole):
    assert {ended.statuses[root] for root in ended.killed} == {-signal.SIGKILL}
    found = [digests_of_whole(root) if not parts(root) else None for root in ended.killed]
    before = Trained(earlier).digests
    assert found == [before, None, None]
    mended = run(ended.killed[1]).root
    assert digests_of_whole(mended) == whole.digests
    names = sorted(path.name for path in (mended / "model").iterdir())
    assert names == ["fold_0.safetensors", "fold_1.safetensors", "manifest.json"]


def parts(root: Path) -> list[Path]:
    """What a kill left of files in the writing, which never stands with a manifest."""
    left = list((root / "model").glob("*.sagemaker-ignore"))
    assert not left or left[0].name.startswith("manifest") or not (root / "model" / "manifest.json").exists()
    return left


def test_a_stop_while_the_graph_is_written_leaves_it_whole_too(ended):
    assert ended.statuses[ended.with_graph] == INTERRUPTED
    assert digests_of_whole(ended.with_graph) is not None
    assert {"graph.xml", "graph.bin"} < load_manifest(ended.with_graph / "model").files.keys()
