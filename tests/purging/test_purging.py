"""What a purge leaves of a thread: nothing, anywhere; and what it leaves alone."""

import base64
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.purging import ThreadPurge
from lockstitch.assistants.store import (
    assistants,
    code_files,
    commands,
    event_log,
    files,
    runs,
    schema,
    threads,
    tool_calls,
    upstream_runs,
    vector_store_files,
    webhook_deliveries,
)
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.runs import NewRun
from lockstitch.errors import TemporalKeeps, ThreadBusy
from lockstitch.starter.client import connect_temporal
from lockstitch.starter.contract import Attachment, BuiltInTool, NewMessage, RunParameters, ThreadRunRequest
from lockstitch.starter.escalations import Decision
from lockstitch.starter.identifiers import new_file_id, new_id
from lockstitch.starter.payload_store import payload_store_at
from lockstitch.starter.payloads import PayloadSettings
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.starter.thread_traces import ThreadTraces
from lockstitch.tools import tool

BOTH = pytest.mark.on_database("sqlite", "postgresql")
NOW = 1_700_000_000


@tool(approval=True)
async def refund_order(order: str) -> str:
    """Pay an order back."""
    return f"The order {order} is paid back."


def script(word: str) -> ScriptedModel:
    return ScriptedModel(
        [
            {"round": 0, "call": [{"name": "refund_order", "arguments": {"order": word}}]},
            {"say": f"Your {word} is here."},
        ]
    )


def new_file(connection, text: str, purpose: str = "assistants") -> str:
    values = {"id": new_file_id(), "created_at": NOW, "purpose": purpose, "filename": "a.txt", "bytes": len(text)}
    return files.create(connection, {**values, "project_id": "default"}, [text.encode()])["id"]


def new_thread(connection, *messages: NewMessage, **values) -> str:
    thread_id = threads.create(connection, values, NOW)["id"]
    for message in messages:
        threads.add_message(connection, thread_id, message, NOW)
    return thread_id


def attached(text: str, file_id: str, *tools: str) -> NewMessage:
    attachment = Attachment(file_id=file_id, tools=[BuiltInTool(type=each) for each in tools])
    return NewMessage(role="user", content=text, attachments=[attachment])


def ended_run(connection, thread_id: str, assistant_id: str) -> str:
    new = NewRun(new_id("run"), thread_id, assistant_id, RunParameters(), int(time.time()))
    runs.create(connection, new)
    runs.end(connection, new.run_id, "completed", NOW)
    return new.run_id


def new_assistant(connection, **resources) -> str:
    values = {"model": "test", "tools": [], "tool_resources": resources, "metadata": {}}
    return assistants.create(connection, values, NOW)["id"]


def purge_of(database, temporal, seconds: float = 60, **options) -> ThreadPurge:
    return ThreadPurge(database, ThreadTraces(temporal, timedelta(seconds=seconds)), **options)


async def count(database, table) -> int:
    return await database.read(lambda connection: connection.scalar(select(func.count()).select_from(table)))


@pytest.fixture
def talked(engine, database, eventually):
    """Let a thread have a run whose every part has a word in it, and return the thread's id."""

    async def talk(word: str) -> str:
        def prepare(connection) -> str:
            file_id = new_file(connection, f"In the file stands {word}, too.")
            return new_thread(connection, attached(f"Where is {word}?", file_id, "file_search"), metadata={"of": word})

        thread_id = await database.write(prepare)
        async with engine([refund_order], script(word)) as lockstitch:
            async with CommandDelivery(database, lockstitch.starter) as delivery:
                await delivery.sweep(older_than_seconds=0)
            parameters = {"thread_id": thread_id, "additional_messages": [NewMessage(role="user", content=word)]}
            request = ThreadRunRequest(assistant_id=await lockstitch.assistant(), **parameters)
            run_id = await lockstitch.starter.start(request)

            async def asked():
                return next(iter(await lockstitch.starter.escalations(run_id)), None)

            escalation = await eventually(asked)
            decision = Decision(escalation_id=escalation.id, action="deny", by=word, message=f"No {word} for you.")
            await lockstitch.starter.decide(run_id, decision)
            assert (await lockstitch.starter.result(run_id)).status == "completed"
            await eventually(lambda: _is_ingested(database))
        return thread_id

    return talk


