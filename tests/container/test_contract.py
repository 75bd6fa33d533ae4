"""SageMaker's contract, rule by rule, in containers of the real image. Letters and numbers are the rules' own."""

from __future__ import annotations

import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import requests
from containers import Docker, mount
from PIL import Image

from factories import sample_frame, write_channel, write_job
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from processes import states, wait_until
from slides import APERIO, draw_slide, pyramid, write_slide

SETTINGS: dict[str, object] = {"num_workers": 4, "epochs": 3}
NO_NETWORK = ("--network", "none")


@pytest.fixture(scope="module")
def trained(docker: Docker, image: str, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A job that was trained without network, capabilities or more shared memory than Docker gives; not to be changed.

    Its channel was read-only, as FastFile is. Python may write bytecode, which shows what the image lacks of it.
    """
    root = write_job(tmp_path_factory.mktemp("trained"), has_test=False, **SETTINGS)
    test = sample_frame(5, seed=1)
    test = test.assign(image_name="T" + test["image_name"], patient_id="T" + test["patient_id"])
    write_channel(root / "input" / "data" / "test", test, csv_name="test.csv", image_dir="test_jpg")
    data = f"{root}/input/data/training"
    options = (*NO_NETWORK, "--cap-drop", "ALL", *mount(root), "--volume", f"{data}:/opt/ml/input/data/training:ro")
    with docker.start(image, "train", options=(*options, "--env", "PYTHONDONTWRITEBYTECODE=")) as container:
        assert container.wait() == 0, container.log
        return SimpleNamespace(root=root, log=container.log, changed=container.changed_files())


@pytest.fixture(scope="module")
def server(docker: Docker, image: str, trained: SimpleNamespace, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A server as a serverless endpoint starts one: another user, nothing writable but /tmp, a port of its own."""
    model_dir = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(trained.root / "model", model_dir)
    for stranger in ("model.tar.gz", "output.tar.gz", "._manifest.json"):  # as local mode and macOS leave them
        (model_dir / stranger).write_bytes(b"\x00\x05")
    options = ("--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "3g")
    options += ("--env", "SAGEMAKER_BIND_TO_PORT=9123", "--publish", "127.0.0.1::9123")
    with docker.start(image, "serve", options=(*options, "--volume", f"{model_dir}:/opt/ml/model:ro")) as container:
        url = container.url(9123)
        container.wait_until_ready(url)
        yield SimpleNamespace(container=container, url=url)


def weights(root: Path) -> list[str]:
    files = json.loads((root / "model" / "manifest.json").read_text())["files"]
    return [files[name]["sha256"] for name in sorted(files) if name.endswith(".safetensors")]


def failure(root: Path) -> str:
    return (root / "output" / "failure").read_text()


def ended(docker: Docker, image: str, root: Path, *words: str, options: tuple[object, ...] = ()) -> tuple[int, str]:
    """Exit code and log of a job."""
    with docker.start(image, *words, options=(*NO_NETWORK, *mount(root), *options)) as container:
        return container.wait(), container.log


# Training: what comes out, and how it ends.


def test_a_job_leaves_model_results_and_no_failure(trained):
    """It had no network, and 64 MiB of /dev/shm for four workers."""
    assert sorted(path.name for path in (trained.root / "model").iterdir())[-1] == "manifest.json"
    assert (trained.root / "output" / "data" / "oof.csv").is_file()
    assert not (trained.root / "output" / "failure").exists()


@pytest.mark.parametrize("name", METRIC_LINES)
def test_every_metric_is_found_by_its_regex(trained, name):
    found = re.findall(METRIC_LINES[name].regex, trained.log)
    assert found and all(re.fullmatch(r"[-+.\de]+", value) for value in found)
    assert len(found) == 1 or not name.startswith("validation:")


def test_a_container_that_is_given_no_command_trains(docker, image, tmp_path):
    """Version 3 of the SDK gives none."""
    (tmp_path / "input" / "data").mkdir(parents=True)
    status, _ = ended(docker, image, tmp_path)
    assert status == 2 and "training" in failure(tmp_path)


def test_a_job_without_enough_memory_says_so(docker, image, tmp_path):
    """Also when nobody in the training process can speak any more."""
    root = write_job(tmp_path, has_test=False)
    status, _ = ended(docker, image, root, "train", options=("--memory", "200m", "--memory-swap", "200m"))
    assert status != 0 and "memory" in failure(root)


def test_no_gpu_is_a_warning_unless_one_was_asked_for(docker, image, trained, tmp_path):
    assert re.search(r"no GPU found: using the CPU", trained.log)
    root = write_job(tmp_path, device="cuda", has_test=False)
    assert ended(docker, image, root, "train")[0] == 2 and "no GPU was found" in failure(root)


# Stop and resume.


@pytest.mark.parametrize("command", [("stop", "--time", "120"), ("kill",)], ids=["stopped", "killed"])
def test_a_job_that_is_stopped_goes_on_where_it_was(docker, image, trained, tmp_path, command):
    """C1 to C3: SIGTERM ends it in time with the code that says so, SIGKILL finds a state too."""
    root = write_job(tmp_path, **SETTINGS)
    with docker.start(image, "train", options=mount(root)) as container:
        container.wait_for_text("fold=1 epoch=0")
        if command[0] == "kill":  # a state is written beside the training, so some moments after the line
            wait_until(lambda: states(root, "fold_1.step") != [], "no state of fold 1", lambda: container.log)
        docker(*command, container.name)
        assert container.wait() == (143 if command[0] == "stop" else 137)
    assert states(root, "fold_1.step") and not (root / "output" / "failure").exists()
    status, log = ended(docker, image, root, "train")
    assert status == 0 and "fold=0 is finished" in log and "fold=1 resumes in epoch=" in log
    assert weights(root) == weights(trained.root)


# Several hosts.


def start_hosts(docker: Docker, image: str, network: str, folder: Path) -> list[tuple[Path, object]]:
    """A root and a way to start a container for each of two hosts. Their names resolve as soon as they run."""
    hosts = []
    for host in ("algo-1", "algo-2"):
        root = write_job(folder / host, **SETTINGS)
        # An interface that is not there, as version 3 of the SDK writes it.
        resources = {"current_host": host, "hosts": ["algo-1", "algo-2"], "network_interface_name": "ethwe"}
        (root / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
        options = ("--network", network, "--network-alias", host, "--hostname", host, *mount(root))
        hosts.append((root, docker.start(image, "train", options=options)))
    return hosts


def test_two_hosts_make_one_artifact_and_the_first_writes_it(docker, image, trained, tmp_path):
    """D1 to D3: the leader comes 5 s after the other, which has asked for it in vain."""
    with docker.network() as network:
        (first_root, first_start), (second_root, second_start) = start_hosts(docker, image, network, tmp_path)
        with second_start as second:
            second.wait_for_text("waiting for all")
            time.sleep(5)
            with first_start as first:
                assert [first.wait(), second.wait()] == [0, 0], first.log + second.log
    assert weights(first_root) == weights(trained.root)
    assert not list((second_root / "model").iterdir()) and not list((second_root / "output" / "data").iterdir())


def test_a_host_that_dies_ends_the_other(docker, image, tmp_path):
    with docker.network() as network:
        (first_root, first_start), (_, second_start) = start_hosts(docker, image, network, tmp_path)
        with first_start as first, second_start as second:
            second.wait_for_text("epoch=0")
            docker("kill", second.name)
            assert first.wait() == 3
    assert failure(first_root).startswith("algo-1: host algo-2 ended before the job was done")


# Serving.


def test_a_server_of_another_user_that_may_write_nowhere_answers_as_predict_does(docker, image, server, trained):
    channel = trained.root / "input" / "data" / "training"
    picture = sorted((channel / "train_jpg").iterdir())[0]
    answer = requests.post(f"{server.url}/invocations", picture.read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200, answer.text
    options = (*NO_NETWORK, *mount(trained.root))
    pictures, output = "/opt/ml/input/data/training/train_jpg", "/opt/ml/predictions.csv"
    docker.run(image, "predict", pictures, "--model", "/opt/ml/model", "--output", output, options=options)
    predicted = pd.read_csv(trained.root / "predictions.csv").iloc[0]
    assert predicted.iloc[0].startswith(picture.stem)
    assert answer.json()["predictions"][0]["probability"] == pytest.approx(predicted["probability"], abs=1e-5)


def test_the_serving_image_answers_as_the_whole_image_does(docker, serve_cpu_image, server, trained):
    """By the graph that training left: without torch, as another user, and nothing writable but /tmp."""
    options = ("--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "1g")
    options += ("--publish", "127.0.0.1::8080", "--volume", f"{trained.root}/model:/opt/ml/model:ro")
    picture = sorted((trained.root / "input" / "data" / "training" / "train_jpg").iterdir())[0].read_bytes()
    with docker.start(serve_cpu_image, options=options) as container:
        url = container.url(8080)
        container.wait_until_ready(url)
        assert "backend=openvino-cpu" in container.log
        for headers in ({"Content-Type": "image/jpeg"}, {"Content-Type": "image/jpeg", "Accept": "text/csv"}):
            answers = [requests.post(f"{at}/invocations", picture, headers=headers) for at in (url, server.url)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].content == answers[1].content
        assert requests.get(f"{url}/model").json()["serving"]["backend"].startswith("openvino cpu")
        assert requests.get(f"{url}/").status_code == 404  # the page is for laptops
        docker("stop", "--time", "10", container.name)
        assert container.wait() == 0


def test_a_server_logs_to_stdout_and_says_when_it_is_ready(server):
    assert "ready model=/opt/ml/model" in server.container.log


def test_a_server_holds_one_model_whatever_the_machine_has(docker, server):
    """One process beside gunicorn's own, in the memory of a serverless endpoint."""
    processes = docker("top", server.container.name, "-o", "pid,args").stdout.splitlines()[1:]
    assert len(processes) == 2 and all("lesion.cli serve" in process for process in processes)


def test_a_server_that_is_stopped_ends_by_itself(docker, image, trained):
    """Compose gives it 10 s."""
    with docker.start(image, "serve", options=(*mount(trained.root), "--publish", "127.0.0.1::8080")) as container:
        container.wait_until_ready(container.url(8080))
        docker("stop", "--time", "10", container.name)
        assert container.wait() == 0


def test_a_server_whose_model_does_not_fit_into_memory_ends_in_words(docker, serve_cpu_image, trained):
    options = (*NO_NETWORK, *mount(trained.root), "--memory", "64m", "--memory-swap", "64m")
    with docker.start(serve_cpu_image, options=options) as container:
        status, log = container.wait(), container.log
    assert status == 3 and log.count("the model cannot be served") == 1 and "available are 64 MiB" in log


def test_no_request_ends_a_server_of_one_gibibyte(docker, serve_cpu_image, trained):
    """Sixteen at once of what unpacks to the most: each is answered in words, and the same process goes on."""
    png = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(png, "PNG")
    rgba = io.BytesIO()
    Image.new("RGBA", (10_000, 10_000), (9, 9, 9, 200)).save(rgba, "PNG")
    npy = io.BytesIO()
    np.save(npy, np.zeros((2_000_000, 1, 1, 1), np.uint8))
    asked = [
        (png.getvalue(), "image/png"),
        (rgba.getvalue(), "image/png"),
        (npy.getvalue(), "application/x-npy"),
        (b'{"instances":[' + b"[]," * 6_000_000 + b"[]]}", "application/json"),
        (b'{"instances":[' + b"[]," * 900_000 + b"[]]}", "application/json"),
        (b"image" + b"," * 20_000_000 + b"\n", "text/csv"),
    ]
    options = (*mount(trained.root), "--publish", "127.0.0.1::8080", "--memory", "1g", "--memory-swap", "1g")
    with docker.start(serve_cpu_image, options=options) as container:
        url = container.url(8080)
        container.wait_until_ready(url)

        def ask(number: int) -> int:
            body, content_type = asked[number // 16]
            headers = {"Content-Type": content_type}
            return requests.post(f"{url}/invocations", body, headers=headers, timeout=120).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(ask, range(16 * len(asked))))
        assert set(statuses) <= {200, 400, 413, 503}, statuses
        small = io.BytesIO()
        Image.new("RGB", (50, 50)).save(small, "PNG")
        headers = {"Content-Type": "image/png"}
        assert requests.post(f"{url}/invocations", small.getvalue(), headers=headers, timeout=60).status_code == 200
        assert container.log.count("ready model=") == 1  # the same process, not one that was started again
        state = docker("inspect", "--format", "{{.State.OOMKilled}} {{.State.Running}}", container.name).stdout.split()
        assert state == ["false", "true"]


# The image's commands.


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("--help",), "Train and serve classifiers"),
        (("train", "--help"), "Train on the channels"),
        (("serve", "--help"), "Serve the model over HTTP"),
        (("describe", "metrics"), '"Regex"'),
    ],
)
def test_every_verb_is_a_command_of_the_image(docker, image, words, printed):
    assert printed in docker.run(image, *words, options=NO_NETWORK)


def test_a_data_set_is_prepared_and_checked_in_the_image(docker, image, tmp_path):
    """Slides to tiles, tiles to shards, and what there is to say of them: OpenSlide, DICOM, HDF5 are in."""
    image_HWC = draw_slide(1024, 768, [(300, 300, 260)])
    for number in range(2):
        write_slide(tmp_path / "slides" / f"slide{number}.svs", pyramid(image_HWC), aperio=APERIO.format(20, 0.5))
    (tmp_path / "slides.csv").write_text("file,target\nslide0,0\nslide1,1\n")
    options = (*NO_NETWORK, "--volume", f"{tmp_path}:/data")
    words = ("/data/slides", "--output", "/data/tiles", "--labels", "/data/slides.csv", "--size", 64)
    docker.run(image, "prepare", "tiles", *words, options=options)
    docker.run(image, "prepare", "shards", "/data/tiles", "--output", "/data/shards", "--rows", 20, options=options)
    settings = ("--set", "group_column=slide_id", "--set", "folds=2", "--output", "/data/check")
    said = docker.run(image, "check", "/data/shards", *settings, options=options, may_fail=True)
    assert "copies of the same image in different groups" in said  # both slides are one drawing
    assert (tmp_path / "check" / "check.html").stat().st_size > 10_000
    docker.run(image, "sample-data", "/data/drawn", "--num-images", 24, options=options)
    docker.python(image, "import h5py, pydicom.pixels; pydicom.pixels.get_decoder('1.2.840.10008.1.2.5')")


@pytest.mark.parametrize("program", ["train", "serve", "lesion"])
def test_the_programs_are_on_the_path(docker, image, program):
    """For those who set an entry point of their own."""
    assert "usage: lesion" in docker.run(image, "--help", options=(*NO_NETWORK, "--entrypoint", program))


def test_what_is_no_command_is_refused(docker, image):
    with docker.start(image, "trian", options=NO_NETWORK) as container:
        assert container.wait() == 2 and "invalid choice" in container.log


def test_bytecode_of_all_that_a_job_imports_is_in_the_image(trained):
    """A container that may not write it would compile it at each start."""
    assert [name for name in trained.changed if name.endswith(".pyc")] == []
