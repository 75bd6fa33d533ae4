"""TensorBoard: TensorBoard's own reader finds what was written; a run that is told again is there once."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

import cv2
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lesion.engine.tensorboard import EventFile


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def test_what_is_written_is_on_the_disk_at_once(tmp_path):
    """As the machine may go at any time: the file is not closed here."""
    events = EventFile(tmp_path / "fold_0")
    events.numbers({"epoch/lr": 0.5, "epoch/roc_auc": 0.75}, 0)
    events.numbers({"epoch/lr": 0.25}, 1)
    assert points(tmp_path / "fold_0", "epoch/lr") == [(0, 0.5), (1, 0.25)]
    assert points(tmp_path / "fold_0", "epoch/roc_auc") == [(0, 0.75)]


def test_a_newer_file_takes_the_place_of_the_older_ones(tmp_path):
    older = EventFile(tmp_path)
    for step in range(4):
        older.numbers({"epoch/lr": 1.0}, step)
    older.close()
    [path] = tmp_path.iterdir()
    path.rename(path.with_name(path.name.replace(str(int(time.time()))[:5], "10000")))  # seconds in the name sort files
    newer = EventFile(tmp_path)
    for step in range(2):
        newer.numbers({"epoch/lr": 2.0}, step)
    newer.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert points(tmp_path, "epoch/lr") == [(0, 2.0), (1, 2.0)]


def test_a_picture_has_its_colours_and_size(tmp_path):
    image_HWC = np.zeros((40, 60, 3), np.uint8)
    image_HWC[:, :, 0] = 255
    EventFile(tmp_path).picture("training pictures", image_HWC, 3)
    [event] = read(tmp_path).Images("training pictures")
    assert (event.step, event.width, event.height) == (3, 60, 40)
    shown_BGR = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.allclose(shown_BGR.mean(axis=(0, 1)), (0, 0, 255), atol=3)


def test_a_curve_has_precision_and_recall_at_each_threshold(tmp_path):
    """By hand: at 0 all four are called yes, two rightly; above 0.5 one of the two, rightly; above 0.9 nobody."""
    is_S = np.array([True, True, False, False])
    prob_S = np.array([0.9, 0.3, 0.5, 0.1], np.float32)
    EventFile(tmp_path).precision_recall("precision and recall/yes", is_S, prob_S, 0)
    [event] = read(tmp_path).Tensors("precision and recall/yes")
    shape = [dim.size for dim in event.tensor_proto.tensor_shape.dim]
    values = np.array(event.tensor_proto.float_val).reshape(shape)
    precision, recall = values[4], values[5]
    assert shape == [6, 127]
    assert (precision[0], recall[0]) == (0.5, 1) and (precision[70], recall[70]) == (1, 0.5) and recall[-1] == 0


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    (tmp_path / "fold_0").write_text("in the way")
    events = EventFile(tmp_path / "fold_0")
    events.numbers({"epoch/lr": 1.0}, 0)
    events.close()
    assert [record.message for record in caplog.records] == [
        f"nothing for TensorBoard, but training continues: {tmp_path / 'fold_0'}: File exists"
    ]


def test_a_disk_that_is_full_is_a_warning(tmp_path, caplog):
    events = EventFile(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        for step in range(10):
            events.numbers({"epoch/lr": 1.0}, step)
        events.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = f"no more for TensorBoard, but training continues: {tmp_path}: {os.strerror(errno.EFBIG)}"
    assert [record.message for record in caplog.records] == [said] and events.is_refused
    assert 0 < len(points(tmp_path, "epoch/lr")) < 10
