"""`make audit`, with a program in place of the source of known vulnerabilities, which is not ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from checkout import PROJECT
from machine import needs

OLD_HOLE = "jinja2 2.10 PYSEC-2019-217 CVE-2019-10906 2.10.1"
# Stands in for `uv tool run pip-audit …`, which is asked of an old version of jinja2 first, and then of the list.
UV = """#!/bin/sh
case "$*" in
    *"--requirement /dev/stdin"*) echo '{of_jinja}'; exit {jinja_status} ;;
    *) echo "asked: $*"; exit {list_status} ;;
esac
"""


def audit(folder: Path, of_jinja: str, jinja_status: int, list_status: int = 0) -> subprocess.CompletedProcess[str]:
    needs("make")
    uv = folder / ".venv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(UV.format(of_jinja=of_jinja, jinja_status=jinja_status, list_status=list_status))
    uv.chmod(0o755)
    (folder / "Makefile").write_bytes((PROJECT / "Makefile").read_bytes())
    command = ["make", "--old-file", ".venv/.dev", "audit"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("No known vulnerabilities found", 0),  # a mirror without the data
        ("Dependency not found on PyPI and could not be audited: jinja2 (2.10)", 0),
        ("requests.exceptions.ConnectionError: Failed to resolve", 1),
    ],
)
def test_a_source_that_does_not_answer_is_no_clean_result(tmp_path, said, status):
    done = audit(tmp_path, said, status)
    assert done.returncode != 0 and "asked:" not in done.stdout
    assert "audit: pypi does not answer from here, so there is no result" in done.stderr


@pytest.mark.parametrize("status", [0, 1])
def test_what_an_answering_source_says_of_the_lock_is_the_result(tmp_path, status):
    done = audit(tmp_path, OLD_HOLE, 1, status)
    assert (done.returncode == 0) == (status == 0)
    assert "--requirement requirements.txt" in done.stdout and "--strict" in done.stdout
    assert "--ignore-vuln CVE-2026-24747" in done.stdout


def test_each_hole_that_the_audit_passes_over_is_weighed_in_the_docs():
    [line] = [
        line for line in (PROJECT / "Makefile").read_text().replace("\\\n", "").splitlines() if "weighed :=" in line
    ]
    weighed = line.partition(":=")[2].split()
    docs = (PROJECT / "docs" / "image.md").read_text()
    assert (
        weighed and [name for name in weighed if name not in docs and name.removeprefix("CVE-2025") not in docs] == []
    )
