"""How a run went, as lanes and as a picture: pure functions, tried with small histories."""

from datetime import UTC, datetime, timedelta

import pytest

from lockstitch.assistants.http.console.layout import took
from lockstitch.assistants.http.console.picture import picture
from lockstitch.assistants.http.console.scale import GAP_WIDTH, MOST_GAPS, Scale
from lockstitch.assistants.http.console.timeline import MOST_CALLS, timeline
from lockstitch.starter.contract import PendingCall, RunSnapshot
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.starter.run_history import ActivityRecord, RunHistory, RunNote, StatusChange

BEGAN = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def turn(begin: float, end: float) -> ActivityRecord:
    return ActivityRecord("start_run", "", at(begin), at(begin), at(end), 1, "completed")


def call(number: int, begin: float, end: float | None = None, **values: object) -> ActivityRecord:
    ended = {} if end is None else {"ended_at": at(end), "outcome": "completed"}
    given = {"started_at": at(begin), "attempts": 1, **ended, **values}
    return ActivityRecord("tool.look_up", f"look_up call_{number}", at(begin), **given)


def asked(number: int, opened: float, **values: object) -> Escalation:
    return Escalation(
        id=f"esc_{number}", run_id="run_1", call_id=f"call_{number}", tool="look_up", reason="handler_failed",
        detail="It broke.", opened_at=at(opened), deadline=at(opened + 300), on_deadline="cancel", **values,
    )  # fmt: skip


def lanes_of(history: RunHistory, snapshot: RunSnapshot | None = None, deliveries=(), now: float = 100):
    return timeline(snapshot or RunSnapshot(run_id="run_1", status="in_progress"), history, deliveries, at(now))


def test_statuses_follow_each_other_until_now_or_until_the_end():
    history = RunHistory([StatusChange("queued", at(0)), StatusChange("in_progress", at(1))])
    [lane, *_] = lanes_of(history).lanes
    assert [(bar.label, bar.begin, bar.end) for bar in lane.bars] == [
        ("queued", at(0), at(1)), ("in progress", at(1), None),
    ]  # fmt: skip

    ended = RunHistory([*history.statuses, StatusChange("completed", at(9))])
    snapshot = RunSnapshot(run_id="run_1", status="completed", started_at=at(0), ended_at=at(9.1))
    [lane, *_] = lanes_of(ended, snapshot).lanes
    assert (lane.state, [mark.said for mark in lane.marks], lane.bars[-1].end) == ("completed", ["completed"], at(9))


@pytest.mark.parametrize(
    ("record", "state", "said"),
    [
        (call(1, 1, 2), "succeeded", ["attempt 1 succeeded"]),
        (call(1, 1), "running", ["attempt 1 is under way"]),
        (
            call(1, 1, started_at=at(5), attempts=3, failure="Busy."),
            "running, 3 attempts",
            ["attempts 1 to 2 failed, the last with: Busy.", "attempt 3 is under way"],
        ),
        (
            call(1, 1, started_at=None, attempts=2, failure="Busy."),
            "waits for attempt 2",
            ["waits for attempt 2; attempt 1 failed with: Busy."],
        ),
        (
            call(1, 1, 9, started_at=at(8), attempts=3, outcome="failed", failure="Gone."),
            "failed, 3 attempts",
            ["attempts 1 to 2 failed", "attempt 3 failed: Gone."],
        ),
        (call(1, 1, started_at=None, attempts=1), "not begun", ["waits for a worker"]),
        (
            call(1, 1, 9, started_at=None, attempts=0, outcome="timed_out"),
            "timed out",
            ["no attempt began, timed out"],
        ),
    ],
)
def test_attempts_and_waits_of_a_call_are_told_apart(record, state, said):
    [lane] = [lane for lane in lanes_of(RunHistory(activities=[record])).lanes if lane.name == "look_up"]

    assert (lane.state, [bar.said for bar in lane.bars]) == (state, said)


def test_what_a_person_was_asked_stands_below_the_call_with_who_was_told_and_who_decided():
    decision = Decision(escalation_id="esc_1", action="retry", by="Ada")
    closed = asked(1, 3, closed_at=at(60), closed_by="decision", decision=decision)
    snapshot = RunSnapshot(run_id="run_1", status="in_progress", escalations=[closed])
    row = {
        "escalation_id": "esc_1", "event": "escalation.opened", "target": "https://pager", "attempt": 2,
        "delivered": False, "status": None, "error": "no answer", "at": int(at(4).timestamp()),
    }  # fmt: skip
    records = [call(1, 1, 2, outcome="failed", failure="It broke."), call(1, 61, 62)]
    went = lanes_of(RunHistory(activities=records), snapshot, [row])
    above, below = went.lanes[2:4]

    assert (above.name, [bar.kind for bar in above.bars]) == ("look_up", ["bad", "good"])
    assert (below.is_below, below.state, [bar.end for bar in below.bars]) == (True, "retry by Ada", [at(60)])
    assert [(mark.at, mark.kind) for mark in below.marks] == [(at(4), "bad"), (at(60), "good")]
    told = "https://pager could not be told that it was opened, attempt 2: no answer"
    assert (told, "look_up, asked") in [(entry.said, entry.lane) for entry in went.entries]


