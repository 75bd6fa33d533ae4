"""Experiments: a finished job as a run of MLflow: in a local folder, on a server, or SageMaker's managed one.

Written after the job, from its results and its artifact, since an isolated container reaches no tracking server.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion.artifact import MANIFEST, Manifest, load_manifest
from lesion.errors import UserError
from lesion.packed_model import unpacked
from lesion_jobs.argument_types import typed

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What is logged of the results: nothing that names an image or a patient.
DOCUMENTS = ("report.html", "report.json", "metrics.json", "history.csv", "model_card.md", "sagemaker_model_card.json")
VERSION, FINGERPRINT, IMAGE = "lesion.model_version", "lesion.data_fingerprint", "lesion.image"
MOST_LETTERS = 6000  # of a parameter's value in MLflow
MOST_DIGEST_LETTERS = 36  # of a data set's digest
MOST_PARAMS, MOST_METRICS = 100, 1000  # of a request
SAGEMAKER = "arn:"  # how the address of SageMaker's managed MLflow begins


@typed
def track(
    job: str | Path,
    tracking_uri: str,
    *,
    model: str | Path | None = None,
    image: str | None = None,
    experiment: str = "lesion",
) -> str:
    """Log a finished job to MLflow, and return the run's id: hyperparameters, metrics with their intervals, each
    epoch's metrics by fold, the report, and what was trained on what by which container image.

    `job` is the job's folder, or one with its results (output/data); `model` the artifact, a folder or a model.tar.gz,
    if it is not in the job's folder. `image` is the container image's URI, with its digest if you know it. A job that
    was tracked before is not tracked twice: its run's id is returned. Raises UserError where results or artifact are
    missing, MLflow is not installed, or the tracking server refuses.
    """
    results = _results(Path(job))
    with unpacked(Path(job) / "model" if model is None else Path(model)) as model_dir:
        manifest = load_manifest(model_dir)
    client, refusal = _client(tracking_uri)
    try:
        id_ = _experiment(client, experiment)
        if (known := _run_of(client, id_, manifest.version)) is not None:
            return known
        run_id = str(client.create_run(id_, run_name=f"lesion-{manifest.version}").info.run_id)
        try:
            _log(client, run_id, manifest, results, image)
        except BaseException:
            client.set_terminated(run_id, status="FAILED")
            raise
        client.set_terminated(run_id)
    except refusal as error:
        what = f"MLflow refused: {str(error).splitlines()[0][:300]}"
        do = "Check the address, your credentials, and that the tracking server runs."
        raise UserError(what, where=tracking_uri, do=do, kind="tracking") from error
    return run_id


def _results(job: Path) -> Path:
    """The folder with metrics.json."""
    for folder in (job / "output" / "data", job):
        if (folder / "metrics.json").is_file():
            return folder
    raise UserError("no metrics.json", where=job, do="Give the folder of a completed job, or that of its results.")


def _client(tracking_uri: str) -> tuple[MlflowClient, type[Exception]]:
    """The client of a tracking server, and what it raises."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError("MLflow is not installed", do="pip install lesion[experiments]", kind="tracking") from error
    if tracking_uri.startswith("file:") or "://" not in tracking_uri:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.17 advises a database, which needs more
    try:
        return MlflowClient(tracking_uri=tracking_uri), MlflowException
    except MlflowException as error:
        do = "Give a folder as file:///…, an address as https://…, or the ARN of SageMaker's."
        if tracking_uri.startswith(SAGEMAKER):
            do = "pip install sagemaker-mlflow, which knows SageMaker's addresses."
        what = f"not a tracking server: {str(error).splitlines()[0][:300]}"
        raise UserError(what, where=tracking_uri, do=do, kind="tracking") from error


def _experiment(client: MlflowClient, name: str) -> str:
    """The experiment's id; it is made if there is none of that name."""
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _run_of(client: MlflowClient, experiment_id: str, version: str) -> str | None:
    """The finished run of an artifact, if it was tracked."""
    query = f"tags.`{VERSION}` = '{version}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment_id], filter_string=query, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _log(client: MlflowClient, run_id: str, manifest: Manifest, results: Path, image: str | None) -> None:
    from mlflow.entities import Metric, Param, RunTag

    tags = {VERSION: manifest.version, FINGERPRINT: manifest.data_fingerprint, "lesion.algorithm": manifest.algorithm}
    tags |= {f"package.{name}": version for name, version in manifest.packages.items()}
    if image is not None:
        tags[IMAGE] = image
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    params = [
        Param(name, (value if isinstance(value, str) else json.dumps(value))[:MOST_LETTERS])
        for name, value in manifest.config.items()
    ]
    for part in _parts(params, MOST_PARAMS):
        client.log_batch(run_id, params=part)
    whole = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    measured = [Metric(name, value, 0, 0) for name, value in _numbers(whole)]
    epochs = [Metric(name, value, 0, epoch) for name, value, epoch in _epochs(results / "history.csv")]
    for several in _parts([*measured, *epochs], MOST_METRICS):
        client.log_batch(run_id, metrics=several)
    client.log_inputs(run_id, [_data_set(manifest)])
    for name in DOCUMENTS:
        if (results / name).is_file():
            client.log_artifact(run_id, str(results / name))
    client.log_text(run_id, manifest.model_dump_json(indent=1), MANIFEST)


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The items, no more than `most` at a time."""
    return (items[start : start + most] for start in range(0, len(items), most))


def _numbers(whole: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The metrics of all held-out rows and of a test set, with the ends of their intervals: `validation.roc_auc`."""
    for told, part in (("validation", whole.get("overall")), ("test", whole.get("test"))):
        if isinstance(part, dict):
            for name, value in part.get("metrics", {}).items():
                yield f"{told}.{name}", float(value)
            for name, (low, high) in part.get("interval_95", {}).items():
                yield f"{told}.{name}.low", float(low)
                yield f"{told}.{name}.high", float(high)


def _epochs(path: Path) -> Iterator[tuple[str, float, int]]:
    """Each number of history.csv as a curve by epoch: `fold_0.roc_auc`."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            fold, epoch = row.pop("fold"), int(row.pop("epoch"))
            yield from ((f"fold_{fold}.{name}", float(value), epoch) for name, value in row.items() if value)


def _data_set(manifest: Manifest) -> Any:
    """The training table, by its fingerprint: the same data has the same name in every run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = manifest.data_fingerprint[:MOST_DIGEST_LETTERS]
    source = json.dumps({"sha256": manifest.data_fingerprint})
    data = Dataset(name="training", digest=digest, source_type="lesion", source=source)
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])
