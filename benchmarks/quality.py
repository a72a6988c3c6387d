"""What the quality columns are worth, and what they cost.

    python -m benchmarks.quality [FOLDER]

FOLDER may hold

- `human/<set>/*.txt` and `machine/<set>/*.txt`: English documents that people and machines have written, one a file.
  Sets of `machine` whose names begin with `spun` are pages put together of pieces.
- `languages/<code>.txt`: text in one language, named by its ISO 639-1 code, with a suffix where there are several
  (`zh-tw`).

Without it, the documents are those of the project: `benchmarks/texts/english.txt` and seeds 000 and 001.

Printed are, for each set, how many documents have a score of so much or more (the flag's threshold is marked), and the
precision and recall that follow for all sets together, each document counting once; for each band of
`lang_confidence`, how many cuts of 5 to 300 characters were named rightly; and the processor time that the columns
take, beside that of decoding and cleaning.
"""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from schemas.config import CleanConfig
from schemas.document import RawDocument
from tasks.clean import clean
from tasks.decode import decode
from tasks.identify import identify, script
from tasks.quality import MT_THRESHOLD, SPUN_THRESHOLD, english_figures, mt_score, spun_score, text_figures

ROOT = Path(__file__).parents[1]
TEXTS = ROOT / "benchmarks" / "texts"

Sets = Mapping[str, list[str]]

SPUN_SETS = "machine/spun"
"""How their names begin."""

CUTS = (5, 10, 20, 40, 100, 300)
CUTS_PER_LANGUAGE = 200


def documents(path: Path) -> list[str]:
    """Documents of a file of the project: they stand between blank lines."""
    return [text for text in path.read_text(encoding="utf-8").split("\n\n") if text.strip()]


def sets(folder: Path) -> Sets:
    """Texts of each folder in a folder, cleaned as they would be."""
    config = CleanConfig()
    return {
        f"{folder.name}/{path.name}": [
            clean(file.read_text(encoding="utf-8"), config).text for file in sorted(path.glob("*.txt"))
        ]
        for path in sorted(folder.glob("*/"))
    }


def of_the_project() -> tuple[Sets, Sets]:
    """English by people and by machines, as far as it ships."""
    config = CleanConfig()
    seeds = {
        name: [
            clean(path.read_text(encoding="utf-8"), config).text for path in (ROOT / "seeds").glob(f"{number}_*.txt")
        ]
        for name, number in (("machine/seed 000", "000"), (f"{SPUN_SETS}: seed 001", "001"))
    }
    return {"human/english.txt": documents(TEXTS / "english.txt")}, seeds


class Score(NamedTuple):
    """A column that a flag follows from."""

    name: str
    of: Callable[[str], float]
    thresholds: tuple[float, ...]
    flag: float


MT = Score("mt_score", mt_score, (1.0, 1.5, 2.0, 2.5, 3.0), MT_THRESHOLD)
SPUN = Score("spun_score", spun_score, (0.1, 0.5, 0.9), SPUN_THRESHOLD)


def found(score: Score, negative: Sets, positive: Sets) -> None:
    """Print what a score finds at each threshold."""
    heads = (f">= {threshold}{'*' * (threshold == score.flag)}" for threshold in score.thresholds)
    print(f"\n{score.name:26}{'documents':>10}" + "".join(f"{head:>10}" for head in heads))
    wrong, right = (counted(score, texts) for texts in (negative, positive))
    pairs = list(zip(right, wrong, strict=True))
    print(f"{'precision':36}" + "".join(f"{r / (r + w) if r + w else 0:10.1%}" for r, w in pairs))
    print(f"{'recall':36}" + "".join(f"{r / sum(map(len, positive.values())):10.1%}" for r in right))


def counted(score: Score, sets: Sets) -> list[int]:
    """Documents of all sets at each threshold; prints them for each set."""
    totals = [0] * len(score.thresholds)
    for label, texts in sets.items():
        values = [score.of(text) for text in texts]
        numbers = [sum(value >= threshold for value in values) for threshold in score.thresholds]
        print(f"{label:26}{len(values):10}" + "".join(f"{n:10}" for n in numbers))
        totals = [total + n for total, n in zip(totals, numbers, strict=True)]
    return totals


def languages(files: Iterable[Path], rng: random.Random) -> None:
    """Print how often a language is right, by confidence."""
    bands: defaultdict[int, list[bool]] = defaultdict(list)
    for path in files:
        text, code = path.read_text(encoding="utf-8"), path.stem.partition("-")[0]
        for length in CUTS:
            for _ in range(CUTS_PER_LANGUAGE):
                lang, confidence, _ = identify(text[(at := rng.randrange(len(text) - length)) : at + length])
                if lang != "und":
                    bands[min(int(confidence * 10), 9)].append(lang == code)
    print(f"\n{'lang_confidence':26}{'cuts':>10}{'right':>10}")
    for band, right in sorted(bands.items()):
        print(f"{f'{band / 10:.1f} to {band / 10 + 0.1:.1f}':26}{len(right):10}{sum(right) / len(right):10.1%}")


def microseconds(work: Callable[[str], object], texts: list[str]) -> float:
    """Processor time for one of the texts."""
    work(texts[0])  # loads tables
    start = time.process_time()
    for text in texts:
        work(text)
    return (time.process_time() - start) / len(texts) * 1e6


def cost() -> None:
    """Print what the columns take, beside the work that they are added to."""
    config = CleanConfig()
    columns = ("characters", "decode", "clean", "language", "figures")
    print(f"\n{'processor time, µs':26}" + "".join(f"{column:>10}" for column in columns))
    for name, figures in (("hans", text_figures), ("hant", text_figures), ("english", of_english)):
        texts = documents(TEXTS / f"{name}.txt") * 10
        times = (
            microseconds(lambda text: decode(RawDocument("x", text.encode())), texts),
            microseconds(lambda text: clean(text, config), texts),
            microseconds(lambda text: (identify(text), script(text)), texts),
            microseconds(figures, texts),
        )
        print(f"{name:26}{sum(map(len, texts)) / len(texts):10.0f}" + "".join(f"{value:10.0f}" for value in times))


def of_english(text: str) -> object:
    """All figures that an English text has."""
    return text_figures(text), english_figures(text)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    if folder and not folder.is_dir():
        parser.error(f"{folder} is no folder: it should hold human/, machine/ and languages/")
    human, machine = (sets(folder / "human"), sets(folder / "machine")) if folder else of_the_project()
    spun = {name: texts for name, texts in machine.items() if name.startswith(SPUN_SETS)}
    others = {**human, **{name: texts for name, texts in machine.items() if name not in spun}}
    found(MT, human, machine)
    found(SPUN, others, spun)
    if folder:
        languages(sorted((folder / "languages").glob("*.txt")), random.Random(1))
    cost()


if __name__ == "__main__":
    main()
