"""Limits: of the server's memory, requests and times. Their defaults stand here and nowhere else.

Imports nothing large, since every command imports this file.
"""

from __future__ import annotations

from dataclasses import dataclass

from lesion.data.decode.memory import MAX_PIXELS


@dataclass(frozen=True)
class Limits:
    """Of one worker, which is a process with a model of its own. docs/sagemaker.md has the variables that set them."""

    max_payload_bytes: int = 100 * 2**20  # of one body; 0 sets no limit
    max_pixels: int = MAX_PIXELS  # of one picture
    max_maps: int = 16  # pictures of one request with a map: each takes as long as 2 to 60 answers without
    max_requests: int = 64  # that are under way; more are refused at once
    max_bodies_bytes: int = 512 * 2**20  # of all their bodies together; one alone has room
    # Of all that is under way: bodies, what is read from them, pictures as they are decoded. A server takes what its
    # container leaves beside the model.
    memory_bytes: int = 2**31
    max_wait_s: float = 0.005  # how long an executor that is free may wait for pictures that are being decoded
    limit_s: float = 50.0  # how long a picture may wait for its turn: SageMaker gives up after 60
    hung_s: int = 120  # how long a picture may be decoded or computed; then the server is unhealthy, and a worker ends
