"""The command line, as people and programs use it."""

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from lockstitch.starter import contract
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.starter.escalations import ESCALATIONS_MEMO, Escalation
from lockstitch.tests.command_line import lockstitch, lockstitch_anew


@pytest.fixture
def connected(stack):
    return {"LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address, "LOCKSTITCH_SERVER_URL": stack.server_url}


async def test_a_run_is_started_and_watched_from_the_shell(client, connected):
    assistant = await client.beta.assistants.create(model="script")
    code, out, _ = await lockstitch("run", "Hello.", "--assistant", assistant.id, **connected)

    assert code == 0
    assert "Hello there." in out
    assert "completed after" in out


async def test_a_run_that_fails_says_why_and_exits_with_1(connected):
    code, out, _ = await lockstitch("run", "Hello.", "--assistant", "asst_unknown", **connected)

    assert code == 1
    assert "No assistant found with id 'asst_unknown'." in out


async def test_a_waiting_run_is_shown_answered_and_listed(client, starter, connected, eventually):
    tool = {"type": "function", "function": {"name": "get_weather"}}
    assistant = await client.beta.assistants.create(model="script", tools=[tool])
    message = NewMessage(role="user", content="The weather?")
    run_id = await starter.start(ThreadRunRequest(assistant_id=assistant.id, messages=[message]))

    async def pending():
        return (await starter.snapshot(run_id)).pending_calls

    calls = await eventually(pending)
    _, shown, _ = await lockstitch("runs", "show", run_id, "--json", **connected)
    options = [word for call in calls for word in ("--output", f"{call.call_id}=fair")]
    code, _, _ = await lockstitch("runs", "answer", run_id, *options, **connected)
    await starter.result(run_id)

    async def listed():
        _, out, _ = await lockstitch("runs", "list", "--status", "completed", "--json", **connected)
        return run_id in out

    assert json.loads(shown)["status"] == "requires_action"
    assert code == 0
    await eventually(listed)


async def test_the_runs_that_are_longest_overdue_are_listed_first_and_that_more_exist_is_said(
    starter, connected, eventually
):
    late = {f"run_{uuid4().hex}": datetime(2001, 1, day, tzinfo=UTC) for day in (2, 1, 3)}
    for run_id, deadline in late.items():
        attributes = TypedSearchAttributes([SearchAttributePair(contract.DEADLINE, deadline)])
        options = {"id": run_id, "task_queue": "nobody", "search_attributes": attributes}
        await starter.temporal.start_workflow(contract.THREAD_RUN, **options)
    second, first, third = late

    async def all_are_listed() -> bool:
        return {run.run_id for run in await starter.overdue()} >= set(late)

    await eventually(all_are_listed)
    (code, as_json, said), (_, table, nothing) = await asyncio.gather(
        lockstitch("runs", "list", "--overdue", "--limit", "2", "--json", **connected),
        lockstitch("runs", "list", "--overdue", **connected, COLUMNS="200"),
    )
    for run_id in late:
        await starter.temporal.get_workflow_handle(run_id).terminate()

    shown = [json.loads(line) for line in as_json.splitlines()]
    assert (code, [run["run_id"] for run in shown]) == (0, [first, second])
    assert shown[0]["deadline"] == "2001-01-01T00:00:00Z"
    assert said == "These are the 2 longest overdue; others are overdue too. See them with --limit.\n"
    assert table.index(first) < table.index(second) < table.index(third)
    assert table.count(" ago") >= 3
    assert nothing == ""


async def test_the_oldest_escalations_are_listed_and_that_newer_ones_exist_is_said(starter, connected, eventually):
    asked = {f"run_{uuid4().hex}": datetime(2001, 1, day, tzinfo=UTC) for day in (1, 2, 3)}
    for run_id, opened_at in asked.items():
        escalation = Escalation(
            id=f"esc_of_{run_id}", run_id=run_id, call_id="call_1", tool="refund", reason="approval", detail="Ask.",
            opened_at=opened_at, deadline=opened_at, on_deadline="deny",
        )  # fmt: skip
        attributes = TypedSearchAttributes([SearchAttributePair(contract.NEEDS_ATTENTION, True)])
        options = {"id": run_id, "task_queue": "nobody", "search_attributes": attributes}
        memo = {ESCALATIONS_MEMO: [escalation]}
        await starter.temporal.start_workflow(contract.THREAD_RUN, **options, memo=memo)

    async def all_are_listed() -> bool:
        return {escalation.run_id for escalation in await starter.escalations()} >= set(asked)

    await eventually(all_are_listed)
    code, listed, said = await lockstitch("escalations", "list", "--limit", "2", "--json", **connected)
    for run_id in asked:
        await starter.temporal.get_workflow_handle(run_id).terminate()

    assert (code, [json.loads(line)["run_id"] for line in listed.splitlines()]) == (0, list(asked)[:2])
    assert said == "These are the oldest 2, and newer ones exist. See them with --limit.\n"


async def test_a_key_is_created_shown_once_listed_and_revoked(tmp_path):
    store = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'lockstitch.db'}"}
    new = ("keys", "create", "--project", "acme", "--name", "ci", "--rate-limit", "60", "--handlers", "find,price")
    code, made, _ = await lockstitch(*new, "--json", **store)
    key = json.loads(made)
    _, shown, _ = await lockstitch("keys", "create", "--project", "acme", **store)
    _, allowed, _ = await lockstitch("projects", "allow", "acme", "all", "--json", **store)
    _, told, _ = await lockstitch("keys", "revoke", key["id"], **store)
    (_, table, _), (_, listed, _), (_, known, _), (_, none, _) = await asyncio.gather(
        lockstitch("keys", "list", **store),
        lockstitch("keys", "list", "--project", "acme", "--json", **store),
        lockstitch("projects", "list", **store),
        lockstitch("keys", "list", "--project", "other", **store),
    )

    assert (code, key["project_id"], key["name"], key["rate_limit"]) == (0, "acme", "ci", 60)
    assert shown.startswith("sk-lockstitch-")
    assert json.loads(allowed)["handlers"] == "all"
    assert told == f"{key['id']} is revoked.\n"
    assert key["key"] not in table + listed
    assert shown.split()[0] not in table + listed
    assert [bool(json.loads(line)["revoked_at"]) for line in listed.splitlines()] == [True, False]
    assert re.search(r"^acme +all *$", known, re.MULTILINE)
    assert none == "There are no keys.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "create", "--project", "a'b"), "without quotes, backslashes"),
        (("keys", "create", "--project", "a", "--handlers", "a b"), "'a b' cannot be the name of a handler"),
        (("keys", "create", "--project", "a", "--rate-limit", "0"), "Invalid value for '--rate-limit'"),
        (("keys", "revoke", "key_x"), "No key has the id 'key_x'"),
        (("projects", "allow", "nobody", "all"), "No project is named 'nobody'"),
    ],
)
async def test_what_cannot_be_done_about_keys_is_said_in_a_sentence(tmp_path, words, said):
    code, _, err = await lockstitch(*words, LOCKSTITCH_DATABASE_URL=f"sqlite:///{tmp_path / 'lockstitch.db'}")

    assert code != 0
    assert said in err
    assert "Traceback" not in err


