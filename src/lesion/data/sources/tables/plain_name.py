"""Plain name: a column's name as names are compared."""

from __future__ import annotations

import re
import unicodedata


def plain(name: object) -> str:
    """A name as names are compared: without capitals and outer blanks, and with _ for inner blanks and hyphens."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", str(name)).strip().casefold())