def test_a_call_that_waits_for_the_client_is_a_wait_since_the_turn_that_made_it():
    snapshot = RunSnapshot(
        run_id="run_1", status="requires_action", pending_calls=[PendingCall(call_id="call_9", name="get_weather")]
    )
    [lane] = [lane for lane in lanes_of(RunHistory(activities=[turn(0, 2)]), snapshot).lanes if "weather" in lane.name]

    assert [(bar.begin, bar.end, bar.kind) for bar in lane.bars] == [(at(2), None, "person")]


def test_of_many_calls_the_picture_shows_the_first_and_those_about_which_a_person_was_asked_and_the_table_all():
    many = 3 * MOST_CALLS
    history = RunHistory(activities=[call(number, number, number + 1) for number in range(many)])
    snapshot = RunSnapshot(run_id="run_1", status="in_progress", escalations=[asked(many - 1, 90)])
    went = lanes_of(history, snapshot)

    assert sum(lane.name == "look_up" for lane in went.lanes) == MOST_CALLS
    assert went.calls_left_out == many - MOST_CALLS
    assert went.lanes[-1].is_below
    assert sum(entry.lane == "look_up" for entry in went.entries) == many


def test_what_came_from_outside_has_a_lane_of_its_own():
    notes = [RunNote("answer", at(1)), RunNote("continued", at(2)), RunNote("cancel_requested", at(3))]
    [*_, lane] = lanes_of(RunHistory(notes=notes)).lanes

    assert (lane.name, len(lane.marks)) == ("From outside", 3)


def test_one_second_is_as_wide_as_any_other_where_nothing_is_long():
    scale = Scale([at(0), at(1), at(3), at(4)])

    assert [round(scale.place(at(it)), 6) for it in (0, 1, 2, 4)] == [0, 0.25, 0.5, 1]
    assert scale.gaps == []
    assert [round(place, 6) for place, after in scale.ticks(4)] == [0, 0.25, 0.5, 0.75, 1]


def test_every_moment_of_a_long_run_stands_where_it_belongs_and_is_found_without_looking_at_all_others():
    class Counted(datetime):
        comparisons = 0

        def __gt__(self, other: datetime) -> bool:
            Counted.comparisons += 1
            return super().__gt__(other)

        def __le__(self, other: datetime) -> bool:
            Counted.comparisons += 1
            return super().__le__(other)

    scale = Scale([at(number) for number in range(1001)])
    places = [scale.place(Counted.fromtimestamp(at(number).timestamp(), UTC)) for number in range(-1, 1003)]

    assert places == pytest.approx([0, *(number / 1000 for number in range(1001)), 1, 1])
    assert 0 < Counted.comparisons < 30 * len(places)


def test_an_hour_in_which_nothing_happens_is_a_gap_and_what_happens_around_it_stays_readable():
    scale = Scale([at(0), at(1), at(3601), at(3602)])

    [gap] = scale.gaps
    assert (gap.begin, gap.end, round(gap.right - gap.left, 6)) == (at(1), at(3601), GAP_WIDTH)
    assert round(scale.place(at(1)), 6) == round(1 - scale.place(at(3601)), 6) == round((1 - GAP_WIDTH) / 2, 6)
    assert not [place for place, _ in scale.ticks() if gap.left < round(place, 9) < round(gap.right, 9)]


def test_several_long_waits_are_several_gaps_and_no_more_than_fit():
    waits = [at(number * 1000 + more) for number in range(8) for more in (0, 1)]

    assert len(Scale(waits[:8]).gaps) == 3
    assert len(Scale(waits).gaps) <= MOST_GAPS


@pytest.mark.parametrize("moments", [[0], [0, 0.001], [0, 86_400 * 30], [0, 1, 1e7, 1e7 + 1]])
def test_every_moment_has_a_place_on_the_picture(moments):
    scale = Scale(map(at, moments))
    places = [scale.place(at(it)) for it in (-5, *moments, 2e7)]

    assert all(0 <= place <= 1 for place in places)
    assert places == sorted(places)
    assert 1 <= len(scale.ticks()) <= 25


def test_a_run_that_has_just_begun_has_a_picture():
    drawn = picture(lanes_of(RunHistory([StatusChange("queued", at(0))]), now=0))

    assert drawn.startswith("<div")
    assert "queued" in drawn


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 ms"), (0.0304, "30 ms"), (1.25, "1.2 s"), (75, "1 min 15 s"), (7300, "2 h 1 min"), (180_000, "2 d 2 h"),
    ],
)  # fmt: skip
def test_durations_are_as_exact_as_people_read_them(seconds, shown):
    assert took(timedelta(seconds=seconds)) == shown
