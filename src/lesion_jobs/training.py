"""Training: one training job, from channels and hyperparameters to the artifact and its report."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lesion.algorithms.registry import parse_hyperparameters
from lesion.errors import UserError
from lesion_jobs.announce import TRAINING, announce
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.session import open_session, plain_errors
from lesion_jobs.storage import download, readable_uri

TENSORBOARD_DIR = "/opt/ml/output/tensorboard"
Channels = str | Path | Mapping[str, str | Path]


@dataclass(frozen=True)
class TrainingRun:
    """A training job and where it leaves what. The files are there once the job is done."""

    name: str
    environment: Environment
    model: str  # model.tar.gz
    results: str  # output.tar.gz: report.html, metrics.json, oof.csv …
    checkpoints: str | None  # hand it to the next `train` to go on from there; none in local mode


def train(
    environment: Environment,
    channels: Channels,
    *,
    hyperparameters: Mapping[str, object] | None = None,
    name: str | None = None,
    num_instances: int = 1,
    volume_gb: int = 30,
    max_hours: float = 24,
    use_spot: bool = False,
    max_wait_hours: float | None = None,
    checkpoints: str | None = None,
    input_mode: Literal["File", "FastFile"] = "File",
    wait: bool = True,
) -> TrainingRun:
    """Train on the channels, one location for `training` or one per channel. Returns where the results will be.

    Raises UserError before anything is paid for if a hyperparameter or channel is wrong, and with the job's own
    reason if it fails. Several instances share the folds. The job is stopped after `max_hours`; with `use_spot` it
    takes spare machines for less, and waits for them up to `max_wait_hours` in all (twice `max_hours` if none). Local
    mode always waits.
    """
    hyperparameters = hyperparameters or {}
    channels = channels if isinstance(channels, Mapping) else {"training": channels}
    uris = {channel: readable_uri(at, environment, what=f"channel '{channel}'") for channel, at in channels.items()}
    check_hyperparameters(environment, uris, hyperparameters)
    name = name or new_name("train")
    run = describe_run(environment, name, checkpoints)
    arguments = estimator_arguments(
        run,
        hyperparameters,
        num_instances=num_instances,
        volume_gb=volume_gb,
        max_hours=max_hours,
        use_spot=use_spot,
        max_wait_hours=max_wait_hours,
        input_mode=input_mode,
    )
    session = open_session(environment)
    announce(TRAINING, name, environment, session, num_instances=num_instances, max_hours=max_hours)
    _fit(run, session, arguments, uris, wait=wait)
    return run


def check_hyperparameters(
    environment: Environment, channels: Mapping[str, str], hyperparameters: Mapping[str, object]
) -> None:
    """Raises what the container would, a minute of a paid machine earlier."""
    _, config = parse_hyperparameters(hyperparameters)
    if (
        getattr(config, "pretrained", None) is True
        and "pretrained" not in channels
        and environment.isolated
        and not environment.is_local
    ):
        raise UserError(
            "pretrained=true downloads starting weights, and an isolated container reaches no network",
            do="Give a `pretrained` channel with the .safetensors file, or set isolated=False, or pretrained=false.",
            kind="hyperparameters",
        )


def describe_run(environment: Environment, name: str, checkpoints: str | None = None) -> TrainingRun:
    """Where a job of this name leaves what: SageMaker's own layout, kept in local mode too."""
    if environment.is_local and checkpoints:
        raise UserError("local mode keeps no checkpoints", where=checkpoints, do="Leave it out.", kind="environment")
    folder = f"{environment.output_uri}/{name}"
    kept = None if environment.is_local else checkpoints or f"{folder}/checkpoints"
    return TrainingRun(name, environment, f"{folder}/output/model.tar.gz", f"{folder}/output/output.tar.gz", kept)


