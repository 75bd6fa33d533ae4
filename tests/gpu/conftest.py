"""What needs a GPU, and nothing else: skipped as a whole where there is none, on CI too.

In the image, whose cuts these tests judge: `make test-gpu`.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device("cuda")
