"""Fixtures that several rooms share. One small job is trained once a session; tests that only read it share it."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # factories, machine, processes
from factories import run_job, write_job
from lesion.sagemaker import prepare_libraries
from machine import lacks

prepare_libraries()

# No test asserts a time. CI draws the same examples each time; elsewhere new ones are looked for.
settings.register_profile("lesion", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("lesion")


@dataclass(frozen=True)
class Flood:
    """How many requests a test of the server sends, and the number from which their seeds count."""

    num_requests: int
    seed: int


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test-long` says --long."""
    parser.addoption(
        "--long", action="store_true", help="floods of requests, other ones in each run, and all combinations"
    )


# What takes longest, longest first, so that at the end no worker is alone with one of them. The first of the containers
# builds the image, so the second comes where that is done: else both workers would wait for it.
LONGEST = [
    Path(__file__).parent / f"{name}.py"
    for name in (
        *("container/test_sdk", "contract/test_faults", "contract/test_processes", "contract/test_hosts"),
        *("contract/test_resume", "contract/test_nothing_leaves", "contract/test_prepare_shards"),
        *("container/test_contract", "container/test_image", "container/test_build_and_push", "container/test_page"),
        *("real/test_ham10000", "contract/test_connections", "contract/test_load"),
    )
]
assert all(path.is_file() for path in LONGEST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers begin with LONGEST, go on with what else takes seconds, and end with what takes milliseconds."""
    if not hasattr(config, "workerinput"):
        return  # one alone begins with the fastest, so that a mistake is soon seen
    place = {path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: (place.get(item.path, len(place)), "unit" in item.path.parts))


@pytest.fixture(scope="session")
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether a test may take its time, and try all combinations of what a usual run tries one by one."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def flood(is_long: bool) -> Flood:
    """Without --long a thousand requests, the same in each run."""
    if not is_long:
        return Flood(1000, 0)
    return Flood(10_000, random.SystemRandom().randrange(2**32))


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished tiny job: artifact in model/, results in output/data/. Not to be written to."""
    root = write_job(tmp_path_factory.mktemp("trained"), explain=True)
    run_job(root)
    return root


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the project. Skips where it is absent; in CI its absence is a failure."""
    if not SHARED.is_dir():
        lacks(f"real data not found at {SHARED}")
    return SHARED
