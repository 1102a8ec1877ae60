"""Draws the dashboards from their own expressions, with what a Prometheus knows: no Grafana is needed.

It draws the grid, the titles, the units and the thresholds that stand in the dashboards' JSON. Grafana's own look is
another; the numbers are the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from lockstitch.tests.dashboards.expressions import dashboards, with_values
from lockstitch.tests.drill.prometheus import Prometheus, Series

_COLUMN, _ROW = 0.62, 0.33
"""The size of one cell of the grid in inches."""

_GAP = 0.07
_HEADER = 0.62
_DOTS_PER_INCH = 100
_POINTS = 300
_LEGEND_ENTRIES = 6
_COLOURS = (
    "#56a64b",
    "#e0b400",
    "#3274d9",
    "#ff780a",
    "#e02f44",
    "#a352cc",
    "#37872d",
    "#1f60c4",
    "#8f3bb8",
    "#fa6400",
)
_STATE = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44"}
_INK, _PALE, _PAGE, _LINE = "#24292e", "#6b7280", "#f1f3f5", "#d8dce0"

mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 7, "text.color": _INK, "axes.edgecolor": _LINE})


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard, and what its queries gave from ``start`` to ``end`` by panel and query."""

    name: str
    dashboard: dict[str, Any]
    found: dict[tuple[int, str], list[Series]]
    start: float
    end: float
    marked: float
    """The moment whose numbers are shown where there is room for one number only."""

    @property
    def moments(self) -> list[float]:
        """The moments that Prometheus was asked about, as it writes them."""
        return [round(self.start + self.step * i, 3) for i in range(int((self.end - self.start) / self.step) + 1)]

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max((self.end - self.start) / _POINTS, 1.0)


async def read_pages(prometheus: Prometheus, times: tuple[float, float, float], rate_interval: str) -> list[Page]:
    """Ask Prometheus every query of every dashboard; ``times`` are the start, the end and the moment to be marked."""
    pages = []
    for name, dashboard in dashboards().items():
        page = Page(name, dashboard, {}, *times)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expression = with_values(target["expr"], dashboard, rate_interval)
                found = await prometheus.over(expression, page.start, page.end, page.step)
                page.found[panel["id"], target["refId"]] = found
        pages.append(page)
    return pages


