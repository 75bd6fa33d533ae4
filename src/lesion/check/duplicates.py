"""Duplicates: which pictures are copies of one another, also resized, re-compressed, flipped, turned or cropped.

A fingerprint a picture goes in; pairs come out. Two steps, as is usual: a search by a perceptual hash (the low
frequencies of the picture, as pHash takes them) that lets too many through, and a comparison that confirms. The hash is
our own, since it is looked up under 8 orientations and 21 crops, and whitened by the set: a library that hashes one
picture at a time would take 168 calls a picture, and call all dermoscopy alike.
"""

# N pictures · T pixels of a side of a thumbnail · D numbers of a hash · C cells · M members of a cell

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesion.data.decode.images import Pixels

SIDE_PX = 64  # of a thumbnail: the detail that the confirming comparison sees
NUM_WAVES = 8  # the hash holds frequencies of up to 7 half waves across the picture
# The cosine of two hashes from which on two pictures are compared: unrelated ones reach 0.86 about once in 10⁴ pairs,
# 0.72 in 300, which a small set, by which the whitening is less sure, affords for the sake of the last copies.
MIN_LIKENESS, MIN_LIKENESS_OF_FEW, FEW = 0.86, 0.72, 1000
NUM_TRIED = 3  # of the ways in which two pictures look alike, the likeliest
MIN_MATCH = 0.6  # of their texture, moved by whole pixels: copies have 0.67 and more, nine in ten others less
REACH_PX = 4  # how far it is moved
MIN_SIMILARITY = 0.72  # correlation of the aligned pictures, and of their texture, from which on they are copies
# Different pictures may agree along their strongest edges, of a lens or a lesion; copies agree everywhere. So the
# texture of each tile is correlated separately, and a quarter of the tiles at the most may be below this. Nearly all of
# 3,700 copies of photographs, JPEG 30 and crops among them, have 0.4 there and more; of 5,200 pairs of drawn discs that
# all else took for copies 99 in 100 have less.
TILE_PX, MIN_TILE_SIMILARITY = 8, 0.25
# The share of a thumbnail that differs by more than 0.7 grey levels from its nearest surroundings. Smooth shapes have
# less and are all alike; of photographs 1 in 100 has less than 0.41, or 0.34 once they are compressed.
MIN_DETAIL = 0.3
PRIOR = 200  # how many pictures' worth of say a usual picture has in what is common to the set
# From 4,500 pictures on hashes are sorted into cells of about 500, and what is alike is looked for in the
# nearest cells only: a copy is so near that it is in one of them.
CELL_SIZE, NUM_CELLS = 500, 8
BLOCK = 512  # rows of hashes: a block of likenesses stays in the cache while it is looked through
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


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a picture to compare it, 4 KB: the pixels' digest, and the picture squeezed to a grey square."""

    digest: bytes
    thumbnail_TT: NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """Two pictures by their places in the list. The similarity is 1 for equal pixels, else the correlation."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    similarity: float


def fingerprint(image_HWC: Pixels) -> Fingerprint:
    """The fingerprint of a picture's pixels."""
    digest = hashlib.blake2b(repr(image_HWC.shape).encode() + image_HWC.tobytes(), digest_size=16).digest()
    # Squeezed before it is grey: the large picture is walked through once. Area, so that fine detail does not alias.
    small = cv2.resize(image_HWC, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return Fingerprint(digest, np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8))


@dataclass(frozen=True)
class Candidate:
    """Picture b looks, by its hash, like that window of picture a, turned so."""

    a: int
    b: int
    window: Window
    orientation: int
    likeness: float


def find_duplicates(fingerprints: Sequence[Fingerprint], *, num_workers: int = 1) -> list[Pair]:
    """The pairs of copies, sorted, first < second.

    Pictures with equal pixels are each paired with the first of them, which represents them in the search for near
    copies. Below 4,500 pictures each is compared with each; from there on with the likeliest of them.
    """
    first_of: dict[bytes, int] = {}
    pairs = []
    for index, print_ in enumerate(fingerprints):
        first = first_of.setdefault(print_.digest, index)
        if first != index:
            pairs.append(Pair(first, index, "exact", 1.0))
    kept = np.array([index for index in sorted(first_of.values()) if _has_detail(fingerprints[index])], dtype=np.intp)
    thumbnails_NTT = np.array([fingerprints[index].thumbnail_TT for index in kept.tolist()], dtype=np.float32)
    if len(kept) > 1:
        # Threads each with their own product, and not one product by all of them: the search for what is alike in it
        # takes as long.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(num_workers, 1)) as pool:
            found = _candidates(thumbnails_NTT, pool)
            similarities = pool.map(lambda pair: _similarity(thumbnails_NTT, found[pair]), found)
            pairs += [
                Pair(int(kept[a]), int(kept[b]), "near", round(similarity, 4))
                for (a, b), similarity in zip(found, similarities, strict=True)
                if similarity >= MIN_SIMILARITY
            ]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _has_detail(print_: Fingerprint) -> bool:
    """Whether a picture has enough structure to be told from others."""
    thumbnail_TT = print_.thumbnail_TT.astype(np.float32)
    return bool((np.abs(thumbnail_TT - cv2.GaussianBlur(thumbnail_TT, (0, 0), 1.0)) > 0.7).mean() >= MIN_DETAIL)


