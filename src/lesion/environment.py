"""Environment: how many cores and how much memory this process may use, as the kernel and its container limit them."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
CGROUP = Path("sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def usable_cores(root: Path = ROOT) -> int:
    """The cores this process may use: the affinity mask or the smallest CPU quota, whichever is smaller; at least 1.

    `root` is where /proc and /sys lie: another one in a test.
    """
    cores = len(os.sched_getaffinity(0))
    for folder in _cgroups(root, "cpu"):
        quota, period = _numbers(folder / "cpu.max")  # version 2
        if quota is None:
            (quota,), (period,) = _numbers(folder / "cpu.cfs_quota_us", 1), _numbers(folder / "cpu.cfs_period_us", 1)
        if quota is not None and period and quota > 0:  # version 1 says -1 where there is no limit
            cores = min(cores, max(math.ceil(quota / period), 1))
    return cores


def usable_memory_bytes(root: Path = ROOT) -> int:
    """The memory this process may use: the machine's or the smallest limit of its container, whichever is smaller."""
    meminfo = (root / "proc/meminfo").read_text()
    memory = 1024 * int(meminfo.partition("MemTotal:")[2].split(maxsplit=1)[0])  # the kernel's kB are KiB
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1
            (limit,) = _numbers(folder / name, 1)
            if limit:  # where there is none, version 1 says nearly 2**63, more than any machine has
                memory = min(memory, limit)
    return memory


def resident_bytes(root: Path = ROOT) -> int:
    """The memory this process takes at present."""
    pages = int((root / "proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_is_faster_in_bf16(root: Path = ROOT) -> bool:
    """Whether this CPU computes networks faster in bfloat16 than in float32: with AMX, or AMD's with AVX-512 BF16.

    Intel's AVX-512 BF16 without AMX, as virtual machines have it that hide AMX, multiplies no more numbers a cycle than
    its float32 does, and converts them besides (docs/decisions/0073).
    """
    lines = (root / "proc/cpuinfo").read_text().splitlines()
    told = dict(reversed([(key.strip(), value) for key, _, value in (line.partition(":") for line in lines)]))
    flags = told.get("flags", "").split()
    return "amx_bf16" in flags or ("avx512_bf16" in flags and told.get("vendor_id", "").strip() == "AuthenticAMD")


def limit_heaps() -> None:
    """Makes all threads share two of glibc's heaps, so that a thread can reuse what another has freed.

    Each keeps up to 16 MiB that are free, since a picture's pixels come and go with each request: given back to the
    kernel they are faulted in again, 627 pages and 0.4 of 2.6 ms for 600×450 px. What is larger than 8 MiB goes back.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_ARENA_MAX, 2)
    libc.mallopt(M_MMAP_THRESHOLD, 8 * 2**20)
    libc.mallopt(M_TRIM_THRESHOLD, 16 * 2**20)


def give_back_free_memory() -> None:
    """Returns freed heap memory to the kernel: hundreds of MiB after large pictures."""
    ctypes.CDLL(None).malloc_trim(0)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """The folders whose limits hold for this process: its own control group's and those of the groups around it.

    Inside a container the group's path may be the host's, which is not mounted there; then the mount itself is ours.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no control groups
        lines = []
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    version_1 = [path for _, names, path in groups if controller in names.split(",")]
    version_2 = [path for _, names, path in groups if not names]
    for mount, paths in ((CGROUP / controller, version_1), (CGROUP / "unified", version_2), (CGROUP, version_2)):
        inner = next(iter(paths), "/").strip("/")
        for group in (Path(inner), *Path(inner).parents):
            if ".." not in group.parts and (root / mount / group).is_dir():
                yield root / mount / group


def _numbers(path: Path, count: int = 2) -> list[int | None]:
    """The first numbers in a kernel file; None for each if there is no file, and for "max"."""
    try:
        words = path.read_text().split()
    except OSError:
        words = []
    numbers = [int(word) if word.lstrip("-").isdecimal() else None for word in words[:count]]
    return numbers + [None] * (count - len(numbers))
