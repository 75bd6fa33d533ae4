"""From a file to what the network is given: decoding each time and reading from the cache, and augmentation by parts.

    python benchmarks/pictures.py        # a minute

Needs the real data beside the project (shared/data). One thread, CPU milliseconds a picture, the ways interleaved in
each of the rounds; median, least and most. Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np
from ham10000 import SHARED, where_and_when

from lesion.data.augment import FLIPS, Augment, Light, Turn, light_matrix
from lesion.data.cache import Cache, Decoded
from lesion.data.decode import images
from lesion.data.transforms import Preprocess, middle_square

SIZE = 224
PREPROCESS = Preprocess(SIZE, (0.5,) * 3, (0.5,) * 3)
NUM_PICTURES, NUM_ROUNDS = 100, 9
WIDTHS = (600, 1024, 2048)  # at 4:3, as HAM10000's pictures are, enlarged from the 200 px that lie here

Picture = images.Pixels
Way = Callable[[int], object]


class Files:
    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents

    def read(self, index: int) -> Picture:
        return images.decode(self.contents[index])


def crop(interpolation: int) -> A.RandomResizedCrop:
    return A.RandomResizedCrop((SIZE, SIZE), scale=(0.6, 1.0), ratio=(0.9, 1.1), interpolation=interpolation, p=1.0)


def jitter(hue: float) -> A.ColorJitter:
    return A.ColorJitter(brightness=0.15, contrast=0.15, saturation=0.15, hue=hue, p=0.7)


def pipeline(*steps: A.BasicTransform) -> Callable[[Picture, int], Picture]:
    composed = A.Compose(list(steps))

    def run(image_HWC: Picture, seed: int) -> Picture:
        composed.set_random_seed(seed)
        return composed(image=image_HWC)["image"]

    return run


def bare(image_HWC: Picture, seed: int) -> Picture:
    """What `Augment` does, without albumentations."""
    side = image_HWC.shape[0]
    draws = np.random.default_rng(np.random.SeedSequence(seed)).random(10).tolist()
    area, ratio = (0.6 + 0.4 * draws[0]) * side**2, 0.9 * (1.1 / 0.9) ** draws[1]
    width, height = (min(side, round((area * value) ** 0.5)) for value in (ratio, 1 / ratio))
    left, top = int(draws[2] * (side - width + 1)), int(draws[3] * (side - height + 1))
    out_HWC = cv2.resize(image_HWC[top : top + height, left : left + width], (SIZE, SIZE))
    number = int(8 * draws[4])
    out_HWC = cv2.transpose(out_HWC) if number & 4 else out_HWC
    out_HWC = cv2.flip(out_HWC, FLIPS[number & 3]) if number & 3 else out_HWC
    if draws[5] < 0.7:
        light = [0.85 + 0.3 * draw for draw in draws[6:9]]
        return cv2.transform(out_HWC, light_matrix(*light, 0.04 * draws[9] - 0.02, float(np.mean(cv2.mean(out_HWC)))))
    return out_HWC


def by_parts(squares: list[Picture]) -> dict[str, Way]:
    """Augmentation of squares of 256 px that lie in memory; each includes albumentations' own overhead, `nothing`."""
    small = [np.ascontiguousarray(square[:SIZE, :SIZE]) for square in squares]
    flips = (A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.Transpose(p=0.5))
    linear, area = cv2.INTER_LINEAR, cv2.INTER_AREA
    whole = {
        "as it was: crop by area, D4, jitter": pipeline(crop(area), A.D4(p=1.0), jitter(0.02)),
        "albumentations' own, linear, flips, no hue": pipeline(crop(linear), *flips, jitter(0.0)),
        "albumentations' own crop and flips, Light": pipeline(crop(linear), *flips, Light(p=0.7)),
        "as it is: crop, Turn, Light": pipeline(crop(linear), Turn(p=1.0), Light(p=0.7)),
        "the same, bare": bare,
        "crop by area": pipeline(crop(area)),
        "crop, linear": pipeline(crop(linear)),
    }
    after = {
        "nothing": pipeline(A.NoOp(p=1.0)),
        "D4": pipeline(A.D4(p=1.0)),
        "three flips": pipeline(*flips),
        "Turn": pipeline(Turn(p=1.0)),
        "jitter": pipeline(jitter(0.02)),
        "jitter, no hue": pipeline(jitter(0.0)),
        "Light": pipeline(Light(p=0.7)),
    }
    matrix = np.array([[0.0, 0.9, 10.3], [0.85, 0.0, 5.2]])
    flags = linear | cv2.WARP_INVERSE_MAP
    ways: dict[str, Way] = {name: lambda i, run=run: run(squares[i], i) for name, run in whole.items()}
    ways |= {name: lambda i, run=run: run(small[i], i) for name, run in after.items()}
    return ways | {
        "crop and turn by one warp, bare": lambda i: cv2.warpAffine(squares[i], matrix, (SIZE, SIZE), flags=flags)
    }


def measure(ways: dict[str, Way]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(NUM_ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            for index in range(NUM_PICTURES):
                way(index)
            times[name].append(1000 * (time.process_time() - started) / NUM_PICTURES)
    return {name: [round(value, 3) for value in (median(each), min(each), max(each))] for name, each in times.items()}


def from_files(files: Files, cache: Cache) -> dict[str, list[float]]:
    """What training and validation did and do for each picture of each epoch, and what the cache costs once."""
    cache.reserve(NUM_PICTURES, PREPROCESS)
    pictures = [files.read(index) for index in range(NUM_PICTURES)]
    for index, picture in enumerate(pictures):
        cache.keep(index, picture)
    cached, decoded = cache.pictures(files, np.arange(NUM_PICTURES)), Decoded(files, PREPROCESS)
    before, augment = pipeline(crop(cv2.INTER_AREA), A.D4(p=1.0), jitter(0.02)), Augment(SIZE)
    return measure(
        {
            "decode": files.read,
            "keep, once": lambda i: cache.keep(i, pictures[i]),
            "training as it was: decode, augment": lambda i: before(files.read(i), i),
            "training, cache=off": lambda i: augment(decoded.training(i), np.random.SeedSequence([0, 0, 0, i])),
            "training": lambda i: augment(cached.training(i), np.random.SeedSequence([0, 0, 0, i])),
            "read the training square": cached.training,
            "validation, cache=off": decoded.square,
            "validation": cached.square,
        }
    )


def main() -> None:
    cv2.setNumThreads(0)
    paths = sorted((SHARED / "ham10000" / "train_jpg").glob("*.jpg"))[:NUM_PICTURES]
    originals = [images.read(path) for path in paths]
    result: dict[str, object] = {"benchmark": "pictures", **where_and_when(), "milliseconds": "median, least, most"}
    result["augment"] = measure(by_parts([middle_square(picture, 256) for picture in originals]))
    for width in WIDTHS:
        larger = [cv2.resize(one, (width, width * 3 // 4), interpolation=cv2.INTER_CUBIC) for one in originals]
        files = Files([images.encode(picture, "JPEG") for picture in larger])
        with TemporaryDirectory() as folder, Cache(Path(folder)) as cache:
            result[f"from JPEGs of {width} px"] = from_files(files, cache)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
