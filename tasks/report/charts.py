"""Figures as charts: SVG that takes its colours and fonts from the page that it stands in, or a picture.

Matplotlib draws with colours that stand for others; in SVG they are replaced by the variables of `style.css`, so that
one drawing does for light and dark. Nothing of a document's text gets into a chart.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from tasks.report.page import STEPS, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

WIDTH, WIDE, BAR = 360, 760, 22
"""Of a chart, of the flow on a screen that has room for it, and of a bar with the space below it; in pixels where a
chart isn't scaled: a phone has 360 of them, so that text keeps its size there."""

MOST = 8
"""Bars of a chart; what is left is one more."""

_HUES = {
    "invisible": 205, "mojibake": 262, "shift": 302, "glosses": 165, "symbols": 230, "spam": 25, "boilerplate": 55,
    "repeats": 95, "punctuation": 350, "whitespace": 280, "script": 130,
}  # fmt: skip
"""As in style.css."""

_COLORS = {
    "ink": ("var(--ink)", "#1d1f23"),
    "soft": ("var(--soft)", "#5b606a"),
    "line": ("var(--line)", "#dddad2"),
    "good": ("var(--good)", "#11703c"),
    "look": ("var(--look)", "#8a5300"),
    "bad": ("var(--bad)", "#b3261e"),
    "main": ("oklch(var(--bar-l) var(--bar-c) 250)", "#5e93d6"),
    "second": ("oklch(var(--bar-l) var(--bar-c) 165)", "#35b088"),
    **{step: (f"oklch(var(--bar-l) {'.02' if step == 'whitespace' else 'var(--bar-c)'} {hue})", "#888888")
       for step, hue in _HUES.items()},
}  # fmt: skip
"""What stands in a page, and in a picture."""

_STANDS_FOR = {name: f"#fe{number:02x}01" for number, name in enumerate(_COLORS)}

_TEXT: dict[str, Any] = {"size": 12, "parse_math": False, "family": "DejaVu Sans"}
"""Of all text: the fonts are those of the page, which measure much the same."""


class Chart(NamedTuple):
    """A drawing with the figures that it shows, for who can't see it."""

    title: str
    svg: Markup
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    narrow: Markup = Markup()
    """The same for a phone, where it is another drawing."""
    note: str = ""


def bars(title: str, rows: Sequence[Row], heads: tuple[str, str] = ("", "documents"), note: str = "") -> Chart:
    """Lying bars: rows of `value`, `documents`, most first, and if there is one a `label` to stand in its place."""
    shown = [dict(row) for row in rows[:MOST]]
    if len(rows) > MOST:
        n = sum(row["documents"] for row in rows[MOST:])
        shown.append({"value": f"{len(rows) - MOST} others", "documents": n})
    table = [(str(row["value"]), f"{row['documents']:,}") for row in rows[:40]]
    return Chart(title, _lying(shown), heads, table, note=note)


def step_bars(title: str, rows: Sequence[Row]) -> Chart:
    """Documents that each step changed, from `figures.steps`, in the order of the steps."""
    order = {row["step"]: row for row in rows}
    shown = [
        {
            "value": step,
            "documents": order[step]["documents"],
            "label": f"{order[step]['edits']:,} edits",
            "color": step,
        }
        for step in STEPS
        if step in order
    ]
    table = [
        (s, f"{order[s]['documents']:,}", f"{order[s]['edits']:,}", f"{order[s]['chars_removed']:,}")
        for s in STEPS
        if s in order
    ]
    return Chart(title, _lying(shown), ("step", "documents", "edits", "characters removed"), table)


def columns(title: str, rows: Sequence[Row], names: Mapping[str, str], head: str, note: str = "") -> Chart:
    """Standing columns: rows of `value` and of each of the `names` (and what to call it), in order."""
    svg = _standing(rows, names)
    table = [(str(row["value"]), *(f"{row[name]:,}" for name in names)) for row in rows]
    return Chart(title, svg, (head, *names.values()), table, note=note)


