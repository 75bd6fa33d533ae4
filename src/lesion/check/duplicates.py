"""Duplicates: which pictures are copies of one another, also resized, re-compressed, flipped, turned or cropped.

A fingerprint a picture goes in; pairs come out. Two steps, as is usual: a search by a perceptual hash (the low
frequencies of the picture, as pHash takes them) that lets too many through, and a comparison that confirms. The hash is
our own, since it is looked up under 8 orientations and 21 crops, and whitened by the set: a library that hashes one
picture at a time would take 168 calls a picture, and call all dermoscopy alike.
"""

# N pictures · T pixels of a side of a thumbnail · D numbers of a hash · C cells · M members of a cell

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesion.check.copy_hits import Hits, Way
from lesion.check.fingerprints import SIDE_PX, AnyFingerprint

NUM_WAVES = 8  # the hash holds frequencies of up to 7 half waves across the picture
# The cosine of two hashes from which on two pictures are compared: unrelated ones reach 0.86 about once in 10⁴ pairs,
# 0.72 in 300, which a small set, by which the whitening is less sure, affords for the sake of the last copies.
MIN_LIKENESS, MIN_LIKENESS_OF_FEW, FEW = 0.86, 0.72, 1000
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
ROWS = 1024  # of a set at once, wherever what is made of them is larger than a hash
NUM_SORTED = 64  # hashes a cell by which the cells are found; all of them would take the square of their number
NUM_ALIGNED = 10_000  # pairs at once
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
class Pair:
    """Two pictures by their places in the list. The similarity is 1 for equal pixels, else the correlation."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    similarity: float


def find_duplicates(fingerprints: Sequence[AnyFingerprint], *, num_workers: int = 1) -> list[Pair]:
    """The pairs of copies, sorted, first < second.

    Pictures with equal pixels are each paired with the first of them, which represents them in the search for near
    copies. Below 4,500 pictures each is compared with each; from there on with the likeliest of them. Memory beside the
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
            candidates = _hits(prints_N, pool).pairs()
            while some := list(islice(candidates, NUM_ALIGNED)):
                similarities = pool.map(partial(_similarity, prints_N), some)
                for (way, *_), similarity in zip(some, similarities, strict=True):
                    if similarity >= MIN_SIMILARITY:
                        first, second = sorted((kept[way.a], kept[way.b]))
                        pairs.append(Pair(first, second, "near", round(similarity, 4)))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _has_detail(print_: AnyFingerprint) -> bool:
    """Whether a picture has enough structure to be told from others."""
    thumbnail_TT = print_.thumbnail_TT.astype(np.float32)
    return bool((np.abs(thumbnail_TT - cv2.GaussianBlur(thumbnail_TT, (0, 0), 1.0)) > 0.7).mean() >= MIN_DETAIL)


def _hits(prints_N: Sequence[AnyFingerprint], pool: Executor) -> Hits:
    """The pairs that look alike in any window and orientation, and in which."""
    waves_NDD = _waves(prints_N, WINDOWS[0])
    whitening_DD = _whitening(waves_NDD)
    min_likeness = MIN_LIKENESS if len(prints_N) > FEW else MIN_LIKENESS_OF_FEW
    whole_ND = next(_hashes(waves_NDD, whitening_DD))
    cells = _cells(whole_ND, pool)
    hits = Hits(len(prints_N))
    for number, window in enumerate(WINDOWS):
        if number:
            waves_NDD = _waves(prints_N, window)
        for orientation, part_ND in enumerate(_hashes(waves_NDD, whitening_DD)):
            search = partial(_alike, part_ND, whole_ND, min_likeness, is_whole=number == 0)
            found = [*pool.map(search, cells.rows_near(part_ND, pool), cells.members)]
            a_H, b_H, likeness_H = (np.concatenate(each) for each in zip(*found, strict=True))
            hits.add(a_H, b_H, likeness_H, way=8 * number + orientation)
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


def _hashes(waves_NDD: Field, whitening_DD: Field) -> Iterator[Field]:
    """The hashes [N, D], vectors of length 1, of what these frequencies are of, in each of the 8 orientations."""
    mean_DD = _common(waves_NDD)
    for orientation in range(8):
        vectors_ND = np.empty((len(waves_NDD), NUM_WAVES**2 - 1), np.float32)
        for start in range(0, len(waves_NDD), ROWS):
            some = slice(start, start + ROWS)
            vectors_RD = _flat(_oriented(waves_NDD[some], orientation) - mean_DD) @ whitening_DD
            vectors_ND[some] = vectors_RD / (np.linalg.norm(vectors_RD, axis=1, keepdims=True) + 1e-9)
        yield vectors_ND


