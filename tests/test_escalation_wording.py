"""Escalations in words: distances in time, what became of them, and text that cannot deceive."""

from datetime import UTC, datetime, timedelta

import pytest

from lockstitch.escalation_wording import from_now, readable, visible, what_became
from lockstitch.starter.escalations import Decision, Escalation

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
ASKED = Escalation(
    id="esc_1",
    run_id="run_1",
    call_id="call_1",
    tool="refund_order",
    reason="approval",
    detail="A call of 'refund_order' waits for approval.",
    opened_at=NOW,
    deadline=NOW,
    on_deadline="deny",
)


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(milliseconds=300), "in 0 s"),
        (timedelta(seconds=119), "in 119 s"),
        (timedelta(minutes=4, seconds=59), "in 4 min"),
        (timedelta(minutes=-119), "119 min ago"),
        (timedelta(hours=47), "in 47 h"),
        (timedelta(days=3, hours=23), "in 3 d"),
    ],
    ids=str,
)
def test_a_moment_is_so_many_whole_units_away(distance, words):
    assert from_now(NOW + distance, NOW) == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "open"),
        ({"decision": Decision(escalation_id="esc_1", action="deny", by="ada")}, "deny by ada"),
        ({"decision": Decision(escalation_id="esc_1", action="deny")}, "deny by somebody"),
        ({"closed_by": "deadline"}, "closed by its deadline"),
        ({"closed_by": "answer"}, "closed by an answer from outside"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_became_of_an_escalation_is_said_in_words(changes, words):
    closed = ASKED.model_copy(update={"closed_at": NOW, **changes} if changes else {})

    assert what_became(closed) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 12 €, 東京 😀", "Größe 12 €, 東京 😀"),
        ("\x1b[2J\x7f\r\n", "\\u001b[2J\\u007f\\u000d\\u000a"),
        ("abc\u202edef\u200b", "abc\\u202edef\\u200b"),
        ("\U000e0041\ud800", "\\udb40\\udc41\\ud800"),
    ],
)
def test_what_a_screen_would_hide_turn_around_or_obey_is_shown_as_its_code(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"order":17}', '{\n  "order": 17\n}'),
        ('{"name":"\\u202eada"}', '{\n  "name": "\\u202eada"\n}'),
        ("no json", "no json"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=["object", "hidden", "text", "deep"],
)
def test_arguments_are_indented_where_they_are_json(arguments, shown):
    assert readable(arguments) == shown
