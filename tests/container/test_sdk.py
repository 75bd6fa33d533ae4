"""The SageMaker SDK and the real image, in local mode: version 2 by itself and in the notebook, version 3 by its
ModelTrainer, and both through lesion_jobs, also with a pipeline.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests
from containers import Docker
from environments import PROJECT, environment, run_script
from moto.server import ThreadedMotoServer

from factories import sample_frame, write_channel
from machine import needs
from processes import lesion

NOTEBOOK = PROJECT / "notebooks" / "01_train_and_deploy.ipynb"
SMALL = {"model": "test_resnet", "pretrained": False, "image_size": 48, "folds": 3, "epochs": 1, "batch_size_train": 8}
LEARNS = SMALL | {"epochs": 12, "learning_rate": 0.003, "metadata_columns": []}  # dark spots from pale ones
# The bare SDK wants an account, of which it then asks nothing; lesion_jobs makes one up.
ACCOUNT = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_DEFAULT_REGION": "eu-central-1"}
LIMIT_S = 900  # the longest, the pipelines, take five to nine minutes on two busy cores

Channel = tuple[Path, Path]  # a training channel, and a folder of three pictures to ask about


@pytest.fixture
def local_mode(docker: Docker, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs a script against the engine. The containers that local mode leaves behind are removed."""
    if docker("compose", "version", may_fail=True).returncode:
        needs("docker-compose")  # the SDK takes either
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(sdk: str, script: str, *arguments: object, **account: str) -> str:
        variables = {**docker.environment, **account, "TMPDIR": str(scratch)}
        return run_script(environment(sdk), script, *arguments, variables=variables, limit_s=LIMIT_S)

    yield run
    label = "com.docker.compose.project.working_dir"  # where compose's file lay tells ours from others'
    for line in docker("ps", "--all", "--format", f'{{{{.ID}}}}\t{{{{.Label "{label}"}}}}').stdout.splitlines():
        container, folder = line.split("\t")
        if Path(folder).is_relative_to(tmp_path):
            docker("rm", "--force", container)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder with nothing but the hyperparameters of a small job."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "hyperparameters.json").write_text(json.dumps(SMALL))
    return folder


@pytest.fixture
def drawn(tmp_path: Path) -> Channel:
    write_channel(tmp_path / "training", sample_frame())
    return tmp_path / "training", some_pictures(tmp_path)


@pytest.fixture
def photographs(shared_data: Path, tmp_path: Path) -> Channel:
    """The first 32 of HAM10000, half of them melanomas."""
    source, folder = shared_data / "ham10000", tmp_path / "training" / "train_jpg"
    table = pd.read_csv(source / "train.csv").groupby("target").head(16)
    folder.mkdir(parents=True)
    for name in table["image_name"]:
        (folder / f"{name}.jpg").write_bytes((source / "train_jpg" / f"{name}.jpg").read_bytes())
    table.to_csv(folder.parent / "train.csv", index=False)
    return tmp_path / "training", some_pictures(tmp_path)


