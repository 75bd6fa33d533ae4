"""Duplicates: which pictures are copies of one another, also resized, re-compressed, flipped, turned or cropped.

A fingerprint a picture goes in; pairs come out. As is usual, a search by a perceptual hash (`copy_hashes`) lets too
many through, and comparisons confirm: of details (`copy_details`), and laid one upon the other (`copy_alignment`).
"""

# N pictures · D numbers of a hash · C cells · M members of a cell

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesion.check import copy_details
from lesion.check.copy_alignment import MIN_SIMILARITY, similarity
from lesion.check.copy_details import Details
from lesion.check.copy_hashes import (
    NUM_ORIENTATIONS,
    ROWS,
    WINDOWS,
    Field,
    common_of,
    hashes_of,
    waves_of,
    whitening_of,
)
from lesion.check.copy_hits import Hits
from lesion.check.fingerprints import AnyFingerprint

NUM_WAVES = 8  # the hash holds frequencies of up to 7 half waves across the picture
# The cosine of two hashes from which on two pictures are compared: unrelated ones reach 0.86 about once in 10⁴ pairs,
# 0.72 in 300, which a small set, by which the whitening is less sure, affords for the sake of the last copies.
MIN_LIKENESS, MIN_LIKENESS_OF_FEW, FEW = 0.86, 0.72, 1000
# The share of a thumbnail that differs by more than 0.7 grey levels from its nearest surroundings. Smooth shapes have
# less and are all alike; of photographs 1 in 100 has less than 0.41, or 0.34 once they are compressed.
MIN_DETAIL = 0.3
# From 8,500 pictures on hashes are sorted into cells of about 500, and what is alike is looked for in the nearest cells
# only. Of copies among 400,000 tiles that were cropped, turned and packed, 8 cells hold .922, 16 .980, 32 .998.
CELL_SIZE, NUM_CELLS = 500, 16
BLOCK = 512  # rows of hashes: a block of likenesses stays in the cache while it is looked through
NUM_SORTED = 64  # hashes a cell by which the cells are found; all of them would take the square of their number
NUM_ALIGNED = 10_000  # pairs at once


