"""Hooks of `mkdocs build`: documents of the repository that stand outside of `docs/` become pages, and links follow."""

import posixpath
import re
from functools import partial
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "readme-of-the-project.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "seeds/README.md": "seeds.md",
}
"""Documents of the repository, and the pages that show them. Nothing of them is told twice."""

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\[\]\n]*)\]\((?P<target>[^()\s#]*)(?P<anchor>#[^()\s]*)?\)")

_FENCED = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        content = relink(text, posixpath.dirname(name), "")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have links that leave `docs/` lead to these pages."""
    folder = posixpath.dirname(page.file.src_uri)
    return markdown if page.file.generated_by else relink(markdown, posixpath.join("docs", folder), folder)


def relink(markdown: str, folder: str, site_folder: str) -> str:
    """A document with its links as the site needs them, but for those in code.

    Args:
        markdown: The document.
        folder: Where it is in the repository.
        site_folder: Where its page is in the site.
    """
    pieces = _FENCED.split(markdown)
    replace = partial(_relink, folder=folder, site_folder=site_folder)
    return "".join(piece if n % 2 else _LINK.sub(replace, piece) for n, piece in enumerate(pieces))


def _relink(link: "re.Match[str]", folder: str, site_folder: str) -> str:
    target = link["target"]
    if not target or "://" in target:
        return link[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    place = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if place is None:  # a file of the repository that the site has not
        return link["text"]
    return f"{link['image']}[{link['text']}]({posixpath.relpath(place, site_folder or '.')}{link['anchor'] or ''})"
