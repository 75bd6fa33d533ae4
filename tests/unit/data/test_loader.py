"""Loader: every row once, the same batches for any number of threads, and no hang when something goes wrong."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import sample_frame, write_channel
from lesion.data.augment import Augment
from lesion.data.cache import Cache, Decoded, Pictures
from lesion.data.decode.images import Pixels
from lesion.data.loader import Batch, Dataset, load_batches, ordered_batches, training_batches
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.table import Columns, SampleTable
from lesion.data.transforms import Preprocess
from lesion.errors import UserError

FIXED = Preprocess(8, (0.5,) * 3, (0.5,) * 3)
COLUMNS = Columns("image_name", (), targets=("target",), group="patient_id")


class Numbered:
    """A source whose picture of row i is filled with i."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def table(self) -> SampleTable:
        return SampleTable(np.arange(self.num_rows).astype(str), pd.DataFrame(index=range(self.num_rows)))

    def read(self, index: int) -> Pixels:
        return np.full((10, 12, 3), index, np.uint8)


def numbered(num_rows: int) -> Dataset:
    rows_S1 = np.arange(num_rows, dtype=np.float32).reshape(-1, 1)
    return Dataset(Decoded(Numbered(num_rows), FIXED), rows_S1 + 1000, rows_S1 + 2000, np.array([-1], np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> CsvFolder:
    return CsvFolder(write_channel(tmp_path_factory.mktemp("channel"), sample_frame(6, 2)), COLUMNS)


def dataset_of(source: CsvFolder, pictures: Pictures | None = None) -> Dataset:
    num_rows = len(source.table())
    targets_SK = np.arange(num_rows, dtype=np.float32).reshape(-1, 1)
    return Dataset(
        pictures or Decoded(source, FIXED), np.zeros((num_rows, 0), np.float32), targets_SK, np.zeros(0, np.float32)
    )


@given(num_rows=st.integers(1, 300), batch_size=st.integers(4, 64), epoch=st.integers(0, 5))
def test_training_takes_every_row_once_in_batches_of_nearly_one_size(num_rows, batch_size, epoch):
    rows_S = np.arange(num_rows) * 3
    batches = training_batches(rows_S, batch_size, key=(0, 1, epoch))
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == rows_S.tolist()
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= batch_size
    assert len(batches) == -(-num_rows // batch_size)


def test_training_order_differs_by_seed_fold_and_epoch_and_by_nothing_else():
    orders = {
        key: np.concatenate(training_batches(np.arange(50), 8, key=key)).tobytes()
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len(set(orders.values())) == 4
    np.random.default_rng(9).random(3)
    again = np.concatenate(training_batches(np.arange(50), 8, key=(0, 0, 0)))
    assert again.tobytes() == orders[(0, 0, 0)]


@given(rows=st.lists(st.integers(0, 999), max_size=60), batch_size=st.integers(1, 20))
def test_ordered_batches_keep_the_order(rows, batch_size):
    batches = ordered_batches(np.array(rows, dtype=np.intp), batch_size)
    assert [row for batch in batches for row in batch.tolist()] == rows
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_every_sample_stands_at_its_place_also_in_a_ragged_last_batch(num_workers):
    order = training_batches(np.arange(23), 5, key=(0, 0, 0))
    order.append(np.array([7]))
    batches = list(load_batches(numbered(23), order, num_workers=num_workers))
    assert [len(batch.index_N) for batch in batches] == [5, 5, 5, 4, 4, 1]
    for batch, index_N in zip(batches, order, strict=True):
        np.testing.assert_array_equal(batch.index_N, index_N)
        assert batch.images_NHWC.shape == (len(index_N), 8, 8, 3) and batch.images_NHWC.dtype == np.uint8
        assert (batch.images_NHWC == index_N[:, None, None, None]).all()
        np.testing.assert_array_equal(batch.metadata_NM[:, 0], index_N + 1000)
        np.testing.assert_array_equal(batch.targets_NK[:, 0], index_N + 2000)


def test_any_number_of_workers_gives_the_same_augmented_bits(folder):
    order = training_batches(np.arange(12), 5, key=(0, 2, 1))

    def run(num_workers: int, key: tuple[int, ...] = (0, 2, 1)) -> list[Batch]:
        return list(load_batches(dataset_of(folder), order, Augment(24), num_workers=num_workers, key=key))

    alone = run(0)
    for num_workers in (1, 3):
        for batch, expected in zip(run(num_workers), alone, strict=True):
            np.testing.assert_array_equal(batch.index_N, expected.index_N)
            np.testing.assert_array_equal(batch.images_NHWC, expected.images_NHWC)
            np.testing.assert_array_equal(batch.targets_NK, expected.targets_NK)
    other_epoch = run(0, (0, 2, 2))
    assert all((a.images_NHWC != b.images_NHWC).any() for a, b in zip(alone, other_epoch, strict=True))


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("augment", [None, Augment(8)])
def test_the_cache_changes_no_bit_of_a_batch(folder, tmp_path, num_workers, augment):
    order = training_batches(np.arange(12), 5, key=(0, 0, 0))

    def run(pictures: Pictures, num_workers: int) -> list[Batch]:
        dataset = dataset_of(folder, pictures)
        return list(load_batches(dataset, order, augment, num_workers=num_workers, key=(0, 0, 0)))

    with Cache(tmp_path, FIXED) as cache:
        cache.reserve(12)
        for row in range(12):
            cache.keep(row, folder.read(row))
        cached = run(cache.pictures(folder, np.arange(12)), num_workers)
    for batch, expected in zip(cached, run(Decoded(folder, FIXED), 1), strict=True):
        np.testing.assert_array_equal(batch.images_NHWC, expected.images_NHWC)


def test_a_samples_augmentation_does_not_depend_on_its_batch(folder):
    def picture_of_row_4(order: list[np.ndarray]) -> np.ndarray:
        for batch in load_batches(dataset_of(folder), order, Augment(24), num_workers=2, key=(0, 0, 0)):
            for index, image in zip(batch.index_N, batch.images_NHWC, strict=True):
                if index == 4:
                    return image
        raise AssertionError("row 4 never came")

    rows_S = np.arange(12)
    np.testing.assert_array_equal(
        picture_of_row_4(ordered_batches(rows_S, 3)), picture_of_row_4(ordered_batches(rows_S[::-1], 5))
    )


def test_red_is_red_and_channels_come_last():
    class Red(Numbered):
        def read(self, index: int) -> Pixels:
            return np.full((9, 9, 3), (255, 0, 0), np.uint8)

    dataset = Dataset(Decoded(Red(1), FIXED), np.zeros((1, 0)), np.zeros((1, 1)), np.zeros(0))
    (batch,) = load_batches(dataset, [np.array([0])], num_workers=1)
    assert batch.images_NHWC[..., 0].min() == 255 and batch.images_NHWC[..., 1:].max() == 0


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_broken_picture_is_named_and_nothing_hangs(tmp_path, num_workers):
    csv_path = write_channel(tmp_path, sample_frame(6, 2))
    (tmp_path / "train_jpg" / "IMG_003_1.jpg").write_bytes(b"\xff\xd8 no more")  # row 7
    batches = load_batches(
        dataset_of(CsvFolder(csv_path, COLUMNS)), ordered_batches(np.arange(12), 2), num_workers=num_workers
    )
    for _ in range(3):
        next(batches)
    with pytest.raises(UserError, match=r"IMG_003_1\.jpg"):
        next(batches)
    assert not loader_threads()


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_leaving_early_leaves_no_thread(num_workers):
    batches = load_batches(numbered(100), ordered_batches(np.arange(100), 4), num_workers=num_workers)
    next(batches)
    batches.close()
    assert not loader_threads()


def test_no_more_than_a_few_batches_are_read_ahead():
    seen: list[int] = []

    class Watched(Numbered):
        def read(self, index: int) -> Pixels:
            seen.append(index)
            return super().read(index)

    dataset = Dataset(Decoded(Watched(1000), FIXED), np.zeros((1000, 0)), np.zeros((1000, 1)), np.zeros(0))
    batches = load_batches(dataset, ordered_batches(np.arange(1000), 10), num_workers=3)
    next(batches)
    batches.close()
    assert len(seen) <= 30


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("num_workers", [0, 3])
def test_metadata_is_withheld_from_a_share_of_the_samples_by_their_own_streams(num_workers):
    def features(batch_size: int, epoch: int) -> dict[int, float]:
        batches = ordered_batches(np.arange(250), batch_size)
        loaded = load_batches(numbered(250), batches, num_workers=num_workers, key=(0, 0, epoch), metadata_dropout=0.25)
        return {
            int(index): float(value)
            for batch in loaded
            for index, value in zip(batch.index_N, batch.metadata_NM[:, 0], strict=True)
        }

    first = features(7, 0)
    withheld = {index for index, value in first.items() if value == -1}
    assert 40 < len(withheld) < 90 and all(first[index] == index + 1000 for index in set(first) - withheld)
    assert features(64, 0) == first and features(7, 1) != first


def test_no_metadata_is_withheld_unless_asked_for():
    (batch,) = load_batches(numbered(250), [np.arange(250)], num_workers=0)
    assert (batch.metadata_NM[:, 0] == np.arange(250) + 1000).all()