def draw(pages: Sequence[Page], folder: Path) -> list[Path]:
    """Draw every page into ``folder``, and return the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for page in pages:
        drawn.append(folder / f"dashboard-{page.name}.png")
        _draw_page(page, drawn[-1])
    return drawn


def _draw_page(page: Page, path: Path) -> None:
    dashboard = page.dashboard
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    width, height = 24 * _COLUMN, rows * _ROW + _HEADER
    figure = Figure(figsize=(width, height), facecolor=_PAGE)
    figure.text(0.008, 1 - 0.26 / height, dashboard["title"], fontsize=13, weight="bold", va="center")
    said = f"{dashboard['description']} Single numbers and tables are those of the moment that the dotted line marks."
    figure.text(0.008, 1 - 0.48 / height, said, fontsize=8, color=_PALE, va="center")
    for panel in dashboard["panels"]:
        box = _box(panel["gridPos"], width, height)
        if panel["type"] == "row":
            figure.text(box[0], box[1] + box[3] * 0.35, f"⌄ {panel['title']}", fontsize=9, weight="bold", va="center")
            continue
        _frame(figure, box, panel["title"], height)
        data = [(target, page.found[panel["id"], target["refId"]]) for target in panel["targets"]]
        _DRAWERS[panel["type"]](_Canvas(figure, box, (width, height), page), panel, data)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    with Image.open(path) as picture:  # a palette holds these few colours, in a third of the room
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


_Box = tuple[float, float, float, float]
"""Left, bottom, width and height as shares of the page."""


def _box(place: dict[str, int], width: float, height: float) -> _Box:
    left, wide = place["x"] * _COLUMN + _GAP, place["w"] * _COLUMN - 2 * _GAP
    high = place["h"] * _ROW - 2 * _GAP
    bottom = height - _HEADER - place["y"] * _ROW - place["h"] * _ROW + _GAP
    return left / width, bottom / height, wide / width, high / height


def _frame(figure: Figure, box: _Box, title: str, height: float) -> None:
    style = "round,pad=0,rounding_size=0.002"
    card = FancyBboxPatch(
        box[:2],
        box[2],
        box[3],
        boxstyle=style,
        transform=figure.transFigure,
        facecolor="white",
        edgecolor=_LINE,
        zorder=-1,
    )
    figure.add_artist(card)
    figure.text(box[0] + 0.005, box[1] + box[3] - 0.15 / height, title, fontsize=8, weight="bold", va="center")


class _Canvas:
    """Where one panel is drawn; margins are in inches."""

    def __init__(self, figure: Figure, box: _Box, size: tuple[float, float], page: Page) -> None:
        self.figure, self.box, self.page = figure, box, page
        self._width, self._height = size

    def axes(self, left: float = 0.1, right: float = 0.1, top: float = 0.32, bottom: float = 0.1) -> Axes:
        """Return axes within the panel."""
        x, y, wide, high = self.box
        wide, high = wide - (left + right) / self._width, high - (top + bottom) / self._height
        axes = self.figure.add_axes((x + left / self._width, y + bottom / self._height, wide, high))
        axes.tick_params(length=0, labelsize=6, labelcolor=_PALE, pad=2)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return axes

    def legend(self, axes: Axes) -> None:
        """Write the names of the lines below them."""
        handles, labels = axes.get_legend_handles_labels()
        place = (self.box[0] + 0.08 / self._width, self.box[1] + 0.04 / self._height)
        axes.legend(
            handles[:_LEGEND_ENTRIES], [label[:44] for label in labels[:_LEGEND_ENTRIES]],
            loc="lower left", bbox_to_anchor=place, bbox_transform=self.figure.transFigure, ncols=2, frameon=False,
            fontsize=6, handlelength=1, columnspacing=1.2, labelspacing=0.25, borderpad=0, borderaxespad=0,
        )  # fmt: skip

    def time_axis(self, axes: Axes) -> None:
        """Write minutes below, and mark the moment of the single numbers."""
        start, end = self.page.start, self.page.end
        axes.set_xlim(start, end)
        minutes = range(int((end - start) // 60) + 1)
        axes.set_xticks([start + 60 * minute for minute in minutes], [f"{minute} min" for minute in minutes])
        axes.axvline(self.page.marked, color=_INK, linewidth=0.8, linestyle=":", alpha=0.7)

    def value(self, series: Series) -> float | None:
        """Return what a series was at the moment that is marked."""
        near = [value for moment, value in _numbers(series) if abs(moment - self.page.marked) <= self.page.step]
        return near[-1] if near else None

    def say_nothing(self) -> None:
        """Say that there is no data."""
        x, y, wide, high = self.box
        self.figure.text(x + wide / 2, y + high * 0.45, "no data", fontsize=9, color=_PALE, ha="center", va="center")


_Data = list[tuple[dict[str, Any], list[Series]]]


def _draw_stat(canvas: _Canvas, panel: dict[str, Any], data: _Data) -> None:
    values = [canvas.value(one) for _, series in data for one in series]
    value = max((value for value in values if value is not None), default=None)
    defaults = panel["fieldConfig"]["defaults"]
    axes = canvas.axes(left=0, right=0, top=0.3, bottom=0)
    axes.set_axis_off()
    colour = _PALE if value is None else _STATE[_step(defaults["thresholds"]["steps"], value)]
    text = defaults["noValue"] if value is None else in_unit(value, defaults["unit"], whole=True)
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, color=colour))
    axes.text(0.5, 0.5, text, fontsize=21, weight="bold", color="white", ha="center", va="center")


def _step(steps: list[dict[str, Any]], value: float) -> str:
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


def _draw_lines(canvas: _Canvas, panel: dict[str, Any], data: _Data) -> None:
    named = [(_legend(target, one), _numbers(one)) for target, series in data for one in series]
    named = sorted(((name, points) for name, points in named if points), key=lambda it: it[0])
    if not named:
        canvas.say_nothing()
        return
    defaults = panel["fieldConfig"]["defaults"]
    colours = _colours_of(panel, [name for name, _ in named])
    rows = math.ceil(min(len(named), _LEGEND_ENTRIES) / 2)
    axes = canvas.axes(left=0.48, bottom=0.32 + rows * 0.135)
    if defaults["custom"]["stacking"]["mode"] == "normal":
        moments = canvas.page.moments
        rows = [[dict(points).get(moment, 0.0) for moment in moments] for _, points in named]
        axes.stackplot(moments, rows, labels=[name for name, _ in named], colors=colours, alpha=0.75, linewidth=0)
    else:
        for colour, (name, points) in zip(colours, named, strict=True):
            values = [dict(points).get(moment, math.nan) for moment in canvas.page.moments]
            axes.plot(canvas.page.moments, values, color=colour, linewidth=1.1, label=name)
            axes.fill_between(canvas.page.moments, values, color=colour, alpha=0.07, linewidth=0)
    _mark_threshold(axes, defaults)
    axes.set_ylim(0, max(axes.get_ylim()[1] * 1.05, 1e-6))
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _position: in_unit(value, defaults["unit"]))
    axes.grid(axis="y", color=_LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    canvas.time_axis(axes)
    canvas.legend(axes)


def _mark_threshold(axes: Axes, defaults: dict[str, Any]) -> None:
    bad = [step["value"] for step in defaults["thresholds"]["steps"] if step["color"] == "red"]
    top = max(axes.get_ylim()[1], 1e-9)
    for value in bad:
        if value <= top * 1.5:
            axes.axhline(value, color=_STATE["red"], linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.8)


def _draw_heatmap(canvas: _Canvas, _panel: dict[str, Any], data: _Data) -> None:
    found = {float(one["metric"]["le"]): dict(_numbers(one)) for _, series in data for one in series}
    bounds = sorted(found)
    moments = sorted({moment for points in found.values() for moment in points})
    cells = list(_bucket_counts(found, bounds, moments))
    largest = max((value for row in cells for value in row), default=0.0)
    if largest <= 0:
        canvas.say_nothing()
        return
    axes = canvas.axes(left=0.48, bottom=0.3)
    shown = [[value if value > 0 else math.nan for value in row] for row in cells]
    edges = [*moments, moments[-1] + (moments[-1] - moments[0]) / max(len(moments) - 1, 1)]
    axes.pcolormesh(edges, range(len(bounds) + 1), shown, cmap="Oranges", norm=LogNorm(largest / 50, largest))
    labels = ["more" if math.isinf(bound) else in_unit(bound, "s") for bound in bounds]
    every = max(len(bounds) // 6, 1)
    axes.set_yticks(range(1, len(bounds) + 1, every), labels[::every])
    canvas.time_axis(axes)


def _bucket_counts(
    found: dict[float, dict[float, float]], bounds: list[float], moments: list[float]
) -> Iterator[list[float]]:
    """Yield how many fell into each bucket at each moment; Prometheus's buckets hold all below them too."""
    below = dict.fromkeys(moments, 0.0)
    for bound in bounds:
        here = {moment: found[bound].get(moment, 0.0) for moment in moments}
        yield [max(here[moment] - below[moment], 0.0) for moment in moments]
        below = here