def _common(waves_NDD: Field) -> Field:
    """The mean frequencies [D, D] of the set in all orientations: what all pictures share proves nothing."""
    mean_1DD = waves_NDD.mean(axis=0, dtype=np.float64, keepdims=True)
    every = np.concatenate([_oriented(mean_1DD, orientation) for orientation in range(8)])
    return np.asarray(every.mean(axis=0) * len(waves_NDD) / (len(waves_NDD) + PRIOR), dtype=np.float32)


def _whitening(waves_NDD: Field) -> Field:
    """The matrix [D, D] after which the set's pictures, in all orientations, spread alike in every direction.

    Orientations stay what they are under it, since their mean spread is the same for each. A small set is helped by a
    usual picture, whose frequencies fall with the square of their wave number.
    """
    mean_DD, num = _common(waves_NDD), len(waves_NDD)
    spread_DD, square = np.zeros((NUM_WAVES**2 - 1,) * 2, np.float32), 0.0
    for orientation in range(8):
        for start in range(0, num, ROWS):
            centred_RD = _flat(_oriented(waves_NDD[start : start + ROWS], orientation) - mean_DD)
            spread_DD += centred_RD.T @ centred_RD / 8
            square += float((centred_RD**2).sum())
    waves = np.arange(NUM_WAVES)
    usual_D = (1.0 / (waves[:, None] ** 2 + waves**2 + 1e-9) ** 1.5).reshape(-1)[1:]
    usual_D *= max(square / (8 * num), 1.0) / usual_D.sum()
    spread_DD = (spread_DD + PRIOR * np.diag(usual_D)) / (num + PRIOR)
    scale_D = 1 / np.sqrt(np.diag(spread_DD))
    values_D, vectors_DD = np.linalg.eigh(spread_DD * scale_D * scale_D[:, None])
    # A tenth is added, so that directions in which nothing but noise differs are not blown up.
    return np.asarray(scale_D[:, None] * (vectors_DD / np.sqrt(values_D + 0.1)) @ vectors_DD.T, dtype=np.float32)


def _waves(prints_N: Sequence[AnyFingerprint], window: Window) -> Field:
    """The lowest frequencies [N, D, D] of a window of each thumbnail, by the cosine transform (DCT-II)."""
    top, left, height, width = window
    rows, columns = _cosines(top, height), _cosines(left, width)
    waves_NDD = np.empty((len(prints_N), NUM_WAVES, NUM_WAVES), np.float32)
    for start in range(0, len(prints_N), ROWS):
        some = slice(start, start + ROWS)
        thumbnails_RTT = np.array([print_.thumbnail_TT for print_ in prints_N[some]], dtype=np.float32)
        waves_NDD[some] = rows @ thumbnails_RTT @ columns.T
    return waves_NDD


def _cosines(start: float, length: float) -> Field:
    """The basis [D, T] over a part of the thumbnail, 0 outside; pixels at its ends count by their share."""
    edges = np.arange(SIDE_PX + 1) / SIDE_PX
    inside_T = np.clip(np.minimum(edges[1:], start + length) - np.maximum(edges[:-1], start), 0, None)
    middle_T = ((edges[1:] + edges[:-1]) / 2 - start) / length
    basis_DT = np.cos(np.pi * np.arange(NUM_WAVES)[:, None] * middle_T) * inside_T / length
    return np.asarray(basis_DT, dtype=np.float32)


def _oriented(waves_NDD: Field, orientation: int) -> Field:
    """The frequencies of the picture flipped and turned: mirrored, every odd one changes its sign."""
    signs_D = ((-1.0) ** np.arange(NUM_WAVES)).astype(waves_NDD.dtype)
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


def _similarity(prints_N: Sequence[AnyFingerprint], ways: Sequence[Way]) -> float:
    """The correlation, −1 to 1, of two pictures that are aligned in the best of these ways; 0 if none fits.

    The lesser of two: of the pictures, which textures that look alike do not reach, and of their texture, which
    pictures of one kind do not reach.
    """
    best = 0.0
    for way in ways:
        a_TT, b_TT = (prints_N[index].thumbnail_TT.astype(np.float32) for index in (way.a, way.b))
        a_TT, warp = _placed(a_TT, WINDOWS[way.window], way.orientation)
        match, warp = _moved(a_TT, b_TT, warp)
        if match >= MIN_MATCH:
            best = max(best, _aligned(a_TT, b_TT, warp))
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
