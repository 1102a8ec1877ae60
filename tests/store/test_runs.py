"""Runs: what may be created, what may follow on what, and that of two that race one wins."""

import asyncio
import json
from typing import get_args

import pytest
from sqlalchemy.exc import IntegrityError

from lockstitch.assistants import objects
from lockstitch.assistants.store import assistants, event_log, rows, runs, steps, threads, tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.schema import runs as runs_table
from lockstitch.errors import ApiError
from lockstitch.starter.contract import OPEN_STATUSES, NewMessage, RunStatus

NOW = 1_700_000_100
STATUSES = get_args(RunStatus)
ENDED = sorted(set(STATUSES) - OPEN_STATUSES)
CALLS = ("call_a", "call_b")


# --- creation


async def test_a_new_run_is_queued_with_the_assistants_settings_and_its_own(store):
    assistant_id = await store.assistant(instructions="Be kind.", temperature=0.5, metadata={"of": "assistant"})
    new = await store.new_run(
        None, assistant_id, model="other", additional_instructions="Be brief.", metadata={"of": "run"}
    )
    run = await store.write(runs.create, new)

    assert (run["status"], run["model"], run["temperature"]) == ("queued", "other", 0.5)
    assert (run["instructions"], run["metadata"]) == ("Be kind.\nBe brief.", {"of": "run"})
    assert run["expires_at"] - run["created_at"] == 600
    assert await store.events(run) == ["run.created", "run.queued"]


async def refused(store, new) -> str:
    with pytest.raises(ApiError) as error:
        await store.write(runs.create, new)
    assert await store.read(runs.find, new.run_id) is None
    assert await store.read(event_log.after, new.run_id, 0) == []
    return f"{error.value.status} {error.value.message}"


async def test_a_run_needs_a_thread_and_an_assistant_that_exist(store):
    no_thread = await store.new_run("thread_unknown")
    no_assistant = await store.new_run(assistant_id="asst_unknown")

    assert await refused(store, no_thread) == "404 No thread found with id 'thread_unknown'."
    assert await refused(store, no_assistant) == "404 No assistant found with id 'asst_unknown'."


async def test_a_run_needs_something_to_do(store):
    thread_id = await store.thread()
    nothing = await store.new_run(thread_id)
    said = await store.new_run(thread_id, additional_messages=[NewMessage(role="assistant", content="I said this.")])
    instructed = await store.new_run(thread_id, instructions="Say hello.")

    assert (await refused(store, nothing)).startswith("400 Run creation requires a Thread with a user message")
    assert (await refused(store, said)).startswith("400 Run creation requires")
    assert (await store.read(threads.list_messages, thread_id, PageCursor())).rows == []
    assert (await store.write(runs.create, instructed))["status"] == "queued"


@pytest.mark.parametrize("status", sorted(OPEN_STATUSES))
async def test_a_thread_with_an_active_run_takes_no_other(store, status):
    run = await store.run(status)
    second = await store.new_run(run["thread_id"], additional_messages=[NewMessage(role="user", content="And this?")])

    assert await refused(store, second) == f"400 Thread {run['thread_id']} already has an active run {run['id']}."
    assert len((await store.read(threads.list_messages, run["thread_id"], PageCursor())).rows) == 1


@pytest.mark.parametrize("status", ENDED)
async def test_a_thread_whose_run_has_ended_takes_another(store, status):
    run = await store.run(status)
    second = await store.write(runs.create, await store.new_run(run["thread_id"]))

    assert second["status"] == "queued"


async def test_of_runs_that_are_created_at_once_on_one_thread_one_is_accepted(store):
    thread_id, assistant_id = await store.thread("Hello."), await store.assistant()
    created = await asyncio.gather(
        *[store.write(runs.create, await store.new_run(thread_id, assistant_id)) for _ in range(6)],
        return_exceptions=True,
    )

    refusals = [error for error in created if isinstance(error, ApiError)]
    assert len(refusals) == 5
    assert all("already has an active run" in error.message for error in refusals)