async def _is_ingested(database) -> bool:
    query = select(schema.vector_store_files.c.status)
    return set(await database.read(lambda connection: list(connection.scalars(query)))) == {"completed"}


@BOTH
async def test_nothing_of_a_purged_thread_is_left_in_any_table_file_or_workflow(
    talked, purge, database, database_url, tables_with, workflows_with, eventually
):
    word, other = "kingfisher", "woodpecker"
    thread_id = await talked(word)
    await talked(other)
    expected = {"threads", "messages", "tool_calls", "run_events", "vector_store_chunks"}
    before = await eventually(lambda: workflows_with(word))
    assert expected <= await tables_with(word)

    told = await purge(thread_id, "--files")

    assert await tables_with(word) == set()
    assert await workflows_with(word) == set()
    assert any(it.startswith("notify-") for it in before)
    for name in ("threads", "messages", "runs", "tool_calls", "run_events", "files", "vector_stores"):
        assert told["removed"][name] > 0, name
    assert told["removed"]["workflows"] == 4  # the run, what told of its escalation and of its end, the ingestion
    assert expected <= await tables_with(other)
    assert await workflows_with(other)
    if database.kind == "sqlite":
        assert told["database_rewritten"] is True
        path = Path(database_url.removeprefix("sqlite:///"))
        on_disk = {file.name: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}
        assert word.encode() not in b"".join(on_disk.values())
        assert other.encode() in on_disk[path.name]
    again = await purge(thread_id, "--files")
    assert set(again["removed"].values()) == {0}


@pytest.mark.on_database("sqlite")
async def test_without_rewriting_a_sqlite_file_still_has_what_was_deleted(talked, purge, database_url):
    """Why a purge writes the file anew: deleting only says that the space is free."""
    thread_id = await talked("kingfisher")
    told = await purge(thread_id, "--files", "--no-rewrite")

    path = Path(database_url.removeprefix("sqlite:///"))
    on_disk = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert told["database_rewritten"] is False
    assert b"kingfisher" in on_disk


async def test_what_was_too_large_for_temporal_goes_too_and_needs_no_key(engine, database, temporal, tmp_path):
    keys = ("k1:" + base64.b64encode(b"k" * 32).decode(),)
    settings = PayloadSettings(keys=keys, store=(tmp_path / "payloads").as_uri(), store_over=1024)
    server = TemporalServer(temporal.service_client.config.target_host, payloads=settings)
    async with engine([], client=await connect_temporal(server)) as lockstitch:
        request = await lockstitch.request("kingfisher " * 1000)
        result = await lockstitch.starter.run(request)
    stored = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
    traces = ThreadTraces(temporal, timedelta(seconds=60), payload_store_at(settings.store))

    removed = await ThreadPurge(database, traces).remove(result.thread_id)

    assert removed["payloads"] == len(stored) > 0
    assert not [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]


async def test_what_would_be_removed_is_shown_and_nothing_is_removed(talked, purge, database, tables_with):
    thread_id = await talked("kingfisher")
    before = await tables_with("kingfisher")

    shown = await purge(thread_id, "--dry-run")
    after = await tables_with("kingfisher")
    removed = await purge(thread_id)

    assert shown["dry_run"] is True
    assert before == after
    assert {**shown["found"], "payloads": 0} == removed["removed"]


@pytest.mark.long
async def test_a_purge_that_was_killed_half_way_is_finished_by_the_next(database, command, purge, eventually):
    """Killed hard while it removes runs: the thread is still there to find the others by."""
    many = 600

    def prepare(connection) -> str:
        thread_id = new_thread(connection, NewMessage(role="user", content="Hello."))
        assistant_id = new_assistant(connection)
        for _ in range(many):
            ended_run(connection, thread_id, assistant_id)
        return thread_id

    thread_id = await database.write(prepare, long=True)
    process = await command(thread_id, "--yes")

    async def is_under_way() -> bool:
        return await count(database, schema.runs) < many

    await eventually(is_under_way, timeout=60)
    process.kill()
    await process.communicate()
    left = await count(database, schema.runs)
    told = await purge(thread_id)

    assert 0 < left < many
    assert (told["removed"]["runs"], told["removed"]["threads"]) == (left, 1)
    for table in (schema.runs, schema.run_logs, schema.run_events, schema.messages, schema.threads):
        assert await count(database, table) == 0, table.name


