"""Memory: what is taken is given back; what does not fit waits; what a picture leaves counts as long as it is there."""

from __future__ import annotations

import gc
import io
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from lesion.data.decode import images
from lesion.data.decode.memory import MemoryBudget
from lesion.errors import UserError


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def budget(monkeypatch) -> MemoryBudget:
    """The process's own, of 40 MB: a smaller machine."""
    small = MemoryBudget(40_000_000)
    monkeypatch.setattr(images, "process_budget", lambda: small)
    return small


def test_what_does_not_fit_waits_until_there_is_room():
    budget = MemoryBudget(100)
    assert budget.take(80) and not budget.take(30) and not budget.take(30, wait_s=0.01) and budget.take(20)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(budget.take, 60, wait_s=60)
        budget.give_back(80)
        assert waiting.result(10)
    budget.give_back(80)
    assert budget.num_taken == 0


def test_a_picture_that_has_no_room_even_alone_is_refused_with_both_numbers(budget):
    with pytest.raises(UserError, match=r"takes \d+ MiB of memory, but the limit is 38 MiB \(a.png\)") as caught:
        images.decode_when_it_fits(png(3000, 3000), name="a.png")
    assert caught.value.kind == "too_large" and budget.num_taken == 0


def test_a_decoded_picture_counts_until_it_and_its_views_have_gone(budget):
    gc.disable()
    try:
        image_HWC = images.decode_when_it_fits(png(200, 100))
        assert budget.num_taken == image_HWC.nbytes == 60_000
        part = image_HWC[:10]
        del image_HWC
        assert budget.num_taken == 60_000
        del part
        assert budget.num_taken == 0
    finally:
        gc.enable()


def test_a_file_that_is_no_picture_leaves_nothing_taken(budget):
    for content in (b"no picture", png(500, 500)[:300]):
        with pytest.raises(UserError):
            images.decode_when_it_fits(content)
    assert budget.num_taken == 0


def test_threads_decode_large_pictures_one_after_another_where_memory_holds_one(budget):
    content, most = png(1000, 900), 0
    is_done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.is_set():
            most = max(most, budget.num_taken)
            time.sleep(0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: int(images.decode_when_it_fits(content).sum()), range(16)))
    is_done.set()
    watching.join()
    assert sums == [0] * 16 and 0 < most <= budget.limit_bytes and budget.num_taken == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000"])
def test_room_is_asked_for_once_and_before_the_pixels_are_unpacked(mode, kind):
    """A file cut in its pixels asks for the same room, and is refused after that."""
    file = io.BytesIO()
    try:
        Image.new(mode, (300, 200)).save(file, kind)
    except (OSError, KeyError):
        pytest.skip(f"{kind} does not hold {mode}")
    asked: list[int] = []
    image_HWC = images.decode(file.getvalue(), reserve_bytes=asked.append)
    assert len(asked) == 1 and image_HWC.nbytes < asked[0] < 100 * image_HWC.nbytes

    def refuse(_: int) -> None:
        raise UserError("no room", do="Wait.", kind="busy")

    with pytest.raises(UserError, match="no room"):
        images.decode(file.getvalue(), reserve_bytes=refuse)


def test_strips_change_no_pixel_whatever_way_a_picture_is_turned():
    """Of more pixels than a strip, against numpy's own turns."""
    seen = np.random.default_rng(0).integers(0, 256, (1100, 1300, 3), np.uint8)
    stored = {3: seen[::-1, ::-1], 4: seen[::-1], 5: seen.transpose(1, 0, 2), 6: np.rot90(seen, 1)}
    stored |= {2: seen[:, ::-1], 7: seen[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(seen, -1), 1: seen}
    for orientation, pixels in stored.items():
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1, exif=exif)
        np.testing.assert_array_equal(images.decode(file.getvalue()), seen, err_msg=str(orientation))


def test_a_tiff_in_tiles_far_larger_than_its_picture_is_refused_before_they_are_unpacked():
    """One row of pixels in tiles of 4,000 px: what is unpacked grows with the tiles, not with the picture."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((40_000, 1), np.uint8), tile=(4000, 4000), compression="zlib")
    with pytest.raises(UserError, match="1×40000 px in tiles of 4000×4000 px"):
        images.decode(file.getvalue())


@pytest.mark.parametrize(("kind", "num_bytes"), [("JPEG", 3_000_000), ("TIFF", 3_000_000), ("TIFF", 30_000_000)])
def test_a_large_colour_profile_is_read_and_does_not_stay(kind, num_bytes):
    def decode(seed: int) -> None:
        file = io.BytesIO()
        profile = np.random.default_rng(seed).bytes(num_bytes)
        Image.new("RGB", (64, 64), (9, 90, 200)).save(file, kind, icc_profile=profile)
        assert images.decode(file.getvalue()).shape == (64, 64, 3)

    decode(0)
    tracemalloc.start()
    try:
        for seed in range(1, 4):
            decode(seed)
        gc.collect()
        left_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left_bytes < num_bytes
