"""Fingerprints: what is kept of a picture to find its copies: a digest of its pixels, and a small grey square.

Those of a large set lie in a file: 400,000 squares are 1.6 GB, of which the search looks at some at a time.
"""

# T pixels of a side of a thumbnail

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import weakref
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels

log = logging.getLogger(__name__)

SIDE_PX = 64  # of a thumbnail: the detail that the confirming comparison sees
THUMBNAIL_BYTES = SIDE_PX * SIDE_PX


@dataclass(frozen=True)
class Fingerprint:
    """The pixels' digest, and the picture squeezed to a grey square."""

    digest: bytes
    thumbnail_TT: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KeptFingerprint:
    """A fingerprint whose square lies in a file."""

    digest: bytes
    place: int
    file: FingerprintFile

    @property
    def thumbnail_TT(self) -> NDArray[np.uint8]:
        """Read anew at each use. Raises OSError of a disk that fails."""
        return self.file.read(self.place)


class FingerprintFile:
    """A file without a name for the squares of numbered pictures; it goes with the last of its fingerprints.

    Read with pread and not mapped: what the kernel keeps of it then is its own memory and not ours. Safe from several
    threads at once.
    """

    def __init__(self) -> None:
        self._is_full = False
        try:
            with tempfile.TemporaryFile(prefix="lesion-fingerprints-") as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
        except OSError as error:  # no folder for temporary files
            self._give_up(error)

    def keep(self, place: int, print_: AnyFingerprint) -> AnyFingerprint:
        """The fingerprint of the picture of that number, whose square is in the file now; or, where the disk has no
        room for it, as it was: then it stays in memory, and the log says so."""
        if not self._is_full:
            try:
                num_written = os.pwrite(self._file, print_.thumbnail_TT.tobytes(), place * THUMBNAIL_BYTES)
                if num_written == THUMBNAIL_BYTES:
                    return KeptFingerprint(print_.digest, place, self)
            except OSError as error:
                self._give_up(error)
        return print_

    def read(self, place: int) -> NDArray[np.uint8]:
        """The square of a picture that was kept."""
        content = os.pread(self._file, THUMBNAIL_BYTES, place * THUMBNAIL_BYTES)
        return np.frombuffer(content, np.uint8).reshape(SIDE_PX, SIDE_PX)

    def _give_up(self, error: OSError) -> None:
        if not self._is_full:
            log.info('fingerprints=memory why="%s" folder=%s', error.strerror or error, tempfile.gettempdir())
        self._is_full = True


AnyFingerprint = Fingerprint | KeptFingerprint


def fingerprint(image_HWC: Pixels) -> Fingerprint:
    """The fingerprint of a picture's pixels."""
    digest = hashlib.blake2b(repr(image_HWC.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image_HWC).data)
    # Squeezed before it is grey: the large picture is walked through once. Area, so that fine detail does not alias.
    small = cv2.resize(image_HWC, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return Fingerprint(digest.digest(), np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8))
