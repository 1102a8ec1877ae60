"""The page of one run: what it asks, how it went, and where to look further."""

from collections.abc import Iterator
from datetime import datetime

from markupsafe import Markup

from lockstitch.assistants.http.console.door import Visitor
from lockstitch.assistants.http.console.dossier import Dossier
from lockstitch.assistants.http.console.layout import (
    badge,
    facts,
    joined,
    page,
    run_path,
    shown,
    table,
    token_field,
    took,
    when,
)
from lockstitch.assistants.http.console.picture import picture
from lockstitch.assistants.http.console.questions import closed_questions, question_card
from lockstitch.assistants.http.console.timeline import Entry, Timeline, timeline
from lockstitch.escalation_wording import moment
from lockstitch.starter.contract import OPEN_STATUSES
from lockstitch.starter.run_history import MOST_EVENTS

MOST_ENTRIES = 400
"""Lines of the table."""
MOST_TOLD = 100
"""Attempts to tell a person, and calls, that are listed."""
REFRESH_SECONDS = 5


def run_page(
    dossier: Dossier, visitor: Visitor, now: datetime, workflow_url: str | None, *, refreshes: bool = False
) -> str:
    """Return the page; one that ``refreshes`` has no forms, for it would empty their fields."""
    snapshot = dossier.snapshot
    went = timeline(snapshot, dossier.history, dossier.deliveries, now)
    parts = [
        _title(dossier, now, workflow_url, refreshes=refreshes),
        _notes(dossier, went),
        *_questions(dossier, visitor, now, has_form=not refreshes),
        Markup('<div class="card pad">{}</div>').format(_facts(dossier, now)),
        Markup("<h2>Timeline</h2>{}").format(picture(went)),
        *_tables(dossier, went),
    ]
    if _is_open(dossier) and not refreshes:
        parts.append(_cancel_form(snapshot.run_id, visitor))
    return page(snapshot.run_id, joined(parts), visitor, refresh_seconds=REFRESH_SECONDS if refreshes else None)


def _is_open(dossier: Dossier) -> bool:
    return dossier.snapshot.status in OPEN_STATUSES and dossier.snapshot.ended_at is None


def _title(dossier: Dossier, now: datetime, workflow_url: str | None, *, refreshes: bool) -> Markup:
    snapshot, links = dossier.snapshot, list[Markup]()
    if _is_open(dossier):
        said = "Stop refreshing" if refreshes else f"Refresh every {REFRESH_SECONDS} s"
        query = "" if refreshes else f"?refresh={REFRESH_SECONDS}"
        links.append(Markup('<a href="{}">{}</a>').format(run_path(snapshot.run_id) + query, said))
    if workflow_url is not None:
        links.append(Markup('<a href="{}" rel="noreferrer">Temporal UI ↗</a>').format(workflow_url))
    return Markup('<div class="title"><h1>{}</h1>{}<div class="links">{}</div></div>').format(
        snapshot.run_id, badge(snapshot.status), joined(links)
    )


def _notes(dossier: Dossier, went: Timeline) -> Markup:
    found = list[tuple[str, str]]()
    if dossier.broken is not None:
        found.append(("bad", dossier.broken))
    if dossier.result is not None and dossier.result.last_error is not None:
        found.append(("bad", f"{dossier.result.last_error.code}: {dossier.result.last_error.message}"))
    if not dossier.history.is_whole:
        found.append(("", f"The run is longer than its last {MOST_EVENTS:,} events; what came before is not shown."))
    if went.calls_left_out:
        found.append(("", f"The picture leaves {went.calls_left_out} tool calls out; the table below it has them."))
    return joined(Markup('<p class="note {}">{}</p>').format(kind, shown(said)) for kind, said in found)


def _questions(dossier: Dossier, visitor: Visitor, now: datetime, *, has_form: bool) -> Iterator[Markup]:
    if not _is_open(dossier):
        return
    for asked in dossier.snapshot.escalations:
        if asked.is_open:
            arguments = dossier.arguments.get(asked.call_id)
            yield question_card(asked, arguments, visitor, now, has_form=has_form)
    if any(asked.is_open for asked in dossier.snapshot.escalations):
        yield Markup("<h2>The run</h2>")