@BOTH
async def test_a_thread_with_an_open_run_is_left_as_it_is_until_its_end_is_wanted(
    engine, database, temporal, eventually
):
    async with engine([refund_order], script("x")) as lockstitch:
        request = await lockstitch.request("A refund, please.")
        run_id = await lockstitch.starter.start(request)
        await eventually(lambda: lockstitch.starter.escalations(run_id))
        thread_id = (await lockstitch.starter.snapshot(run_id)).thread_id
        purging = purge_of(database, temporal)

        with pytest.raises(ThreadBusy, match=f"Thread {thread_id} has open runs: {run_id}; .* --cancel-open"):
            await purging.remove(thread_id)
        assert (await lockstitch.starter.snapshot(run_id)).ended_at is None
        removed = await purging.remove(thread_id, cancel_open=True)

    assert removed["runs"] == 1
    assert removed["workflows"] == 3  # the run, and what told of its escalation and of the end of it
    assert await count(database, schema.threads) == 0


@pytest.mark.long
async def test_where_no_worker_ends_a_run_a_purge_says_so_and_removes_nothing(engine, database, temporal, eventually):
    async with engine([refund_order], workers=False) as lockstitch:
        thread_id = await database.write(lambda it: new_thread(it, NewMessage(role="user", content="Hello.")))
        request = ThreadRunRequest(assistant_id=await lockstitch.assistant(), thread_id=thread_id)
        run_id = await lockstitch.starter.start(request)
        await eventually(lambda: lockstitch.starter.list(thread_id=thread_id))

        with pytest.raises(TemporalKeeps, match=f"{run_id} did not end within 1 s .* needs a worker. Purge the thread"):
            await purge_of(database, temporal, seconds=1).remove(thread_id, cancel_open=True)
        assert await count(database, schema.threads) == 1
        await temporal.get_workflow_handle(run_id).terminate()


@BOTH
async def test_what_a_thread_that_was_deleted_left_behind_is_purged(talked, purge, database, tables_with):
    """Deleting leaves the event log, for whoever watches, and the tool calls, which every backend has."""
    thread_id = await talked("kingfisher")
    await database.write(lambda connection: threads.delete(connection, thread_id))
    assert {"run_events", "tool_calls"} <= await tables_with("kingfisher")

    told = await purge(thread_id)

    assert (told["removed"]["threads"], told["removed"]["runs"]) == (0, 0)
    assert told["removed"]["run_logs"] == 1
    # Whose files and vector stores they were, only the thread knew.
    assert not {"run_events", "tool_calls", "messages"} & await tables_with("kingfisher")


async def test_what_code_made_goes_and_what_users_uploaded_stays(database, temporal):
    def prepare(connection) -> tuple[str, str, str]:
        given, made = new_file(connection, "given"), new_file(connection, "made", "assistants_output")
        thread_id = new_thread(connection, attached("Read this.", given, "code_interpreter"))
        code_files.add(connection, thread_id, "made.csv", made)
        return thread_id, given, made

    thread_id, given, made = await database.write(prepare)
    removed = await purge_of(database, temporal).remove(thread_id)

    assert removed["files"] == 1
    assert await database.read(lambda connection: files.existing(connection, [given, made])) == {given}


async def test_figures_and_linked_files_go_with_the_run_that_made_them(database, temporal):
    def prepare(connection) -> tuple[str, list[str]]:
        figure, linked, cited = (new_file(connection, name, "assistants_output") for name in "abc")
        thread_id = new_thread(connection, NewMessage(role="user", content="Draw."))
        run_id = ended_run(connection, thread_id, new_assistant(connection))
        outputs = [{"type": "image", "image": {"file_id": figure}}]
        call = {"run_id": run_id, "call_id": "call_1", "thread_id": thread_id, "step_id": "step_1", "position": 0}
        result = {"input": "", "outputs": outputs}
        tool_calls.add(connection, [{**call, "name": "code", "arguments": "{}", "result": result}])
        annotations = [
            {"type": "file_path", "file_path": {"file_id": linked}},
            {"type": "file_citation", "file_citation": {"file_id": cited}},
        ]
        content = [{"type": "text", "text": {"value": "", "annotations": annotations}}]
        event_log.append(connection, run_id, [NewEvent("thread.message.completed", {"content": content})])
        return thread_id, [figure, linked, cited]

    thread_id, made = await database.write(prepare)
    await purge_of(database, temporal).remove(thread_id)

    assert await database.read(lambda connection: files.existing(connection, made)) == {made[2]}


