"""Copy hashes: the low frequencies of a picture, as pHash takes them, whitened by the set.

Our own, since they are looked up under 8 orientations and 21 crops: a library that hashes one picture at a time would
take 168 calls a picture, and call all dermoscopy alike.
"""

# N pictures · T pixels of a side of a thumbnail · W waves · D numbers of a hash, W² − 1

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesion.check.fingerprints import SIDE_PX, AnyFingerprint

PRIOR = 200  # how many pictures' worth of say a usual picture has in what is common to the set
ROWS = 1024  # of a set at once, wherever what is made of them is larger than a hash
NUM_ORIENTATIONS = 8
Field = NDArray[np.float32]
Window = tuple[float, float, float, float]  # top, left, height, width of what a crop leaves, as shares

# So near to one another that any crop of up to a tenth, anywhere, or of a fifth around the middle, is close to one.
WINDOWS: list[Window] = [
    (0.0, 0.0, 1.0, 1.0),
    (0.1, 0.1, 0.8, 0.8),
    *((top, left, 0.9, 0.9) for top in (0.0, 0.05, 0.1) for left in (0.0, 0.05, 0.1)),
    *((top, left, 0.95, 0.95) for top in (0.0, 0.05) for left in (0.0, 0.05)),
    *((0.0, left, 1.0, 0.9) for left in (0.0, 0.05, 0.1)),
    *((top, 0.0, 0.9, 1.0) for top in (0.0, 0.05, 0.1)),
]


def waves_of(prints_N: Sequence[AnyFingerprint], window: Window, num_waves: int) -> Field:
    """The lowest frequencies [N, W, W] of a window of each thumbnail, by the cosine transform (DCT-II)."""
    top, left, height, width = window
    rows, columns = _cosines(top, height, num_waves), _cosines(left, width, num_waves)
    waves_NWW = np.empty((len(prints_N), num_waves, num_waves), np.float32)
    for start in range(0, len(prints_N), ROWS):
        some = slice(start, start + ROWS)
        thumbnails_RTT = np.array([print_.thumbnail_TT for print_ in prints_N[some]], dtype=np.float32)
        waves_NWW[some] = rows @ thumbnails_RTT @ columns.T
    return waves_NWW


def common_of(waves_NWW: Field) -> Field:
    """The mean frequencies [W, W] of the set in all orientations: what all pictures share proves nothing."""
    mean_1WW = waves_NWW.mean(axis=0, dtype=np.float64, keepdims=True)
    every = np.concatenate([_oriented(mean_1WW, orientation) for orientation in range(NUM_ORIENTATIONS)])
    return np.asarray(every.mean(axis=0) * len(waves_NWW) / (len(waves_NWW) + PRIOR), dtype=np.float32)


def whitening_of(waves_NWW: Field, common_WW: Field) -> Field:
    """The matrix [D, D] after which the set's pictures, in all orientations, spread alike in every direction.

    Orientations stay what they are under it, since their mean spread is the same for each. A small set is helped by a
    usual picture, whose frequencies fall with the square of their wave number.
    """
    num, num_waves = waves_NWW.shape[:2]
    spread_DD, square = np.zeros((num_waves**2 - 1,) * 2, np.float32), 0.0
    for orientation in range(NUM_ORIENTATIONS):
        for start in range(0, num, ROWS):
            centred_RD = _flat(_oriented(waves_NWW[start : start + ROWS], orientation) - common_WW)
            spread_DD += centred_RD.T @ centred_RD / NUM_ORIENTATIONS
            square += float((centred_RD**2).sum())
    waves = np.arange(num_waves)
    usual_D = (1.0 / (waves[:, None] ** 2 + waves**2 + 1e-9) ** 1.5).reshape(-1)[1:]
    usual_D *= max(square / (NUM_ORIENTATIONS * num), 1.0) / usual_D.sum()
    spread_DD = (spread_DD + PRIOR * np.diag(usual_D)) / (num + PRIOR)
    scale_D = 1 / np.sqrt(np.diag(spread_DD))
    values_D, vectors_DD = np.linalg.eigh(spread_DD * scale_D * scale_D[:, None])
    # A tenth is added, so that directions in which nothing but noise differs are not blown up.
    return np.asarray(scale_D[:, None] * (vectors_DD / np.sqrt(values_D + 0.1)) @ vectors_DD.T, dtype=np.float32)


def hashes_of(waves_NWW: Field, orientation: int, common_WW: Field, whitening_DK: Field) -> Field:
    """The hashes [N, K], vectors of length 1, of what these frequencies are of, flipped and turned."""
    hashes_NK = np.empty((len(waves_NWW), whitening_DK.shape[1]), np.float32)
    for start in range(0, len(waves_NWW), ROWS):
        some = slice(start, start + ROWS)
        vectors_RK = _flat(_oriented(waves_NWW[some], orientation) - common_WW) @ whitening_DK
        hashes_NK[some] = vectors_RK / (np.linalg.norm(vectors_RK, axis=1, keepdims=True) + 1e-9)
    return hashes_NK


def _cosines(start: float, length: float, num_waves: int) -> Field:
    """The basis [W, T] over a part of the thumbnail, 0 outside; pixels at its ends count by their share."""
    edges = np.arange(SIDE_PX + 1) / SIDE_PX
    inside_T = np.clip(np.minimum(edges[1:], start + length) - np.maximum(edges[:-1], start), 0, None)
    middle_T = ((edges[1:] + edges[:-1]) / 2 - start) / length
    basis_WT = np.cos(np.pi * np.arange(num_waves)[:, None] * middle_T) * inside_T / length
    return np.asarray(basis_WT, dtype=np.float32)


def _oriented(waves_NWW: NDArray[np.floating], orientation: int) -> NDArray[np.floating]:
    """The frequencies of the picture flipped and turned: mirrored, every odd one changes its sign."""
    signs_W = ((-1.0) ** np.arange(waves_NWW.shape[1])).astype(waves_NWW.dtype)
    if orientation & 1:
        waves_NWW = waves_NWW * signs_W
    if orientation & 2:
        waves_NWW = waves_NWW * signs_W[:, None]
    return waves_NWW.transpose(0, 2, 1) if orientation & 4 else waves_NWW


def _flat(waves_NWW: NDArray[np.floating]) -> NDArray[np.floating]:
    """Vectors [N, D] without the mean brightness."""
    return waves_NWW.reshape(len(waves_NWW), -1)[:, 1:]
