"""Names of members of archives: as characters, as addresses, and which are junk."""

import hashlib
import re
from urllib.parse import quote

_UNSAFE = re.compile(
    r"[%!\x00-\x1f\x7f-\x9f\ud800-\udfff]|#(?=[0-9]+\Z)|(?:(?<=\Aline)|(?<=\Arow)|(?<=\Aoffset)|(?<=\Afrom))="
)
"""What addresses use themselves (a member may be called `offset=512`), what nobody sees, and what can't be stored."""

_JUNK_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"}
"""What Finder and Explorer leave in folders."""


class Addresses:
    """Addresses of members in an archive, each given once. Takes about 100 bytes of memory for each member."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.has_duplicates = False

    def of(self, path: str) -> str:
        """The path, `%` and `!` and what can't be printed percent-encoded; `…#2` for a second member of that path."""
        address = _UNSAFE.sub(_encoded, path) or "%"
        key = int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest())
        count = self._counts[key] = self._counts.get(key, 0) + 1
        self.has_duplicates |= count > 1
        return address if count == 1 else f"{address}#{count}"


def decoded(raw: bytes) -> str:
    """A name in UTF-8, or in GBK as Chinese systems write it; bytes that are neither become lone surrogates."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "surrogateescape")


def is_junk(path: str) -> bool:
    """Whether a member is what a file manager left there, and nobody's document."""
    parts = re.split(r"[/\\]", path)
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1].lower() in _JUNK_NAMES


def _encoded(match: re.Match[str]) -> str:
    sign = match[0]
    is_byte = "\udc80" <= sign <= "\udcff"
    return quote(sign.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass"), safe="")