def _candidates(thumbnails_NTT: Field, pool: Executor) -> dict[tuple[int, int], list[Candidate]]:
    """For each pair, a < b, that looks alike in any window and orientation the likeliest ways, the first first."""
    whitening_DD = _whitening(_waves(thumbnails_NTT, WINDOWS[0]))
    min_likeness = MIN_LIKENESS if len(thumbnails_NTT) > FEW else MIN_LIKENESS_OF_FEW
    whole_ND = next(_hashes(thumbnails_NTT, WINDOWS[0], whitening_DD))
    cells = _cells(whole_ND)
    found: dict[tuple[int, int], list[Candidate]] = defaultdict(list)
    for window in WINDOWS:
        for orientation, part_ND in enumerate(_hashes(thumbnails_NTT, window, whitening_DD)):
            search = partial(_alike, part_ND, whole_ND, min_likeness)
            for hits in pool.map(search, cells.rows_near(part_ND), cells.members):
                for a, b, likeness in hits:
                    # A whole picture is like another as the other is like it: once is enough.
                    if a < b or (a > b and window != WINDOWS[0]):
                        ways = found[min(a, b), max(a, b)]
                        ways.append(Candidate(a, b, window, orientation, likeness))
                        ways.sort(key=lambda way: -way.likeness)
                        del ways[NUM_TRIED:]
    return found


@dataclass(frozen=True)
class Cells:
    """Hashes [N, D] clustered into cells [C]: similar pictures are searched in a few cells only (an inverted file)."""

    centres_CD: Field
    members: Sequence[NDArray[np.intp]]  # of each cell: the rows that are in it

    def rows_near(self, part_ND: Field) -> list[NDArray[np.intp]]:
        """For each cell the rows of `part_ND` that may be like a member: it is one of the NUM_CELLS nearest to them."""
        num_cells = len(self.members)
        if num_cells <= NUM_CELLS:
            return [np.arange(len(part_ND))] * num_cells
        nearest_NC = np.argpartition(-(part_ND @ self.centres_CD.T), NUM_CELLS, axis=1)[:, :NUM_CELLS]
        row_M, cell_M = np.repeat(np.arange(len(part_ND)), NUM_CELLS), nearest_NC.reshape(-1)
        order_M = np.argsort(cell_M, kind="stable")
        return np.split(row_M[order_M], np.cumsum(np.bincount(cell_M, minlength=num_cells))[:-1])


def _cells(whole_ND: Field) -> Cells:
    num_cells = max(1, len(whole_ND) // CELL_SIZE)
    if (
        num_cells <= NUM_CELLS
    ):  # all are looked through, so it does not matter what is in which: a share for each thread
        return Cells(whole_ND[:0], np.array_split(np.arange(len(whole_ND)), num_cells))
    from scipy.cluster.vq import kmeans2  # type: ignore[import-untyped]

    centres_CD, cell_N = kmeans2(whole_ND, num_cells, iter=10, minit="points", rng=0)
    return Cells(centres_CD, [np.flatnonzero(cell_N == cell) for cell in range(num_cells)])


def _alike(
    part_ND: Field, whole_ND: Field, min_likeness: float, rows: NDArray[np.intp], members: NDArray[np.intp]
) -> list[tuple[int, int, float]]:
    """Which of these rows of `part_ND` are like which of these `members` of `whole_ND`, and how much."""
    hits = []
    whole_MD = whole_ND[members]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        likeness = part_ND[block] @ whole_MD.T
        if likeness.size and likeness.max() >= min_likeness:
            for a, b in zip(*np.nonzero(likeness >= min_likeness), strict=True):
                hits.append((int(block[a]), int(members[b]), float(likeness[a, b])))
    return hits


def _hashes(thumbnails_NTT: Field, window: Window, whitening_DD: Field) -> Iterator[Field]:
    """The hashes [N, D], vectors of length 1, of a window of each thumbnail in each of the 8 orientations."""
    waves_NDD = _waves(thumbnails_NTT, window)
    mean_DD = _common(waves_NDD)
    for orientation in range(8):
        vectors_ND = _flat(_oriented(waves_NDD, orientation) - mean_DD) @ whitening_DD
        length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True) + 1e-9
        yield np.asarray(vectors_ND / length_N1, dtype=np.float32)


