"""build_and_push.sh without an engine: what a dry run shows, and a clear word for each thing that is missing.

Docker is a fake that notes what it was asked; the AWS CLI and boto3 are real, and talk to a fake ECR on 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkout import PROJECT, TOOLS, commit, copy, only, revision
from fake_ecr import PASSWORD, REGISTRY, FakeEcr, running

AWS = ("aws", "boto3")
BIN = Path(sys.executable).parent
DOCKER = """#!/bin/sh
echo "$*" >> "$DOCKER_LOG"
case "$1 $2" in
  "version "*) [ -z "$DOCKER_DOWN" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; } ;;
  "buildx version") exit "${BUILDX_STATUS:-1}" ;;
  "image inspect")
    case "$*" in # as a client before 28, which knows no descriptor
      *Descriptor*) echo 'template parsing error: map has no entry for key "Descriptor"' >&2; exit 1 ;;
    esac
    descriptor=${MEDIA_TYPE:+, '"Descriptor": {"mediaType": "'$MEDIA_TYPE'"}'}
    printf '[{"Id": "sha256:0"%s}]\n' "$descriptor"
    ;;
  "manifest inspect") exit "${MANIFEST_STATUS:-1}" ;;
  "login "*) { cat; echo; } >> "$DOCKER_LOG" ;;
  "run "*) echo '{"bomFormat": "CycloneDX"}' ;;
esac
"""
SOCI = """#!/bin/sh
echo "soci $*" >> "$DOCKER_LOG"
exit "${SOCI_STATUS:-0}"
"""
Push = Callable[..., subprocess.CompletedProcess[str]]


def aws_client(name: str) -> dict[str, str]:
    """A program that has the client, of this environment."""
    programs = {"aws": {"aws": BIN / "aws"}, "boto3": {"python3": sys.executable}, "none": {}}[name]
    return {called: f'#!/bin/sh\nPATH="{BIN}:$PATH" exec "{program}" "$@"\n' for called, program in programs.items()}


@pytest.fixture
def ecr() -> Iterator[FakeEcr]:
    with running(FakeEcr()) as fake:
        yield fake


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A commit with the script and what it reads."""
    folder = tmp_path / "a checkout"
    for name in ("build_and_push.sh", "pyproject.toml", ".gitignore"):
        copy(PROJECT / name, folder / name)
    return commit(folder)


