"""The image itself: its size, what is in it and what is not, and that what was cut out is not missed."""

from __future__ import annotations

import json
import runpy
import shutil

import pytest
from containers import Docker, mount

from checkout import PROJECT, copy_project
from factories import write_job

GOLDEN = PROJECT / "tests" / "golden" / "artifact_v1"
GB = 10**9
BOTH = pytest.mark.parametrize("name", ["image", "serve_cpu_image"])

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


@BOTH
def test_every_file_can_be_read_by_any_user(docker, request, name):
    """S5."""
    command = "find /opt /usr/local -not -type l -not -perm -o+r; find /opt /usr/local -type d -not -perm -o+x"
    assert docker.run(request.getfixturevalue(name), "-c", command, options=("--entrypoint", "sh")) == ""


def test_the_packages_are_those_of_the_lock(docker, image):
    """Each at the version of requirements.txt, and none that it lacks."""
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    normal = {pin.lower().replace("_", "-") for pin in docker.python(image, code).split()}
    assert {pin for pin in normal - locked("requirements.txt") if not pin.startswith("lesion==")} == set()


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
def test_a_stub_library_says_what_is_missing_when_it_is_called(docker, image, library, symbol, title):
    code = f"import ctypes, glob; [path] = glob.glob('/opt/lesion/{library}'); ctypes.CDLL(path).{symbol}()"
    said = docker.python(image, code, may_fail=True)
    assert f"{symbol} was called, and Lesion's image leaves {title} out: see docs/image.md" in said


def test_opencv_turns_a_stub_into_a_python_error_or_an_empty_answer(docker, image):
    """A video that is opened all the same does not take the process down."""
    code = "import cv2; print('opened', cv2.VideoCapture('/etc/hostname').isOpened())"
    assert "opened False" in docker.python(image, code)


# Security.

# Prints each program on the path whose interpreter or whose libraries are not there, and each module of Python's own
# that cannot be imported.
LOOK_FOR_LOOSE_ENDS = r"""
import importlib, os, subprocess, sysconfig
from pathlib import Path
LOADER = "/lib64/ld-linux-x86-64.so.2"
for folder in os.environ["PATH"].split(":"):
    for program in sorted(Path(folder).glob("*")):
        start = program.read_bytes()[:80]
        if start.startswith(b"#!"):
            needed = start[2:].split(b"\n")[0].split()[0].decode()
            if not Path(needed).exists():
                print(program, "wants", needed)
        elif start.startswith(b"\x7fELF") and not program.resolve().name.startswith("ld-linux"):
            listed = subprocess.run([LOADER, "--list", program], capture_output=True, text=True)
            if "not found" in listed.stdout or (listed.returncode and "statically linked" not in listed.stderr):
                print(program, listed.stdout, listed.stderr)
for module in Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so"):
    try:
        importlib.import_module(module.name.partition(".")[0])
    except ImportError as error:
        print(module.name, error)
"""

# Prints what of Debian's is in the image and in no package of its list, and what differs from the package's file.
LOOK_FOR_STRANGERS = r"""
import hashlib, re
from pathlib import Path
MADE = re.compile("/etc/(passwd|group|ld.so.cache|nsswitch.conf|ssl/.*|hosts|hostname|resolv.conf)|.*/__pycache__/.*"
                  "|/opt/lesion/.*|/usr/local/(bin|share/lesion)/.*|/(dev|proc|sys|run)/.*|/var/lib/dpkg/.*|/.dockerenv")
digests = {}
for listed in Path("/var/lib/dpkg/info").glob("*.md5sums"):
    for digest, name in (line.split(None, 1) for line in listed.read_text().splitlines()):
        digests[Path("/", name).parent.resolve() / Path(name).name] = digest
for name, digest in re.findall(r"^ (/\S+) (\w{32})", Path("/var/lib/dpkg/status").read_text(), re.MULTILINE):
    digests[Path(name)] = digest
for path in Path("/").rglob("*"):
    if not MADE.fullmatch(str(path)) and path.is_file() and not path.is_symlink():
        if digests.get(path) != hashlib.md5(path.read_bytes()).hexdigest():
            print(path)
"""


@BOTH
def test_nothing_of_the_building_machine_is_in_the_image(docker, request, name):
    """No certificate but Debian's, no settings of pip and apt, no caches."""
    command = """
        ls -A /usr/local/share/ca-certificates /etc/apt /var/cache /var/lib/apt /var/log /tmp 2>/dev/null | grep -v :
        ls /etc/pip.conf /root/.cache /root/.config 2>/dev/null
        python3 -c '
from pathlib import Path
import ssl
ours = {ssl.PEM_cert_to_DER_cert(p.read_text()) for p in Path("/usr/share/ca-certificates").rglob("*.crt")}
bundle = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt").get_ca_certs(binary_form=True)
print(*[c[:20] for c in bundle if c not in ours], sep="\\n", end="")'
    """
    said = docker.run(request.getfixturevalue(name), "-c", command, options=("--entrypoint", "sh"), may_fail=True)
    assert said.split() == []


@BOTH
def test_python_finds_the_certificates_that_debian_trusts(docker, request, name):
    """Where OpenSSL looks for an issuer by the digest of its name: pretrained weights come over HTTPS."""
    code = """
from pathlib import Path
import ssl
links = [p for p in Path(ssl.get_default_verify_paths().capath).iterdir() if p.suffix == ".0"]
trusted = list(Path("/usr/share/ca-certificates").rglob("*.crt"))
print(len(trusted) > 100, {p.resolve() for p in links} == set(trusted))"""
    assert docker.python(request.getfixturevalue(name), code).split() == ["True", "True"]


