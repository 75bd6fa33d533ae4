"""Forms: the body of multipart/form-data to its parts, each with its name and bytes. Knows no picture, no metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

from lesion.data.decode.memory import ReserveBytes
from lesion.serve.texts import TEXT_COPIES, bad_request, base64_bytes, quoted, reserve_nothing

MAX_PARTS = 1000
MAX_HEADERS = 20  # of one part
MAX_HEADER_BYTES = 2**14  # of one part, its names and values
MAX_TEXT_BYTES = 2**20  # of all parts that are not the picture
PIECE_BYTES = 2**16  # of the body, taken apart at once
CHARSETS = {"utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"}
SEND = "Send multipart/form-data whole, with its boundary."


@dataclass(frozen=True)
class Part:
    """One part of a form. It is a file if it has a file name or the content type of an image."""

    name: str
    is_file: bool
    charset: str
    content: bytes

    def text(self) -> str:
        """Its content in the character set that it names. Raises UserError of kind `bad_request`."""
        if self.charset not in CHARSETS:
            raise bad_request(f"field {quoted(self.name)} is in {quoted(self.charset)}", "Send it in UTF-8.")
        try:
            return self.content.decode("utf-8-sig" if self.charset == "utf-8" else self.charset)
        except UnicodeDecodeError as error:
            raise bad_request(f"field {quoted(self.name)} is not {self.charset}", "Send it in UTF-8.") from error


def parts(body: bytes, parameters: Mapping[str, str], reserve_bytes: ReserveBytes = reserve_nothing) -> list[Part]:
    """All parts of a form, except empty file fields of a browser. Raises UserError of kind `bad_request`, and what
    `reserve_bytes` raises, which reserves the memory that they take.

    By werkzeug's decoder; its form parser would take a picture without a file's name for text.
    """
    try:
        boundary = parameters.get("boundary", "").encode("ascii")
        if not boundary:
            raise bad_request("the form's Content-Type names no boundary", SEND)
        reserve_bytes(len(body) + len(body) // 8)  # the parts; what they grow in has an eighth to spare
        return _parts(body, MultipartDecoder(boundary, max_parts=MAX_PARTS), reserve_bytes)
    except HTTPException as error:
        raise bad_request(f"the form has more than {MAX_PARTS} parts", "Send fewer.") from error
    except ValueError as error:
        raise bad_request("the form cannot be read", SEND) from error


def _parts(body: bytes, decoder: MultipartDecoder, reserve_bytes: ReserveBytes) -> list[Part]:
    found: list[Part | None] = []
    head: Field | File | None = None
    content = io.BytesIO()
    pieces = memoryview(body)
    for start in range(0, len(body) + PIECE_BYTES, PIECE_BYTES):
        piece = pieces[start : start + PIECE_BYTES]
        decoder.receive_data(bytes(piece) if len(piece) else None)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            if isinstance(event, Field | File):
                head, content = event, io.BytesIO()
                if len(event.headers) > MAX_HEADERS:
                    raise bad_request(f"a part of the form has more than {MAX_HEADERS} headers", "Send fewer.")
            elif isinstance(event, Data):
                content.write(event.data)
                if not event.more_data and head is not None:
                    found.append(_part(head, content.getvalue(), reserve_bytes))  # which does not copy
        if decoder.state is State.PART and len(decoder.buffer) > MAX_HEADER_BYTES:
            raise bad_request(f"a part's headers are longer than {MAX_HEADER_BYTES} bytes", "Send shorter ones.")
    return [part for part in found if part is not None]


def _part(head: Field | File, content: bytes, reserve_bytes: ReserveBytes) -> Part | None:
    filename = head.filename if isinstance(head, File) else None
    if filename == "" and not content:
        return None
    if head.name is None:
        raise bad_request("a part of the form has no name", "Name each part; the image is 'image'.")
    kind, parameters = parse_options_header(head.headers.get("content-type"))
    encoding = head.headers.get("content-transfer-encoding", "binary").strip().lower()
    if encoding == "base64":
        reserve_bytes((2 + TEXT_COPIES) * len(content))
        content = base64_bytes(content.decode("latin-1"), f"part {quoted(head.name)}")
    elif encoding not in {"binary", "7bit", "8bit"}:
        what = f"part {quoted(head.name)} is sent as {quoted(encoding)}"
        raise bad_request(what, "Send it as it is, without a Content-Transfer-Encoding.")
    is_picture = kind.startswith("image/") or kind in {"application/octet-stream", "application/dicom"}
    return Part(
        head.name, filename is not None or is_picture, parameters.get("charset", "utf-8").strip().lower(), content
    )
