"""Check: every picture that cannot be read is known before anything is trained."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from factories import sample_frame, write_channel
from lesion.data.check import check_pictures
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.table import Columns
from lesion.errors import UserError

COLUMNS = Columns("image_name", ("sex",), targets=("target",), group="patient_id")
BROKEN = [1, 2, 4, 6, 7, 9, 10]


@pytest.fixture
def channel(tmp_path):
    """Twelve rows, of which seven have no picture that can be read: the first is absent, the others are cut short."""
    csv_path = write_channel(tmp_path, sample_frame(6, 2))
    pictures = sorted((tmp_path / "train_jpg").glob("*"))
    for row in BROKEN[1:]:
        pictures[row].write_bytes(pictures[row].read_bytes()[:300])
    pictures[BROKEN[0]].unlink()
    return csv_path


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_unreadable_pictures_are_counted_and_the_first_five_named(channel, num_workers):
    source = CsvFolder(channel, COLUMNS)
    with pytest.raises(UserError, match="7 of 12 training pictures cannot be read") as caught:
        check_pictures(source, policy="error", num_workers=num_workers, what="training")
    named = [row for row, name in enumerate(source.table().name_S) if name in str(caught.value)]
    assert named == BROKEN[:5]
    assert "on_bad_image=drop" in str(caught.value) and caught.value.kind == "unreadable_image"


def test_drop_leaves_their_rows_out_and_names_each(channel, caplog):
    source = CsvFolder(channel, COLUMNS)
    with caplog.at_level(logging.WARNING, "lesion"):
        kept = check_pictures(source, policy="drop", num_workers=2, what="training")
    rows = [row for row in range(12) if row not in BROKEN]
    assert kept.table().name_S.tolist() == source.table().name_S[rows].tolist()
    assert kept.table().targets["target"].tolist() == source.table().targets["target"][rows].tolist()
    for new, old in enumerate(rows):
        np.testing.assert_array_equal(kept.read(new), source.read(old))
    assert all(any(source.table().name_S[row] in line for line in caplog.messages) for row in BROKEN)
    assert "dropped=7 of=12 set=training" in caplog.messages


def test_drop_of_all_rows_is_refused(tmp_path):
    csv_path = write_channel(tmp_path, sample_frame(2, 1))
    for path in (tmp_path / "train_jpg").glob("*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="2 of 2 test pictures"):
        check_pictures(CsvFolder(csv_path, COLUMNS), policy="drop", num_workers=1, what="test")


@pytest.mark.parametrize("policy", ["error", "drop"])
def test_whole_pictures_pass_as_they_are(tmp_path, policy):
    source = CsvFolder(write_channel(tmp_path, sample_frame(2, 1)), COLUMNS)
    assert check_pictures(source, policy=policy, num_workers=2, what="training") is source