def _draw_bars(canvas: _Canvas, panel: dict[str, Any], data: _Data) -> None:
    bars = [
        (_legend(target, one), latest)
        for target, series in data
        for one in series
        if (latest := canvas.value(one)) is not None
    ]
    if not bars:
        canvas.say_nothing()
        return
    defaults = panel["fieldConfig"]["defaults"]
    bars.sort(key=lambda bar: bar[1])
    axes = canvas.axes(left=1.2, right=0.6, bottom=0.2)
    most = defaults.get("max") or max(value for _, value in bars) or 1.0
    colours = [_STATE[_step(defaults["thresholds"]["steps"], value)] for _, value in bars]
    axes.barh([name for name, _ in bars], [most] * len(bars), color=_PAGE, height=0.6)
    axes.barh([name for name, _ in bars], [value for _, value in bars], color=colours, height=0.6)
    for place, (_, value) in enumerate(bars):
        axes.text(most * 1.02, place, in_unit(value, defaults["unit"]), va="center", fontsize=7)
    axes.set_xlim(0, most)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(labelsize=7, labelcolor=_INK)
    if len(bars) < 5:
        axes.set_ylim(-0.6 - (5 - len(bars)) / 2, len(bars) - 0.4 + (5 - len(bars)) / 2)


def _draw_table(canvas: _Canvas, panel: dict[str, Any], data: _Data) -> None:
    units = {o["matcher"]["options"]: o["properties"][0]["value"] for o in panel["fieldConfig"]["overrides"]}
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for target, series in data:
        column = target["legendFormat"]
        for one in series:
            value = canvas.value(one)
            if value is not None:
                key = tuple(sorted(one["metric"].items()))
                rows.setdefault(key, {})[column] = in_unit(value, units[column], whole=True)
    if not rows:
        canvas.say_nothing()
        return
    labels = sorted({name for key in rows for name, _ in key})
    columns = [target["legendFormat"] for target, _ in data]
    cells = [
        [dict(key).get(name, "") for name in labels] + [row.get(name, "") for name in columns]
        for key, row in rows.items()
    ]
    room = int((panel["gridPos"]["h"] * _ROW - 0.5) / 0.2) - 1
    axes = canvas.axes(bottom=0.08)
    axes.set_axis_off()
    _write_table(axes, [*labels, *columns], cells[:room], room)


