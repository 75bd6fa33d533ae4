"""Arrays: a NumPy file to the pictures in it. Nothing in it is run, and nothing is allocated for what it claims."""

# N pictures · H, W pixels

from __future__ import annotations

import io
from tokenize import TokenError

import numpy as np

from lesion.data.images import Pixels
from lesion.serve.texts import bad_request

# By version; the third is the second with names of fields in UTF-8, and uint8 has none.
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}
# NumPy's header is Python's notation of a dictionary, and a broken one fails in as many ways.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError, RecursionError, TokenError)


def pictures(body: bytes) -> list[Pixels]:
    """The pictures [H, W, 1 or 3] in a file of uint8 [H, W], [H, W, 1 or 3] or [N, H, W, 1 or 3]; views of `body`.

    Raises UserError of kind `bad_request` for anything else, also where the bytes are not as many as the shape says.
    """
    file = io.BytesIO(body)
    try:
        shape, is_fortran, kind = HEADER_READERS[np.lib.format.read_magic(file)](file)
        flat = np.frombuffer(body, np.uint8, offset=file.tell())
        if kind != np.uint8 or min(shape, default=1) < 0:  # reshape would work out a -1 by itself
            raise ValueError
        array = flat.reshape(shape, order="F" if is_fortran else "C")
    except (KeyError, *HEADER_ERRORS) as error:  # KeyError: an unknown version
        raise bad_request("not a NumPy array of uint8 with all its bytes", "Send numpy.save's file.") from error
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[3] not in {1, 3} or not array.size:
        raise bad_request("an array of this shape holds no pictures", "Send [H, W, 3] or [N, H, W, 3].")
    return list(array)