@pytest.fixture
def push(checkout: Path, ecr: FakeEcr, tmp_path: Path) -> Push:
    """Runs the script with a fake Docker, no network but the fake ECR, and nothing of this machine's settings."""

    def run(
        *arguments: str,
        client: str = "aws",
        tools: Iterable[str] = TOOLS,
        docker: bool = True,
        soci: bool = False,
        **variables: str,
    ):
        programs = {**({"docker": DOCKER} if docker else {}), **({"soci": SOCI} if soci else {}), **aws_client(client)}
        path = only(tmp_path / f"bin{len(list(tmp_path.iterdir()))}", tools=tools, programs=programs)
        environment = {"PATH": path, "HOME": str(tmp_path), "DOCKER_LOG": str(tmp_path / "docker.log")}
        environment |= {"AWS_REGION": "eu-central-1", **ecr.environment(tmp_path), **variables}
        return subprocess.run(
            [checkout / "build_and_push.sh", *arguments],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def asked_docker(tmp_path: Path) -> Callable[[], list[str]]:
    log = tmp_path / "docker.log"
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def tag(checkout: Path) -> str:
    version = re.search(r'^version = "(.*)"$', (PROJECT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    return f"{version[1]}-{revision(checkout)[:7]}"


@pytest.mark.parametrize("client", AWS)
def test_a_dry_run_shows_each_command_and_changes_nothing(
    client: str, push: Push, ecr: FakeEcr, tag: str, checkout: Path, asked_docker
):
    done = push("--dry-run", "skin/moles", "--", "--no-cache", client=client)
    uri = f"{REGISTRY}/skin/moles:{tag}"
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{uri}\n"
    assert done.stderr.splitlines() == [
        f"+ env DOCKER_BUILDKIT=0 docker build --tag {uri} --build-arg VERSION={tag[:-8]} "
        f"--build-arg REVISION={revision(checkout)} --no-cache .",
        f"+ docker run --rm --network none --entrypoint python3 {uri} /usr/local/share/lesion/sbom.py "
        f"> build/sbom-{tag}.cdx.json",
        '+ aws ecr create-repository --cli-input-json \'{"repositoryName": "skin/moles", '
        '"imageScanningConfiguration": {"scanOnPush": true}, "imageTagMutability": "IMMUTABLE"}\'',
        f"+ docker login --username AWS --password-stdin {REGISTRY}",
        f"+ docker push {uri}",
    ]
    assert not ecr.created and not (checkout / "build").exists()
    assert {line.split()[0] for line in asked_docker()} == {"version", "buildx"}


@pytest.mark.parametrize("client", AWS)
def test_a_push_makes_a_repository_that_scans_and_keeps_tags(
    client: str, push: Push, ecr: FakeEcr, tag: str, checkout: Path, asked_docker
):
    done = push(client=client)
    assert done.returncode == 0, done.stderr
    assert ecr.created == [
        {
            "repositoryName": "lesion",
            "imageScanningConfiguration": {"scanOnPush": True},
            "imageTagMutability": "IMMUTABLE",
        }
    ]
    assert f"login --username AWS --password-stdin {REGISTRY}" in asked_docker()
    assert PASSWORD in asked_docker() and PASSWORD not in done.stderr  # on stdin alone
    assert asked_docker()[-1] == f"push {REGISTRY}/lesion:{tag}"
    assert (checkout / "build" / f"sbom-{tag}.cdx.json").read_text() == '{"bomFormat": "CycloneDX"}\n'


def test_a_repository_that_is_there_is_not_made_again(push: Push, ecr: FakeEcr, asked_docker):
    ecr.tags["lesion"] = {"0.0.9-0000000"}
    assert push().returncode == 0 and not ecr.created and asked_docker()[-1].startswith("push ")


def test_a_tag_that_is_there_is_not_built_again(push: Push, ecr: FakeEcr, tag: str, asked_docker):
    ecr.tags["lesion"] = {tag}
    done = push()
    assert done.returncode == 0 and done.stdout == f"{REGISTRY}/lesion:{tag}\n" and "already there" in done.stderr
    assert {line.split()[0] for line in asked_docker()} == {"version"}


def test_another_registry_needs_no_aws(push: Push, tag: str, asked_docker):
    done = push("--registry", "127.0.0.1:5000", "--target", "serve-cpu", client="none", AWS_REGION="")
    assert done.returncode == 0 and done.stdout == f"127.0.0.1:5000/lesion:{tag}-serve-cpu\n", done.stderr
    assert "--target serve-cpu" in done.stderr and not [line for line in asked_docker() if line.startswith("login")]


def test_a_soci_index_is_pushed_after_the_image(push: Push, tag: str, asked_docker):
    uri = f"127.0.0.1:5000/lesion:{tag}"
    done = push("--registry", "127.0.0.1:5000", "--soci", soci=True)
    assert (done.returncode, done.stdout) == (0, f"{uri}\n")
    assert asked_docker()[-3:] == [
        f"push {uri}",
        f"soci --namespace moby create {uri}",
        f"soci --namespace moby push {uri}",
    ]


def test_without_the_tool_or_where_it_fails_the_image_is_pushed_and_a_sentence_says_so(push: Push, tag: str):
    for soci, status, said in ((False, "0", "Install soci-snapshotter"), (True, "1", "the line above says why")):
        done = push("--registry", "127.0.0.1:5000", "--soci", soci=soci, SOCI_STATUS=status)
        assert done.returncode == 0 and done.stdout.endswith(f"lesion:{tag}\n")
        assert "no SOCI index" in done.stderr and said in done.stderr


def test_buildx_is_told_to_make_no_oci_manifest(push: Push):
    done = push("--dry-run", "--registry", "127.0.0.1:5000", BUILDX_STATUS="0")
    assert done.stderr.startswith(
        "+ docker buildx build --platform linux/amd64 --provenance=false --sbom=false "
        "--output type=docker,oci-mediatypes=false --tag "
    )


def test_an_oci_image_is_not_pushed(push: Push, asked_docker):
    done = push("--registry", "127.0.0.1:5000", MEDIA_TYPE="application/vnd.oci.image.manifest.v1+json")
    assert done.returncode == 2 and "SageMaker refuses" in done.stderr
    assert not [line for line in asked_docker() if line.startswith("push")]


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "docker": ({"docker": False}, "there is no docker command. Install Docker."),
    "daemon": ({"DOCKER_DOWN": "1"}, "Docker does not answer. Start it. It says: Cannot connect to the Docker daemon"),
    "git": ({"tools": set(TOOLS) - {"git"}}, "there is no git command. Install git"),
    "client": ({"client": "none"}, "there is neither the AWS CLI nor Python with boto3. Install one"),
    "region, aws": ({"AWS_REGION": ""}, "no AWS region is set. Give --region, or set AWS_REGION."),
    "region, boto3": ({"AWS_REGION": "", "client": "boto3"}, "no AWS region is set. Give --region, or set AWS_REGION."),
    "credentials, aws": (NO_CREDENTIALS, "ECR in eu-central-1 does not let you in"),
    "credentials, boto3": ({**NO_CREDENTIALS, "client": "boto3"}, "ECR in eu-central-1 does not let you in"),
}


@pytest.mark.parametrize("missing", MISSING)
def test_what_is_missing_is_named_before_anything_is_built(missing: str, push: Push, asked_docker):
    given, words = MISSING[missing]
    done = push(**given)
    assert done.returncode == 2 and f"error: {words}" in done.stderr, done.stderr
    assert done.stdout == "" and not [line for line in asked_docker() if line.startswith("build ")]


@pytest.mark.parametrize("client", AWS)
def test_the_reason_that_ecr_gives_is_shown(client: str, push: Push, ecr: FakeEcr):
    ecr.refusal = "AccessDeniedException"
    done = push(client=client)
    assert done.returncode == 2 and "AccessDeniedException" in done.stderr and "does not let you in" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("client", AWS)
def test_the_region_of_the_option_goes_before_that_of_the_environment(client: str, push: Push, ecr: FakeEcr):
    ecr.refusal = "AccessDeniedException"
    assert "ECR in us-west-2 does not" in push("--region", "us-west-2", client=client).stderr


@pytest.mark.parametrize("client", AWS)
def test_the_region_of_the_profile_is_taken_if_there_is_no_other(client: str, push: Push, ecr: FakeEcr, tmp_path: Path):
    (tmp_path / "aws_config").write_text("[default]\nregion = sa-east-1\n")
    ecr.refusal = "AccessDeniedException"
    assert "ECR in sa-east-1 does not" in push(client=client, AWS_REGION="").stderr


def test_a_tree_that_is_not_the_commit_is_refused(push: Push, checkout: Path, asked_docker):
    (checkout / "notes.txt").write_text("mine")
    done = push()
    assert done.returncode == 2 and "?? notes.txt" in done.stderr and "Commit, ignore or stash" in done.stderr
    assert asked_docker() == ["version --format {{.Server.Version}}"]


def test_a_folder_without_git_is_refused(push: Push, checkout: Path):
    shutil.rmtree(checkout / ".git")
    done = push(GIT_CEILING_DIRECTORIES=str(checkout.parent))
    assert done.returncode == 2 and f"{checkout} is no git checkout" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regoin"], "unknown option '--regoin'"),
        (["--region"], "--region wants a value"),
        (["Lesion"], "'Lesion' cannot name a repository"),
        (["one", "two"], "one name is wanted, and 'two' is another"),
    ],
)
def test_a_wrong_word_is_told(arguments: list[str], words: str, push: Push):
    done = push(*arguments)
    assert done.returncode == 2 and words in done.stderr


def test_help_comes_without_docker_git_or_aws(push: Push):
    done = push("--help", docker=False, client="none", tools=("bash", "env", "sed"))
    assert done.returncode == 0 and "--registry HOST[:PORT]" in done.stdout and os.environ["HOME"] not in done.stdout
