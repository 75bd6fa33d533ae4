"""Duplicates: every kind of copy of a drawn picture is found, and no two different ones are taken for copies."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from lesion.check import duplicates
from lesion.check.duplicates import find_duplicates
from lesion.check.fingerprints import Fingerprint, fingerprint
from lesion.data.decode.images import Pixels
from lesion.data.sample_data import draw_picture

NUM_PICTURES = 30


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Drawn pictures of fifteen patients, two of each on the same skin."""
    return [
        draw_picture(index % 3 == 0, default_rng(index // 2), default_rng(300 + index))[::2, ::2]
        for index in range(NUM_PICTURES)
    ]


@pytest.fixture(scope="module")
def prints(pictures) -> list[Fingerprint]:
    return [fingerprint(picture) for picture in pictures]


def packed(picture: Pixels, kind: str, **options: object) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return np.array(Image.open(io.BytesIO(file.getvalue())))


def cropped(top: float, left: float, height: float, width: float) -> Callable[[Pixels], Pixels]:
    def crop(picture: Pixels) -> Pixels:
        rows, columns = picture.shape[:2]
        return picture[
            round(top * rows) : round((top + height) * rows), round(left * columns) : round((left + width) * columns)
        ]

    return crop


def resized(x: float, y: float) -> Callable[[Pixels], Pixels]:
    return lambda picture: np.asarray(cv2.resize(picture, None, fx=x, fy=y, interpolation=cv2.INTER_AREA), np.uint8)


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "half the size": resized(0.5, 0.5),
    "another aspect": resized(0.66, 0.7),
    "JPEG of quality 30": lambda picture: packed(picture, "JPEG", quality=30),
    "WebP": lambda picture: packed(picture, "WEBP", quality=60),
    "mirrored": lambda picture: picture[:, ::-1],
    "upside down": lambda picture: picture[::-1],
    "turned by 90": np.rot90,
    "turned by 180": lambda picture: np.rot90(picture, 2),
    "turned by 270": lambda picture: np.rot90(picture, 3),
    "transposed": lambda picture: picture.transpose(1, 0, 2),
    "a tenth off, around": cropped(0.05, 0.05, 0.9, 0.9),
    "a tenth off, at a corner": cropped(0.1, 0, 0.9, 0.9),
    "a tenth off, anywhere": cropped(0.027, 0.071, 0.9, 0.9),
    "a tenth off each side": cropped(0.1, 0.1, 0.8, 0.8),
    "a tenth of the width off": cropped(0, 0.074, 1, 0.9),
    "turned, cropped and packed": lambda picture: packed(
        np.ascontiguousarray(np.rot90(cropped(0.02, 0.08, 0.9, 0.9)(picture))), "JPEG", quality=50
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_paired_with_its_original_alone(pictures, prints, kind):
    copies = [fingerprint(np.ascontiguousarray(COPIES[kind](picture))) for picture in pictures]
    pairs = find_duplicates([*prints, *copies])
    expected = [(index, NUM_PICTURES + index) for index in range(NUM_PICTURES)]
    assert [(pair.first, pair.second) for pair in pairs] == expected
    assert all(pair.kind == "near" and 0.68 <= pair.similarity <= 1 for pair in pairs)


def test_copies_are_found_in_a_set_so_large_that_it_is_sorted_into_cells(pictures, prints, monkeypatch):
    monkeypatch.setattr(duplicates, "CELL_SIZE", 2)  # 60 pictures in 30 cells, of which 16 are looked through for each
    copies = [fingerprint(np.ascontiguousarray(COPIES["turned, cropped and packed"](picture))) for picture in pictures]
    pairs = [(pair.first, pair.second) for pair in find_duplicates([*prints, *copies])]
    assert set(pairs) <= {(index, NUM_PICTURES + index) for index in range(NUM_PICTURES)}
    assert len(pairs) >= 0.95 * NUM_PICTURES


def test_different_pictures_of_one_patient_are_no_copies(prints):
    assert find_duplicates(prints) == []


def test_equal_pixels_are_paired_with_the_first_of_them(pictures, prints):
    again = fingerprint(pictures[4].copy())
    pairs = find_duplicates([*prints, again, again])
    assert [(pair.first, pair.second, pair.kind, pair.similarity) for pair in pairs] == [
        (4, NUM_PICTURES, "exact", 1.0),
        (4, NUM_PICTURES + 1, "exact", 1.0),
    ]


def test_the_order_of_the_pictures_changes_nothing_but_their_numbers(pictures, prints):
    every = [*prints, *(fingerprint(np.ascontiguousarray(picture[:, ::-1])) for picture in pictures[:5])]
    order = default_rng(1).permutation(len(every))
    pairs = find_duplicates([every[index] for index in order])
    found = {(min(a, b), max(a, b)) for a, b in ((order[pair.first], order[pair.second]) for pair in pairs)}
    assert found == {(index, NUM_PICTURES + index) for index in range(5)}


def test_blank_pictures_are_copies_only_if_their_pixels_are_equal():
    greys = [fingerprint(np.full((40, 40, 3), level, np.uint8)) for level in (10, 200, 200)]
    assert [(pair.first, pair.second, pair.kind) for pair in find_duplicates(greys)] == [(1, 2, "exact")]


def test_equal_bytes_of_another_shape_are_no_copy():
    flat, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert find_duplicates([fingerprint(flat), fingerprint(tall)]) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2000)])
def test_pictures_of_any_shape_have_a_fingerprint(prints, shape):
    odd = fingerprint(default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    assert find_duplicates([*prints, odd]) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_pictures_are_compared_too(pictures, prints, count):
    copies = [fingerprint(np.ascontiguousarray(pictures[0][::-1]))] * (count // 2)
    assert len(find_duplicates([*prints[: count - count // 2], *copies])) == count // 2


def disc(rng: np.random.Generator, side_px: int) -> np.ndarray:
    picture = np.full((side_px, side_px, 3), rng.integers(120, 240, 3), np.float32)
    middle = rng.integers(side_px // 4, side_px * 3 // 4, 2).tolist()
    axes = rng.integers(side_px // 10, side_px // 4, 2).tolist()
    cv2.ellipse(picture, middle, axes, int(rng.integers(0, 180)), 0, 360, rng.integers(20, 120, 3).tolist(), -1)
    return picture


@pytest.mark.parametrize("side_px", [64, 256, 512])
@pytest.mark.parametrize("noise", [0, 3, 7, 10, 20])
def test_plain_shapes_on_a_plain_ground_are_not_crops_of_one_another(side_px, noise):
    rng = default_rng(noise)
    pictures = [disc(rng, side_px) for _ in range(40)]
    noisy = [np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8) for picture in pictures]
    assert find_duplicates(list(map(fingerprint, noisy))) == []


def test_different_skins_behind_one_lens_are_no_copies():
    """The round black edge of a dermoscope is alike in all of them, and stronger than anything inside."""
    rng = default_rng(0)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    is_seen = (np.hypot(x, y) < 0.95)[..., None]
    skins = [is_seen * (np.array([190, 140, 120]) + rng.normal(0, 8, (256, 256, 3))) for _ in range(40)]
    assert find_duplicates([fingerprint(np.clip(skin, 0, 255).astype(np.uint8)) for skin in skins]) == []
