"""What the dashboards are written with: panels in rows, and the JSON that Grafana loads.

An expression says `<here>` where Grafana puts the installation that was chosen, `<runs>` where it puts the backend and
the tenant class as well, `<backend>` and `<tool>` where it puts one of these; `<api>` leaves out requests that only ask
for a server's health. Each stands between braces, so that an expression stays readable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "bargauge", "table", "heatmap"]

_HERE = 'namespace=~"$namespace"'
_FILTERS = {
    "<here>": _HERE,
    "<runs>": f'{_HERE}, backend=~"$backend", tenant_class=~"$tenant_class"',
    "<backend>": f'{_HERE}, backend=~"$backend"',
    "<api>": f'{_HERE}, route!~"/(metrics|healthz|readyz)"',
    "<tool>": f'{_HERE}, tool=~"$tool"',
}
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_GREEN, _ORANGE, _RED = "green", "orange", "red"
SCHEMA_VERSION = 39
TAG = "lockstitch"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what each of its series is called."""

    expression: str
    legend: str = ""

    @property
    def text(self) -> str:
        """The expression as Grafana gets it."""
        text = self.expression
        for short, matchers in _FILTERS.items():
            text = text.replace(short, matchers)
        return text


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. ``description`` says what it shows, and what to do when it is bad."""

    kind: Kind
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    width: int = 8
    height: int = 8
    bad_from: float | None = None
    """The value from which it is red."""
    odd_from: float | None = None
    """The value from which it is orange."""
    stacked: bool = False
    most: float | None = None
    """The largest value of the axis, where that is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable whose values are those of a label."""

    name: str
    label: str
    values_of: str
    """``metric, label``."""


NAMESPACE = Choice("namespace", "Installation", "lockstitch_build_info, namespace")
BACKEND = Choice("backend", "Backend", "lockstitch_runs_started_total, backend")
TENANT_CLASS = Choice("tenant_class", "Tenant class", "lockstitch_runs_started_total, tenant_class")
TOOL = Choice("tool", "Tool", "lockstitch_tool_calls_total, tool")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of rows; the first answers what an operator asks first."""

    slug: str
    title: str
    description: str
    rows: tuple[Row, ...]
    choices: Sequence[Choice] = field(default=(NAMESPACE,))

    def json(self) -> Json:
        """Return the page as Grafana loads it."""
        return {
            "uid": f"lockstitch-{self.slug}",
            "title": f"Lockstitch / {self.title}",
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,  # the same moment is marked in every panel
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": [_alerts()]},
            "links": [_to_the_others()],
            "templating": {"list": [_datasource(), *map(_variable, self.choices)]},
            "panels": list(_laid_out(self.rows)),
        }


def stat(title: str, description: str, query: str, unit: str = "short", *, width: int = 4, **more: Any) -> Panel:
    """Return a large number."""
    return Panel("stat", title, description, (Query(query),), unit, width, 4, **more)


def lines(title: str, description: str, queries: Sequence[tuple[str, str]], unit: str, **more: Any) -> Panel:
    """Return lines over time; each query has a legend."""
    return Panel("timeseries", title, description, tuple(Query(*query) for query in queries), unit, **more)


def table(title: str, description: str, columns: Sequence[tuple[str, str]], **more: Any) -> Panel:
    """Return a table; each query is a column with the name that its legend has."""
    return Panel("table", title, description, tuple(Query(*query) for query in columns), "short", **more)


def heatmap(title: str, description: str, histogram: str, **more: Any) -> Panel:
    """Return how a histogram of seconds is spread over time; ``histogram`` is a selector of its buckets."""
    query = Query(f"sum by (le) (increase({histogram}[$__rate_interval]))", "{{le}}")
    return Panel("heatmap", title, description, (query,), "s", **more)


