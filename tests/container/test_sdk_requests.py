"""What lesion_jobs asks local mode for, in the SDK 2 and 3 alike. No Docker. Requests to AWS: tests/unit/jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from environments import environment, run_script


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