def _write_table(axes: Axes, heads: list[str], cells: list[list[str]], room: int) -> None:
    widest = [max(len(head), *(len(row[i]) for row in cells)) + 2 for i, head in enumerate(heads)]
    lefts = [sum(widest[:i]) / sum(widest) for i in range(len(heads))]
    for number, row in enumerate([heads, *cells]):
        height = 1 - (number + 0.5) / (room + 1)
        for left, text in zip(lefts, row, strict=True):
            weight = "bold" if number == 0 else "normal"
            axes.text(
                left + 0.005, height, text[:48], fontsize=6.8, weight=weight, va="center", transform=axes.transAxes
            )
        axes.axhline(1 - (number + 1) / (room + 1), color=_LINE, linewidth=0.5)
    axes.set_ylim(0, 1)


_DRAWERS: dict[str, Callable[[_Canvas, dict[str, Any], _Data], None]] = {
    "stat": _draw_stat,
    "timeseries": _draw_lines,
    "heatmap": _draw_heatmap,
    "bargauge": _draw_bars,
    "table": _draw_table,
}


def _colours_of(panel: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Return the colours of the series with these names: what the panel says, else one after the other."""
    others = cycle(_COLOURS)
    fixed = {
        override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
    }
    return [fixed.get(name) or next(others) for name in names]


def _numbers(series: Series) -> list[tuple[float, float]]:
    points = ((float(moment), float(value)) for moment, value in series["values"])
    return [(moment, value) for moment, value in points if math.isfinite(value)]


def _legend(target: dict[str, Any], series: Series) -> str:
    text = target["legendFormat"]
    for name, value in series["metric"].items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return str(text)


def in_unit(value: float, unit: str, *, whole: bool = False) -> str:
    """Write a number as people read it; numbers of things are ``whole`` where they are counted."""
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s" if 0 < value < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value / 60:.3g} min" if value >= 600 or (value and value % 60 == 0) else f"{value:.3g} s"
        case "currencyUSD":
            return f"${value:,.0f}" if value >= 100 else f"${value:.3g}"
        case "ops" | "reqps":
            return f"{value:.3g}/s"
    return f"{value:,.0f}" if whole or value >= 1000 else f"{value:.3g}"