async def test_the_database_itself_keeps_two_active_runs_off_a_thread(store):
    run = await store.run()
    another = {**run, "id": "run_another"}
    del another["seq"]

    with pytest.raises(IntegrityError):
        await store.write(rows.add, runs_table, another)


# --- what may follow on what


@pytest.mark.parametrize("status", STATUSES)
async def test_only_a_run_that_requires_action_takes_outputs(store, outputs, status):
    run = await store.run(status)
    before = await store.events(run)
    submission = (runs.submit_outputs, run["thread_id"], run["id"], outputs(*CALLS), NOW)
    if status != "requires_action":
        with pytest.raises(ApiError, match=f'Runs in status "{status}" do not accept tool outputs'):
            await store.write(*submission)
        assert (await store.find(run), await store.events(run)) == (run, before)
        return
    queued = await store.write(*submission)

    assert (queued["status"], queued["required_action"]) == ("queued", None)
    assert (await store.events(run))[len(before) :] == ["run.step.completed", "run.queued"]
    assert [call["output"] for call in await calls(store, run)] == ["of call_a", "of call_b"]


@pytest.mark.parametrize(
    "given", [[], ["call_a"], ["call_a", "call_a"], ["call_a", "call_b", "call_b"], ["call_a", "call_c"]]
)
async def test_outputs_are_for_exactly_the_calls_that_are_asked_for(store, outputs, given):
    run = await store.run("requires_action")
    with pytest.raises(ApiError) as error:
        await store.write(runs.submit_outputs, run["thread_id"], run["id"], outputs(*given), NOW)

    assert error.value.message == f"Expected tool outputs for call_ids ['call_a', 'call_b'], got {given}"
    assert [call["output"] for call in await calls(store, run)] == [None, None]


async def test_outputs_may_come_in_any_order(store, outputs):
    run = await store.run("requires_action")
    await store.write(runs.submit_outputs, run["thread_id"], run["id"], outputs("call_b", "call_a"), NOW)

    assert [call["output"] for call in await calls(store, run)] == ["of call_a", "of call_b"]


async def test_outputs_for_a_run_of_another_thread_find_no_run(store, outputs):
    run, other = await store.run("requires_action"), await store.run("requires_action")

    with pytest.raises(ApiError, match=f"No run found with id '{run['id']}'"):
        await store.write(runs.submit_outputs, other["thread_id"], run["id"], outputs(*CALLS), NOW)


@pytest.mark.parametrize("status", STATUSES)
async def test_an_open_run_can_be_cancelled_and_an_ended_one_cannot(store, status):
    run = await store.run(status)
    before = await store.events(run)
    cancel = (runs.begin_cancel, run["thread_id"], run["id"])
    if status not in OPEN_STATUSES:
        with pytest.raises(ApiError, match=f"Cannot cancel run with status '{status}'"):
            await store.write(*cancel)
        assert await store.find(run) == run
        return
    row = await store.write(*cancel)

    assert (row["status"], row["required_action"]) == ("cancelling", None)
    assert (await store.events(run))[len(before) :] == ([] if status == "cancelling" else ["run.cancelling"])


@pytest.mark.parametrize("ending", ["cancelled", "failed", "expired"])
@pytest.mark.parametrize("status", STATUSES)
async def test_an_open_run_ends_with_its_steps_and_an_ended_one_stays_as_it_is(store, status, ending):
    run = await store.run(status)
    before = await store.events(run)
    row = await store.write(runs.end, run["id"], ending, NOW)
    now, said = await store.find(run), (await store.events(run))[len(before) :]

    if status in OPEN_STATUSES:
        assert now == row
        assert (now["status"], now["required_action"]) == (ending, None)
        assert said == [*([] if status == "queued" else [f"run.step.{ending}"]), f"run.{ending}"]
    else:
        assert (row, now, said) == (None, run, [])
    assert await store.read(steps.open_steps, run["id"]) == []


