"""Copy alignment: whether one of two pictures is a copy of the other, by laying one upon the other."""

# N pictures · T pixels of a side of a thumbnail

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lesion.check.copy_hashes import WINDOWS, Field, Window
from lesion.check.copy_hits import Way
from lesion.check.fingerprints import SIDE_PX, AnyFingerprint

MIN_MATCH = 0.6  # of their texture, moved by whole pixels: copies have 0.67 and more, nine in ten others less
REACH_PX = 4  # how far it is moved
MIN_SIMILARITY = 0.72  # correlation of the aligned pictures, and of their texture, from which on they are copies
# Different pictures may agree along their strongest edges, of a lens or a lesion; copies agree everywhere. So the
# texture of each tile is correlated separately, and a quarter of the tiles at the most may be below this. Nearly all of
# 3,700 copies of photographs, JPEG 30 and crops among them, have 0.4 there and more; of 5,200 pairs of drawn discs that
# all else took for copies 99 in 100 have less.
TILE_PX, MIN_TILE_SIMILARITY = 8, 0.25


def similarity(prints_N: Sequence[AnyFingerprint], ways: Sequence[Way]) -> float:
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


def _texture(thumbnail_TT: Field) -> Field:
    """Fine detail, as strong everywhere: the edge of a lens or a lesion, which many pictures have alike, counts no more
    than the skin. One grey level, noise, is not made strong."""
    fine_TT = thumbnail_TT - cv2.GaussianBlur(thumbnail_TT, (0, 0), 2.0)
    strength_TT = np.sqrt(cv2.GaussianBlur(fine_TT**2, (0, 0), 4.0))
    return np.asarray(fine_TT / (strength_TT + 1.2), dtype=np.float32)


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