def _facts(dossier: Dossier, now: datetime) -> Markup:
    snapshot, result = dossier.snapshot, dossier.result
    began = dossier.history.statuses[0].at if dossier.history.statuses else snapshot.started_at or now
    until = snapshot.ended_at or now
    usage = result.usage if result else None
    messages = result.message_ids if result and result.message_ids else dossier.message_ids
    ids = Markup('<span class="id">{}</span>')
    return facts(
        {
            "Began": Markup("{}, {}").format(moment(began), when(began, now)),
            "Ended" if snapshot.ended_at else "Open for": Markup("{}, after {}").format(
                moment(until), took(until - began)
            )
            if snapshot.ended_at
            else took(until - began),
            "Thread": ids.format(shown(snapshot.thread_id)) if snapshot.thread_id else None,
            "Assistant": ids.format(shown(snapshot.assistant_id)) if snapshot.assistant_id else None,
            "Backend": shown(snapshot.backend),
            "Tenant": shown(snapshot.tenant),
            "Tokens": f"{usage.prompt_tokens:,} read, {usage.completion_tokens:,} written" if usage else None,
            "Waits for outputs of": ", ".join(shown(call.name) for call in snapshot.pending_calls),
            "Carried by": _carriers(dossier),
            "Messages": joined((ids.format(shown(it)) for it in messages), Markup(", ")) if messages else None,
        },
        "wide",
    )


def _carriers(dossier: Dossier) -> str | None:
    """Name the runs upstream, where there was another than the run itself."""
    attempts = dossier.result.attempts if dossier.result else []
    if [it.upstream_id for it in attempts] in ([], [dossier.snapshot.run_id]):
        return None
    return "; ".join(shown(it.upstream_id + (f" ({it.problem})" if it.problem else "")) for it in attempts)


def _tables(dossier: Dossier, went: Timeline) -> Iterator[Markup]:
    entries = went.entries[-MOST_ENTRIES:]
    yield _heading("What happened when", len(entries), len(went.entries), "newest")
    began = entries[0].at if entries else went.until
    yield table(("time (UTC)", "after", "where", "took", "what"), [_row(it, began) for it in entries], (4,))
    if dossier.calls:
        calls = dossier.calls[:MOST_TOLD]
        yield _heading("Tool calls", len(calls), len(dossier.calls), "first")
        yield table(
            ("call", "tool", "outcome", "attempts", "last attempt"),
            [
                (
                    Markup('<span class="id">{}</span>').format(shown(call["call_id"])),
                    shown(call["name"]),
                    call["outcome"] or "open",
                    str(call["attempts"]),
                    f"{call['duration_ms']} ms" if call["duration_ms"] else "",
                )
                for call in calls
            ],
        )
    closed = [asked for asked in dossier.snapshot.escalations if not asked.is_open]
    if closed:
        yield Markup("<h2>What people were asked before</h2>{}").format(closed_questions(closed, went.until))
    if dossier.deliveries:
        yield from _told(dossier)


def _told(dossier: Dossier) -> Iterator[Markup]:
    told = dossier.deliveries[-MOST_TOLD:]
    yield _heading("Who was told", len(told), len(dossier.deliveries), "newest")
    yield table(
        ("receiver", "event", "attempt", "came of it"),
        [
            (
                shown(row["target"]),
                row["event"],
                str(row["attempt"]),
                "delivered" if row["delivered"] else shown(row["error"] or f"status {row['status']}"),
            )
            for row in told
        ],
        (0, 3),
    )


def _heading(title: str, count: int, of: int, which: str) -> Markup:
    small = f"the {which} {count} of {of}" if count < of else ""
    return Markup("<h2>{} <small>{}</small></h2>").format(title, small)


def _row(entry: Entry, began: datetime) -> tuple[str, ...]:
    duration = "" if entry.duration is None else took(entry.duration) + (" so far" if entry.is_open else "")
    after = took(entry.at - began) if entry.at > began else ""
    return (
        f"{entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03}",
        after,
        shown(entry.lane),
        duration,
        shown(entry.said),
    )


def _cancel_form(run_id: str, visitor: Visitor) -> Markup:
    return Markup(
        '<h2>Cancel</h2><details class="card pad"><summary>Cancel this run …</summary><p>The run ends as cancelled, '
        'here and upstream; handlers that are running are told to stop.</p><form method="post" action="{}/cancel">{}'
        '<button class="bad">Cancel the run</button></form></details>'
    ).format(run_path(run_id), token_field(visitor))
