"""A timeline as a picture: inline SVG, drawn here, coloured by the page's own style."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from lockstitch.assistants.http.console.layout import joined, shown, took
from lockstitch.assistants.http.console.scale import Piece, Scale
from lockstitch.assistants.http.console.timeline import Bar, Lane, Mark, Timeline

WIDTH = 1080
LEFT = 232
"""Where the lanes begin; their names stand before."""
RIGHT = WIDTH - 24
TOP = 34
LANE = 40
BAR = 18
NARROWEST = 3.0
"""Of a bar, so that what took no time is seen."""
LONGEST_NAME = 30

_LETTER = 6.6
"""How wide a letter is, about."""

_LEGEND = {
    "model-fill": "model turn",
    "good-fill": "attempt that succeeded",
    "bad-fill": "that failed",
    "work-fill": "under way",
    "wait-fill": "waits, or earlier attempts",
    "person-fill": "waits for a person, or for outputs",
}
_MARKS = {"good-fill": "somebody was told, or decided", "bad-fill": "could not be told"}

_PATTERN = Markup(
    '<defs><pattern id="waiting" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="stripe-ground" width="7" height="7"/><line class="stripe" x1="0" y1="0" x2="0" y2="7"/>'
    "</pattern></defs>"
)


def picture(timeline: Timeline) -> Markup:
    """Return the picture and what its colours mean."""
    scale = Scale(timeline.moments)
    height = TOP + LANE * len(timeline.lanes) + 8
    lanes = [_lane(lane, place, scale, timeline.until) for place, lane in enumerate(timeline.lanes)]
    drawn = Markup(
        '<svg class="picture" viewBox="0 0 {} {}" role="img" aria-label="Timeline of the run; the table below says the '
        'same">{}{}{}{}{}</svg>'
    ).format(
        WIDTH,
        height,
        _PATTERN,
        _grounds(timeline.lanes),
        _axis(scale, height),
        joined(lanes),
        _now_line(height) if timeline.is_open else "",
    )
    return Markup('<div class="card pad"><div class="scroll" tabindex="0">{}</div>{}</div>').format(drawn, _legend())


def _legend() -> Markup:
    entry = Markup('<li><svg viewBox="0 0 12 12" aria-hidden="true">{}</svg>{}</li>')
    box = Markup('<rect class="{}" width="12" height="12" rx="3"/>')
    dot = Markup('<circle class="{}" cx="6" cy="6" r="5"/>')
    entries = [entry.format(box.format(kind), said) for kind, said in _LEGEND.items()]
    entries += [entry.format(dot.format(kind), said) for kind, said in _MARKS.items()]
    return Markup('<ul class="legend">{}</ul>').format(joined(entries))


def _x(scale: Scale, at: datetime) -> float:
    return LEFT + scale.place(at) * (RIGHT - LEFT)


def _grounds(lanes: Sequence[Lane]) -> Markup:
    """Return a ground for every other row; what belongs to the lane above has its ground."""
    row, found = Markup('<rect class="row" x="0" y="{}" width="{}" height="{}" rx="6"/>'), list[Markup]()
    number = 0
    for place, lane in enumerate(lanes):
        number += 0 if lane.is_below else 1
        if number % 2:
            found.append(row.format(TOP + place * LANE, WIDTH, LANE))
    return joined(found)


def _axis(scale: Scale, height: int) -> Markup:
    line = Markup('<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
    text = Markup('<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{said}</text>')
    found = list[Markup]()
    for place, after in scale.ticks():
        x = LEFT + place * (RIGHT - LEFT)
        found.append(line.format(x=x, top=TOP - 6, bottom=height - 8))
        found.append(text.format(x=x, y=TOP - 14, said=_after(after)))
    return joined([*found, *(_gap(gap, height) for gap in scale.gaps)])


def _gap(gap: Piece, height: int) -> Markup:
    left, right = (LEFT + place * (RIGHT - LEFT) for place in (gap.left, gap.right))
    return Markup(
        '<rect class="gap" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{} in which nothing happened, drawn '
        'shorter</title></rect><text class="tick" x="{:.1f}" y="{}" text-anchor="middle">⋯ {} ⋯</text>'
    ).format(
        left, TOP - 6, right - left, height - TOP - 2, took(gap.end - gap.begin),
        (left + right) / 2, TOP - 14, took(gap.end - gap.begin),
    )  # fmt: skip


def _after(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:g} s"
    if seconds < 3600:
        return f"{seconds / 60:g} min" if seconds % 60 == 0 else f"{int(seconds // 60)}:{int(seconds % 60):02} min"
    return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02} h"


def _now_line(height: int) -> Markup:
    return Markup('<line class="now" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"><title>now</title></line>').format(
        x=RIGHT, top=TOP - 6, bottom=height - 8
    )


def _lane(lane: Lane, place: int, scale: Scale, until: datetime) -> Markup:
    top = TOP + place * LANE
    indent = 28 if lane.is_below else 12
    name = Markup('<text x="{}" y="{}">{}</text>').format(indent, top + 17, _short(lane.name))
    state = Markup('<text class="small" x="{}" y="{}">{}</text>').format(indent, top + 31, _short(lane.state))
    if lane.is_below:
        name, state = (
            Markup('<text class="small" x="{}" y="{}">↳ {}</text>').format(indent - 12, top + 24, _short(lane.state)),
            Markup(""),
        )
    bars = joined(_bar(bar, top, scale, until) for bar in lane.bars)
    marks = joined(_mark(mark, top, scale) for mark in lane.marks)
    return Markup("<g>{}{}{}{}</g>").format(name, state, bars, marks)


def _short(text: str) -> str:
    text = shown(text)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _bar(bar: Bar, top: int, scale: Scale, until: datetime) -> Markup:
    left, right = _x(scale, bar.begin), _x(scale, bar.end or until)
    width = max(right - left, NARROWEST)
    y = top + (LANE - BAR) / 2
    drawn = Markup(
        '<rect class="{}-fill" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="{}"><title>{}</title></rect>'
    ).format(
        bar.kind,
        left,
        y,
        width,
        BAR,
        min(4.0, width / 2),
        f"{shown(bar.said)} ({took((bar.end or until) - bar.begin)})",
    )
    if not bar.label or len(bar.label) * _LETTER + 10 > width:
        return drawn
    return drawn + Markup('<text class="inside" x="{:.1f}" y="{}">{}</text>').format(
        left + (14 if bar.kind == "person" else 6), y + 13, shown(bar.label)
    )


def _mark(mark: Mark, top: int, scale: Scale) -> Markup:
    return Markup('<circle class="mark {}-fill" cx="{:.1f}" cy="{}" r="6"><title>{}</title></circle>').format(
        mark.kind, _x(scale, mark.at), top + LANE / 2, shown(mark.said)
    )