def some_pictures(root: Path) -> Path:
    folder = root / "pictures"
    folder.mkdir()
    for path in sorted((root / "training" / "train_jpg").iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def predicted_here(model: Path, pictures: Path) -> dict[str, float]:
    """Picture → probability by `lesion predict` outside of any container, from the model.tar.gz that one left."""
    scratch = model.parent / "unpacked"
    with tarfile.open(model) as tar:
        tar.extractall(scratch, filter="data")
    done = lesion("predict", pictures, "--model", scratch, "--output", scratch / "out.csv")
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(scratch / "out.csv")
    return dict(zip(rows["image_name"], rows["probability"], strict=True))


def test_sdk_2_trains_deploys_asks_and_transforms_photographs(local_mode, image, serve_cpu_image, photographs, output):
    """The batch is answered by the whole image, the endpoint by the one that only serves."""
    local_mode("sdk2", "sdk2_local.py", image, serve_cpu_image, *photographs, output, **ACCOUNT)
    answers = json.loads((output / "answers.json").read_text())
    asked = {name: answer["predictions"][0]["probability"] for name, answer in answers["endpoint"].items()}
    assert asked == pytest.approx(predicted_here(output / "model.tar.gz", photographs[1]), abs=1e-4)
    assert answers["batch"] == answers["endpoint"]


def test_lesion_jobs_takes_a_model_from_pictures_to_predictions_without_an_account(local_mode, image, drawn, output):
    printed = local_mode("sdk2", "sdk2_jobs.py", image, *drawn, output)
    said = json.loads((output / "answers.json").read_text())
    assert {"report.html", "metrics.json", "oof.csv", "history.csv"} <= set(said["results"])
    here = predicted_here(Path(said["model"].removeprefix("file://")), drawn[1])
    assert said["endpoint"] == pytest.approx(here, abs=1e-4)
    assert said["batch"] == said["endpoint"]
    assert said["evaluation"] == ["metrics.json", "predictions.csv", "report.html", "report.json", "verdict.json"]
    assert "processing job" in said["unlabelled"] and "failed" in said["unlabelled"]
    assert 0 < said["metadata"] < 1 and said["metadata"] != said["endpoint"][min(here)]
    assert "cost: nothing" in printed
    # What the SDK swallows in local mode: refusals, whose endpoint answers, and why a job failed.
    assert "the image cannot be decoded" in said["no picture"]
    assert "8080 is taken" in said["second endpoint"]
    assert "larger than 25MB" in said["large picture"]
    assert "'not_there' (target_column)" in said["failed job"]


def test_the_notebook_runs_from_pictures_to_predictions_with_the_settings_cell_and_the_epochs_changed(
    local_mode, image, tmp_path
):
    local_mode("sdk2", "sdk2_notebook.py", image, NOTEBOOK, tmp_path)
    cells = json.loads((tmp_path / "executed.ipynb").read_text())["cells"]
    shown = [kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert shown.count("image/png") == 2  # training pictures, predictions
    assert shown.count("text/html") == 3  # the report, the endpoint's answers and the batch's


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert [cell["source"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_sdk_3_trains_with_its_model_trainer_and_lesion_jobs_serves_the_model(local_mode, image, drawn, output):
    local_mode("sdk3", "sdk3_local.py", image, *drawn, output, **ACCOUNT)
    answers = json.loads((output / "answers.json").read_text())
    here = predicted_here(output / "compressed_artifacts" / "model.tar.gz", drawn[1])
    assert len(here) == 3 and answers["endpoint"] == pytest.approx(here, abs=1e-4)
    assert answers["batch"] == answers["endpoint"]
    with tarfile.open(output / "compressed_artifacts" / "output.tar.gz") as tar:
        assert "data/report.html" in tar.getnames()


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 on this machine, with nothing in it: moto's servers of one process share what they hold."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10).raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize(("sdk", "others"), [("sdk2", ["refused", "failed"]), ("sdk3", [])])
def test_a_pipeline_passes_is_refused_beside_a_champion_and_fails_in_a_step(
    local_mode, image, s3, output, tmp_path, sdk, others
):
    """Each of the three takes minutes in containers, so that the SDK 3 runs one of them."""
    write_channel(tmp_path / "training", sample_frame(24))
    test = sample_frame(24).assign(patient_id=lambda rows: "T_" + rows["patient_id"])
    write_channel(tmp_path / "test", test, csv_name="test.csv", image_dir="test_jpg")
    (output / "hyperparameters.json").write_text(json.dumps(LEARNS))
    folders = tmp_path / "training", tmp_path / "test", output
    printed = local_mode(sdk, "sdk_pipeline.py", image, *folders, *others, **ACCOUNT, AWS_ENDPOINT_URL=s3)
    said = json.loads((output / "answers.json").read_text())
    assert said["verdict"]["roc_auc_low"] >= 0.5 and "is_not_inferior" not in said["verdict"]
    assert json.loads((output / "evaluation" / "verdict.json").read_text()) == said["verdict"]
    assert "step Register: left out" in printed
    if others:
        assert "pipeline refused refuses the model: The bar is 0.9999. ROC AUC" in said["refused"]
        assert "champion" in said["refused"]
        assert said["written"] == ["Check", "Evaluate", "EvaluateChampion", "Prepare"]
        assert "pipeline failed failed in step Check" in said["failed"]
    here = predicted_here(output / "model.tar.gz", some_pictures(tmp_path))
    rows = pd.read_csv(output / "evaluation" / "predictions.csv")
    assert len(here) == 3 and len(rows) == len(test)
