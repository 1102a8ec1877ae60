"""What the pages have in common.

Whatever comes from outside goes through `shown`, and is escaped by `Markup.format`; there is no other way onto a page.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from lockstitch.assistants.http.console.door import PATH, TOKEN_FIELD, Visitor
from lockstitch.assistants.http.console.style import STYLE
from lockstitch.escalation_wording import from_now, moment, visible
from lockstitch.starter.contract import RunStatus

TONES: dict[RunStatus, str] = {
    "queued": "",
    "in_progress": "work",
    "requires_action": "wait",
    "cancelling": "wait",
    "completed": "good",
    "incomplete": "wait",
    "failed": "bad",
    "expired": "bad",
    "cancelled": "",
}
"""Which of the colours stands for a status."""

_PAGE = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
    "{refresh}<title>{title} · Lockstitch</title><style>{style}</style></head><body>"
    '<header><a class="brand" href="{path}">Lockstitch console</a>{who}</header><main>{body}</main></body></html>'
)
_REFRESH = Markup('<meta http-equiv="refresh" content="{}">')
_NOTHING = Markup("")
_SIGN_OUT = Markup(
    '<form class="who" method="post" action="{path}/sign-out"><span>{name}</span>{token}'
    '<button class="plain">Sign out</button></form>'
)


def page(title: str, body: Markup, visitor: Visitor | None = None, *, refresh_seconds: int | None = None) -> str:
    """Return a whole page; with ``refresh_seconds`` it loads itself again, so it must have no field to fill in."""
    who = _NOTHING
    if visitor is not None:
        who = Markup('<span class="who">No key is asked for on this machine</span>')
        if visitor.name is not None:
            who = _SIGN_OUT.format(path=PATH, name=shown(visitor.name), token=token_field(visitor))
    refresh = "" if refresh_seconds is None else _REFRESH.format(refresh_seconds)
    return _PAGE.format(
        title=shown(title),
        body=body,
        who=who,
        path=PATH,
        style=Markup(STYLE),  # noqa: S704 - a constant of ours
        refresh=refresh,
    )


def sentence_page(title: str, sentence: str, visitor: Visitor | None = None, back: str = PATH) -> str:
    """Return a page that says one sentence."""
    body = Markup('<div class="card pad narrow"><h1>{}</h1><p>{}</p><p><a href="{}">Back</a></p></div>')
    return page(title, body.format(shown(title), shown(sentence), back), visitor)


def shown(text: str) -> str:
    """Return a text from outside with nothing in it that a screen would hide or turn around."""
    return visible(text, also="\n")


def joined(parts: Iterable[str], by: Markup = _NOTHING) -> Markup:
    """Return parts one after the other; those that are no markup are escaped."""
    return by.join(parts)


def token_field(visitor: Visitor) -> Markup:
    """Return the field that every form has."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN_FIELD, visitor.form_token)


def badge(status: RunStatus) -> Markup:
    """Return a status in its colour."""
    return Markup('<span class="badge {}">{}</span>').format(TONES.get(status, ""), status.replace("_", " "))


def run_link(run_id: str, fragment: str = "") -> Markup:
    """Return a link to the page of a run."""
    return Markup('<a class="id" href="{}">{}</a>').format(run_path(run_id) + fragment, shown(run_id))


def run_path(run_id: str) -> str:
    """Return where the page of a run is; ids are made of letters that need no quoting."""
    return f"{PATH}/runs/{run_id}"


def when(at: datetime, now: datetime) -> Markup:
    """Return how far away a moment is; pointing at it shows the moment itself."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), moment(at), from_now(at, now))


def took(duration: timedelta) -> str:
    """Return how long something took, as exactly as people read it."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def facts(pairs: Mapping[str, str | None], kind: str = "") -> Markup:
    """Return what there is as a list of names and values."""
    found = [Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in pairs.items() if value]
    return Markup('<dl class="{}">{}</dl>').format(kind, joined(found))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = ()) -> Markup:
    """Return a table; ``text_columns`` are those that hold sentences."""
    head = joined(Markup('<th scope="col">{}</th>').format(name) for name in columns)

    def cell(place: int, value: str) -> Markup:
        return Markup('<td class="{}">{}</td>').format("text" if place in text_columns else "nowrap", value)

    body = joined(Markup("<tr>{}</tr>").format(joined(map(cell, range(len(row)), row))) for row in rows)
    return Markup(
        '<div class="card list"><div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div></div>"
    ).format(head, body)
