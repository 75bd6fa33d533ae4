"""Algorithms: what each one owes to the rest of Lesion, and the rest to each: the classifier, and a toy beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import SMALL, small_frame

import warm
from factories import TINY, write_hyperparameters, write_job
from lesion.algorithms.base import Options
from lesion.algorithms.registry import ALGORITHMS, find_algorithm, parse_hyperparameters
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.artifact import FORMAT_VERSION, MANIFEST, load_manifest
from lesion.data.decode import images
from lesion.errors import UserError
from processes import LIMIT_S, Server, children, states, wait_until

SRC = Path(__file__).parents[2] / "src"
PRELOAD = "mean_colour"  # the module that adds the toy to the registry

# What makes of each algorithm a job of two steps, and one of so many that a kill meets it in between.
TWO_STEPS: dict[str, dict[str, object]] = {
    "classify": {**TINY, **SMALL, "epochs": 2, "export_graph": True},
    "anomaly": {
        **{"model": "test_resnet", "pretrained": False, "image_size": 32, "strides": "4,8"},
        **{"memory_patches": 8, "batch_size_predict": 4, "num_workers": 0},
    },
    "mean_colour": {"steps": 2, "num_workers": 0},
}
MANY_STEPS: dict[str, dict[str, object]] = {
    "classify": {"epochs": 40, "patience": 40},
    "anomaly": {"memory_patches": 150, "batch_size_predict": 1},
    "mean_colour": {"steps": 400},
}
COMPUTES = {"classify": "openvino cpu fp32", "anomaly": "openvino cpu fp32", "mean_colour": "numpy"}
ANSWERS = {"anomaly": ("anomaly_score", "is_anomalous")}  # of the others "probability" and "label"


@pytest.fixture(params=TWO_STEPS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each algorithm that there is, and the toy, which is in the registry for the test alone."""
    __import__(PRELOAD)
    monkeypatch.setitem(ALGORITHMS, "mean_colour", "mean_colour:MEAN_COLOUR")
    assert set(TWO_STEPS) == set(ALGORITHMS), "an algorithm without a row in this file"
    return str(request.param)


def job(root: Path, name: str, **changes: object) -> Path:
    write_job(root, frame=small_frame(), has_test=False)
    write_hyperparameters(root, {"algorithm": name, **TWO_STEPS[name], **changes})
    return root


def lesion(root: Path, *arguments: object) -> warm.Command:
    """A `lesion` command in a process that knows the toy, with its log in root/log."""
    with (root / "log").open("w") as output:
        return warm.start(arguments, output, preload=[PRELOAD])


@pytest.fixture(scope="module")
def finished() -> dict[str, Path]:
    """The job of each algorithm that a test asked for, done once."""
    return {}


