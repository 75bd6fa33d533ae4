"""Runs in the environment `mlflow`: tracks a job twice, and writes what MLflow has of it to FOLDER/found.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lesion.errors import UserError
from lesion_jobs.experiments import track

folder = Path(sys.argv[1])
store = (folder / "store").as_uri()
image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lesion@sha256:" + "0" * 64
run_id = track(folder / "job", store, image=image)
again = track(folder / "job", store, image=image)

from mlflow import MlflowClient  # noqa: E402  # after `track`, which lets it use a folder

client = MlflowClient(store)
run = client.get_run(run_id)
[data_set] = run.inputs.dataset_inputs
refusals = {}
for name, job, address in (
    ("no results", folder / "store", store),
    ("no scheme", folder / "job", "nonsense://x"),
    ("sagemaker", folder / "job", "arn:aws:sagemaker:eu-central-1:123456789012:mlflow-tracking-server/x"),
):
    try:
        track(job, address, model=folder / "job" / "model")
    except UserError as error:
        refusals[name] = str(error)
found = {
    "is_once": run_id == again and len(client.search_runs([run.info.experiment_id])) == 1,
    "status": run.info.status,
    "params": run.data.params,
    "metrics": run.data.metrics,
    "tags": run.data.tags,
    "curve": [[each.step, each.value] for each in client.get_metric_history(run_id, "fold_0.roc_auc")],
    "documents": sorted(each.path for each in client.list_artifacts(run_id)),
    "data_set": [data_set.dataset.name, data_set.dataset.digest, json.loads(data_set.dataset.source)],
    "refusals": refusals,
}
(folder / "found.json").write_text(json.dumps(found))
