"""Image quality on real pictures: what is found, what a blur or the dark changes, and what it costs a server.

    python benchmarks/quality.py                      # needs the artifact that benchmarks/familiarity.py leaves
    python benchmarks/quality.py --serving MODEL_DIR  # what it costs a server of that artifact alone

Times are CPU time, so other programs on the machine change them little. Needs the real data beside the project
(shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

# S pictures

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ham10000 import PROJECT, SHARED, where_and_when
from numpy.typing import NDArray

NUM = 500
SETS = {
    "ham10000, cropped": "ham10000/train_jpg/*.jpg",
    "ham10000, whole": "ham10000/multi_200x150_jpg/*.jpg",
    "flowers": "flowers5/*/*.jpg",
    "breast tissue": "ucsb_breast/tif/*.tif",
}
SPOILT: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "blurred, 1 px at 224": lambda image: cv2.GaussianBlur(image, (0, 0), 1.0 * max(image.shape) / 224),
    "blurred, 2 px at 224": lambda image: cv2.GaussianBlur(image, (0, 0), 2.0 * max(image.shape) / 224),
    "a third of the light": lambda image: image // 3,
    "twice the light": lambda image: cv2.convertScaleAbs(image, alpha=2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serving", type=Path, metavar="MODEL_DIR", help="the cost to a server of that artifact alone")
    args = parser.parse_args()
    if args.serving is not None:
        print(json.dumps({"benchmark": "quality_serving", **where_and_when(), "serving_cpu_ms": parts(args.serving)}))
    else:
        survey_all()


def survey_all() -> None:
    """All sets, and what serving costs."""
    from lesion.data.quality.image_quality import surveyed
    from lesion.data.quality.picture_measures import PictureMeasures
    from lesion.data.quality.quality_bounds import WARNINGS, fit_bounds, share_warned

    rng = np.random.default_rng(0)
    result: dict[str, Any] = {"benchmark": "quality", **where_and_when(), "sets": {}}
    for name, pattern in SETS.items():
        paths = sorted(SHARED.glob(pattern))
        images = [read(paths[i]) for i in rng.permutation(len(paths))[: 2 * NUM]]
        started = time.process_time()
        measured = [surveyed(image) for image in images]
        ms = 1e3 * (time.process_time() - started) / len(images)
        half = len(images) // 2
        measures = PictureMeasures.of(measured)
        bounds = fit_bounds(PictureMeasures(measures.values_SM[:half]).readable(), image_size=160)
        others = {"new pictures": lambda image: image, **SPOILT}
        result["sets"][name] = {
            "pictures": len(images),
            "cpu_ms": round(ms, 2),
            "groups": {name: dict(Counter(words).most_common()) for name, words in measures.groups().items()},
            "skin_tone_error_deg": quantiles(measures["skin_tone_error_deg"]),
            "warned": {
                spoilt: {
                    warning: round(share, 3)
                    for warning, share in share_warned(
                        PictureMeasures.of([surveyed(spoil(image)) for image in images[half:]]).readable(),
                        bounds,
                    ).items()
                    if share and warning in {*WARNINGS, "any"}
                }
                for spoilt, spoil in others.items()
            },
        }
    model = PROJECT / "build" / "familiarity" / "model"
    if model.is_dir():
        result["serving_cpu_ms"] = parts(model)
    print(json.dumps(result))


def parts(model: Path) -> dict[str, float]:
    """CPU ms a picture of 600 × 450 of what serving does, with safeguards and without."""
    from lesion.algorithms.base import Options
    from lesion.algorithms.classify.prediction.load import load_predictor
    from lesion.data.decode import images

    cv2.setNumThreads(1)
    guarded = load_predictor(model, device="cpu", num_cores=1)
    plain = guarded.with_safeguards(None)
    plain._safeguards = None
    rng = np.random.default_rng(0)
    paths = sorted((SHARED / "ham10000/train_jpg").glob("*.jpg"))
    files = []
    for i in rng.permutation(len(paths))[:100]:
        image = cv2.resize(cv2.imread(str(paths[i])), (600, 450), interpolation=cv2.INTER_CUBIC)
        files.append(bytes(cv2.imencode(".jpg", image)[1]))
    spent: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        spent[name] = spent.get(name, 0.0) + 1e3 * (time.thread_time() - started) / len(files) / 3

    options, untold = Options(), Options(part="cells")  # a row of CSV has no place for warnings
    for _ in range(3):
        for content in files:
            with timed("decode"):
                pixels = images.decode(content, name="")
            with timed("prepare"):
                prepared = plain.prepare(pixels, {}, options)
            with timed("prepare, with safeguards"):
                noted = guarded.prepare(pixels, {}, options)
            with timed("prepare, with safeguards, where the answer has no place for warnings"):
                guarded.prepare(pixels, {}, untold)
            [output] = plain.executors[0]([prepared])
            [noted_output] = guarded.executors[0]([noted])
            with timed("answer"):
                plain.answer(output, options)
            with timed("answer, with safeguards"):
                guarded.answer(noted_output, options)
            with timed("digest, for the audit"):
                hashlib.sha256(content).hexdigest()
    return {name: round(value, 3) for name, value in spent.items()}


def quantiles(values_S: NDArray[np.floating]) -> dict[str, float]:
    known = values_S[~np.isnan(values_S)]
    return {f"{q:.0%}": round(float(np.quantile(known, q)), 1) for q in (0.05, 0.5, 0.95)} if len(known) else {}


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))


if __name__ == "__main__":
    main()