@pytest.fixture
def trained(name: str, finished: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if name not in finished:
        root = job(tmp_path_factory.mktemp(name), name)
        assert lesion(root, "train", "--root", root).wait(LIMIT_S) == 0, (root / "log").read_text()
        finished[name] = root
    return finished[name]


def digests(root: Path) -> dict[str, str]:
    return {name: record.sha256 for name, record in load_manifest(root / "model").files.items() if "graph" not in name}


def test_an_algorithm_is_called_as_the_registry_calls_it(name):
    algorithm = find_algorithm(name)
    assert algorithm.name == name and algorithm.out_of_memory
    found, config = parse_hyperparameters({"algorithm": name})
    assert found is algorithm and isinstance(config, algorithm.config)
    assert config.algorithm == name


def test_a_hyperparameter_that_is_misspelt_is_refused_with_its_neighbour(name, tmp_path):
    root = job(tmp_path, name, checkpoint_intervals=3)
    assert lesion(root, "train", "--root", root).wait(LIMIT_S) == 2
    failure = (root / "output" / "failure").read_text()
    assert "checkpoint_intervals" in failure and "did you mean checkpoint_interval_s?" in failure


def test_a_column_that_is_missing_is_said_by_the_check_and_by_training(name, tmp_path):
    root = job(tmp_path / "job", name, target_column="no_such_column")
    assert lesion(root, "train", "--root", root).wait(LIMIT_S) == 2
    assert "no_such_column" in (root / "output" / "failure").read_text()
    assert lesion(root, "check", root, "--output", tmp_path / "check", "--no-progress").wait(LIMIT_S) == 2
    assert "no_such_column" in (root / "log").read_text()


def test_the_artifact_says_who_wrote_it_and_what_made_it(name, trained):
    manifest = load_manifest(trained / "model")
    assert manifest.format_version == FORMAT_VERSION and manifest.algorithm == name
    assert algorithm_of_artifact(trained / "model").name == name
    assert manifest.config["algorithm"] == name and {"lesion", "torch"} <= set(manifest.packages)
    assert states(trained) == []


def test_the_same_job_twice_gives_the_same_weights(name, trained, tmp_path):
    again = job(tmp_path, name)
    assert lesion(again, "train", "--root", again).wait(LIMIT_S) == 0
    assert digests(again) == digests(trained)


def test_a_killed_job_resumes_and_ends_in_the_same_weights(name, tmp_path):
    """With a state after every step. The kill comes once there are two, before the job is done."""
    settings = {"checkpoint_interval_s": 0, **MANY_STEPS[name]}
    whole, broken = job(tmp_path / "whole", name, **settings), job(tmp_path / "broken", name, **settings)
    assert lesion(whole, "train", "--root", whole).wait(LIMIT_S) == 0
    command = lesion(broken, "train", "--root", broken)
    wait_until(lambda: len(states(broken)) >= 2, "no two states came", (broken / "log").read_text)
    for child in children(command.pid):
        subprocess.run(["kill", f"-{signal.SIGKILL}", str(child)], check=True)
    assert command.wait(LIMIT_S) not in {0, 2}
    assert not (broken / "model" / MANIFEST).exists()
    assert re.search("killed by SIGKILL while (training|predicting)", (broken / "output" / "failure").read_text())
    assert lesion(broken, "train", "--root", broken).wait(LIMIT_S) == 0, (broken / "log").read_text()
    assert digests(broken) == digests(whole)


def test_the_library_the_command_line_and_http_answer_alike(name, trained, tmp_path):
    """Each in a process of its own, from the artifact alone."""
    folder = trained / "input" / "data" / "training" / "train_jpg"
    paths = sorted(folder.iterdir())
    predictor = find_algorithm(name).load(
        trained / "model", device="cpu", num_cores=2, fold=None, precision="fp32", operating_point=None
    )
    assert predictor.backend == COMPUTES[name]
    prepared = [predictor.prepare(images.read(path), {}) for path in paths]
    outputs = [output for picture in prepared for output in predictor.executors[0]([picture])]
    answers = [predictor.answer(output, Options()) for output in outputs]

    table = tmp_path / "out.csv"
    options = ["--model", trained / "model", "--output", table, "--device", "cpu", "--precision", "fp32"]
    assert lesion(tmp_path, "predict", folder, *options, "--no-progress").wait(LIMIT_S) == 0
    frame = pd.read_csv(table)
    assert frame[predictor.image_column].tolist() == [path.name for path in paths]
    score, label = ANSWERS.get(name, ("probability", "label"))
    for number, answer in enumerate(answers):
        assert frame.loc[number, label] == answer.columns[label]
        assert frame.loc[number, score] == pytest.approx(answer.columns[score], abs=1e-6)

    server = serve(trained, tmp_path / "log")
    try:
        asked = server.ask(paths[0].read_bytes()).json()["predictions"][0]
        assert asked[label] == answers[0].fields[label]
        assert asked[score] == pytest.approx(answers[0].fields[score], abs=1e-6)
        line = server.ask(paths[1].read_bytes(), Accept="application/jsonlines").json()
        np.testing.assert_allclose(line["prediction"], answers[1].line["prediction"], atol=1e-6)
        told = json.loads(server.get("/model"))
        assert told["model"]["algorithm"] == name and told["serving"]["backend"] == predictor.backend
    finally:
        assert server.stop() == 0


def serve(root: Path, log: Path) -> Server:
    """A server in a process that Python starts anew, which knows the toy."""
    code = f"import {PRELOAD}; from lesion.cli import main; main()"
    environment = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return Server.start(root, log, program=[sys.executable, "-c", code], environment=environment).wait_until_ready()


def test_an_artifact_of_an_algorithm_that_is_not_there_is_refused_with_those_that_are(name, trained, tmp_path):
    manifest = json.loads((trained / "model" / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "algorithm": "segment"}))
    with pytest.raises(UserError, match=r"no algorithm is called 'segment'.*classify") as refused:
        algorithm_of_artifact(tmp_path)
    assert refused.value.kind == "artifact"


def test_an_algorithm_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"no algorithm is called 'clasify' .*Did you mean classify") as refused:
        parse_hyperparameters({"algorithm": '"clasify"', "epochs": "3"})
    assert refused.value.kind == "hyperparameters"
    with pytest.raises(UserError, match="This version knows classify"):
        parse_hyperparameters({"algorithm": "segment"})


def test_outside_its_folder_the_classifier_is_named_in_the_registry_alone():
    def names_it(path: Path) -> bool:
        return re.search(r"\bclassify\b|ClassifyConfig", path.read_text()) is not None

    naming = [path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if names_it(path)]
    assert [path for path in naming if not path.startswith("lesion/algorithms/classify/")] == [
        "lesion/algorithms/registry.py"
    ]