def estimator_arguments(
    run: TrainingRun,
    hyperparameters: Mapping[str, object],
    *,
    num_instances: int = 1,
    volume_gb: int = 30,
    max_hours: float = 24,
    use_spot: bool = False,
    max_wait_hours: float | None = None,
    input_mode: str = "File",
) -> dict[str, Any]:
    """The arguments of sagemaker.estimator.Estimator, without the session."""
    environment = run.environment
    algorithm, _ = parse_hyperparameters(hyperparameters)
    is_folder = environment.output_uri.startswith("file://")  # there the SDK does not add the job's name
    arguments: dict[str, Any] = {
        "image_uri": environment.image,
        "role": environment.arn,
        "instance_count": num_instances,
        "instance_type": environment.instance_type,
        "output_path": run.model.rpartition("/")[0] if is_folder else environment.output_uri,
        "hyperparameters": {key: as_text(value) for key, value in hyperparameters.items()},
        "metric_definitions": [{"Name": line.name, "Regex": line.regex} for line in algorithm.metric_lines.values()],
        # Hooks of SageMaker's own framework images, which only lengthen the request of others.
        "debugger_hook_config": False,
        "disable_profiler": True,
    }
    if environment.is_local:
        return arguments
    max_wait_hours = max_wait_hours or 2 * max_hours
    if use_spot and max_wait_hours < max_hours:
        raise UserError(
            f"max_wait_hours={max_wait_hours:g} is less than max_hours={max_hours:g}",
            do="Wait longer.",
            kind="environment",
        )
    return arguments | {
        "tags": environment.tag_list,
        "subnets": list(environment.subnets) or None,
        "security_group_ids": list(environment.security_group_ids) or None,
        "output_kms_key": environment.kms_key,
        "volume_kms_key": environment.volume_key,
        "volume_size": volume_gb,
        "max_run": round(3600 * max_hours),
        "use_spot_instances": use_spot,
        "max_wait": round(3600 * max_wait_hours) if use_spot else None,
        "checkpoint_s3_uri": run.checkpoints,
        "input_mode": input_mode,
        "enable_network_isolation": environment.isolated,
        "encrypt_inter_container_traffic": True,
    }


def as_text(value: object) -> str:
    """A hyperparameter's value as SageMaker carries it: text as it is, everything else in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def fetch_results(run: TrainingRun, folder: str | Path) -> Path:
    """`folder`, with the run's report.html, metrics.json, oof.csv and all else of /opt/ml/output/data in it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in _files_of(download(run.environment, run.results, scratch)).items():
            (folder / name).write_bytes(content)
    return folder


def _fit(
    run: TrainingRun, session: Any, arguments: Mapping[str, Any], channels: Mapping[str, str], *, wait: bool
) -> None:
    from sagemaker.debugger import TensorBoardOutputConfig
    from sagemaker.estimator import Estimator

    if run.environment.is_local:
        try:
            Estimator(**arguments, sagemaker_session=session).fit(dict(channels), job_name=run.name)
        except RuntimeError as error:  # the SDK says only that compose ended with 1
            raise UserError("training failed", where=run.name, do=_failure(run), kind="job_failed") from error
        return
    board = TensorBoardOutputConfig(run.environment.output_uri, container_local_output_path=TENSORBOARD_DIR)
    with plain_errors(f"training job {run.name} failed", do="If it started, its logs, named above, say more."):
        estimator = Estimator(**arguments, tensorboard_output_config=board, sagemaker_session=session)
        estimator.fit(dict(channels), job_name=run.name, wait=wait)


def _failure(run: TrainingRun) -> str:
    """What the container wrote into /opt/ml/output/failure; the SDK's local mode packs it, and never shows it."""
    with suppress(UserError, KeyError):
        return _files_of(Path(run.results.removeprefix("file://")))["failure"].decode()
    return "The container did not say why; the log above may."


def _files_of(archive: Path) -> dict[str, bytes]:
    """Name → content of an archive's files, in any folder (local mode has data/, S3 none).

    TensorBoard's files, which local mode packs too, are left out: their names mean nothing without their folders.
    """
    try:
        with tarfile.open(archive) as tar:
            members = [
                (Path(member.name).name, tar.extractfile(member))
                for member in tar
                if member.isfile() and "tensorboard" not in Path(member.name).parts
            ]
            return {name: file.read() for name, file in members if file is not None}
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"results cannot be read: {error}", where=archive, do="Wait until the job is done, or see its log."
        ) from error
