"""Fixtures of the contract: a baseline job, a finished process, a running server, each shared by all that only look."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # jobs
from jobs import Trained, run, small_job

from lesion import cli
from processes import Server

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """A `lesion` command that runs in this process: what it says and its exit status, without importing torch anew.

    Not for `train`, whose parent starts a process anyway, nor `serve`.
    """

    def run_command(*arguments: object) -> CompletedProcess[str]:
        logs = [logging.getLogger(), logging.getLogger("lesion")]
        before = [(log, log.handlers[:], log.level) for log in logs]
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main([*map(str, arguments)])
        finally:
            logging.captureWarnings(False)
            for log, handlers, level in before:  # the command line adds its own at each start
                log.handlers[:] = handlers
                log.setLevel(level)
        said = capsys.readouterr()
        return CompletedProcess([*map(str, arguments)], int(ended.value.code or 0), said.out, said.err)

    return run_command


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that the jobs in this process have logged."""
    caplog.set_level(logging.INFO, logger="lesion")
    return lambda: caplog.text


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


@pytest.fixture(scope="module")
def target(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the module's own, so that what its tests do to it is seen there and nowhere else."""
    root = tmp_path_factory.mktemp("target")
    (root / "model").symlink_to(trained_root / "model")
    server = Server.start(root, root / "log", "--fold", "0").wait_until_ready()
    yield server
    assert server.stop() == 0


def _running(server: Server) -> Iterator[Server]:
    yield server.wait_until_ready()
    server.stop()


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

settings = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**settings, "include_dashboard": False})
cluster.add_node(**settings)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """A real cluster of two nodes on this machine, a core each.

    In a process of its own: Ray takes over SIGTERM, and ends a process whose cluster is gone.
    """
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdout is not None
        address = next((line.split()[1] for line in cluster.stdout if line.startswith("address ")), None)
        assert address is not None, "the cluster did not start"
        try:
            yield address
        finally:
            cluster.communicate(timeout=60)
    assert cluster.returncode == 0
