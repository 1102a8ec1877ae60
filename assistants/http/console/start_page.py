"""The first page: how many runs there are in each status, what people are asked, and the latest runs."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlencode

from markupsafe import Markup

from lockstitch.assistants.http.console.door import PATH, Visitor
from lockstitch.assistants.http.console.layout import TONES, badge, joined, page, run_link, shown, table, took, when
from lockstitch.assistants.http.console.questions import question_line
from lockstitch.errors import ApiError, PageUnknown
from lockstitch.starter.client import RunPage
from lockstitch.starter.contract import OPEN_STATUSES, RunSnapshot, RunStatus
from lockstitch.starter.escalations import Escalation

PAGE_SIZE = 50
MOST_QUESTIONS = 50
LONGEST_TOKEN = 2048
"""Characters of what leads to a page that follows."""
REFRESH_SECONDS = 10

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
_ORDER: tuple[RunStatus, ...] = (
    "requires_action", "in_progress", "queued", "cancelling",
    "completed", "failed", "expired", "incomplete", "cancelled",
)  # fmt: skip
_NAMES = ("thread", "assistant", "tenant")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs are wanted; empty means all."""

    status: str = ""
    thread: str = ""
    assistant: str = ""
    tenant: str = ""
    after: bytes = b""
    """The token of a page that is not the first."""
    refreshes: bool = False

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Filters":
        """Read the query of a page; raises `ApiError` for what makes no sense."""
        given = {name: query.get(name, "").strip() for name in ("status", *_NAMES)}
        if given["status"] and given["status"] not in STATUSES:
            raise ApiError(f"No run has the status '{given['status']}'; choose one of {', '.join(_ORDER)}.")
        return cls(**given, after=_token(query.get("after", "")), refreshes="refresh" in query)

    @property
    def wanted(self) -> dict[str, Any]:
        """What `Starter.list` is asked for."""
        return {
            "status": self.status or None,
            "thread_id": self.thread or None,
            "assistant_id": self.assistant or None,
            "tenant": self.tenant or None,
            "token": self.after,
        }

    def path(self, **changes: str) -> str:
        """Return the path of a page with these filters, but for the changes."""
        kept = {name: getattr(self, name) for name in ("status", *_NAMES)}
        query = {name: value for name, value in (kept | changes).items() if value}
        return f"{PATH}?{urlencode(query)}" if query else PATH


def _token(text: str) -> bytes:
    try:
        if len(text) <= LONGEST_TOKEN:
            return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:  # also of what is not ASCII
        pass
    raise PageUnknown


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows; of ``asked`` there may be more than it has room for."""

    counts: Mapping[RunStatus, int]
    asked: Sequence[Escalation]
    runs: RunPage


def start_page(overview: Overview, filters: Filters, visitor: Visitor, now: datetime) -> str:
    """Return the page."""
    open_runs = sum(overview.counts[status] for status in OPEN_STATUSES)
    refresh = Markup('<a href="{}">{}</a>').format(
        filters.path() if filters.refreshes else filters.path(refresh=str(REFRESH_SECONDS)),
        "Stop refreshing" if filters.refreshes else f"Refresh every {REFRESH_SECONDS} s",
    )
    title = Markup('<div class="title"><h1>Runs <small>{} open</small></h1><div class="links">{}</div></div>')
    body = [title.format(open_runs, refresh), _questions(overview, now), _tiles(overview, filters)]
    body += [Markup("<h2>Latest runs</h2>"), _filters(filters), _runs(overview.runs, filters, now)]
    return page("Runs", joined(body), visitor, refresh_seconds=REFRESH_SECONDS if filters.refreshes else None)


def _questions(overview: Overview, now: datetime) -> Markup:
    if not overview.asked:
        return Markup("")
    lines = joined(question_line(asked, now) for asked in overview.asked[:MOST_QUESTIONS])
    more = len(overview.asked) > MOST_QUESTIONS
    small = (
        f"the oldest {MOST_QUESTIONS}, and newer ones exist" if more else f"{len(overview.asked)} open, oldest first"
    )
    return Markup(
        '<h2>Waits for a person <small>{}</small></h2><div class="card list">{}</div><h2>By status</h2>'
    ).format(small, lines)


def _tiles(overview: Overview, filters: Filters) -> Markup:
    tile = Markup('<a class="tile {}" href="{}"><b class="{}">{:,}</b><span>{}</span></a>')
    return Markup('<nav class="tiles" aria-label="Runs by status">{}</nav>').format(
        joined(
            tile.format(
                joined([*(["chosen"] if filters.status == status else []), *([] if count else ["zero"])], Markup(" ")),
                filters.path(status="" if filters.status == status else status),
                TONES[status],
                count,
                status.replace("_", " "),
            )
            for status in _ORDER
            for count in [overview.counts[status]]
        )
    )


def _filters(filters: Filters) -> Markup:
    if filters.refreshes:
        named = {name: getattr(filters, name) for name in ("status", *_NAMES)}
        said = ", ".join(f"{name} {value}" for name, value in named.items() if value)
        return Markup('<p class="faint">{}</p>').format(f"Only {shown(said)}." if said else "All runs.")
    option = Markup('<option value="{}"{}>{}</option>')
    options = [option.format("", "", "any status")] + [
        option.format(status, Markup(" selected") if status == filters.status else "", status.replace("_", " "))
        for status in _ORDER
    ]
    field = Markup('<div><label for="{0}">{1}</label><input id="{0}" name="{0}" maxlength="64" value="{2}"></div>')
    clear = Markup('<a href="{}">Clear</a>').format(PATH) if filters != Filters() else ""
    return Markup(
        '<form class="filters" method="get" action="{}"><div><label for="status">Status</label>'
        '<select id="status" name="status">{}</select></div>{}<button>Filter</button>{}</form>'
    ).format(
        PATH,
        joined(options),
        joined(field.format(name, name.capitalize(), getattr(filters, name)) for name in _NAMES),
        clear,
    )


def _runs(found: RunPage, filters: Filters, now: datetime) -> Markup:
    if not found.runs and filters.after:
        return Markup('<div class="card pad faint">No more runs follow.</div>')
    if not found.runs:
        return Markup('<div class="card pad faint">{}</div>').format(
            "No run is like that." if filters != Filters(refreshes=filters.refreshes) else "There are no runs yet."
        )
    columns = ("run", "status", "started", "took", "waits for", "tenant", "thread, assistant")
    made = table(columns, [_row(run, now) for run in found.runs])
    if not found.next_token:
        return made
    after = base64.urlsafe_b64encode(found.next_token).rstrip(b"=").decode()
    older = Markup('<p>These are {} runs; <a href="{}">older ones</a> follow.</p>')
    return made + older.format(len(found.runs), filters.path(after=after))


def _row(run: RunSnapshot, now: datetime) -> tuple[str, ...]:
    asked = {asked.tool for asked in run.escalations if asked.is_open and run.ended_at is None}
    waits = sorted(asked | {call.name for call in run.pending_calls})
    began, until = run.started_at or now, run.ended_at or now
    ids = Markup('<span class="id faint">{}</span>')
    return (
        run_link(run.run_id),
        badge(run.status),
        when(began, now),
        took(until - began),
        Markup('<span class="waits">{}</span>').format(shown(", ".join(waits))),
        shown(run.tenant),
        Markup("{}<br>{}").format(ids.format(shown(run.thread_id or "")), ids.format(shown(run.assistant_id or ""))),
    )