async def test_a_server_that_others_would_reach_does_not_start_without_a_key(stack, connected, tmp_path):
    store = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'lockstitch.db'}"}
    settings = {"LOCKSTITCH_HOST": "0.0.0.0", "LOCKSTITCH_PORT": "0"}
    code, _, err = await lockstitch("serve", **connected, **store, **settings)

    assert code == 1
    assert "lockstitch: The HTTP server would listen on 0.0.0.0" in err
    assert "`lockstitch keys create --project NAME`" in err


async def test_an_escalation_is_listed_shown_and_resolved(stack, refund, connected):
    of_run = ("--run", refund.run_id)
    store = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{stack.data_dir / 'lockstitch.db'}"}
    (_, listed, _), (_, shown, _), (_, without_store, _), (_, _, refused) = await asyncio.gather(
        lockstitch("escalations", "list", *of_run, **connected),
        lockstitch("escalations", "show", refund.id, *of_run, **connected, **store),
        lockstitch("escalations", "show", refund.id, *of_run, **connected),
        lockstitch("escalations", "resolve", refund.id, "retry", *of_run, **connected),
    )
    approve = ("escalations", "resolve", refund.id, "approve", *of_run, "--json")
    code, decided, _ = await lockstitch(*approve, **connected, LOGNAME="ada")
    (again, _, too_late), (_, closed, _) = await asyncio.gather(
        lockstitch("escalations", "resolve", refund.id, "deny", *of_run, **connected),
        lockstitch("escalations", "list", *of_run, **connected),
    )

    assert re.search(r"refund_order +approval\n.*asked .* ago; deadline in 4 min, then the call is denied", listed)
    assert '"order": 17' in shown
    assert f"lockstitch escalations resolve {refund.id} approve" in shown
    assert "arguments" not in without_store
    assert refused.endswith(f"{refund.id} (approval) does not take 'retry'; it takes approve, deny, cancel.\n")
    assert (code, json.loads(decided)["decision"]["by"]) == (0, "ada")
    assert (again, closed.count("approve by ada")) == (1, 1)
    assert too_late.startswith(f"lockstitch: Escalation {refund.id} was decided already: approve by ada at ")


