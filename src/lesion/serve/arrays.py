"""Arrays: the pictures in a NumPy file. No pickle is loaded, and no memory is allocated for what its header claims."""

# N pictures · H, W pixels · C channels

from __future__ import annotations

import io
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.serve.texts import bad_request

MAGIC = b"\x93NUMPY"
# By version; the third is the second with names of fields in UTF-8, and uint8 has none.
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}
# NumPy's header is Python's notation of a dictionary, and a broken one fails in as many ways.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError, RecursionError, TokenError)
SHAPES = "Send RGB in uint8 as [H, W, 3] or [N, H, W, 3], or grey as [H, W]"
# What turns values of another kind into those that are read, in the client's own words.
TO_UINT8 = {
    "b": "(255 * array).astype('uint8')",
    "f": "(255 * array).round().astype('uint8') of values from 0 to 1, array.astype('uint8') of values from 0 to 255",
    "u": "(array >> 8).astype('uint8') of 16 bits, array.astype('uint8') of values from 0 to 255",
    "i": "array.astype('uint8') of values from 0 to 255",
}


def pictures(body: bytes) -> Pixels:
    """The pictures [N, H, W, 1 or 3] in a file of uint8 [H, W], [H, W, 1 or 3] or [N, H, W, 1 or 3]; a view of `body`.

    Raises UserError of kind `bad_request` for anything else, also if the number of bytes does not match the shape.
    """
    sent = _array(body)
    array = sent[:, :, None] if sent.ndim == 2 else sent
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in {1, 3} or not array.size:
        raise _no_pictures(sent.shape)
    return array


def _array(body: bytes) -> NDArray[np.uint8]:
    file = io.BytesIO(body)
    try:
        shape, is_fortran, dtype = HEADER_READERS[np.lib.format.read_magic(file)](file)
    except (KeyError, *HEADER_ERRORS) as error:  # KeyError: an unknown version
        raise bad_request(
            "not a NumPy array: its header cannot be read", "Send numpy.save's file, not savez's."
        ) from error
    if dtype != np.uint8:
        raise _other_values(dtype)
    try:
        if min(shape, default=1) < 0:  # reshape would work out a -1 by itself
            raise ValueError
        return np.frombuffer(body, np.uint8, offset=file.tell()).reshape(shape, order="F" if is_fortran else "C")
    except HEADER_ERRORS as error:
        what = f"the NumPy array is incomplete: its {len(body) - file.tell()} values are not those of {_text(shape)}"
        raise bad_request(what, "Send numpy.save's file.") from error


def _other_values(dtype: np.dtype[Any]) -> Exception:
    what = f"the array holds {str(dtype)[:40]}, but only uint8 RGB or grey from 0 to 255 is supported"
    if (convert := TO_UINT8.get(dtype.kind)) is None:
        return bad_request(what, f"{SHAPES}.")
    return bad_request(what, f"Send {convert}.")


def _no_pictures(shape: tuple[int, ...]) -> Exception:
    what = f"an array of shape {_text(shape)} holds no images"
    if len(shape) == 1:
        return bad_request(what, f"{SHAPES}; or an image's file as it is, as image/png.")
    if len(shape) in {3, 4} and shape[-3] in {1, 3}:
        order = ", ".join(map(str, {3: (1, 2, 0), 4: (0, 2, 3, 1)}[len(shape)]))
        return bad_request(f"{what}: its channels come first", f"Send array.transpose({order}).")
    if len(shape) in {3, 4} and shape[-1] == 4:
        return bad_request(f"{what}: it has four channels", "Send array[..., :3], without the transparency.")
    return bad_request(what, f"{SHAPES}.")


def _text(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape[:6]))}{', …' * (len(shape) > 6)}]"[:80]
