"""Disks: file systems of a size that a test chooses, which run full and can be made read-only. They need root."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from machine import lacks


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs of its own at `path` while the context is entered."""

    path: Path
    size: str = "1m"

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            lacks(f"a full disk needs the right to mount one: {mounted.stderr.strip()}")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def remount(self, option: str) -> None:
        """With another option, such as `size=64k` or `ro`."""
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)

    def parts(self) -> list[str]:
        """What is left of files that were not written to their end."""
        return [path.name for path in self.path.rglob("*.sagemaker-ignore")]