async def test_a_call_without_a_handler_is_answered_from_a_file(client, starter, connected, eventually, tmp_path):
    tool = {"type": "function", "function": {"name": "get_weather"}}
    assistant = await client.beta.assistants.create(model="script", tools=[tool])
    message = NewMessage(role="user", content="The weather?")
    run_id = await starter.start(ThreadRunRequest(assistant_id=assistant.id, messages=[message]))
    (tmp_path / "weather.txt").write_text("fair")

    async def both_asked():
        return [it for it in await starter.escalations(run_id) if it.is_open][1:]

    await eventually(both_asked)
    answer = ("answer", "--run", run_id, "--output", f"@{tmp_path / 'weather.txt'}")
    for escalation in await starter.escalations(run_id):
        await lockstitch("escalations", "resolve", escalation.id, *answer, **connected)
    result = await starter.result(run_id)
    _, shown, _ = await lockstitch("runs", "show", run_id, **connected)

    assert [it.decision.output for it in result.escalations] == ["fair", "fair"]
    assert [call.outcome for call in result.tool_calls] == ["answered", "answered"]
    assert shown.count("answer by ") == 2
    assert shown.count("carried by") == 1


async def test_a_run_is_adopted_and_awaited(client, starter, connected):
    assistant = await client.beta.assistants.create(model="script")
    message = NewMessage(role="user", content="Hello.")
    result = await starter.run(ThreadRunRequest(assistant_id=assistant.id, messages=[message]))
    words = ("runs", "adopt", result.thread_id, result.run_id, "--backend", "local", "--wait", "--json")
    code, out, _ = await lockstitch(*words, **connected)

    adopted, ended = map(json.loads, out.splitlines())
    assert (code, adopted["run_id"], ended["status"]) == (0, result.run_id, "completed")


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["runs", "show", "run_unknown"], {}, "No run found with id 'run_unknown'."),
        (["runs", "cancel", "run_unknown"], {}, "No run found with id 'run_unknown'."),
        (["runs", "answer", "run_unknown", "--output", "call_1=x"], {}, "No run found with id 'run_unknown'."),
        (["runs", "answer", "run_unknown", "--output", "call_1"], {}, "is not of the form CALL_ID=TEXT"),
        (["runs", "list", "--status", "done"], {}, "'done' is not one of queued"),
        (["runs", "adopt", "thread_1", "run_1", "--backend", "x"], {}, "'x' is not one of 'local', 'assistants'"),
        (["escalations", "show", "esc_unknown"], {}, "No open escalation has the id 'esc_unknown'"),
        (["escalations", "list", "--run", "run_unknown"], {}, "No run found with id 'run_unknown'."),
        (["escalations", "resolve", "esc_1", "shrug"], {}, "'shrug' is not one of 'approve', 'deny'"),
        (["escalations", "resolve", "esc_1", "answer"], {}, "answer needs the output of the call"),
        (["escalations", "resolve", "esc_1", "deny", "--output", "x"], {}, "an output belongs to answer, not to deny"),
        (["escalations", "resolve", "esc_1", "answer", "--output", "@/no/file"], {}, "'/no/file' cannot be read: No"),
        (["runs", "list"], {"LOCKSTITCH_TEMPORAL_ADDRESS": "127.0.0.1:1"}, "No Temporal server answers at 127.0.0.1:1"),
        (["tools", "list"], {"LOCKSTITCH_TOOLS": "no.such"}, "there is no module 'no'"),
        (["worker"], {"LOCKSTITCH_METRICS_PORT": "many"}, "LOCKSTITCH_METRICS_PORT: 'many' is no whole number."),
        (["worker"], {"LOCKSTITCH_MODEL": "magic"}, "'magic' is not one of auto, openai, offline, local."),
        (["serve"], {"LOCKSTITCH_DATABASE_URL": "mysql://x"}, "is not supported; use a file"),
        (["serve"], {"LOCKSTITCH_DATABASE_URL": "sqlite:////no/such/folder/x.db"}, "the folder is missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
async def test_what_is_wrong_is_one_sentence_and_a_failing_exit_code(words, environment, said, connected):
    free_port = {"LOCKSTITCH_METRICS_PORT": "0", "LOCKSTITCH_PORT": "0"}
    code, out, err = await lockstitch(*words, **{**connected, **free_port, **environment})

    assert code in (1, 2)
    assert said in re.sub(r"[\s│]+", " ", err)
    assert "Traceback" not in out + err


async def test_a_port_in_use_is_named_with_the_option_that_changes_it(stack, tmp_path):
    port = stack.server_url.rsplit(":", 1)[1]
    code, _, err = await lockstitch("dev", "--port", port, "--data-dir", str(tmp_path))

    assert code == 1
    assert err.strip().endswith(
        f"Port {port} for the HTTP server is in use; stop what listens there or choose another with --port."
    )


async def test_help_tells_every_command():
    _, out, _ = await lockstitch_anew("--help")

    for command in ("dev", "worker", "serve", "demo", "run", "runs", "escalations", "tools"):
        assert re.search(rf"\b{command}\b", out)


async def test_the_starter_is_usable_from_any_folder(tmp_path, monkeypatch):
    """A folder that holds modules named like ours hides nothing, and is hidden by nothing."""
    (tmp_path / "workflows.py").write_text("raise RuntimeError('imported by mistake')\n")
    (tmp_path / "my_tools.py").write_text(
        "from lockstitch.tools import tool\n\n@tool\ndef ping() -> str:\n    '''Ping.'''\n    return 'pong'\n"
    )
    monkeypatch.chdir(Path(tmp_path))
    code, out, err = await lockstitch_anew("tools", "list", "--json", LOCKSTITCH_TOOLS="my_tools")

    assert (code, err) == (0, "")
    assert json.loads(out)["name"] == "ping"


async def test_saved_objects_are_imported_and_counted(tmp_path):
    saved = tmp_path / "saved.jsonl"
    assistant = {"object": "assistant", "id": "asst_saved", "created_at": 1730000000, "model": "gpt-4o"}
    saved.write_text(json.dumps(assistant) + "\n")
    database = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'lockstitch.db'}"}

    assert (await lockstitch("import", str(saved), "--dry-run", **database))[0] == 0
    code, out, _ = await lockstitch("import", str(saved), "--json", **database)

    assert code == 0
    assert json.loads(out) == {"added": {"assistants": 1}, "there_before": {}, "missing_files": []}


async def test_what_cannot_be_imported_is_told_on_standard_error(tmp_path):
    saved = tmp_path / "saved.jsonl"
    saved.write_text('{"id": "asst_saved"}\n')

    code, out, err = await lockstitch("import", str(saved))

    assert (code, out) == (1, "")
    assert f"{saved}:1: there is no 'object'; 'object' is one of 'assistant', 'thread', 'thread.message'." in err
