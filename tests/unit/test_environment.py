"""Environment: what the kernel and a container leave this process. The kernel's files are not ours: they are played."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lesion.environment import cpu_is_faster_in_bf16, resident_bytes, usable_cores, usable_memory_bytes

GIB = 2**30
UNLIMITED_V1 = "9223372036854771712"  # 2**63 rounded down to a page
IN_V1 = "5:memory:/job/inner\n3:cpu,cpuacct:/job/inner\n0::/\n"
IN_V2 = "0::/job/inner\n"
NAMESPACE_V1, NAMESPACE_V2 = "5:memory:/\n3:cpu,cpuacct:/\n", "0::/\n"
HOSTS_PATH = "5:memory:/docker/4f2a\n3:cpu,cpuacct:/docker/4f2a\n"  # which is not there inside the container


@pytest.fixture(autouse=True)
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A machine of 16 GiB with these files under /sys/fs/cgroup."""
    for path, text in {
        "proc/self/cgroup": cgroup,
        "proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path, text in files.items():
        (root / "sys/fs/cgroup" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / path).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("", {}, 64),
        (NAMESPACE_V2, {"cpu.max": "max 100000"}, 64),
        (NAMESPACE_V2, {"cpu.max": "200000 100000"}, 2),
        (NAMESPACE_V2, {"cpu.max": "150000 100000"}, 2),
        (NAMESPACE_V2, {"cpu.max": "50000 100000"}, 1),
        (NAMESPACE_V2, {"cpu.max": ""}, 64),
        (IN_V2, {"job/cpu.max": "300000 100000", "job/inner/cpu.max": "max 100000"}, 3),
        (IN_V2, {"job/cpu.max": "300000 100000", "job/inner/cpu.max": "100000 100000"}, 1),
        (NAMESPACE_V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        (NAMESPACE_V1, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (HOSTS_PATH, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (IN_V1, {"cpu/job/inner/cpu.cfs_quota_us": "200000", "cpu/job/inner/cpu.cfs_period_us": "100000"}, 2),
    ],
)
def test_a_cpu_quota_counts_as_its_cores_rounded_up(tmp_path, cgroup, files, cores):
    """Control groups of version 2 (cpu.max: quota and period in microseconds) and of version 1 (two files)."""
    assert usable_cores(machine(tmp_path, cgroup, files)) == cores


@pytest.mark.parametrize(
    ("cgroup", "files", "gib"),
    [
        ("", {}, 16),
        (NAMESPACE_V2, {"memory.max": "max"}, 16),
        (NAMESPACE_V2, {"memory.max": str(GIB)}, 1),
        (IN_V2, {"job/memory.max": str(2 * GIB), "job/inner/memory.max": "max"}, 2),
        (NAMESPACE_V1, {"memory/memory.limit_in_bytes": UNLIMITED_V1}, 16),
        (NAMESPACE_V1, {"memory/memory.limit_in_bytes": str(GIB)}, 1),
        (HOSTS_PATH, {"memory/memory.limit_in_bytes": str(GIB)}, 1),
        (
            IN_V1,
            {"memory/job/inner/memory.limit_in_bytes": str(3 * GIB), "memory/memory.limit_in_bytes": UNLIMITED_V1},
            3,
        ),
    ],
)
def test_the_smallest_limit_around_this_process_is_its_memory(tmp_path, cgroup, files, gib):
    assert usable_memory_bytes(machine(tmp_path, cgroup, files)) == gib * GIB


def test_this_machine_has_a_core_and_more_memory_than_this_process_takes():
    assert usable_cores() >= 1
    assert 0 < resident_bytes() < usable_memory_bytes()


@pytest.mark.parametrize(
    ("vendor", "flags", "is_faster"),
    [
        ("GenuineIntel", "avx2 avx512f avx512_bf16 amx_bf16 amx_tile", True),  # Sapphire Rapids
        ("GenuineIntel", "avx2 avx512f avx512_bf16 avx512_fp16", False),  # the same where a virtual machine hides AMX
        ("GenuineIntel", "avx2 avx512f", False),
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", True),  # Zen 4
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bf16_is_faster_with_amx_and_on_amd(tmp_path, vendor, flags, is_faster):
    core = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\nbugs\t\t:\n\n"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(core + core)
    assert cpu_is_faster_in_bf16(tmp_path) == is_faster


def test_an_arm_processor_has_other_words(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd40\n")
    assert not cpu_is_faster_in_bf16(tmp_path)