@BOTH
def test_no_program_runs_with_the_rights_of_another_user(docker, request, name):
    """Setuid, setgid, and what is Linux's newer way to the same."""
    image = request.getfixturevalue(name)
    assert docker.run(image, "/", "-xdev", "-perm", "/6000", options=("--entrypoint", "find")) == ""
    code = """
import os
for folder, _, files in os.walk("/"):
    if not folder.startswith(("/proc", "/sys", "/dev")):
        for name in files:
            if "security.capability" in os.listxattr(os.path.join(folder, name), follow_symlinks=False):
                print(folder, name)"""
    assert docker.python(image, code) == ""


@BOTH
def test_there_is_no_package_manager_compiler_perl_or_way_to_another_user(docker, request, name):
    image = request.getfixturevalue(name)
    programs = "apt apt-get dpkg dpkg-query debconf pip pip3 perl su sudo login passwd chsh newgrp mount umount"
    programs += " useradd adduser bash gcc g++ cc ld make curl wget gpgv openssl tar gzip"
    command = f"command -v {programs}; find / -xdev -name perl -o -xdev -name 'perl5*' -o -xdev -name apt"
    assert docker.run(image, "-c", command, options=("--entrypoint", "sh"), may_fail=True) == ""
    unwanted = "('pip', 'setuptools', 'ensurepip', 'idlelib', 'tkinter', 'test')"
    code = f"import importlib.util as u; print([name for name in {unwanted} if u.find_spec(name)])"
    assert docker.python(image, code).strip() == "[]"


@BOTH
def test_no_user_has_a_shell_or_a_password(docker, request, name):
    command = "grep -v ':x:.*:/usr/sbin/nologin$' /etc/passwd; ls /etc/shadow /etc/gshadow 2>/dev/null"
    image = request.getfixturevalue(name)
    assert docker.run(image, "-c", command, options=("--entrypoint", "sh"), may_fail=True) == ""


@BOTH
def test_only_tmp_can_be_written_by_everyone(docker, request, name):
    words = ("/", "-xdev", "!", "-type", "l", "-perm", "-o+w")
    assert docker.run(request.getfixturevalue(name), *words, options=("--entrypoint", "find")).split() == ["/tmp"]


@BOTH
def test_every_program_and_module_of_debian_has_what_it_needs(docker, request, name):
    assert docker.python(request.getfixturevalue(name), LOOK_FOR_LOOSE_ENDS) == ""


def test_a_job_trains_as_another_user_who_may_write_nowhere_else(docker, image, tmp_path):
    """A root that cannot be written, no capability, and no name for the user in /etc/passwd."""
    root = write_job(tmp_path / "job", has_test=False)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    options = ("--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")
    with docker.start(image, "train", options=(*options, *mount(root))) as container:
        assert container.wait() == 0, container.log
    assert (root / "model" / "manifest.json").stat().st_uid == 1000


def test_no_layer_was_made_with_a_secret(docker, image):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout.lower()
    assert not any(word in history for word in ("password", "token", "secret", "aws_", "://"))


@pytest.mark.parametrize(("name", "lists"), [("image", ("torch", "libraries")), ("serve_cpu_image", ("serve-cpu",))])
def test_the_image_lists_all_that_it_is_made_of(docker, request, name, lists):
    """Each pin of the image's lists but the two that slim.py takes out whole; each package that debian.py names."""
    image = request.getfixturevalue(name)
    options = ("--network", "none", "--entrypoint", "python3")
    sbom = json.loads(docker.run(image, "/usr/local/share/lesion/sbom.py", options=options))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in sbom["components"]]
    assert len(refs) == len(set(refs))
    pins = {pin.replace("==", "@") for part in lists for pin in locked(f"container/requirements-{part}.txt")}
    python = {ref.removeprefix("pkg:pypi/") for ref in refs if ref.startswith("pkg:pypi/")}
    assert {pin.partition("@")[0] for pin in pins - python} <= {"setuptools", "openvino-telemetry"}
    assert [ref.partition("@")[0] for ref in python - pins] == ["lesion"]
    debian = {ref.removeprefix("pkg:deb/debian/").partition("@")[0] for ref in refs if ref.startswith("pkg:deb/")}
    assert debian == {name for group in debian_packages().values() for name in group}
    assert any(ref.startswith("pkg:deb/debian/python3.11@3.11") for ref in refs)


@BOTH
def test_every_file_of_debian_is_of_a_package_that_the_image_lists(docker, request, name):
    assert docker.python(request.getfixturevalue(name), LOOK_FOR_STRANGERS) == ""


def debian_packages() -> dict[str, list[str]]:
    return runpy.run_path(str(PROJECT / "container" / "debian.py"))["PACKAGES"]


def locked(name: str) -> set[str]:
    """NAME==VERSION of each line of a list of pins."""
    lines = (PROJECT / name).read_text().splitlines()
    return {line.split()[0] for line in lines if line and line[0].isalnum()}


# The small serving image, whose graph comes with the serving engine.


@BOTH
def test_nothing_in_an_image_reports_to_the_makers_of_openvino(docker, request, name):
    code = "import importlib.util, openvino; print(importlib.util.find_spec('openvino_telemetry'))"
    assert docker.python(request.getfixturevalue(name), code).strip() == "None"


def test_the_serving_image_has_the_commands(docker, serve_cpu_image):
    assert "Serve the model over HTTP" in docker.run(serve_cpu_image, "serve", "--help", options=("--network", "none"))


def test_the_serving_image_says_what_an_artifact_lacks(docker, serve_cpu_image, tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "model")
    with docker.start(serve_cpu_image, options=("--network", "none", *mount(tmp_path))) as container:
        assert container.wait() != 0
        assert "the artifact has no CPU graph, and this container image has no torch" in container.log
        assert "Traceback" not in container.log