@dataclass(frozen=True)
class Pair:
    """Two pictures by their places in the list. The similarity is 1 for equal pixels, else the correlation."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    similarity: float


def find_duplicates(fingerprints: Sequence[AnyFingerprint], *, num_workers: int = 1) -> list[Pair]:
    """The pairs of copies, sorted, first < second.

    Pictures with equal pixels are each paired with the first of them, which represents them in the search for near
    copies. Below 8,500 pictures each is compared with each; from there on with the likeliest of them. Memory beside the
    fingerprints: about a kilobyte a picture.
    """
    first_of: dict[bytes, int] = {}
    pairs = []
    for index, print_ in enumerate(fingerprints):
        first = first_of.setdefault(print_.digest, index)
        if first != index:
            pairs.append(Pair(first, index, "exact", 1.0))
    kept = [index for index in sorted(first_of.values()) if _has_detail(fingerprints[index])]
    prints_N = [fingerprints[index] for index in kept]
    if len(kept) > 1:
        # Threads each with their own product, and not one product by all of them: the search for what is alike in it
        # takes as long.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(num_workers, 1)) as pool:
            hits, details = _hits(prints_N, pool), Details(prints_N, pool)
            hits.look_closer(partial(details.likeness, pool=pool), least=copy_details.MIN_LIKENESS)
            candidates = hits.pairs()
            while some := list(islice(candidates, NUM_ALIGNED)):
                similarities = pool.map(partial(similarity, prints_N), some)
                for (way, *_), found in zip(some, similarities, strict=True):
                    if found >= MIN_SIMILARITY:
                        first, second = sorted((kept[way.a], kept[way.b]))
                        pairs.append(Pair(first, second, "near", round(found, 4)))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _has_detail(print_: AnyFingerprint) -> bool:
    """Whether a picture has enough structure to be told from others."""
    thumbnail_TT = print_.thumbnail_TT.astype(np.float32)
    return bool((np.abs(thumbnail_TT - cv2.GaussianBlur(thumbnail_TT, (0, 0), 1.0)) > 0.7).mean() >= MIN_DETAIL)


def _hits(prints_N: Sequence[AnyFingerprint], pool: Executor) -> Hits:
    """The pairs that look alike in any window and orientation, and in which."""
    waves_NWW = waves_of(prints_N, WINDOWS[0], NUM_WAVES)
    common_WW = common_of(waves_NWW)
    whitening_DD = whitening_of(waves_NWW, common_WW)
    min_likeness = MIN_LIKENESS if len(prints_N) > FEW else MIN_LIKENESS_OF_FEW
    whole_ND = hashes_of(waves_NWW, 0, common_WW, whitening_DD)
    cells = _cells(whole_ND, pool)
    hits = Hits(len(prints_N))
    for number, window in enumerate(WINDOWS):
        if number:
            waves_NWW = waves_of(prints_N, window, NUM_WAVES)
            common_WW = common_of(waves_NWW)
        for orientation in range(NUM_ORIENTATIONS):
            part_ND = hashes_of(waves_NWW, orientation, common_WW, whitening_DD)
            search = partial(_alike, part_ND, whole_ND, min_likeness, is_whole=number == 0)
            found = [*pool.map(search, cells.rows_near(part_ND, pool), cells.members)]
            a_H, b_H, likeness_H = (np.concatenate(each) for each in zip(*found, strict=True))
            hits.add(a_H, b_H, likeness_H, way=NUM_ORIENTATIONS * number + orientation)
    return hits


@dataclass(frozen=True)
class Cells:
    """Hashes [N, D] clustered into cells [C]: similar pictures are searched in a few cells only (an inverted file)."""

    centres_CD: Field
    members: Sequence[NDArray[np.intp]]  # of each cell: the rows that are in it

    def rows_near(self, part_ND: Field, pool: Executor) -> list[NDArray[np.intp]]:
        """For each cell the rows of `part_ND` that may be like a member: it is one of the NUM_CELLS nearest to them."""
        num_cells = len(self.members)
        if num_cells <= NUM_CELLS:
            return [np.arange(len(part_ND))] * num_cells

        def nearest(block_RD: Field) -> NDArray[np.uint16]:
            likeness_RC = block_RD @ self.centres_CD.T
            return np.argpartition(likeness_RC, -NUM_CELLS, axis=1)[:, -NUM_CELLS:].astype(np.uint16)

        nearest_NC = np.concatenate([*pool.map(nearest, _blocks(part_ND))])
        return [places // NUM_CELLS for places in _places(nearest_NC.reshape(-1), num_cells)]


def _cells(whole_ND: Field, pool: Executor) -> Cells:
    num_cells = max(1, len(whole_ND) // CELL_SIZE)
    if (
        num_cells <= NUM_CELLS
    ):  # all are looked through, so it does not matter what is in which: a share for each thread
        return Cells(whole_ND[:0], np.array_split(np.arange(len(whole_ND)), num_cells))
    from scipy.cluster.vq import kmeans2  # type: ignore[import-untyped]

    some = np.random.default_rng(0).permutation(len(whole_ND))[: NUM_SORTED * num_cells]
    centres_CD, _ = kmeans2(whole_ND[np.sort(some)], num_cells, iter=10, minit="points", rng=0)
    half_C = (centres_CD**2).sum(axis=1) / 2

    def nearest(block_RD: Field) -> NDArray[np.uint16]:
        return np.asarray((block_RD @ centres_CD.T - half_C).argmax(axis=1), dtype=np.uint16)

    return Cells(centres_CD, _places(np.concatenate([*pool.map(nearest, _blocks(whole_ND))]), num_cells))


def _blocks(whole_ND: Field) -> list[Field]:
    return [whole_ND[start : start + ROWS] for start in range(0, len(whole_ND), ROWS)]


def _places(number_N: NDArray[np.uint16], num: int) -> list[NDArray[np.intp]]:
    """Where each of the numbers 0 to `num` − 1 stands, in order."""
    order_N = np.argsort(number_N, kind="stable")  # of 16 bits: by their digits, in a time that follows their number
    return np.split(order_N, np.cumsum(np.bincount(number_N, minlength=num))[:-1])


def _alike(
    part_ND: Field,
    whole_ND: Field,
    min_likeness: float,
    rows: NDArray[np.intp],
    members: NDArray[np.intp],
    *,
    is_whole: bool,
) -> tuple[NDArray[np.intp], NDArray[np.intp], Field]:
    """Which of these rows of `part_ND` are like which of these `members` of `whole_ND`, and how much.

    A whole picture is like another as the other is like it: once is enough.
    """
    a_parts, b_parts, likeness_parts = [rows[:0]], [rows[:0]], [whole_ND[:0, 0]]
    whole_MD = whole_ND[members]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        likeness = part_ND[block] @ whole_MD.T
        if likeness.size and likeness.max() >= min_likeness:
            a, b = np.nonzero(likeness >= min_likeness)
            is_new = block[a] < members[b] if is_whole else block[a] != members[b]
            a, b = a[is_new], b[is_new]
            a_parts.append(block[a])
            b_parts.append(members[b])
            likeness_parts.append(likeness[a, b])
    return np.concatenate(a_parts), np.concatenate(b_parts), np.concatenate(likeness_parts)
