"""Evaluation: `lesion evaluate` as a Processing job: a trained model on a labelled set of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.kinds import PROCESSING
from lesion_jobs.account.preflight import check_name
from lesion_jobs.account.storage import download, readable_uri, share_files
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.requests.processing import INPUT, OUTPUT, processing_request
from lesion_jobs.runs.models import model_uri_of
from lesion_jobs.runs.processing import ProcessingRun, start_processing
from lesion_jobs.runs.training import TrainingRun, check_device, refuse_anomaly

MODEL = "/opt/ml/processing/model"
EVALUATE = ("evaluate", INPUT, "--model", MODEL, "--output", OUTPUT, "--no-progress")
EVALUATE_OWN = ("model", "output", "champion", "margin", "no_progress")  # there is no champion's folder in the job


class EvaluationRun(ProcessingRun):
    """A job that evaluates a model, and the prefix that gets report.html, metrics.json and predictions.csv."""


@typed
def evaluate(
    environment: Environment,
    model: TrainingRun | str | Path,
    data: str | Path,
    *,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    volume_gb: int = 100,
    max_hours: float = 24,
    wait: bool = True,
) -> EvaluationRun:
    """Evaluate a model on a labelled set: a folder or prefix in any format that training takes.

    `model` is a run or its model.tar.gz; `options` are those of the command: {"operating_point": "sensitivity=0.95",
    "set": {"target_column": "diagnosis"}}. Images that cannot be read are told and left out. Where
    the run was trained on files of the set, that is said before the job starts. Raises UserError with
    all that is wrong before it starts, as for a run of algorithm=anomaly, and with the reason if it fails.
    """
    name = name or new_name("evaluation")
    run = EvaluationRun(name, environment, f"{environment.output_uri}/{name}")
    problems: list[UserError] = []
    model_uri, data_uri, arguments, request = "", "", [], {}
    with collecting(problems):
        check_name(environment, PROCESSING, name)
    with collecting(problems):
        model_uri = model_uri_of(environment, model)
    with collecting(problems):
        data_uri = readable_uri(data, environment, what="the data set")
    with collecting(problems):
        check_device(environment, (options or {}).get("device"))
    with collecting(problems):
        arguments = command_arguments(EVALUATE, options or {}, own=EVALUATE_OWN)
    with collecting(problems):
        request = processing_request(
            environment,
            name,
            EVALUATE,
            arguments,
            inputs={"data": (data_uri, INPUT), "model": (model_uri, MODEL)},
            output=("evaluation", run.output),
            volume_gb=volume_gb,
            max_hours=max_hours,
        )
    raise_all(problems)
    reads = {"the data set": data_uri, "the model": model_uri}
    notes = [] if environment.is_local else known_data(model, data_uri)
    start_processing(run, request, reads=reads, max_hours=max_hours, notes=notes)
    return run.wait() if wait and not environment.is_local else run


def known_data(model: TrainingRun | str | Path, data_uri: str) -> list[str]:
    """A note for a set that shares files with what a run was trained on. No refusal: a test set may lie there too.

    Raises UserError for a run whose model judges no sets.
    """
    if not isinstance(model, TrainingRun):
        return []
    try:
        training = model.describe()
    except UserError as error:
        return [f"not checked: whether the model was trained on this set ({error})"]
    do = "Give the set as the test channel of a training job, or predict it: transform(environment, run, pictures)."
    refuse_anomaly(training, "anomaly detection judges no further labelled sets", do=do)
    channels = {one["ChannelName"]: one["DataSource"] for one in training["InputDataConfig"]}
    uris = {name: source.get("S3DataSource", {}).get("S3Uri") for name, source in channels.items()}
    known = [name for name, uri in uris.items() if name not in ("pretrained", "test") and uri]
    return [
        f"{data_uri} shares files with channel '{name}' of {model.name}: of images that the model was trained on, the "
        "metrics would be too good. Give a set of other patients, unless a test set lies there."
        for name in known
        if share_files(uris[name], data_uri)
    ]


@typed
def fetch_evaluation(run: EvaluationRun, folder: str | Path) -> Path:
    """`folder`, with the report.html, metrics.json and predictions.csv of the evaluation in it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for path in download(run.environment, run.output, scratch).iterdir():
            if path.is_file():
                (folder / path.name).write_bytes(path.read_bytes())
    return folder