@BOTH
async def test_files_and_vector_stores_that_others_use_stay_even_where_files_shall_go(database, temporal):
    def prepare(connection) -> tuple[str, dict[str, str], str]:
        named = {name: new_file(connection, name) for name in ("own", "shared", "assistants", "searched")}
        first = new_thread(connection, *(attached("a", each, "code_interpreter") for each in named.values()))
        threads.add_message(connection, first, attached("b", named["searched"], "file_search"), NOW)
        new_thread(connection, attached("c", named["shared"]))
        store_id = threads.get(connection, first)["tool_resources"]["file_search"]["vector_store_ids"][0]
        new_assistant(connection, code_interpreter={"file_ids": [named["assistants"]]})
        new_assistant(connection, file_search={"vector_store_ids": [store_id]})
        return first, named, store_id

    thread_id, named, store_id = await database.write(prepare)
    removed = await purge_of(database, temporal, with_files=True).remove(thread_id)
    left = await database.read(lambda connection: files.existing(connection, list(named.values())))

    assert (removed["files"], removed["vector_stores"]) == (1, 0)
    assert {name for name, file_id in named.items() if file_id not in left} == {"own"}
    assert await database.read(lambda it: vector_store_files.holds(it, store_id, named["searched"]))


async def test_a_thread_of_another_server_is_purged_as_far_as_it_is_known_here(database, temporal):
    def prepare(connection) -> None:
        upstream_runs.intend(connection, "run_here", 0, "thread_there")
        event_log.begin(connection, "run_here", [NewEvent("thread.run.created", {"thread_id": "thread_there"})])
        call = {"run_id": "run_here", "call_id": "call_1", "thread_id": "thread_there", "step_id": "s", "position": 0}
        tool_calls.add(connection, [{**call, "name": "refund", "arguments": "{}"}])
        commands.add(connection, "run_here", "answer", {"call_ids": ["call_1"]})
        attempt = {"escalation_id": "esc_1", "run_id": "run_here", "message_id": "msg_1", "event": "escalation.opened"}
        sent = {"target": "https://a", "attempt": 1, "delivered": True, "status": 200, "error": None}
        webhook_deliveries.add(connection, {**attempt, **sent, "at": NOW, "duration_ms": 1})

    await database.write(prepare)
    removed = await purge_of(database, temporal).remove("thread_there")

    gone = ("run_events", "run_logs", "tool_calls", "upstream_runs", "webhook_deliveries", "commands")
    assert {name: removed[name] for name in gone} == dict.fromkeys(gone, 1)
    for name in gone:
        assert await count(database, schema.metadata.tables[name]) == 0, name


async def test_an_id_that_would_mean_something_in_a_query_finds_nothing(database, temporal):
    removed = await purge_of(database, temporal).remove("x' OR WorkflowType = 'ThreadRun")

    assert set(removed.values()) == {0}


async def test_without_a_terminal_a_purge_has_to_be_confirmed_by_its_option(command, database):
    thread_id = await database.write(lambda it: new_thread(it, NewMessage(role="user", content="Hello.")))
    process = await command(thread_id)
    _, errors = await process.communicate()

    assert (process.returncode, errors.decode()) == (
        1,
        "lockstitch: What is asked for cannot be undone, and there is no terminal to ask on; give --yes.\n",
    )
    assert await count(database, schema.threads) == 1


async def test_what_was_removed_is_told_in_words(command, database):
    thread_id = await database.write(lambda it: new_thread(it, NewMessage(role="user", content="Hello.")))
    first, _ = await (await command(thread_id, "--yes")).communicate()
    second, _ = await (await command(thread_id, "--yes")).communicate()

    assert [line.split() for line in first.decode().splitlines()] == [
        ["1", "messages", "removed"],
        ["1", "threads", "removed"],
    ]
    assert second.decode() == f"Nothing of {thread_id} is here.\n"
