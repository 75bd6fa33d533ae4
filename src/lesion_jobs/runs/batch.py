"""Batch: a folder of pictures predicted in one batch, by machines that go away when they are done."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.kinds import TRANSFORM
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import send
from lesion_jobs.account.storage import download, readable_uri
from lesion_jobs.answers import Prediction, decode_answer
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.local.run import run_transform
from lesion_jobs.numbers import check_whole
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.transform import transform_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.job import Job
from lesion_jobs.runs.models import Model, model_uri_of


@dataclass(frozen=True)
class TransformRun(Job):
    """A batch transform and the folder that gets NAME.out for each picture NAME."""

    output: str
    kind = TRANSFORM


@typed
def transform(
    environment: Environment,
    model: Model,
    pictures: str | Path,
    *,
    name: str | None = None,
    num_instances: int = 1,
    wait: bool = True,
) -> TransformRun:
    """Predict every picture under a folder or S3 prefix, which may hold only pictures.

    Raises UserError with the reason if the job fails. Local mode always waits, and needs port 8080 free.
    """
    name = name or new_name("transform")
    problems: list[UserError] = []
    model_uri = pictures_uri = ""
    with collecting(problems):
        check_name(environment, TRANSFORM, name)
    with collecting(problems):
        model_uri = model_uri_of(environment, model)
    with collecting(problems):
        pictures_uri = readable_uri(pictures, environment, what="the folder of images")
    with collecting(problems):
        check_whole("num_instances", num_instances, 1)
    raise_all(problems)
    run = TransformRun(name, environment, f"{environment.output_uri}/{name}")
    model_ = model_request(environment, name, model_uri)
    job = transform_request(environment, name, name, pictures_uri, run.output, num_instances=num_instances)
    if environment.is_local:
        announce(TRANSFORM, name, environment)
        run_transform(environment, model_, job)
        return run
    requests = [("CreateModel", model_), ("CreateTransformJob", job)]
    check_requests(requests)
    reads = {"the model": model_uri, "the folder of images": pictures_uri}
    notes = check_account(environment, TRANSFORM, num_instances=num_instances, reads=reads)
    announce(TRANSFORM, name, environment, num_instances=num_instances, notes=notes)
    send(environment, requests, what=f"batch transform {name} failed")
    if wait:
        run.wait()
        send(environment, [("DeleteModel", {"ModelName": name})], what=f"model {name} was not deleted")
    return run


@typed
def fetch_predictions(run: TransformRun) -> dict[str, Prediction]:
    """Path of each picture below the folder → prediction. Raises UserError for a picture that was refused."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(run.environment, run.output, scratch)
        answers = {str(path.relative_to(folder))[:-4]: path.read_bytes() for path in sorted(folder.rglob("*.out"))}
    return {name: decode_answer(body, where=name) for name, body in answers.items()}