def quantile(share: float, buckets: str, by: str = "") -> str:
    """Return the expression of a quantile of a histogram; ``buckets`` is a selector, ``by`` the labels that stay."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({buckets}[$__rate_interval])))"


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    number, top = 1, 0
    for row in rows:
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, top = number + 1, top + 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel) -> Json:
    made: Json = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "targets": [_target(panel, position, query) for position, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind == "timeseries":
        made["fieldConfig"]["overrides"] = list(_meant_colours(panel))
    if panel.kind == "table":
        made["fieldConfig"]["overrides"] = [_column_unit(query) for query in panel.queries]
        made["transformations"] = _one_table(panel)
    return made


# What ended well is green wherever it is drawn, and what waits for somebody is orange.
_STATUS_COLOURS = {
    "queued": "#8ab8ff",
    "in_progress": "#3274d9",
    "requires_action": "#ff9830",
    "cancelling": "#c4c9d1",
    "completed": "#56a64b",
    "incomplete": "#e0b400",
    "failed": "#e02f44",
    "expired": "#a352cc",
    "cancelled": "#8e96a3",
}
_OUTCOME_COLOURS = {
    "done": "#56a64b",
    "succeeded": "#56a64b",
    "delivered": "#56a64b",
    "ingested": "#56a64b",
    "retried": "#e0b400",
    "failed": "#e02f44",
    "broken": "#a352cc",
    "gave_up": "#8f3bb8",
    "refused": "#ff9830",
    "outcome_unknown": "#ff780a",
}
_COLOURS_BY_LEGEND = {"{{status}}": _STATUS_COLOURS, "{{outcome}}": _OUTCOME_COLOURS}


def _meant_colours(panel: Panel) -> Iterator[Json]:
    """Yield the colours of series whose names are a status or an outcome."""
    for legend in dict.fromkeys(query.legend for query in panel.queries):
        for name, colour in _COLOURS_BY_LEGEND.get(legend, {}).items():
            fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}
            yield {"matcher": {"id": "byName", "options": name}, "properties": [fixed]}


def _target(panel: Panel, position: int, query: Query) -> Json:
    instant = panel.kind in ("table", "bargauge", "stat")
    formats = {"table": "table", "heatmap": "heatmap"}
    return {
        "refId": chr(ord("A") + position),
        "datasource": _DATASOURCE,
        "editorMode": "code",
        "expr": query.text,
        "format": formats.get(panel.kind, "time_series"),
        "instant": instant,
        "range": not instant,
        "legendFormat": query.legend,
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": _GREEN, "value": None}]
    steps += [{"color": _ORANGE, "value": panel.odd_from}] if panel.odd_from is not None else []
    steps += [{"color": _RED, "value": panel.bad_from}] if panel.bad_from is not None else []
    defaults: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 10,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.bad_from is not None else "off"},
        }
    elif panel.kind in ("stat", "bargauge"):
        defaults["color"] = {"mode": "thresholds"}
        defaults |= {"decimals": 0} if panel.unit == "short" else {}
        defaults["noValue"] = "-"
    return defaults


_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[Kind, Json] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "reduceOptions": _REDUCED,
        "textMode": "value",
    },
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "bargauge": {"displayMode": "basic", "orientation": "horizontal", "reduceOptions": _REDUCED, "showUnfilled": True},
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "reverse": False},
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "legend": {"show": True},
    },
}

UNITS_IN_TITLES = {"(s)": "s", "share": "percentunit", "per second": "reqps"}
"""What the name of a table's column says of its unit."""


def _column_unit(query: Query) -> Json:
    unit = next((unit for end, unit in UNITS_IN_TITLES.items() if query.legend.endswith(end)), "short")
    properties = [{"id": "unit", "value": unit}, {"id": "decimals", "value": 0 if unit == "short" else 2}]
    return {"matcher": {"id": "byName", "options": query.legend}, "properties": properties}


def _one_table(panel: Panel) -> list[Json]:
    if len(panel.queries) == 1:
        names = {"Value": panel.queries[0].legend}
    else:
        names = {f"Value #{chr(ord('A') + position)}": query.legend for position, query in enumerate(panel.queries)}
    organized = {"excludeByName": {"Time": True}, "renameByName": names}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organized}]


def _datasource() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(choice: Choice) -> Json:
    query = f"label_values({choice.values_of})"
    return {
        "name": choice.name,
        "label": choice.label,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": choice.name},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
        "hide": 0,
    }


def _to_the_others() -> Json:
    return {
        "type": "dashboards",
        "title": "Lockstitch",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": _DATASOURCE,
        "enable": True,
        "iconColor": _RED,
        "expr": Query('ALERTS{<here>, alertname=~"Lockstitch.*", alertstate="firing"}').text,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}}",
        "step": "60s",
    }
