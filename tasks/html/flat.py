"""The text of a page without a tree: for pages that are too large or too deep to parse."""

import html
import re

_SILENT = re.compile(r"(script|style|noscript|template|textarea|select|svg|iframe|head|rt|rp)\b", re.IGNORECASE)
_INLINE = re.compile(
    r"/?(?:a|b|i|u|em|strong|span|font|sub|sup|small|big|s|code|mark|ruby|rb|wbr|nobr|label)\b", re.IGNORECASE
)
_NAME = re.compile(r"/?[a-zA-Z!?]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?")
_BLANKS = re.compile(r"[ \t\r\n\f]+")


def flatten(text: str) -> str:
    """Lines of what stands between tags, in one pass. Hidden text is not told from other text."""
    first, *parts = text.split("<")
    lines: list[str] = []
    line = [first]
    skipped = ""
    for part in parts:
        shown = ""
        if skipped:
            skipped, shown = _skip(skipped, part)
        elif part.startswith("!--"):
            skipped, shown = _skip("--", part[3:])
        elif not _NAME.match(part):
            shown = f"<{part}"
        elif silent := _SILENT.match(part):
            skipped = f"/{silent[1].lower()}"
        else:
            if not _INLINE.match(part):
                lines.append("".join(line))
                line = []
            shown = part.partition(">")[2]
        line.append(shown)
    lines.append("".join(line))
    shown_lines = (_BLANKS.sub(" ", _ENTITY.sub(lambda match: html.unescape(match[0]), found)) for found in lines)
    return "".join(f"{found.strip()}\n" for found in shown_lines if found.strip())


def _skip(until: str, part: str) -> tuple[str, str]:
    """What is still skipped after a part, and what of it stands behind the end."""
    if until == "--":
        _, end, rest = part.partition("-->")
        return ("", rest) if end else (until, "")
    return ("", part.partition(">")[2]) if part[: len(until)].lower() == until else (until, "")
