"""The page behind a decision link: one file of HTML that needs nothing else and works without scripts.

Everything on it that comes from outside is escaped by `_text`; there is no other way into it.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape

from lockstitch.escalation_wording import from_now, moment, readable, visible, what_became, what_happens_then
from lockstitch.starter.escalations import Escalation

LONGEST_ARGUMENTS = 4096
"""Bytes of a call's arguments that are shown."""

LONGEST_NAME = 256
LONGEST_MESSAGE = 4000
"""Characters that the form takes."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --faint: #5a616b; --page: #f4f5f7; --card: #fff; --line: #d5d9df;
  --yes: #146c43; --no: #b02a37; --focus: #0b5ed7 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --faint: #a3abb6; --page: #15171a; --card: #1f2226;
  --line: #3a3f47; --yes: #1a7a4c; --no: #c9404d; --focus: #6ea8fe } }
* { box-sizing: border-box }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 42rem; margin: 0 auto; padding: 1.5rem 2rem 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 1.5rem 0 .5rem; font-size: 1rem }
p { margin: .5rem 0; overflow-wrap: anywhere; white-space: pre-line }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 1.25rem 0 }
dt { color: var(--faint) }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line }
code, pre { font-family: ui-monospace, monospace; font-size: .9375rem }
pre { margin: 0; padding: .75rem 1rem; max-height: 24rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--page); border: 1px solid var(--line); border-radius: .5rem }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600 }
label small { font-weight: 400; color: var(--faint) }
input, textarea { width: 100%; padding: .5rem .75rem; color: inherit; background: var(--page); font: inherit;
  border: 1px solid var(--faint); border-radius: .5rem }
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.25rem }
button { min-width: 8rem; padding: .625rem 1.25rem; color: #fff; font: inherit; font-weight: 600; border: 0;
  border-radius: .5rem; cursor: pointer }
.yes { background: var(--yes) }
.no { background: var(--no) }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px }
.warning { font-weight: 600 }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page may show its own style and be sent back to where it came from, and nothing else."""

# The disabled button comes first, so that Enter in the name's field sends nothing: a browser would press the first
# button that it finds.
_FORM = f"""<form method="post">
<button type="submit" disabled hidden></button>
<label for="by">Your name <small>goes on the record</small></label>
<input id="by" name="by" maxlength="{LONGEST_NAME}" autocomplete="name">
<label for="message">Message <small>optional; the model reads it if you deny</small></label>
<textarea id="message" name="message" rows="3" maxlength="{LONGEST_MESSAGE}"></textarea>
<div class="buttons">
<button class="yes" name="action" value="approve">Approve</button>
<button class="no" name="action" value="deny">Deny</button>
</div>
</form>"""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: an escalation, and the arguments of its call where they are known."""

    escalation: Escalation
    arguments: str | None

    @property
    def shown_arguments(self) -> tuple[str, bool]:
        """Return the arguments as they are shown, and whether that is not all of them."""
        if self.arguments is None:
            return "", False
        whole = readable(self.arguments).encode()
        return whole[:LONGEST_ARGUMENTS].decode(errors="ignore"), len(whole) > LONGEST_ARGUMENTS


def question_page(question: Question, now: datetime) -> str:
    """Return the page of an escalation: with buttons while it is open, else with what became of it."""
    asked = question.escalation
    if not asked.is_open:
        return outcome_page(asked, "Nothing is left to decide", "")
    facts = {
        "Run": asked.run_id,
        "Waits since": f"{moment(asked.opened_at)}, {from_now(asked.opened_at, now)}",
        "Decide until": f"{moment(asked.deadline)}, {from_now(asked.deadline, now)}",
        "If nobody does": f"{what_happens_then(asked)}.".capitalize(),
    }
    body = f"<p>{_text(asked.detail)}</p>{_facts(facts)}<h2>Arguments</h2>{_arguments(question)}{_FORM}"
    return _page(f"Call {asked.tool}?", body)


def outcome_page(escalation: Escalation, title: str, sentence: str) -> str:
    """Return the page that says what became of an escalation."""
    facts = {"Run": escalation.run_id, "Tool": escalation.tool, "Outcome": what_became(escalation)}
    if escalation.closed_at is not None:
        facts["When"] = moment(escalation.closed_at)
    if escalation.decision is not None and escalation.decision.message:
        facts["Message"] = escalation.decision.message
    return _page(title, f"<p>{_text(sentence)}</p>{_facts(facts)}" if sentence else _facts(facts))


def sentence_page(title: str, sentence: str) -> str:
    """Return a page that says why there is nothing to decide."""
    return _page(title, f"<p>{_text(sentence)}</p>")


def _arguments(question: Question) -> str:
    if question.arguments is None:
        return "<p>They are not known to this server.</p>"
    shown, is_cut = question.shown_arguments
    box = f'<pre tabindex="0" aria-label="Arguments">{_text(shown)}</pre>'
    kib = LONGEST_ARGUMENTS // 1024
    return f'{box}<p class="warning">There is more: only the first {kib} KiB are shown.</p>' if is_cut else box


def _facts(facts: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{_text(value)}</dd>' for name, value in facts.items())}</dl>"


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{_text(title)}</h1>{body}</main></body></html>"
    )


def _text(text: str) -> str:
    return escape(visible(text, also="\n"))
