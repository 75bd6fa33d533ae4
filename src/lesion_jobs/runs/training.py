"""Training: one training job, from channels and hyperparameters to the artifact and its report."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion.algorithms.registry import parse_hyperparameters
from lesion.data.sources.channel_names import read_channel_names, training_is_missing
from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.kinds import TRAINING
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import send
from lesion_jobs.account.storage import download, readable_uri
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.local.run import run_job
from lesion_jobs.requests.training import InputMode, training_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.job import Job

Channels = str | Path | Mapping[str, str | Path]


@dataclass(frozen=True)
class TrainingRun(Job):
    """A training job and where it leaves what. The files are there once the job is done."""

    model: str  # model.tar.gz
    results: str  # output.tar.gz: report.html, metrics.json, oof.csv …
    checkpoints: str | None  # hand it to the next `train` to go on from there; none in local mode
    kind = TRAINING


@typed
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
    input_mode: InputMode = "File",
    wait: bool = True,
) -> TrainingRun:
    """Train on the channels, one location for `training` or one per channel. Returns where the results will be.

    Raises UserError before anything is paid for if a hyperparameter or channel is wrong, and with the job's own
    reason if it fails. Several instances share the folds. The job is stopped after `max_hours`; with `use_spot` it
    takes spare machines for less, and waits for them up to `max_wait_hours` in all (twice `max_hours` if none). Local
    mode always waits.
    """
    hyperparameters = hyperparameters or {}
    run = describe_run(environment, name or new_name("train"), checkpoints)
    problems: list[UserError] = []
    uris: dict[str, str] = {}
    request: dict[str, Any] = {}
    if environment.is_local and checkpoints:
        what, do = "local mode keeps no checkpoints", "Leave it out."
        problems.append(UserError(what, where=checkpoints, do=do, kind="environment"))
    with collecting(problems):
        check_name(environment, TRAINING, run.name)
    with collecting(problems):
        uris, request = checked_training(
            environment,
            run.name,
            channels,
            hyperparameters,
            num_instances=num_instances,
            volume_gb=volume_gb,
            max_hours=max_hours,
            use_spot=use_spot,
            max_wait_hours=max_wait_hours,
            checkpoints=run.checkpoints,
            input_mode=input_mode,
        )
    raise_all(problems)
    if environment.is_local:
        announce(TRAINING, run.name, environment)
        train_here(run, request)
        return run
    check_requests([("CreateTrainingJob", request)])
    notes = check_account(
        environment,
        TRAINING,
        num_instances=num_instances,
        use_spot=use_spot,
        reads={f"channel '{channel}'": uri for channel, uri in uris.items()},
        writes={"the checkpoints": run.checkpoints} if run.checkpoints else {},
    )
    announce(TRAINING, run.name, environment, num_instances=num_instances, max_hours=max_hours, notes=notes)
    send(environment, [("CreateTrainingJob", request)], what=f"training job {run.name} failed")
    return run.wait() if wait else run


def checked_training(
    environment: Environment, name: str, channels: Channels, hyperparameters: Mapping[str, object], **settings: Any
) -> tuple[dict[str, str], dict[str, Any]]:
    """The URI of each channel, and CreateTrainingJob's request with `settings`. Raises one UserError with all that is
    wrong with channels, hyperparameters and settings."""
    problems: list[UserError] = []
    uris: dict[str, str] = {}
    request: dict[str, Any] = {}
    with collecting(problems):
        uris = channel_uris(environment, channels)
    with collecting(problems):
        check_hyperparameters(environment, given_channels(channels), hyperparameters)
    with collecting(problems):
        request = training_request(environment, name, uris, hyperparameters, **settings)
    raise_all(problems)
    return uris, request


def given_channels(channels: Channels) -> Mapping[str, str | Path]:
    """The locations by the names of their channels; one alone is the training set's."""
    return channels if isinstance(channels, Mapping) else {"training": channels}


def channel_uris(environment: Environment, channels: Channels) -> dict[str, str]:
    """The URI of each channel. Raises UserError for a location that jobs cannot read, and for names of channels that
    the container would refuse: a misspelt one, two for one set, none for training."""
    given = given_channels(channels)
    places = {channel: Path(at) for channel, at in given.items()}
    names = read_channel_names(places)
    told = f"channels given: {', '.join(given)}"
    problems = [UserError(one.what, where=told, do=one.do, kind=one.kind) for one in names.problems]
    if not problems and "training" not in names.folders:
        problems.append(training_is_missing(places))
    uris: dict[str, str] = {}
    for channel, at in given.items():
        with collecting(problems):
            uris[channel] = readable_uri(at, environment, what=f"channel '{channel}'")
    raise_all(problems)
    return uris


def check_hyperparameters(
    environment: Environment, channels: Collection[str], hyperparameters: Mapping[str, object]
) -> None:
    """Raises what the container would, a minute of a paid machine earlier. `channels` are their names."""
    _, config = parse_hyperparameters(hyperparameters)
    problems: list[UserError] = []
    with collecting(problems):
        check_device(environment, config.device)
    if (
        getattr(config, "needs_download", False)
        and "pretrained" not in channels
        and environment.isolated
        and not environment.is_local
    ):
        what = "pretrained=true downloads starting weights, and an isolated container reaches no network"
        do = "Give a `pretrained` channel with the .safetensors file, or set isolated=False, or pretrained=false."
        problems.append(UserError(what, do=do, kind="hyperparameters"))
    raise_all(problems)


def refuse_anomaly(training: Mapping[str, Any], what: str, *, do: str) -> None:
    """Raises UserError, which says `what` cannot be, for SageMaker's description of a job with algorithm=anomaly."""
    if str(training.get("HyperParameters", {}).get("algorithm")).strip(' "') == "anomaly":
        raise UserError(what, where=training["TrainingJobName"], do=do, kind="hyperparameters")


def check_device(environment: Environment, device: object) -> None:
    """Raises UserError for a GPU that the machine does not have."""
    if device == "cuda" and not environment.has_gpu:
        raise UserError(
            f"device=cuda, but {environment.instance_type} has no GPU",
            do="Choose an instance type with a GPU, or leave device out.",
            kind="hyperparameters",
        )


def describe_run(environment: Environment, name: str, checkpoints: str | None = None) -> TrainingRun:
    """Where a job of this name leaves what: SageMaker's own layout, kept in local mode too."""
    folder = f"{environment.output_uri}/{name}"
    kept = None if environment.is_local else checkpoints or f"{folder}/checkpoints"
    return TrainingRun(name, environment, f"{folder}/output/model.tar.gz", f"{folder}/output/output.tar.gz", kept)


@typed
def fetch_results(run: TrainingRun, folder: str | Path) -> Path:
    """`folder`, with the run's report.html, metrics.json, oof.csv and all else of /opt/ml/output/data in it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in _files_of(download(run.environment, run.results, scratch)).items():
            (folder / name).write_bytes(content)
    return folder


def train_here(run: TrainingRun, request: Mapping[str, Any]) -> None:
    """Trains in local mode, which adds a job's name to a prefix of S3, as SageMaker does, and to no folder."""
    if run.model.startswith("file://"):
        request = {**request, "OutputDataConfig": {"S3OutputPath": run.model.rpartition("/")[0]}}
    try:
        run_job(run.environment, "create_training_job", request, what=f"training job {run.name}")
    except UserError as error:
        if error.kind != "job_failed":
            raise
        raise UserError("training failed", where=run.name, do=_failure(run), kind="job_failed") from error


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