def flow(title: str, rows: Sequence[Row]) -> Chart:
    """From kinds of sources to what became of their documents: rows of `figures.flow`."""
    table = [(row["source_kind"], row["reason"] or "clean", f"{row['documents']:,}") for row in rows]
    wide, narrow = (_drawn(_flow(rows, width, "page")) for width in (WIDE, WIDTH))
    return Chart(title, wide, ("source", "became", "documents"), table, narrow)


def flow_picture(rows: Sequence[Row]) -> bytes:
    """The same as a PNG, for a page that isn't ours."""
    drawn = io.BytesIO()
    _flow(rows, WIDE, "picture").savefig(drawn, format="png", dpi=96, facecolor="white", metadata={"Software": None})
    return drawn.getvalue()


def _color(name: str, use: str = "page") -> str:
    return _STANDS_FOR[name] if use == "page" else _COLORS[name][1]


def _figure(width: int, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415  half a second, which nobody waits for who needs no chart

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return figure, axes


def _drawn(figure: "Figure") -> Markup:
    """A drawing as an element of a page, with the page's colours and fonts, and no names that another one may have."""
    import matplotlib as mpl  # noqa: PLC0415

    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"^<svg [^>]*?viewBox", '<svg aria-hidden="true" viewBox', svg, flags=re.DOTALL)
    svg = re.sub(r' id="[^"]*"| clip-path="[^"]*"|<defs>.*?</defs>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=font: )([\d.]+px)[^;\"]*", r"\1 system-ui, sans-serif", svg)
    for name_of, stands in _STANDS_FOR.items():
        svg = svg.replace(stands, _COLORS[name_of][0])
    return Markup(svg)  # noqa: S704  Matplotlib escapes what it writes; there is no text of documents in it


def _lying(rows: Sequence[Row]) -> Markup:
    """Bars with their names above them: names have any length."""
    pitch = 2 * BAR - 6
    figure, axes = _figure(WIDTH, pitch * max(len(rows), 1))
    most = max((row["documents"] for row in rows), default=0) or 1
    for number, row in enumerate(rows):
        top = number * pitch
        length = max(row["documents"] / most * WIDTH, 2)
        axes.text(0, top + 13, str(row["value"]), color=_color("ink"), va="baseline", **_TEXT)
        said = f"{row['documents']:,}" + (f" · {row['label']}" if "label" in row else "")
        axes.text(WIDTH, top + 13, said, color=_color("soft"), ha="right", va="baseline", **_TEXT)
        axes.barh(top + 23, WIDTH, 8, color=_color("line"), alpha=0.5)
        axes.barh(top + 23, length, 8, color=_color(row.get("color", "main")))
    return _drawn(figure)


def _standing(rows: Sequence[Row], names: Mapping[str, str]) -> Markup:
    height, foot, head = 190, 22, 34 if len(names) > 1 else 18
    figure, axes = _figure(WIDTH, height)
    most = max((row[name] for row in rows for name in names), default=0) or 1
    pitch = min(WIDTH / max(len(rows), 1), 90)
    thick = pitch * (0.8 / len(names))
    left = (WIDTH - pitch * len(rows)) / 2
    every = max(1, -(-len(rows) * 44 // WIDTH))
    colors = ("main", "second")
    for number, row in enumerate(rows):
        for which, name in enumerate(names):
            high = row[name] / most * (height - foot - head)
            x = left + number * pitch + pitch * 0.1 + which * thick
            high = max(high, 1 if row[name] else 0)
            axes.bar(x, -high, thick, bottom=height - foot, align="edge", color=_color(colors[which]))
            if len(names) == 1 and pitch > 30:
                above = height - foot - high - 4
                axes.text(
                    x + thick / 2, above, f"{row[name]:,}", color=_color("soft"), ha="center", **_TEXT | {"size": 11}
                )
        if number % every == 0:
            middle = left + (number + 0.5) * pitch
            axes.text(middle, height - 7, str(row["value"]), color=_color("ink"), ha="center", **_TEXT | {"size": 11})
    axes.plot([0, WIDTH], [height - foot] * 2, color=_color("line"), linewidth=1)
    for which, shown in enumerate(names.values() if len(names) > 1 else ()):
        axes.barh(8, 12, 12, left=which * 120, color=_color(colors[which]))
        axes.text(which * 120 + 17, 12, shown, color=_color("ink"), **_TEXT)
    return _drawn(figure)


_TONES = {"": "good", "empty": "soft", "duplicate": "soft"}
"""Of what became of documents; of whatever else: bad."""


def _flow(rows: Sequence[Row], width: int, use: str) -> "Figure":
    """Two columns of blocks and ribbons between them; heights are as the documents, but none is lower than a name."""
    kinds, ends = _sums(rows, "source_kind"), _sums(rows, "reason")
    ends = dict(sorted(ends.items(), key=lambda item: (item[0] != "", -item[1])))
    room = 34 if width == WIDTH else 30  # two lines for a block's name where they are narrow
    height = room * max(len(kinds), len(ends), 4) + 110
    figure, axes = _figure(width, height)
    left, right = _stacked(kinds, height - 10, room), _stacked(ends, height - 10, room)
    edge = 8
    begin, end = (150, width - 170) if width == WIDE else (112, width - 118)
    at_left, at_right = {k: top for k, (top, _) in left.items()}, {k: top for k, (top, _) in right.items()}
    order = sorted(rows, key=lambda row: (list(kinds).index(row["source_kind"]), list(ends).index(row["reason"])))
    for row in order:
        kind, reason, n = row["source_kind"], row["reason"], row["documents"]
        a, b = n / kinds[kind] * left[kind][1], n / ends[reason] * right[reason][1]
        tone = _TONES.get(reason, "bad")
        _ribbon(axes, (begin + edge, at_left[kind], a), (end - edge, at_right[reason], b), _color(tone, use))
        at_left[kind] += a
        at_right[reason] += b
    total = sum(kinds.values())
    for kind, (top, high) in left.items():
        axes.bar(begin, high, edge, bottom=top, align="edge", color=_color("soft", use))
        _label(axes, begin - 6, top + high / 2, kind, kinds[kind], total, "right", use)
    for reason, (top, high) in right.items():
        axes.bar(end - edge, high, edge, bottom=top, align="edge", color=_color(_TONES.get(reason, "bad"), use))
        _label(axes, end + 6, top + high / 2, reason or "clean", ends[reason], total, "left", use)
    return figure


def _sums(rows: Sequence[Row], column: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row[column]] = found.get(row[column], 0) + row["documents"]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _stacked(sums: Mapping[str, int], height: float, room: float) -> dict[str, tuple[float, float]]:
    """Top and height of each block: by documents, but never lower than its name, with the space between them."""
    free = height - room * len(sums)
    total = sum(sums.values()) or 1
    found, top = {}, 5.0
    for name, n in sums.items():
        share = free * n / total
        high = max(room * min(1.0, 0.12 + n / total * 4) - 6, 3) + share
        slot = room + share
        found[name] = (top + (slot - high) / 2, high)
        top += slot
    return found


def _ribbon(axes: "Axes", a: tuple[float, float, float], b: tuple[float, float, float], color: str) -> None:
    from matplotlib.patches import PathPatch  # noqa: PLC0415
    from matplotlib.path import Path as Line  # noqa: PLC0415

    (x1, y1, h1), (x2, y2, h2) = a, b
    middle = (x1 + x2) / 2
    points = [
        (x1, y1), (middle, y1), (middle, y2), (x2, y2),
        (x2, y2 + h2), (middle, y2 + h2), (middle, y1 + h1), (x1, y1 + h1), (x1, y1),
    ]  # fmt: skip
    curve = Line.CURVE4
    codes = [Line.MOVETO, curve, curve, curve, Line.LINETO, curve, curve, curve, Line.CLOSEPOLY]
    axes.add_patch(PathPatch(Line(points, codes), facecolor=color, alpha=0.3, linewidth=0))


def _label(axes: "Axes", x: float, y: float, name: str, n: int, total: int, side: str, use: str) -> None:  # noqa: PLR0913, PLR0917
    axes.text(x, y - 1, name, color=_color("ink", use), ha=side, va="bottom", weight="bold", **_TEXT)
    share = percent(n / total if total else 0)
    axes.text(x, y + 1, f"{n:,} · {share}", color=_color("soft", use), ha=side, va="top", **_TEXT | {"size": 11})
