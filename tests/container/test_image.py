"""The image itself: its size, what is in it and what is not, and that what was cut out is not missed."""

from __future__ import annotations

import json
import shutil

import pytest
from containers import Docker, mount

from checkout import PROJECT, copy_project

GOLDEN = PROJECT / "tests" / "golden" / "artifact_v1"
GB = 10**9

# Opens every library and extension module, after those that they expect to be there. With LD_BIND_NOW the dynamic
# loader looks up every symbol at once, called or not. What lies in NAME.libs is opened by those linked against it.
OPEN_ALL = r"""
import ctypes, os, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch, torchvision, cv2, scipy.special, sklearn.utils, pandas
for path in sorted(Path("/opt/lesion").rglob("*.so*")):
    if not path.parent.name.endswith(".libs"):
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            print(path.name, error, flush=True)
os._exit(0)  # modules that were opened and never imported do not end well
"""


def inspect(docker: Docker, image: str) -> dict:
    return json.loads(docker("image", "inspect", image).stdout)[0]


# Size.


def test_the_image_is_at_most_4_gb(docker, image):
    assert inspect(docker, image)["Size"] <= 4.0 * GB


def test_the_serving_image_is_at_most_0_6_gb_and_has_no_torch(docker, serve_cpu_image):
    assert inspect(docker, serve_cpu_image)["Size"] <= 0.6 * GB
    code = "import importlib.util as u; print([n for n in ('torch', 'pandas', 'sklearn') if u.find_spec(n)])"
    assert docker.python(serve_cpu_image, code).strip() == "[]"


def test_the_builder_is_sent_less_than_5_mb(docker, image, tmp_path):
    """`COPY .` of the checkout, litter and all, through .dockerignore."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    project = copy_project(tmp_path / "lesion")
    (project / ".venv").mkdir()
    (project / ".venv" / "large").write_bytes(bytes(10**7))
    docker("build", "--quiet", "--tag", "lesion:test-context", "--file", dockerfile, project)
    try:
        assert 10**5 < inspect(docker, "lesion:test-context")["Size"] < 5 * 10**6
    finally:
        docker("rmi", "lesion:test-context")


def test_new_code_changes_one_layer(docker, image, tmp_path):
    """So that it is built, pushed and pulled in seconds."""
    project = copy_project(tmp_path / "lesion")
    code = project / "src" / "lesion" / "targets.py"
    code.write_text(code.read_text() + "\n# changed\n")
    docker("build", "--network", "host", "--tag", "lesion:test-changed", project)
    try:
        before, after = (inspect(docker, name)["RootFS"]["Layers"] for name in (image, "lesion:test-changed"))
        assert [old == new for old, new in zip(before, after, strict=True)] == [True] * (len(before) - 1) + [False]
    finally:
        docker("rmi", "lesion:test-changed")


# What SageMaker reads of it.


def test_the_entry_point_lets_signals_through(docker, image):
    config = inspect(docker, image)["Config"]
    assert config["Entrypoint"] == ["entrypoint"] and config["Cmd"] == ["train"]
    assert not config["User"]  # S5: the platform starts it as root


def test_labels_say_what_it_is(docker, image):
    labels = inspect(docker, image)["Config"]["Labels"]
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert {"org.opencontainers.image.version", "org.opencontainers.image.revision"} <= labels.keys()
    assert "com.amazonaws.sagemaker.capabilities.multi-models" not in labels


def test_the_gpu_is_asked_of_the_host(docker, image):
    """M2."""
    environment = inspect(docker, image)["Config"]["Env"]
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(environment)
    assert docker.run(image, "/", "-name", "libcuda.so*", options=("--entrypoint", "find")) == ""


def test_nothing_lies_where_the_platform_mounts(docker, image):
    """S4."""
    found = docker.run(image, "-c", "ls -A /opt/ml 2>/dev/null || true", options=("--entrypoint", "sh"))
    assert found == ""


@pytest.mark.parametrize("name", ["image", "serve_cpu_image"])
def test_every_file_can_be_read_by_any_user(docker, request, name):
    """S5."""
    command = "find /opt /usr/local -not -type l -not -perm -o+r; find /opt /usr/local -type d -not -perm -o+x"
    assert docker.run(request.getfixturevalue(name), "-c", command, options=("--entrypoint", "sh")) == ""


def test_the_packages_are_those_of_the_lock(docker, image):
    """Each at the version of requirements.txt, and none that it lacks."""
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    normal = {pin.lower().replace("_", "-") for pin in docker.python(image, code).split()}
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    locked = {line.split()[0] for line in lines if line and line[0].isalnum()}
    assert {pin for pin in normal - locked if not pin.startswith("lesion==")} == set()


# What was left out.


def test_every_shared_object_can_be_opened_with_every_symbol_bound(docker, image):
    """All but the one that wants what comes with the machine's GPU driver, and never with an image."""
    lines = docker.python(image, OPEN_ALL, "--env", "LD_BIND_NOW=1").splitlines()
    assert [line for line in lines if "libcuda.so.1: cannot open" not in line] == []
    assert [line.split()[0] for line in lines] == ["libcaffe2_nvrtc.so"]