def _common(waves_NDD: Field) -> Field:
    """The mean frequencies [D, D] of the set in all orientations: what all pictures share proves nothing."""
    every = [_oriented(waves_NDD, orientation).mean(axis=0) for orientation in range(8)]
    return np.asarray(np.mean(every, axis=0) * len(waves_NDD) / (len(waves_NDD) + PRIOR), dtype=np.float32)


def _whitening(waves_NDD: Field) -> Field:
    """The matrix [D, D] after which the set's pictures, in all orientations, spread alike in every direction.

    Orientations stay what they are under it, since their mean spread is the same for each. A small set is helped by a
    usual picture, whose frequencies fall with the square of their wave number.
    """
    centred_ND = _flat(np.concatenate([_oriented(waves_NDD, n) for n in range(8)]) - _common(waves_NDD))
    num = len(waves_NDD)
    waves = np.arange(NUM_WAVES)
    usual_D = (1.0 / (waves[:, None] ** 2 + waves**2 + 1e-9) ** 1.5).reshape(-1)[1:]
    usual_D *= max(float((centred_ND**2).sum(axis=1).mean()), 1.0) / usual_D.sum()
    spread_DD = centred_ND.T @ centred_ND / 8
    spread_DD = (spread_DD + PRIOR * np.diag(usual_D)) / (num + PRIOR)
    scale_D = 1 / np.sqrt(np.diag(spread_DD))
    values_D, vectors_DD = np.linalg.eigh(spread_DD * scale_D * scale_D[:, None])
    # A tenth is added, so that directions in which nothing but noise differs are not blown up.
    return np.asarray(scale_D[:, None] * (vectors_DD / np.sqrt(values_D + 0.1)) @ vectors_DD.T, dtype=np.float32)


def _waves(thumbnails_NTT: Field, window: Window) -> Field:
    """The lowest frequencies [N, D, D] of a window of each thumbnail, by the cosine transform (DCT-II)."""
    top, left, height, width = window
    rows, columns = _cosines(top, height), _cosines(left, width)
    return np.asarray(np.einsum("dt,ntu,eu->nde", rows, thumbnails_NTT, columns, optimize=True), dtype=np.float32)


def _cosines(start: float, length: float) -> Field:
    """The basis [D, T] over a part of the thumbnail, 0 outside; pixels at its ends count by their share."""
    edges = np.arange(SIDE_PX + 1) / SIDE_PX
    inside_T = np.clip(np.minimum(edges[1:], start + length) - np.maximum(edges[:-1], start), 0, None)
    middle_T = ((edges[1:] + edges[:-1]) / 2 - start) / length
    basis_DT = np.cos(np.pi * np.arange(NUM_WAVES)[:, None] * middle_T) * inside_T / length
    return np.asarray(basis_DT, dtype=np.float32)


def _oriented(waves_NDD: Field, orientation: int) -> Field:
    """The frequencies of the picture flipped and turned: mirrored, every odd one changes its sign."""
    signs_D = (-1.0) ** np.arange(NUM_WAVES)
    if orientation & 1:
        waves_NDD = waves_NDD * signs_D
    if orientation & 2:
        waves_NDD = waves_NDD * signs_D[:, None]
    return waves_NDD.transpose(0, 2, 1) if orientation & 4 else waves_NDD


def _flat(waves_NDD: Field) -> Field:
    """Vectors [N, D] without the mean brightness."""
    return waves_NDD.reshape(len(waves_NDD), -1)[:, 1:]


def _texture(thumbnail_TT: Field) -> Field:
    """Fine detail, as strong everywhere: the edge of a lens or a lesion, which many pictures have alike, counts no more
    than the skin. One grey level, noise, is not made strong."""
    fine_TT = thumbnail_TT - cv2.GaussianBlur(thumbnail_TT, (0, 0), 2.0)
    strength_TT = np.sqrt(cv2.GaussianBlur(fine_TT**2, (0, 0), 4.0))
    return np.asarray(fine_TT / (strength_TT + 1.2), dtype=np.float32)


