"""Runs in the SDK 2's own environment: a job's whole life in local mode through lesion_jobs.

Leaves in answers.json what each step returned or refused.

    python sdk2_jobs.py IMAGE TRAINING_FOLDER PICTURES_FOLDER OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lesion_jobs
from lesion.errors import UserError


def main(image: str, training: Path, pictures: Path, output: Path) -> None:
    environment = lesion_jobs.Environment(image, "local", output / "jobs with a space")
    hyperparameters = json.loads((output / "hyperparameters.json").read_text())
    said: dict[str, Any] = {}

    run = lesion_jobs.train(environment, training, hyperparameters=hyperparameters)
    said["model"] = run.model
    said["results"] = sorted(path.name for path in lesion_jobs.fetch_results(run, output / "results").iterdir())
    endpoint = lesion_jobs.deploy(environment, run)
    try:
        names = sorted(path.name for path in pictures.iterdir())
        said["endpoint"] = {name: lesion_jobs.predict(endpoint, pictures / name).probability for name in names}
        said["metadata"] = lesion_jobs.predict(endpoint, pictures / names[0], {"sex": "male"}).probability
        said["no picture"] = refusal(lambda: lesion_jobs.predict(endpoint, b"no picture"))
        said["second endpoint"] = refusal(lambda: lesion_jobs.deploy(environment, run))
    finally:
        lesion_jobs.delete_endpoint(endpoint)
    batch = lesion_jobs.fetch_predictions(lesion_jobs.transform(environment, run, pictures))
    said["batch"] = {name: prediction.probability for name, prediction in batch.items()}
    evaluation = lesion_jobs.evaluate(environment, run, training)
    said["evaluation"] = sorted(
        path.name for path in lesion_jobs.fetch_evaluation(evaluation, output / "judged").iterdir()
    )
    unlabelled = {"set": {"target_column": "not_there"}}
    said["unlabelled"] = refusal(lambda: lesion_jobs.evaluate(environment, run, training, options=unlabelled))
    large = output / "large"
    large.mkdir()
    (large / "large.jpg").write_bytes(bytes(26 << 20))
    said["large picture"] = refusal(lambda: lesion_jobs.transform(environment, run, large))
    wrong = hyperparameters | {"target_column": "not_there"}
    said["failed job"] = refusal(lambda: lesion_jobs.train(environment, training, hyperparameters=wrong))
    (output / "answers.json").write_text(json.dumps(said))


def refusal(question: Callable[[], object]) -> str:
    try:
        question()
    except UserError as error:
        return str(error)
    return "nothing was refused"


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
