"""Build `opencc.txt`: what OpenCC's dictionaries say today and those of opencc-python-reimplemented (2023) don't.

    python -m tasks.rules.build_opencc DICTIONARY_FOLDER

The argument is `data/dictionary` of a checkout of BYVoid/OpenCC (Apache-2.0) at the commit that the table's header
names. Left out are entries that change the length of the text (edits must be packable), dictionaries of regional words
(軟件/軟體: the script is converted, not the wording), and the 870 rare characters that OpenCC has stopped
simplifying because few fonts show the Simplified form (顗 𫖮): data is not drawn.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tasks.steps.script import FOLDER, read_dictionary

TABLE = Path(__file__).with_name("opencc.txt")

NAMES = (
    "HKVariants",
    "HKVariantsPhrases",
    "STCharacters",
    "STPhrases",
    "TSCharacters",
    "TSPhrases",
    "TWVariants",
    "TWVariantsPhrases",
)

HEADER = """\
# What OpenCC's dictionaries say and those of opencc-python-reimplemented 0.1.7 don't.
# Format: dictionary, key, value; tabs between; sorted. The value - takes an entry of the library out.
# Source: BYVoid/OpenCC, data/dictionary at commit 5249273a3e5606852f088c9a8b23522145d94f78 (Apache-2.0), made into
# this table by tasks/rules/build_opencc.py. Do not edit: exceptions of ours are in script_phrases.txt.
# Used by: tasks/steps/script.py
"""


def undrawn(text: str) -> set[str]:
    """Keys of entries that OpenCC marks `@tofu-risk`."""
    return set(re.findall(r"^# @tofu-risk.*\n(\S)\t", text, flags=re.MULTILINE))


def differences(old: dict[str, str], new: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Keys with the value that they have now, or `-` where an entry is gone."""
    for key in old.keys() | new.keys():
        if new.get(key) != old.get(key) and len(new.get(key, key)) == len(key):
            yield key, new.get(key, "-")


def build(folder: Path) -> None:
    """Write the table."""
    rows = []
    for name in NAMES:
        there = FOLDER / f"{name}.txt"
        old = read_dictionary(there.read_text(encoding="utf-8")) if there.is_file() else {}
        text = (folder / f"{name}.txt").read_text(encoding="utf-8")
        kept = {key: old[key] for key in undrawn(text) & old.keys()}
        new = read_dictionary(text) | kept
        rows += [(name, *difference) for difference in differences(old, new)]
    lines = ("\t".join(row) + "\n" for row in sorted(rows))
    TABLE.write_text(HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
