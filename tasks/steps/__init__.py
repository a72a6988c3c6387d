"""The steps, in the order in which they run. A new step is a module here, a line below, and a case file.

The order is load-bearing (docs/adr/0007): byte repair needs the characters as they were observed, so it comes before
all else; a shift is found by the glosses about it; glosses go before line rules (`責(zé)任編輯` is no `责任编辑`);
punctuation comes after removals, which leave strays; script conversion is last, since its phrases must be whole.
"""

from schemas.document import Step
from tasks.steps import (
    boilerplate,
    glosses,
    invisible,
    mojibake,
    punctuation,
    repeats,
    script,
    shift,
    spam,
    symbols,
    whitespace,
)

STEPS: dict[str, Step] = {
    "invisible": invisible.find,
    "mojibake": mojibake.find,
    "shift": shift.find,
    "glosses": glosses.find,
    "symbols": symbols.find,
    "spam": spam.find,
    "boilerplate": boilerplate.find,
    "repeats": repeats.find,
    "punctuation": punctuation.find,
    "whitespace": whitespace.find,
    "script": script.find,
}
