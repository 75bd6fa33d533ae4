"""Copy hits: which pictures look alike by their hashes, and in which ways; of each no more than the likeliest.

A set of 400,000 pictures has tens of millions of hits, so they are arrays and not objects, and are thinned out now and
then: memory follows the number of pictures.
"""

# H hits

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_TRIED = 3  # of the ways in which two pictures look alike, the likeliest
# Of the pictures that look like one, the likeliest: so many are compared in detail, however large the set. A pair
# counts if it is among those of either picture.
NUM_PARTNERS = 32
# Of these the likeliest in detail are aligned: all of them below 125,000 pictures, and from 500,000 on 8, which keep a
# cluster of copies together.
MAX_ALIGNED, MIN_PARTNERS = 4_000_000, 8
MAX_HITS = 8_000_000  # from which on they are thinned out
Likeness = Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]], NDArray[np.float32]]
HIT = np.dtype([("low", "<i4"), ("high", "<i4"), ("likeness", "<f4"), ("way", "<u1"), ("is_low_window", "?")])


@dataclass(frozen=True)
class Way:
    """Picture b looks, by its hash, like that window (by its number) of picture a, turned so."""

    a: int
    b: int
    window: int
    orientation: int


class Hits:
    """The likeliest hits between `num` pictures, as they come in."""

    def __init__(self, num: int) -> None:
        self._num, self._parts, self._num_kept = num, [np.empty(0, HIT)], 0

    def add(self, a_H: NDArray[np.intp], b_H: NDArray[np.intp], likeness_H: NDArray[np.float32], *, way: int) -> None:
        """Picture b looks like a part of picture a: `way` is its window's number times 8 and the orientation."""
        hits_H = np.empty(len(a_H), HIT)
        hits_H["low"], hits_H["high"] = np.minimum(a_H, b_H), np.maximum(a_H, b_H)
        hits_H["likeness"], hits_H["way"], hits_H["is_low_window"] = likeness_H, way, a_H < b_H
        self._parts.append(hits_H)
        if sum(map(len, self._parts)) > max(MAX_HITS, 2 * self._num_kept):
            self._parts = [self._thinned(NUM_PARTNERS)]
            self._num_kept = len(self._parts[0])

    def look_closer(self, likeness: Likeness, *, least: float) -> None:
        """Each hit has another likeness from now on, that of pictures b and windows of pictures a in these ways; those
        that have less than the `least` go."""
        hits_H = self._thinned(NUM_PARTNERS)
        is_low_H = hits_H["is_low_window"]
        a_H, b_H = (np.where(is_low_H == is_a, hits_H["low"], hits_H["high"]) for is_a in (True, False))
        hits_H["likeness"] = likeness(a_H, b_H, hits_H["way"])
        self._parts = [hits_H[hits_H["likeness"] >= least]]

    def pairs(self) -> Iterator[list[Way]]:
        """The ways of each pair, the likeliest first."""
        hits_H = self._thinned(min(NUM_PARTNERS, max(MAX_ALIGNED // self._num, MIN_PARTNERS)))
        self._parts = [hits_H]
        is_new_H = np.ones(len(hits_H), dtype=bool)
        is_new_H[1:] = (hits_H["low"][1:] != hits_H["low"][:-1]) | (hits_H["high"][1:] != hits_H["high"][:-1])
        starts = np.flatnonzero(is_new_H).tolist()
        for start, end in zip(starts, [*starts, len(hits_H)][1:], strict=True):  # of no hits there are none
            yield [_way(*hit) for hit in hits_H[start:end].tolist()]

    def _thinned(self, num_partners: int) -> NDArray[np.void]:
        """The hits sorted by pair, the likeliest first: NUM_TRIED of a pair, and the pairs of so many partners."""
        hits_H = np.concatenate(self._parts)
        hits_H = hits_H[np.lexsort((-hits_H["likeness"], hits_H["high"], hits_H["low"]))]  # a stable sort
        pair_H = hits_H["low"].astype(np.int64) * self._num + hits_H["high"]
        rank_H = _rank(pair_H)
        is_first_H = rank_H == 0
        low, high, likeness = (hits_H[name][is_first_H] for name in ("low", "high", "likeness"))
        is_near = np.zeros(len(low), dtype=bool)
        for picture in (low, high):
            # Of a picture all partners count, the lower as the higher ones.
            order = np.lexsort((-likeness, picture))
            is_near[order] |= _rank(picture[order]) < num_partners
        number_H = np.cumsum(is_first_H) - 1
        return np.asarray(hits_H[(rank_H < NUM_TRIED) & is_near[number_H]])


def _rank(sorted_H: NDArray[np.integer]) -> NDArray[np.intp]:
    """The place of each among its equals, which stand together."""
    if not len(sorted_H):
        return np.zeros(0, dtype=np.intp)
    is_new_H = np.r_[True, sorted_H[1:] != sorted_H[:-1]]
    starts = np.flatnonzero(is_new_H)
    return np.asarray(np.arange(len(sorted_H)) - starts[np.cumsum(is_new_H) - 1], dtype=np.intp)


def _way(low: int, high: int, _: float, way: int, is_low_window: bool) -> Way:
    window, orientation = divmod(way, 8)
    return Way(low, high, window, orientation) if is_low_window else Way(high, low, window, orientation)