@pytest.mark.parametrize(
    ("library", "symbol", "title"),
    [
        ("torch/torch/lib/libcufft.so.11", "cufftCreate", "cuFFT"),
        ("torch/torch/lib/libcusparse.so.12", "cusparseCreate", "cuSPARSE"),
        ("torch/torch/lib/libcusparseLt.so.0", "cusparseLtInit", "cuSPARSELt"),
        ("torch/torch/lib/libcufile.so.0", "cuFileHandleRegister", "cuFile"),
        ("torch/torchvision.libs/libnvjpeg.*", "nvjpegCreateSimple", "nvJPEG"),
        ("libraries/opencv_python_headless.libs/libavformat-*", "avformat_open_input", "FFmpeg"),
        ("libraries/opencv_python_headless.libs/libavif-*", "avifDecoderCreate", "libavif"),
    ],
)
def test_a_stand_in_says_what_is_missing_when_it_is_called(docker, image, library, symbol, title):
    code = f"import ctypes, glob; [path] = glob.glob('/opt/lesion/{library}'); ctypes.CDLL(path).{symbol}()"
    said = docker.python(image, code, may_fail=True)
    assert f"{symbol} was called, and Lesion's image leaves {title} out: see docs/image.md" in said


def test_opencv_turns_a_stand_in_into_a_python_error_or_an_empty_answer(docker, image):
    """A video that is opened all the same does not take the process down."""
    code = "import cv2; print('opened', cv2.VideoCapture('/etc/hostname').isOpened())"
    assert "opened False" in docker.python(image, code)


# Security.


@pytest.mark.parametrize("name", ["image", "serve_cpu_image"])
def test_nothing_of_the_building_machine_is_in_the_image(docker, request, name):
    """No certificate but Debian's, no settings of pip and apt, no caches."""
    command = """
        ls -A /usr/local/share/ca-certificates /etc/apt/apt.conf.d /var/cache /var/lib/apt/lists /tmp | grep -v :
        ls /etc/pip.conf /root/.cache /root/.config 2>/dev/null
        command -v pip gcc g++ cc curl wget
        python3 -c '
from pathlib import Path
import ssl
ours = {ssl.PEM_cert_to_DER_cert(p.read_text()) for p in Path("/usr/share/ca-certificates").rglob("*.crt")}
bundle = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt").get_ca_certs(binary_form=True)
print(*[c[:20] for c in bundle if c not in ours], sep="\\n", end="")'
    """
    said = docker.run(request.getfixturevalue(name), "-c", command, options=("--entrypoint", "sh"), may_fail=True)
    assert said.split() == []


def test_no_layer_was_made_with_a_secret(docker, image):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout.lower()
    assert not any(word in history for word in ("password", "token", "secret", "aws_", "://"))


@pytest.mark.parametrize("name", ["image", "serve_cpu_image"])
def test_the_image_lists_what_it_is_made_of(docker, request, name):
    image = request.getfixturevalue(name)
    options = ("--network", "none", "--entrypoint", "python3")
    sbom = json.loads(docker.run(image, "/usr/local/share/lesion/sbom.py", options=options))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in sbom["components"]]
    assert len(refs) == len(set(refs))
    assert any(ref.startswith("pkg:deb/debian/python3.11@3.11") for ref in refs)
    assert any(ref.startswith("pkg:pypi/flask@3.") for ref in refs)


# The small serving image, whose graph comes with the serving engine.


@pytest.mark.parametrize("name", ["image", "serve_cpu_image"])
def test_nothing_in_an_image_reports_to_the_makers_of_openvino(docker, request, name):
    code = "import importlib.util, openvino; print(importlib.util.find_spec('openvino_telemetry'))"
    assert docker.python(request.getfixturevalue(name), code).strip() == "None"


def test_the_serving_image_has_the_commands(docker, serve_cpu_image):
    assert "Answer /ping" in docker.run(serve_cpu_image, "serve", "--help", options=("--network", "none"))


def test_the_serving_image_says_what_an_artifact_lacks(docker, serve_cpu_image, tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "model")
    with docker.start(serve_cpu_image, options=("--network", "none", *mount(tmp_path))) as container:
        assert container.wait() != 0
        assert "the artifact holds no graph for a CPU, and this image has no torch" in container.log
        assert "Traceback" not in container.log
