"""Checkout: a copy of the project as a clean git commit, since a tag names one; and a PATH of only what is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from machine import needs

PROJECT = Path(__file__).parents[1]
TOOLS = ("bash", "base64", "cat", "dirname", "env", "git", "mkdir", "mv", "rm", "sed", "sh")
IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_{what}": "lesion" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    # One date, so that one content is one commit, and Docker builds it once.
    **{f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")},
}


def copy_project(folder: Path) -> Path:
    """All files that git does not ignore, committed in `folder`."""
    needs("git")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():  # not one that was deleted
            copy(PROJECT / name, folder / name)
    return commit(folder)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def commit(folder: Path) -> Path:
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All"]):
        subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **IDENTITY}, check=True, timeout=60)
    return folder


def revision(folder: Path) -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return answer.stdout.strip()


def only(folder: Path, *, tools: Iterable[str] = TOOLS, programs: Mapping[str, str] | None = None) -> str:
    """A PATH of one folder: this machine's `tools`, and `programs` by their text."""
    folder.mkdir(parents=True)
    for tool in tools:
        needs(tool)
        (folder / tool).symlink_to(str(shutil.which(tool)))
    for name, text in (programs or {}).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return str(folder)
