"""Fixtures of the contract: a baseline job, a finished process, a running server, each shared by all that only look."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # jobs
from jobs import Trained, run, small_job

from processes import Server


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The small job as it is, with a test set: what a changed one is compared with. Not to be written to."""
    return run(small_job(tmp_path_factory.mktemp("baseline"), has_test=True))


@pytest.fixture(scope="session")
def server(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`lesion serve` of the shared artifact, its folder read-only and littered as SDK and macOS leave it."""
    root = tmp_path_factory.mktemp("served")
    model_dir = root / "model"
    shutil.copytree(trained_root / "model", model_dir)
    for stranger in ("model.tar.gz", "output.tar.gz", "._manifest.json", "._fold_0.safetensors"):
        (model_dir / stranger).write_bytes(b"\x00\x05\x16\x07 not ours")
    for entry in model_dir.iterdir():
        entry.chmod(0o444)
    model_dir.chmod(0o555)
    yield from _running(Server.start(root, root / "log"))
    model_dir.chmod(0o755)


@pytest.fixture(scope="session")
def other_server(baseline: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`lesion serve --fold 1` of an artifact without a graph, by torch; takes bodies up to 1 MiB, tells metrics, has no
    page."""
    log = tmp_path_factory.mktemp("other") / "log"
    environment = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1", "LESION_METRICS": "1"}
    yield from _running(Server.start(baseline.root, log, "--fold", "1", "--no-page", environment=environment))


def _running(server: Server) -> Iterator[Server]:
    yield server.wait_until_ready()
    server.stop()
