"""The steps, in the order in which they run. A new step is a module here, a line below, and a case file.

The order is load-bearing (docs/adr): byte repair needs the characters as they were observed, so it comes before all
else; glosses go before line rules (`責(zé)任編輯` is no `责任编辑`); punctuation comes after removals, which leave
strays; script conversion is last, since its phrases must be whole.
"""

from schemas.document import Step
from tasks.steps import boilerplate, mojibake, repeats, spam

STEPS: dict[str, Step] = {
    "mojibake": mojibake.find,
    "spam": spam.find,
    "boilerplate": boilerplate.find,
    "repeats": repeats.find,
}
