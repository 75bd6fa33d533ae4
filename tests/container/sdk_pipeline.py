"""Runs in the environment of either SDK: pipelines in local mode through lesion_jobs, their data and models in an S3.

One passes; with `refused` another one is refused beside the first one's model, and with `failed` one fails in its
check. What each returned or refused is left in answers.json.

    python sdk_pipeline.py IMAGE TRAINING_FOLDER TEST_FOLDER OUTPUT_FOLDER [refused] [failed]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import boto3
from sdk2_jobs import refusal

from lesion_jobs import Environment, Pipeline, fetch_evaluation, pipeline

BUCKET = "lesion-pipelines"


def main(image: str, training: Path, test: Path, output: Path, others: Collection[str]) -> None:
    settings = json.loads((output / "hyperparameters.json").read_text())
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for prefix, folder in {"training": training, "test": test}.items():
        for path in (path for path in folder.rglob("*") if path.is_file()):
            s3.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")
    environment = Environment(image, "local", f"s3://{BUCKET}/jobs")

    def made(name: str, **changes: Any) -> Pipeline:
        plain = {"test": f"s3://{BUCKET}/test", "bar": 0.5, "name": name, "hyperparameters": settings}
        return pipeline(environment, f"s3://{BUCKET}/training", **plain | changes)

    passed = made("passes").run_locally()
    fetch_evaluation(passed.evaluation, output / "evaluation")
    s3.download_file(BUCKET, passed.run.model.removeprefix(f"s3://{BUCKET}/"), str(output / "model.tar.gz"))
    said = {"verdict": passed.verdict}
    if "refused" in others:
        said["refused"] = refusal(made("refused", champion=passed.run, bar=0.9999, shards={"size": 64}).run_locally)
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="jobs/refused/")["Contents"]]
        said["written"] = sorted({key.split("/")[3] for key in keys if "execution" in key})
    if "failed" in others:
        said["failed"] = refusal(made("failed", hyperparameters=settings | {"target_column": "not_there"}).run_locally)
    (output / "answers.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]), sys.argv[5:])
