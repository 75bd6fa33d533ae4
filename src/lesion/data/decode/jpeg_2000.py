"""JPEG 2000 of other than 8 bits a sample, in 8 bits: Pillow reads grey of 9 to 16 bits right, and no others.

Where it shortens samples of colours it rounds up past 255, so that white becomes black; and it does not spread fewer
than 8 bits over all of 0 to 255 (Pillow 13.0, seen by docs/decisions/0037).
"""

# H, W pixels · C samples of a pixel

from __future__ import annotations

from PIL import Image

from lesion.data.decode import samples
from lesion.data.decode.codestreams import JP2, SOC
from lesion.data.decode.formats import NotRead

COMPONENTS_AT, COMPONENT_BYTES = 40, 3  # from the start of a codestream: their number is before (T.800, A.5.1)
SAMPLE_COPIES_BYTES = 7  # in 32 bits as OpenJPEG has them, in 16, and in 8


def is_other_depth(content: bytes) -> bool:
    """Whether Pillow shows this file wrong."""
    bits_C = component_bits(content)
    return bool(bits_C) and (min(bits_C) < 8 or (len(bits_C) > 1 and max(bits_C) > 8))


def component_bits(content: bytes) -> tuple[int, ...]:
    """Bits of a sample of each component, of a JPEG 2000; none of any other file."""
    start = content.find(SOC) if content.startswith((SOC, JP2)) else -1
    if start < 0:
        return ()
    count = int.from_bytes(content[start + COMPONENTS_AT : start + COMPONENTS_AT + 2])
    first = start + COMPONENTS_AT + 2
    # The highest bit says whether there is a sign, the others one bit fewer than there are.
    return tuple((byte & 0x7F) + 1 for byte in content[first : first + COMPONENT_BYTES * count : COMPONENT_BYTES])


def copies_bytes(content: bytes, *, num_pixels: int) -> int:
    """The memory that `pixels` takes of a file of other depth, once what Pillow decoded with is given back; else 0."""
    return SAMPLE_COPIES_BYTES * len(component_bits(content)) * num_pixels if is_other_depth(content) else 0


def pixels(content: bytes, *, num_pixels: int) -> Image.Image:
    """The picture as L, LA, RGB or RGBA; more bits keep the upper eight, fewer are spread over 0 to 255.

    To be called after Pillow has read the file, which refuses one that is cut; `num_pixels` is its size.
    Raises NotRead where components differ in depth, or are none of these.
    """
    import imagecodecs  # here: most jobs meet none

    bits_C = component_bits(content)
    if len(set(bits_C)) > 1:
        raise NotRead(f"JPEG 2000 with components of {', '.join(map(str, bits_C))} bits", "Save it as PNG.")
    levels = imagecodecs.jpeg2k_decode(content, numthreads=1)
    if levels.dtype.kind != "u" or levels.ndim > 3 or levels.shape[0] * levels.shape[1] != num_pixels:
        raise NotRead(f"JPEG 2000 of {bits_C[0]} bits with a sign, or of no usual colours", "Save it as PNG.")
    return samples.picture(samples.eight_bits(levels, bits_C[0]))
