"""Captures: files as SageMaker's data capture writes them, of requests and answers.

The form of the lines and of the folders is that of AWS's page "Capture data from real-time endpoint".
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skin import skin


def png(image_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "PNG")
    return file.getvalue()


def skin_png(seed: int, *, factor: float = 1.0, side_px: int = 64) -> bytes:
    """Drawn skin, darkened by a factor below 1."""
    return png((skin(seed, side_px=side_px) * factor).astype(np.uint8))


def draw_scores(rng: np.random.Generator, num: int) -> np.ndarray:
    """Scores as a rare class has them."""
    return rng.beta(2, 8, num).astype(np.float32)


def body(content: bytes | str, media_type: str, encoding: str, mode: str) -> dict[str, Any]:
    raw = content.encode() if isinstance(content, str) else content
    data = base64.b64encode(raw).decode() if encoding == "BASE64" else raw.decode()
    return {"observedContentType": media_type, "mode": mode, "data": data, "encoding": encoding}


def line(
    answer: object,
    image: bytes | None = None,
    *,
    answer_type: str = "application/json",
    request_type: str = "image/png",
    encoding: str = "JSON",
    time: str = "2026-11-30T10:20:30Z",
    event: int = 0,
) -> str:
    """One captured request. An answer that is no text is written as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    data = {"endpointOutput": body(text, answer_type, encoding, "OUTPUT")}
    if image is not None:
        data["endpointInput"] = body(image, request_type, "BASE64", "INPUT")
    metadata = {"eventId": f"00000000-0000-0000-0000-{event:012d}", "inferenceTime": time}
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})


def write_captures(folder: Path, lines: Sequence[str], *, hours: Iterable[int] = (10, 11)) -> Path:
    """The lines dealt out to files of several hours, below the names of endpoint and variant."""
    hours = list(hours)
    for number, hour in enumerate(hours):
        path = folder / "endpoint" / "AllTraffic" / "2026" / "11" / "30" / f"{hour:02d}" / f"{20 + number}-00-abc.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{text}\n" for text in lines[number :: len(hours)]))
    return folder
