"""TensorBoard: writes one run as an event file: scalars, images and curves, each with its step.

A new file declares the run's older files void, so a resumed run is written from its first step and no step occurs
twice. Logging never ends a job: a disk error is only a warning.
"""

# H, W pixels · S samples

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels, encode
from lesion.words import shortened

log = logging.getLogger(__name__)

MAX_NAME = 200  # characters: TensorBoard's page has no room for more


class EventFile:
    """A new event file in `folder`; without a folder nothing is written. Each call flushes to disk.

    `is_refused` once the disk has refused, which is a warning, and after which nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        # Not its SummaryWriter, whose thread may still hold what was given to it when the machine goes.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self._writer: EventsWriter | None = None
        self._folder, self.is_refused = folder, False
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"))
            weakref.finalize(self, _close, self._writer)  # where the job is stopped before `close`
        except OSError as error:
            self._give_up("nothing", error)
        self._write(step=0, session_log=SessionLog(status=SessionLog.START))

    @property
    def is_open(self) -> bool:
        """Whether anything that is given to it is written."""
        return self._writer is not None

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        parts = [Summary.Value(tag=_tag(name), simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=parts))

    def picture(self, name: str, image_HWC: Pixels, step: int) -> None:
        """uint8 RGB, kept as a JPEG: a PNG of noisy pictures is ten times the bytes."""
        from tensorboardX.proto.summary_pb2 import Summary

        jpeg = encode(image_HWC, "JPEG")
        height, width = image_HWC.shape[:2]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=jpeg)
        self._write(step=step, summary=Summary(value=[Summary.Value(tag=_tag(name), image=image)]))

    def precision_recall(self, name: str, is_S: NDArray[np.bool_], prob_S: NDArray[np.float32], step: int) -> None:
        """At 127 thresholds, for TensorBoard's own page of such curves."""
        from tensorboardX.summary import pr_curve

        self._write(step=step, summary=pr_curve(_tag(name), is_S, prob_S))

    def close(self) -> None:
        if self._writer is not None:
            _close(self._writer)
        self._writer = None

    def _write(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        if self._writer is None:
            return
        try:
            self._writer.write_event(Event(wall_time=time.time(), step=step, **what))
            self._writer.flush()
        except OSError as error:
            self._give_up("no more", error)

    def _give_up(self, what: str, error: OSError) -> None:
        log.warning("%s for TensorBoard, but training continues: %s: %s", what, self._folder, error.strerror or error)
        self.close()
        self.is_refused = True


def _tag(name: str) -> str:
    """A name as TensorBoard can hold it."""
    return shortened(name, MAX_NAME)


def _close(writer: Any) -> None:
    for close in (writer.close, writer._py_recordio_writer.close):  # the first only flushes where the disk is full
        with suppress(OSError, ValueError):  # a disk that is full; a file that is closed
            close()
