"""TIFF channels: which samples of a pixel are colours, which one is alpha, and which are neither.

A fluorescence microscope or a multispectral camera writes further channels behind the first, and readers show the first
three as if they were the picture. What further samples are, the tag ExtraSamples says (TIFF 6.0, section 18).
"""

from __future__ import annotations

from collections.abc import Sequence

from lesion.data.decode import frames
from lesion.data.decode.formats import NotRead

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
# How many samples the colour itself has.
NUM_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2  # alpha: the colours are multiplied with it already, or are to be
NAMES = {UNSPECIFIED: "unspecified", ASSOCIATED: "associated alpha", UNASSOCIATED: "unassociated alpha"}
SAVE_CHANNELS = "Save the three channels that are meant as RGB, or one of them as grey, in the same way for all images."


def has_alpha(photometric: int, num_samples: int, extras: Sequence[int]) -> bool:
    """Whether the sample behind the colours is an alpha that is yet to be applied; `extras` is the tag ExtraSamples.

    One further channel beside RGB or CMYK is noted, since the colours are known without it. Raises NotRead for
    channels beside grey, for several, and for inks with alpha.
    """
    num_colours = NUM_COLOURS[photometric]
    kinds = list(extras[: num_samples - num_colours]) if num_samples > num_colours else []
    if not kinds and photometric == RGB and num_samples == num_colours + 1:
        kinds = [UNASSOCIATED]  # many programs write RGBA so, and libtiff takes it for that
    kinds += [UNSPECIFIED] * (num_samples - num_colours - len(kinds))
    others = [kind for kind in kinds if kind not in {ASSOCIATED, UNASSOCIATED}]
    said = f"(ExtraSamples: {', '.join(NAMES.get(kind, str(kind)) for kind in extras) or 'not stated'})"
    if others and num_colours == 1:
        raise NotRead(f"a TIFF of {num_samples} grey channels, which are no colours {said}", SAVE_CHANNELS)
    if len(others) > 1:
        what = f"a TIFF of {num_samples} channels, of which {len(others)} are neither colour nor alpha {said}"
        raise NotRead(what, SAVE_CHANNELS)
    if len(kinds) > 1 and kinds[0] not in {ASSOCIATED, UNASSOCIATED}:
        raise NotRead(f"a TIFF whose alpha is not the first channel behind its colours {said}", SAVE_CHANNELS)
    if photometric == CMYK and UNASSOCIATED in kinds:
        raise NotRead(f"a TIFF of CMYK with transparency {said}", "Save it as RGB or CMYK without transparency.")
    if others:
        frames.note_channels()
    return UNASSOCIATED in kinds[:1]