@pytest.mark.parametrize(
    ("ending", "column"),
    [("completed", "completed_at"), ("incomplete", "completed_at"), ("failed", "failed_at"),
     ("cancelled", "cancelled_at"), ("expired", None)],
)  # fmt: skip
async def test_the_end_has_its_time_in_the_column_of_its_kind(store, ending, column):
    run = await store.run("in_progress")
    error = {"code": "server_error", "message": "gone"}
    row = await store.write(runs.end, run["id"], ending, NOW, last_error=error)

    times = {name: row[name] for name in ("completed_at", "failed_at", "cancelled_at")}
    assert {name for name, at in times.items() if at == NOW} == ({column} if column else set())
    assert row["last_error"] == error
    assert (row["expires_at"] is None) == (ending == "completed")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("failed", "run_failed"),
        ("cancelled", "run_cancelled"),
        ("expired", "run_expired"),
        ("incomplete", "max_tokens"),
    ],
)
async def test_a_message_that_is_being_written_ends_with_the_run(store, ending, reason):
    run = await store.run("in_progress", calls=["call_a"])
    await store.write(_begin_message, run)
    await store.write(runs.end, run["id"], ending, NOW)
    [message, _asked] = (await store.read(threads.list_messages, run["thread_id"], PageCursor())).rows

    assert (message["status"], message["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert (await store.events(run))[-2:] == [
        f"run.step.{'completed' if ending == 'incomplete' else ending}",
        f"run.{ending}",
    ]


async def test_a_run_ends_though_the_message_that_it_writes_was_deleted(store):
    run = await store.run("in_progress")
    await store.write(_begin_message, run)
    [message, _asked] = (await store.read(threads.list_messages, run["thread_id"], PageCursor())).rows
    await store.write(threads.drop_message, message["id"])
    await store.write(runs.end, run["id"], "cancelled", NOW)

    assert (await store.events(run))[2:] == ["run.step.cancelled", "run.step.cancelled", "run.cancelled"]


def _begin_message(connection, run) -> None:
    message = threads.new_run_message(run, NOW)
    threads.insert_message(connection, message)
    steps.insert(connection, steps.new_step(run, "message_creation", NOW, message["id"]))


@pytest.mark.parametrize("status", STATUSES)
async def test_a_run_whose_calls_all_have_outputs_goes_on(store, status):
    run = await store.run(status)
    for call_id in CALLS:
        await store.write(tool_calls.record_output, run["id"], call_id, "done", "succeeded")
    before = await store.events(run)
    await store.write(runs.resume, run["id"], NOW)
    now, said = await store.find(run), (await store.events(run))[len(before) :]

    assert now["status"] == ("queued" if status == "requires_action" else status)
    assert ("run.queued" in said) == (status == "requires_action")
    assert ("run.step.completed" in said) == (status in ("requires_action", "in_progress", "cancelling"))


async def test_a_run_goes_on_once_and_only_when_no_output_is_missing(store):
    run = await store.run("requires_action")
    await store.write(tool_calls.record_output, run["id"], "call_a", "done", "succeeded")
    await store.write(runs.resume, run["id"], NOW)
    assert (await store.find(run))["status"] == "requires_action"

    await store.write(tool_calls.record_output, run["id"], "call_b", "done", "answered")
    for _ in range(2):
        await store.write(runs.resume, run["id"], NOW)
    assert (await store.find(run))["status"] == "queued"
    assert (await store.events(run)).count("run.queued") == 2  # when it was created, and now


@pytest.mark.parametrize("status", STATUSES)
async def test_usage_is_null_until_the_run_has_ended(store, status):
    run = await store.run(status)
    shown = objects.run({**run, "usage": {"prompt_tokens": 7, "completion_tokens": 2}})["usage"]

    assert shown == (None if status in OPEN_STATUSES else shown)
    assert status in OPEN_STATUSES or (shown["prompt_tokens"], shown["total_tokens"]) == (7, 9)


# --- races


async def race(store, first, second) -> list[str]:
    """Let two databases write at the same time; tell what each came to."""
    async with Database(store.database.url) as other:
        results = await asyncio.gather(store.database.write(first), other.write(second), return_exceptions=True)
    assert all(isinstance(it, ApiError) for it in results if isinstance(it, BaseException))
    return ["late" if it is None or isinstance(it, ApiError) else "won" for it in results]


@pytest.mark.parametrize("attempt", range(5))
async def test_of_outputs_that_are_submitted_twice_at_once_one_is_taken(store, outputs, attempt):
    run = await store.run("requires_action")

    def submit(connection):
        return runs.submit_outputs(connection, run["thread_id"], run["id"], outputs(*CALLS), NOW)

    assert sorted(await race(store, submit, submit)) == ["late", "won"]
    assert (await store.events(run)).count("run.step.completed") == 1


@pytest.mark.parametrize("attempt", range(5))
async def test_a_cancellation_and_outputs_that_race_agree_with_the_events(store, outputs, attempt):
    run = await store.run("requires_action")
    results = await race(
        store,
        lambda connection: runs.begin_cancel(connection, run["thread_id"], run["id"]),
        lambda connection: runs.submit_outputs(connection, run["thread_id"], run["id"], outputs(*CALLS), NOW),
    )

    said = (await store.events(run))[3:]
    told = {("won", "won"): ["run.step.completed", "run.queued", "run.cancelling"], ("won", "late"): ["run.cancelling"]}
    assert said == told[tuple(results)]
    assert (await store.find(run))["status"] == "cancelling"


@pytest.mark.parametrize("attempt", range(5))
async def test_an_end_and_outputs_that_race_agree_with_the_events(store, outputs, attempt):
    run = await store.run("requires_action")
    results = await race(
        store,
        lambda connection: runs.end(connection, run["id"], "expired", NOW),
        lambda connection: runs.submit_outputs(connection, run["thread_id"], run["id"], outputs(*CALLS), NOW),
    )

    said = (await store.events(run))[3:]
    told = {
        ("won", "won"): ["run.step.completed", "run.queued", "run.expired"],
        ("won", "late"): ["run.step.expired", "run.expired"],
    }
    assert said == told[tuple(results)]
    assert (await store.find(run))["status"] == "expired"


async def test_of_two_ends_that_race_one_is_told(store):
    run = await store.run("in_progress")
    results = await race(
        store,
        lambda connection: runs.end(connection, run["id"], "cancelled", NOW),
        lambda connection: runs.end(connection, run["id"], "expired", NOW),
    )

    status = (await store.find(run))["status"]
    assert sorted(results) == ["late", "won"]
    assert (await store.events(run))[2:] == [f"run.step.{status}", f"run.{status}"]


async def test_every_event_carries_the_run_as_it_was_then(store, outputs):
    run = await store.run("requires_action")
    await store.write(runs.submit_outputs, run["thread_id"], run["id"], outputs(*CALLS), NOW)
    await store.write(runs.end, run["id"], "cancelled", NOW)

    for event in await store.read(event_log.after, run["id"], 0):
        said = json.loads(event.data)
        if said["object"] == "thread.run":
            assert said["status"] == event.event.removeprefix("thread.run.").replace("created", "queued")


async def test_a_deleted_thread_takes_its_runs_with_it(store):
    run = await store.run("in_progress")
    await store.write(threads.delete, run["thread_id"])

    assert await store.read(runs.find, run["id"]) is None
    assert await store.read(runs.find_status, run["id"]) == "cancelled"
    assert await store.write(runs.end, run["id"], "failed", NOW) is None
    await store.write(runs.resume, run["id"], NOW)


async def test_a_deleted_assistant_leaves_its_runs_as_they_are(store):
    run = await store.run("in_progress")
    await store.write(assistants.delete, run["assistant_id"])

    assert await store.find(run) == run


async def calls(store, run) -> list[dict[str, object]]:
    return [await store.read(tool_calls.get, run["id"], call_id) for call_id in CALLS]