def _similarity(thumbnails_NTT: Field, ways: Sequence[Candidate]) -> float:
    """The correlation, −1 to 1, of two pictures that are aligned in the best of these ways; 0 if none fits.

    The lesser of two: of the pictures, which textures that look alike do not reach, and of their texture, which
    pictures of one kind do not reach.
    """
    best = 0.0
    for way in ways:
        a_TT, warp = _placed(thumbnails_NTT[way.a], way.window, way.orientation)
        match, warp = _moved(a_TT, thumbnails_NTT[way.b], warp)
        if match >= MIN_MATCH:
            best = max(best, _aligned(a_TT, thumbnails_NTT[way.b], warp))
        if best >= MIN_SIMILARITY:
            break
    return best


def _aligned(a_TT: Field, b_TT: Field, warp: Field) -> float:
    """The lesser correlation after `warp`, from a pixel of b to one of a, was bettered; 0 where that fails."""
    a_texture, b_texture = _texture(a_TT), _texture(b_TT)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:  # Evangelidis & Psarakis 2008
        _, warp = cv2.findTransformECC(b_texture, a_texture, warp, cv2.MOTION_AFFINE, stop, None, 3)
    except cv2.error:  # it did not converge
        return 0.0
    is_crop = np.abs([warp[0, 1], warp[1, 0]]).max() < 0.1 and 0.7 < warp[0, 0] < 1.1 and 0.7 < warp[1, 1] < 1.1
    inside_TT = _fitted(np.ones_like(a_TT), warp) > 0.99
    if not is_crop or inside_TT.mean() < 0.9:
        return 0.0
    a_TT, a_texture = _fitted(a_TT, warp), _fitted(a_texture, warp)
    if np.quantile(_tile_similarities(a_texture, b_texture), 0.25) < MIN_TILE_SIMILARITY:
        return 0.0
    pairs = ((a_TT, b_TT), (a_texture, b_texture))
    return float(min(np.corrcoef(a[inside_TT], b[inside_TT])[0, 1] for a, b in pairs))


def _tile_similarities(a_TT: Field, b_TT: Field) -> Field:
    """The correlation in each tile; 0 where one of the two has none of the detail that it could agree in."""
    side = SIDE_PX // TILE_PX
    tiles = [
        field_TT.reshape(side, TILE_PX, side, TILE_PX).transpose(0, 2, 1, 3).reshape(side**2, -1)
        for field_TT in (a_TT, b_TT)
    ]
    a_NT, b_NT = (tile_NT - tile_NT.mean(axis=1, keepdims=True) for tile_NT in tiles)
    scale_N = np.sqrt((a_NT**2).sum(axis=1) * (b_NT**2).sum(axis=1))
    return np.asarray((a_NT * b_NT).sum(axis=1) / np.maximum(scale_N, 1e-2), dtype=np.float32)


def _placed(thumbnail_TT: Field, window: Window, orientation: int) -> tuple[Field, Field]:
    """A thumbnail, turned, and the map [2, 3] from a pixel of its window, squeezed as the other is, to one of it."""
    top, left, height, width = window
    if orientation & 1:
        thumbnail_TT, left = thumbnail_TT[:, ::-1], 1 - left - width
    if orientation & 2:
        thumbnail_TT, top = thumbnail_TT[::-1], 1 - top - height
    if orientation & 4:
        thumbnail_TT, top, left, height, width = thumbnail_TT.T, left, top, width, height
    rows = [[width, 0, left * SIDE_PX + (width - 1) / 2], [0, height, top * SIDE_PX + (height - 1) / 2]]
    return np.ascontiguousarray(thumbnail_TT), np.array(rows, np.float32)  # centres of pixels lie at halves


def _moved(a_TT: Field, b_TT: Field, warp: Field) -> tuple[float, Field]:
    """The best correlation of two textures of middling fineness over moves by up to REACH_PX, and the moved warp."""
    a_TT, b_TT = _middling(_fitted(a_TT, warp)), _middling(b_TT)
    inner = np.ascontiguousarray(b_TT[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX])
    match_YX = cv2.matchTemplate(a_TT, inner, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(match_YX.argmax(), match_YX.shape)
    move = warp[:, :2] @ np.array([x - REACH_PX, y - REACH_PX], np.float32)
    return float(match_YX[y, x]), np.asarray(np.column_stack([warp[:, :2], warp[:, 2] + move]), dtype=np.float32)


def _middling(thumbnail_TT: Field) -> Field:
    band_TT = cv2.GaussianBlur(thumbnail_TT, (0, 0), 1.0) - cv2.GaussianBlur(thumbnail_TT, (0, 0), 3.0)
    return np.asarray(band_TT / (np.sqrt(cv2.GaussianBlur(band_TT**2, (0, 0), 5.0)) + 1.0), dtype=np.float32)


def _fitted(field_TT: Field, warp: Field) -> Field:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(field_TT, warp, (SIDE_PX, SIDE_PX), flags=flags), dtype=np.float32)
