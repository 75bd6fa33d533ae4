"""What lesion_jobs asks local mode for, in the SDK 2 and 3 alike. No Docker. Requests to AWS: tests/unit/jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from environments import environment, run_script

from lesion_jobs import Environment, pipeline


@pytest.fixture(scope="module", params=["sdk2", "sdk3"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("requests")
    python = environment(request.param)
    run_script(python, "sdk_requests.py", folder, variables={"TMPDIR": str(folder)}, limit_s=180)
    return {**json.loads((folder / "found.json").read_text()), "folder": str(folder)}


def test_local_mode_trains_on_a_folder_of_this_machine(found):
    asked, folder = found["train"], found["folder"]
    assert asked["inputs"] == {"training": f"{folder}/other"} and asked["name"] == "trained"
    assert asked["hyperparameters"] == {"pretrained": "false", "folds": "3"}
    assert asked["output"] == f"file://{folder}/jobs/trained/output"  # local mode adds no job's name to a folder
    assert found["described"] == ["Completed", "trained"]


def test_local_mode_evaluates_from_folders_of_this_machine(found):
    asked, folder = found["evaluate"], found["folder"]
    assert asked["command"][:2] == ["lesion", "evaluate"] and asked["command"][-1] == "target_column=dx"
    assert asked["output"] == f"file://{folder}/jobs/here"
    # The folder of a file is mounted where SageMaker would put the file alone.
    assert asked["inputs"] == {"/opt/ml/processing/input": f"{folder}/other", "/opt/ml/processing/model": folder}


def test_local_mode_prepares_shards(found):
    asked = found["shards"]
    assert asked["command"][1:3] == ["prepare", "shards"] and asked["command"][-2:] == ["--size", "64"]
    assert asked["inputs"] == {"/opt/ml/processing/input": f"{found['folder']}/other"}


def test_without_docker_it_is_said_what_is_missing(found):
    assert "no `docker` command" in found["no docker"]


def test_we_and_the_sdk_agree_which_machines_take_a_key_for_their_volumes(found):
    assert found["keys"]["ours"] == found["keys"]["sdk"]


def test_a_pipelines_expressions_conditions_files_and_cache_are_written_as_the_sdk_writes_them(tmp_path):
    variables = {"TMPDIR": str(tmp_path)}
    run_script(environment("sdk2"), "sdk2_definition.py", tmp_path, variables=variables, limit_s=300)
    theirs = json.loads((tmp_path / "definition.json").read_text())
    place = Environment("lesion", "ml.m5.xlarge", "s3://bucket/lesion", "arn:aws:iam::123456789012:role/lesion")
    settings = {"name": "lesion-skin", "bar": 0.85, "test": "s3://b/t", "champion": "s3://b/model.tar.gz"}
    ours = pipeline(place, "s3://b/d", hyperparameters={"pretrained": False}, **settings).definition()
    assert ours["Version"] == theirs["Version"] and theirs["Parameters"][0] in ours["Parameters"]
    (train, evaluate, decide), (their_train, their_evaluate, their_decide) = (
        [step for step in of["Steps"] if step["Name"] in {"Train", "Evaluate", "Decide"}] for of in (ours, theirs)
    )
    assert train["CacheConfig"] == their_train["CacheConfig"]
    for key in ("PropertyFiles", "CacheConfig"):
        assert evaluate[key] == their_evaluate[key]
    for key, of in {"ProcessingInputs": "S3Input", "ProcessingOutputConfig": "S3Output"}.items():
        (one,) = [item for item in listed(evaluate, key) if of == "S3Output" or item["InputName"] == "model"]
        (their_one,) = listed(their_evaluate, key)
        assert one[of].items() <= their_one[of].items()  # theirs has S3CompressionType, a default, besides
    for key in ("Conditions", "ElseSteps"):
        assert decide["Arguments"][key] == their_decide["Arguments"][key]
    (register,), (their_register,) = (of["Arguments"]["IfSteps"] for of in (decide, their_decide))
    assert register["Type"] == their_register["Type"]
    (container,) = register["Arguments"]["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    quality = "ModelQuality"
    assert register["Arguments"]["ModelMetrics"][quality] == their_register["Arguments"]["ModelMetrics"][quality]


def listed(step: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A processing step's inputs or outputs."""
    found = step["Arguments"][key]
    return list(found if isinstance(found, list) else found["Outputs"])
