"""Environments: a virtual environment with exactly what a lock file pins, and scripts that run in it.

For what cannot live beside Lesion: the SDK 2 wants an older `packaging`, the SDK 3 another `sagemaker`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from machine import alone, lacks

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
UV = Path(sys.executable).with_name("uv")
INSTALL_LIMIT_S = 300
TELEMETRY_OFF = "{SchemaVersion: '1.0', SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}}\n"


def environment(name: str, lock: Path | None = None) -> Path:
    """The Python of the environment that `lock` (requirements-NAME.txt) describes, under build/: made once for each.

    Where nothing can be installed the test is skipped, with the reason; in CI that is a failure.
    """
    lock = lock or HERE / f"requirements-{name}.txt"
    home = PROJECT / "build" / "venvs" / name
    made_from = home / "made-from.txt"
    with alone(f"environment-{name}"):
        if not made_from.is_file() or made_from.read_bytes() != lock.read_bytes():
            _make(home, lock)
            made_from.write_bytes(lock.read_bytes())
    return home / "bin" / "python"


def _make(home: Path, lock: Path) -> None:
    python = str(home / "bin" / "python")
    for command in (
        ["venv", "--clear", "--python", sys.executable, str(home)],
        ["pip", "install", "--require-hashes", "--python", python, "-r", str(lock)],
    ):
        # From outside the project, whose own settings for uv bind only its own lock files.
        done = subprocess.run(
            [UV, "--quiet", *command], cwd="/", capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
        if done.returncode != 0:
            lacks(f"{lock.name} cannot be installed: {done.stderr}")


def run_script(python: Path, script: str, *arguments: object, variables: Mapping[str, str], limit_s: int) -> str:
    """What the script prints. It may import Lesion's sources, sees no AWS account, and the SDK's telemetry is off.

    Fails with the end of its output if the script does, or if it takes longer than `limit_s`.
    """
    folder = Path(variables["TMPDIR"])
    (folder / "sagemaker.yaml").write_text(TELEMETRY_OFF)
    own = {
        "PYTHONPATH": str(PROJECT / "src"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(folder / "sagemaker.yaml"),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGEMAKER_"))}
    log = folder / f"{script}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, HERE / script, *map(str, arguments)],
            env=inherited | own | variables,
            stdout=output,
            stderr=output,
            start_new_session=True,  # docker-compose's processes end with it
        )
        try:
            status: int | str = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = f"no end in {limit_s} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    printed = log.read_text(errors="replace")
    assert status == 0, f"{script}: {status}\n{printed[-6000:]}"
    return printed
