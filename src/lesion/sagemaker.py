"""SageMaker: the only reader of /opt/ml and of environment variables; turns them into a Job or server settings.

docs/sagemaker.md documents each.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lesion.data.sources.channel_names import read_channel_names, training_is_missing
from lesion.environment import usable_cores
from lesion.errors import PlatformError, UserError, raise_all
from lesion.files import make_folder, remove, write_first
from lesion.job import Job
from lesion.serve.limits import Limits
from lesion.words import one_line

log = logging.getLogger(__name__)

ROOT = Path("/opt/ml")
FAILURE_CHARACTERS = 1024  # what SageMaker keeps of the failure file as FailureReason
MAX_PROCESSES = 64  # on a host
MAX_PORT = 65535
MIB = 2**20
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")  # words of a switch, lower case


def read_job(
    root: Path,
    *,
    show_progress: bool = False,
    processes: int = 1,
    process: int = 0,
    shared_dir: Path | None = None,
) -> Job:
    """The training job under `root`; creates its result folders. Each of the three JSON files may be absent.

    It is the job as seen by process number `process` of the host's `processes`, which share cores and `shared_dir`.

    Raises UserError for an invalid file and for what is not supported (Pipe mode, sharded data, instance groups),
    PlatformError if folders cannot be created.
    """
    config_dir = root / "input" / "config"
    channels = _channels(root, _read_json(config_dir / "inputdataconfig.json"))
    hosts, rank = _hosts(config_dir)
    job = Job(
        channels=channels,
        hyperparameters=_read_json(config_dir / "hyperparameters.json"),
        model_dir=root / "model",
        output_dir=root / "output" / "data",
        checkpoint_dir=_local_path(config_dir / "checkpointconfig.json") or root / "checkpoints",
        cache_dir=_cache_dir(root),
        tensorboard_dir=_tensorboard_dir(root),
        num_cores=max(usable_cores() // processes, 1),
        hosts=hosts,
        rank=rank,
        processes=processes,
        process=process,
        shared_dir=shared_dir,
        show_progress=show_progress,
    )
    for folder in (job.model_dir, job.output_dir):
        make_folder(folder)
    return job


def processes_setting(root: Path, *, num_gpus: Callable[[], int]) -> int | None:
    """How many training processes this host starts, by the hyperparameter `processes`: auto is one per GPU. None where
    the first process finds it out, on a CPU.

    Read without the other hyperparameters, which are slow to import. An invalid value counts as 1, and that process
    refuses it.
    """
    try:
        values = peek_hyperparameters(root)
        device, text = (str(values.get(name, "auto")).strip(' "') for name in ("device", "processes"))
        if text == "auto":
            if device != "cpu" and (number := num_gpus()):
                return number
            hosts = _peek_resources(root).get("hosts")
            return 1 if isinstance(hosts, list) and len(hosts) > 1 else None  # hosts must agree without a word
        return min(max(int(float(text)), 1), MAX_PROCESSES)
    except (ValueError, OverflowError):
        return 1


def peek_hyperparameters(root: Path) -> dict[str, Any]:
    """The content of hyperparameters.json; empty if unreadable, which `read_job` will refuse."""
    try:
        return _read_json(root / "input" / "config" / "hyperparameters.json")
    except UserError:
        return {}


def write_failure(root: Path, reason: str) -> None:
    """Writes the failure file, unless there is one: the first cause stays. Never raises, as a failing job's last act.

    With several hosts each names itself, since the platform shows the file of one.
    """
    try:
        if has_failure(root):
            return
        make_folder(root / "output")
        resources = _peek_resources(root)
        hosts = resources.get("hosts")
        if isinstance(hosts, list) and len(hosts) > 1:
            reason = f"{resources.get('current_host')}: {reason}"
        write_first(root / "output" / "failure", one_line(reason)[:FAILURE_CHARACTERS].encode())
    except PlatformError as error:
        log.error("the failure file could not be written: %s", error)


def has_failure(root: Path) -> bool:
    return (root / "output" / "failure").is_file()


def clear_failure(root: Path) -> None:
    """Removes the failure file of an earlier job under the same root, as on a laptop. Raises PlatformError."""
    remove(root / "output" / "failure")


@dataclass(frozen=True)
class ServerSettings:
    """Where to listen, what computes, and how much each worker takes on."""

    port: int
    num_workers: int  # processes, each with a model of its own
    num_cores: int  # of each
    limits: Limits
    precision: Literal["auto", "fp32", "bf16"]  # of the graph on a CPU
    has_metrics: bool  # whether /metrics answers
    operating_point: str | None  # what labels are decided by, instead of what training chose
    has_audit: bool  # whether each picture's answer is a line on stdout


def read_server_settings(environ: Mapping[str, str] | None = None) -> ServerSettings:
    """The server's settings from the platform's variables and our own, else defaults.

    Raises UserError for an invalid value.
    """
    environ = os.environ if environ is None else environ
    precision = environ.get("LESION_PRECISION", "").strip() or "auto"
    if precision not in {"auto", "fp32", "bf16"}:
        raise UserError(
            f"LESION_PRECISION={precision} is not auto, fp32 or bf16", where="environment", do="Set one of them."
        )
    workers, timeout = (
        f"SAGEMAKER_{name}" if f"SAGEMAKER_{name}" in environ else name
        for name in ("MODEL_SERVER_WORKERS", "MODEL_SERVER_TIMEOUT")
    )
    num_workers = _whole(environ, workers, 1, at_least=1, at_most=256)
    payload_mib, bodies_mib = Limits.max_payload_bytes // MIB, Limits.max_bodies_bytes // MIB
    limits = Limits(
        # 0 is SageMaker's word for "no limit", which batch transform pairs with chunked bodies.
        max_payload_bytes=MIB * _whole(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", payload_mib),
        max_pixels=_whole(environ, "LESION_MAX_PIXELS", Limits.max_pixels, at_least=1),
        max_requests=_whole(environ, "LESION_MAX_REQUESTS", Limits.max_requests, at_least=1, at_most=1024),
        max_bodies_bytes=MIB * _whole(environ, "LESION_MAX_BODIES_MIB", bodies_mib, at_least=1),
        max_wait_s=_whole(environ, "LESION_MAX_WAIT_MS", round(1000 * Limits.max_wait_s)) / 1000,
        hung_s=_whole(environ, timeout, Limits.hung_s, at_least=1),
    )
    return ServerSettings(
        port=_whole(environ, "SAGEMAKER_BIND_TO_PORT", 8080, at_least=1, at_most=MAX_PORT),
        num_workers=num_workers,
        num_cores=max(usable_cores() // num_workers, 1),
        limits=limits,
        precision=precision,  # type: ignore[arg-type]  # looked at above
        has_metrics=_is_on(environ, "LESION_METRICS"),
        has_audit=_is_on(environ, "LESION_AUDIT"),
        operating_point=environ.get("LESION_OPERATING_POINT", "").strip() or None,
    )


def _is_on(environ: Mapping[str, str], name: str) -> bool:
    """A switch, which is off unless it is set. Raises UserError for a word that says neither on nor off."""
    text = environ.get(name, "").strip().lower()
    if text not in {*ON, *OFF, ""}:
        raise UserError(
            f"{name}={text[:80]} is neither on nor off", where="environment", do="Set 1 or 0, or leave it out."
        )
    return text in ON


def processing_share(root: Path) -> tuple[int, int]:
    """This instance's number in a SageMaker Processing job and the number of instances; (0, 1) elsewhere.

    https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
    """
    hosts, rank = _hosts(root / "config")
    return rank, len(hosts)


def prepare_libraries() -> None:
    """Sets environment variables that libraries read at import; call it first. The user's own values stay."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no version check on import: jobs may have no network
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # gunicorn reads these when it is imported, and ends with a traceback where one is no number. `serve` sets all that
    # they are about; docs/sagemaker.md has the variables that a user may set.
    for name in ("WEB_CONCURRENCY", "GUNICORN_PID", "GUNICORN_FD", "LISTEN_FDS", "LISTEN_PID", "FORWARDED_ALLOW_IPS"):
        os.environ.pop(name, None)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Threads of torch that wait for each other do so asleep, but for a moment's spinning. Measured on 2 cores beside
    # another busy process, resnet10t training: 100 images/s asleep, 5 spinning; our own loader threads are such a
    # neighbour. The moment took mobilenetv2_100 from 38 to 42 images/s alone, and from 15.3 to 15 beside one.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def training_environment(root: Path, *, processes: int = 1) -> dict[str, str]:
    """The environment of a training process, with settings that glibc reads at its start. The user's own values stay.

    By default glibc returns the memory of every large tensor to the kernel, which maps it again in the next step.
    Keeping it, in huge pages, took mobilenetv2_100 on 2 cores from 16 to 31 images/s at 224 px.
    """
    kept = {
        "MALLOC_MMAP_THRESHOLD_": "2000000000",
        "MALLOC_TRIM_THRESHOLD_": "8000000000",
        "MALLOC_TOP_PAD_": "268435456",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    # The network that peers are reached by. Local mode names an interface that is not there.
    resources = _peek_resources(root)
    hosts = resources.get("hosts")
    interface = resources.get("network_interface_name")
    if processes > 1 and not (isinstance(hosts, list) and len(hosts) > 1):
        interface = "lo"  # gloo would look for the host's own name, which need not resolve
    if interface in [name for _, name in socket.if_nameindex()]:
        kept |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    return {**kept, **os.environ}


def _cache_dir(root: Path) -> Path:
    """The persistent cache of a warm pool, if the platform mounts one, else a folder under `root`.

    https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html
    """
    warm = root / "sagemaker" / "warmpoolcache"
    return warm if warm.is_dir() else root / "cache"


def _channels(root: Path, declared: Mapping[str, Any]) -> dict[str, Path]:
    """The folder of each channel: the declared ones, or all under input/data if none is declared.

    Raises one UserError for all that are empty or missing; what concerns the training channel comes first.
    """
    data = root / "input" / "data"
    present = sorted(entry.name for entry in data.glob("*") if entry.is_dir())
    names = sorted(declared) or present
    channels, problems = {name: data / name for name in names}, []
    training = read_channel_names(channels).folders.get("training")
    for name in sorted(names, key=lambda name: channels[name] != training):
        entry = declared.get(name)
        if isinstance(entry, dict) and entry.get("TrainingInputMode") == "Pipe":
            what, where = f"channel '{name}' is in Pipe mode, which is not supported", "inputdataconfig.json"
            problems.append(UserError(what, where=where, do="Use File or FastFile mode.", kind="channel"))
        elif not any((data / name).glob("*")):
            what = f"channel '{name}' is {'empty' if name in present else 'missing'}"
            where = f"{data / name}; folders present: {', '.join(present) or 'none'}"
            problems.append(UserError(what, where=where, do="Check the channel's S3 prefix.", kind="channel"))
    if problems and training is None:
        problems.insert(0, training_is_missing(channels, data))
    raise_all(problems)
    return channels


def _tensorboard_dir(root: Path) -> Path:
    """TensorBoardOutputConfig's LocalPath, which SageMaker syncs to S3, or its default.

    SageMaker does not document the file, so errors in it are ignored. AWS's own debugger library reads it:
    DEFAULT_SAGEMAKER_TENSORBOARD_PATH in github.com/awslabs/sagemaker-debugger, smdebug/core/config_constants.py.
    """
    with suppress(UserError):
        if path := _local_path(root / "input" / "config" / "tensorboardoutputconfig.json"):
            return path
    return root / "output" / "tensorboard"


def _local_path(config: Path) -> Path | None:
    """The folder that a file of SageMaker's names as its LocalPath; None where it names none."""
    path = _read_json(config).get("LocalPath")
    if path is None or path == "":
        return None
    if not isinstance(path, str):
        raise UserError(f"LocalPath is {path!r}, but a path is expected", where=config, do="Correct it there.")
    return Path(path)


def _peek_resources(root: Path) -> dict[str, Any]:
    """The content of resourceconfig.json; empty if unreadable, which `read_job` will refuse."""
    try:
        return _read_json(root / "input" / "config" / "resourceconfig.json")
    except UserError:
        return {}


def _hosts(config_dir: Path) -> tuple[list[str], int]:
    """The names of the job's hosts, sorted, and this host's index; one host if none are listed."""
    resources = _read_json(config_dir / "resourceconfig.json")
    hosts = resources.get("hosts") or ["localhost"]
    if not (isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)):
        raise UserError(
            f"hosts is {hosts!r}, but a list of names is expected",
            where=config_dir / "resourceconfig.json",
            do="Correct it there.",
        )
    hosts = sorted(hosts)
    if len(hosts) == 1:
        return hosts, 0
    if len(resources.get("instance_groups") or []) > 1:
        raise UserError(
            f"{len(resources['instance_groups'])} instance groups were given, but all hosts must be of one type",
            where=config_dir / "resourceconfig.json",
            do="Use instance_count instead of instance_groups.",
            kind="hosts",
        )
    for name, channel in _read_json(config_dir / "inputdataconfig.json").items():
        if isinstance(channel, dict) and channel.get("S3DistributionType") == "ShardedByS3Key":
            raise UserError(
                f"channel '{name}' is ShardedByS3Key, so each of {len(hosts)} hosts sees a part of the table",
                where=config_dir / "inputdataconfig.json",
                do="Use FullyReplicated, or one host.",
                kind="hosts",
            )
    current = resources.get("current_host")
    if current not in hosts:
        raise UserError(
            f"current_host '{current}' is not among the hosts {', '.join(hosts)}",
            where=config_dir / "resourceconfig.json",
            do="Correct it there.",
            kind="hosts",
        )
    return hosts, hosts.index(current)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=path, do="Write it as UTF-8 text.") from error
    try:
        fields = json.loads(content)
    except ValueError as error:  # also an integer of more digits than Python reads
        raise UserError(f"not JSON: {error}", where=path, do="Correct it there.") from error
    if not isinstance(fields, dict):
        raise UserError("not a JSON object", where=path, do='Write {"name": "value", …}.')
    return fields


def _whole(environ: Mapping[str, str], name: str, default: int, *, at_least: int = 0, at_most: int = 2**31 - 1) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch("[0-9]{1,10}", text) or not at_least <= int(text) <= at_most:
        raise UserError(
            f"{name}={text[:80]} is not a whole number from {at_least} to {at_most}",
            where="environment",
            do="Set one, or leave it out.",
        )
    return int(text)
