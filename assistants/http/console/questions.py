"""What a run asks people: as a line on the first page, and with buttons on the page of the run."""

from datetime import datetime

from markupsafe import Markup

from lockstitch.assistants.http.console.door import Visitor
from lockstitch.assistants.http.console.layout import facts, joined, run_link, run_path, shown, token_field, when
from lockstitch.escalation_wording import moment, readable, what_became, what_happens_then
from lockstitch.starter.escalations import Action, Escalation

LONGEST_ARGUMENTS = 4096
"""Bytes of a call's arguments that are shown."""

LONGEST_NAME = 256

REASONS = {
    "approval": "waits for approval",
    "no_handler": "has no handler",
    "handler_failed": "failed for good",
    "outcome_unknown": "may or may not have taken effect",
}

_BUTTONS: dict[Action, tuple[str, str, str]] = {
    "approve": ("Approve", "main", "The handler is called."),
    "deny": ("Deny", "bad", "The model reads that it was denied, and the message."),
    "retry": ("Retry", "main", "The handler is called again."),
    "answer": ("Answer", "", "The text above is the output of the call."),
    "error": ("Give an error", "", "The model reads an error, or the message."),
    "cancel": ("Cancel the run", "bad", "The run ends."),
}

_LINE = Markup(
    '<div class="asked"><div><p><strong>{tool}</strong> {reason}</p><p class="faint">{detail}</p><p>{run}</p></div>'
    '<div><span title="{deadline}">decide {left}</span>{bar}<span class="faint">asked {since}</span></div>'
    '<a class="go" href="{link}">Decide</a></div>'
)

# The disabled button comes first, so that Enter in a field sends nothing: a browser would press the first one it finds.
_FORM = Markup(
    '<form method="post" action="{path}">{token}<button type="submit" disabled hidden></button>{fields}'
    '<div class="buttons">{buttons}</div></form>'
)


def question_line(asked: Escalation, now: datetime) -> Markup:
    """Return one open escalation as a line."""
    return _LINE.format(
        tool=shown(asked.tool),
        reason=REASONS[asked.reason],
        detail=shown(asked.detail),
        run=run_link(asked.run_id),
        deadline=moment(asked.deadline),
        left=_left(asked, now),
        bar=_bar(asked, now),
        since=when(asked.opened_at, now),
        link=f"{run_path(asked.run_id)}#{asked.id}",
    )


def question_card(
    asked: Escalation, arguments: str | None, visitor: Visitor, now: datetime, *, has_form: bool
) -> Markup:
    """Return one open escalation with all that one has to know, and with buttons where it ``has_form``."""
    told = facts(
        {
            "Call": Markup('<span class="id">{}</span>').format(shown(asked.call_id)),
            "Asked": Markup("{}, {}").format(when(asked.opened_at, now), moment(asked.opened_at)),
            "Decide until": Markup("{}, {}{}").format(moment(asked.deadline), _left(asked, now), _bar(asked, now)),
            "If nobody does": f"{what_happens_then(asked)}.",
        }
    )
    form = _form(asked, visitor) if has_form else ""
    return Markup(
        '<section class="card pad question" id="{}"><div><h3>{} {}</h3><p>{}</p>{}{}</div>{}</section>'
    ).format(asked.id, shown(asked.tool), REASONS[asked.reason], shown(asked.detail), told, _arguments(arguments), form)


def closed_questions(found: list[Escalation], now: datetime) -> Markup:
    """Return what became of escalations, as rows of a list."""
    row = Markup("<dt>{}, {}</dt><dd>{} {}{}</dd>")
    return Markup('<dl class="card pad">{}</dl>').format(
        joined(
            row.format(
                shown(asked.tool),
                asked.reason.replace("_", " "),
                what_became(asked),
                when(asked.closed_at or now, now),
                Markup("<br>“{}”").format(shown(asked.decision.message))
                if asked.decision and asked.decision.message
                else "",
            )
            for asked in found
        )
    )


def _left(asked: Escalation, now: datetime) -> str:
    distance = when(asked.deadline, now)
    return distance if asked.deadline > now else Markup("now: its time was over {}").format(distance)


def _bar(asked: Escalation, now: datetime) -> Markup:
    whole = max((asked.deadline - asked.opened_at).total_seconds(), 1)
    gone = min(max((now - asked.opened_at).total_seconds(), 0), whole)
    return Markup('<progress max="100" value="{:.0f}" aria-label="Time that has passed"></progress>').format(
        100 * gone / whole
    )


def _arguments(arguments: str | None) -> Markup:
    if arguments is None:
        return Markup('<p class="faint">The arguments of the call are not in the store of this server.</p>')
    whole = readable(arguments).encode()
    cut = whole[:LONGEST_ARGUMENTS].decode(errors="ignore")
    more = (
        ""
        if len(whole) <= LONGEST_ARGUMENTS
        else f" There is more: only the first {LONGEST_ARGUMENTS} bytes are shown."
    )
    return Markup('<p class="faint">The model calls it with:{}</p><pre tabindex="0">{}</pre>').format(more, cut)


def _form(asked: Escalation, visitor: Visitor) -> Markup:
    fields = list[Markup]()
    if "answer" in asked.actions:
        fields.append(
            Markup(
                '<label class="field">Output <small>for Answer: what the call returned</small>'
                '<textarea name="output" rows="2"></textarea></label>'
            )
        )
    reads = "the model reads it if you deny" if "deny" in asked.actions else "the model reads it if you give an error"
    fields.append(
        Markup(
            '<label class="field">Message <small>optional; {}</small>'
            '<textarea name="message" rows="2"></textarea></label>'
        ).format(reads)
    )
    if visitor.name is None:
        fields.append(
            Markup(
                '<label class="field">Your name <small>goes on the record</small>'
                '<input name="by" maxlength="{}" autocomplete="name"></label>'
            ).format(LONGEST_NAME)
        )
    button = Markup('<button class="{2}" name="action" value="{0}" title="{3}">{1}</button>')
    return _FORM.format(
        path=f"{run_path(asked.run_id)}/escalations/{asked.id}",
        token=token_field(visitor),
        fields=joined(fields),
        buttons=joined(button.format(action, *_BUTTONS[action]) for action in asked.actions),
    )
