"""Hostile DICOM: frames of every compressed syntax, broken in many ways, in a process that may be killed.

docs/decisions/0013 has the numbers of a longer run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
NUM_MUTANTS = 60  # of each syntax
MEMORY_BYTES = 3 * 2**30  # of addresses, far more than any of them needs
# Decodes mutants of one syntax's frame; prints what became of them, and the longest time that one took.
PROGRAM = """
import json, random, resource, sys, time
from dicom_mutants import KINDS, file_of, mutated
from lesion.data.decode import images
from lesion.errors import UserError

name, count, memory_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
assert images.decode(file_of(name)).std() > 5
resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
peak_kib = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])  # getrusage has the parent's
before, rng = peak_kib(), random.Random(name)
read = refused = longest_s = 0
for _ in range(count):
    content, started = file_of(name, change=lambda frame: mutated(frame, rng)), time.process_time()
    try:
        assert images.decode(content).ndim == 3
        read += 1
    except UserError:
        refused += 1
    longest_s = max(longest_s, time.process_time() - started)
grown = peak_kib() - before
print(json.dumps({"read": read, "refused": refused, "longest_s": longest_s, "grown_mib": grown / 1024}))
"""


def kinds() -> list[str]:
    from dicom_mutants import KINDS

    return list(KINDS)


@pytest.mark.parametrize("name", kinds())
def test_broken_frames_are_read_or_refused_and_nothing_else(name):
    """Neither a crash, nor a core held for a second, nor memory that is not given back."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, name, str(NUM_MUTANTS), str(MEMORY_BYTES)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])
    found = json.loads(ended.stdout)
    assert found["read"] + found["refused"] == NUM_MUTANTS and found["refused"] > 0
    assert found["longest_s"] < 1 and found["grown_mib"] < 64
