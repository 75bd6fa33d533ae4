"""Copies that are planted among real pictures, and how many of them the search for duplicates finds.

    python benchmarks/duplicates.py                # the search at 1,000, 10,000 and 100,000 pictures too, 15 minutes
    python benchmarks/duplicates.py --recall-only
    python benchmarks/duplicates.py --tiles 400000                 # the search alone, on the tiles of scale.py

Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ham10000 import SHARED, where_and_when
from PIL import Image
from scale import tiles

from lesion.check.duplicates import find_duplicates
from lesion.check.fingerprints import AnyFingerprint, Fingerprint, FingerprintFile, fingerprint
from lesion.data.decode import images

SETS = {
    "dermoscopy": "ham10000/train_jpg",
    "dermoscopy_multi": "ham10000/multi_200x150_jpg",
    "flowers": "flowers5",
    "histology": "ucsb_breast/tif",
}
NUM_PLANTED = 200  # of each kind and set
Copy = Callable[[images.Pixels, np.random.Generator], images.Pixels]


def packed(picture: images.Pixels, kind: str, quality: int) -> images.Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, quality=quality)
    return np.array(Image.open(file))


def cropped(picture: images.Pixels, height: float, width: float, top: float, left: float) -> images.Pixels:
    """A part of a picture; top and left are shares of what is taken off."""
    rows, columns = picture.shape[:2]
    first_row, first_column = round(top * (1 - height) * rows), round(left * (1 - width) * columns)
    return picture[first_row : first_row + round(height * rows), first_column : first_column + round(width * columns)]


def resized(picture: images.Pixels, height: float, width: float) -> images.Pixels:
    return np.asarray(cv2.resize(picture, None, fx=width, fy=height, interpolation=cv2.INTER_AREA), dtype=np.uint8)


COPIES: dict[str, Copy] = {
    "exact": lambda picture, _: picture.copy(),
    "half the size": lambda picture, _: resized(picture, 0.5, 0.5),
    "two thirds, other aspect": lambda picture, _: resized(picture, 0.66, 0.7),
    "JPEG 30": lambda picture, _: packed(picture, "JPEG", 30),
    "JPEG 90": lambda picture, _: packed(picture, "JPEG", 90),
    "WebP 60": lambda picture, _: packed(picture, "WEBP", 60),
    "flipped": lambda picture, _: picture[:, ::-1],
    "upside down": lambda picture, _: picture[::-1],
    "turned by 90": lambda picture, _: np.rot90(picture),
    "turned by 180": lambda picture, _: np.rot90(picture, 2),
    "turned by 270": lambda picture, _: np.rot90(picture, 3),
    "a tenth off around": lambda picture, _: cropped(picture, 0.9, 0.9, 0.5, 0.5),
    "a tenth off at a corner": lambda picture, rng: cropped(picture, 0.9, 0.9, *rng.integers(0, 2, 2)),
    "a tenth off anywhere": lambda picture, rng: cropped(picture, 0.9, 0.9, *rng.random(2)),
    "a tenth of the area off": lambda picture, rng: cropped(picture, 0.949, 0.949, *rng.random(2)),
    "a tenth of the width off": lambda picture, rng: cropped(picture, 1, 0.9, 0, rng.random()),
    "a tenth off each side": lambda picture, _: cropped(picture, 0.8, 0.8, 0.5, 0.5),
    "cropped, turned and JPEG 50": lambda picture, rng: packed(
        np.ascontiguousarray(np.rot90(cropped(picture, 0.9, 0.9, *rng.random(2)))), "JPEG", 50
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recall-only", action="store_true")
    parser.add_argument("--tiles", type=int, metavar="NUM", help="only the search, on so many tiles of scale.py")
    args = parser.parse_args()
    if args.tiles:
        print(json.dumps({"benchmark": "duplicates_of_tiles", **where_and_when(), **among_tiles(args.tiles)}))
        return
    found = {name: measure(SHARED / folder) for name, folder in SETS.items()}
    prints: list[Fingerprint] = []
    planted: list[tuple[int, Fingerprint]] = []
    for one in found.values():
        planted += [(len(prints) + index, print_) for index, print_ in one.pop("planted")]
        prints += one.pop("prints")
    result = {
        "benchmark": "duplicates",
        **where_and_when(),
        "sets": found,
        "lowest_recall": min(value for one in found.values() for value in one["recall"].values()),
    }
    if not args.recall_only:
        result["search"] = {str(num): search(prints, planted, num) for num in (1_000, 10_000, 100_000)}
    print(json.dumps(result))


def measure(folder: Path) -> dict[str, Any]:
    """Recall of each kind of copy, and the pairs that are found where none was planted."""
    rng = np.random.default_rng(0)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png", ".tif"})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = list(pool.map(images.read, paths))
    started = time.monotonic()
    prints = [fingerprint(picture) for picture in pictures]
    milliseconds = 1000 * (time.monotonic() - started) / len(prints)
    started = time.monotonic()
    real = find_duplicates(prints, num_workers=os.cpu_count() or 1)
    seconds = time.monotonic() - started
    recall, strangers = {}, 0
    known = {(pair.first, pair.second) for pair in real}
    for kind, copy in COPIES.items():
        picked = rng.choice(len(pictures), min(NUM_PLANTED, len(pictures)), replace=False).tolist()
        planted = [fingerprint(np.ascontiguousarray(copy(pictures[index], rng))) for index in picked]
        pairs = find_duplicates([*prints, *planted], num_workers=os.cpu_count() or 1)
        pairs = [pair for pair in pairs if (pair.first, pair.second) not in known]
        originals = {len(prints) + at: index for at, index in enumerate(picked)}
        hits = {pair.second for pair in pairs if originals.get(pair.second) == pair.first}
        recall[kind] = round(len(hits) / len(picked), 4)
        # A copy of a picture that has a copy of its own is rightly paired with both.
        strangers += sum(
            pair.second not in originals
            or (originals[pair.second] != pair.first and not is_known(known, originals, pair.first, pair.second))
            for pair in pairs
        )
    return {
        "prints": prints,
        "planted": list(zip(picked, planted, strict=True)),  # of the last kind, the hardest
        "num_pictures": len(prints),
        "num_planted_of_each_kind": len(picked),
        "recall": recall,
        "strangers_paired": strangers,
        "pairs_without_planting": len(real),
        "first_of_them": [f"{paths[pair.first].stem} = {paths[pair.second].stem}" for pair in real[:10]],
        "milliseconds_a_fingerprint": round(milliseconds, 3),
        "search_seconds": round(seconds, 1),
    }


def is_known(known: set[tuple[int, int]], originals: dict[int, int], first: int, second: int) -> bool:
    a, b = originals.get(first, first), originals.get(second, second)
    return a == b or (min(a, b), max(a, b)) in known


def search(prints: list[Fingerprint], planted: list[tuple[int, Fingerprint]], num: int) -> dict[str, float]:
    """The search among `num` pictures: the real ones, then mixtures of two of them, whose likenesses are as real ones'.

    Half of one and half of another, turned and moved, are a picture of their own to the eye and to the search.
    `planted` copies are added: which print each is a copy of, and its own.
    """
    rng = np.random.default_rng(1)
    grown = list(prints[:num])
    while len(grown) < num:
        a, b = (prints[index].thumbnail_TT for index in rng.integers(0, len(prints), 2))
        turned_TT = np.rot90(a, int(rng.integers(0, 4)))[:, :: int(rng.choice([-1, 1]))]
        mixed_TT = np.roll(turned_TT, rng.integers(0, 64, 2), axis=(0, 1)) / 2 + b / 2
        grown.append(Fingerprint(rng.bytes(16), mixed_TT.astype(np.uint8)))
    planted = [(index, print_) for index, print_ in planted if index < num]
    started = time.monotonic()
    pairs = find_duplicates([*grown, *(print_ for _, print_ in planted)], num_workers=os.cpu_count() or 1)
    seconds = time.monotonic() - started
    found = {(pair.first, pair.second) for pair in pairs}
    hits = sum((index, num + at) in found for at, (index, _) in enumerate(planted))
    return {"seconds": round(seconds, 1), "recall": round(hits / len(planted), 4), "num_planted": len(planted)}


def among_tiles(num: int) -> dict[str, float]:
    """The search among so many tiles and 640 copies of the hardest kind, as the check does it: squares in a file."""
    rng, file, place = np.random.default_rng(2), FingerprintFile(), 0
    copied = set(rng.choice(num, 640, replace=False).tolist())
    prints: list[AnyFingerprint] = []
    copies: list[tuple[int, AnyFingerprint]] = []
    for pictures, _ in tiles(num):
        for picture in pictures:
            if len(prints) in copied:
                copy = COPIES["cropped, turned and JPEG 50"](picture, rng)
                copies.append((len(prints), fingerprint(np.ascontiguousarray(copy))))
            prints.append(file.keep(place, fingerprint(picture)))
            place += 1
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    started, cpu = time.monotonic(), time.process_time()
    pairs = find_duplicates([*prints, *(print_ for _, print_ in copies)], num_workers=os.cpu_count() or 1)
    found = {(pair.first, pair.second) for pair in pairs}
    return {
        "num_tiles": num,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "load": round(os.getloadavg()[0], 1),
        "recall": round(sum((original, num + at) in found for at, (original, _) in enumerate(copies)) / 640, 4),
        "pairs_of_tiles": sum(pair.second < num for pair in pairs),
        "mib_before": before_mib,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


if __name__ == "__main__":
    main()
