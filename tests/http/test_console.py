"""The operator's page over HTTP: who comes in, what is shown, what is decided, and what is refused."""

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from lockstitch.assistants.http.console.door import FAILURES_PER_MINUTE, SESSION_COOKIE
from lockstitch.assistants.http.console.options import ConsoleOptions
from lockstitch.assistants.http.console.questions import LONGEST_ARGUMENTS
from lockstitch.assistants.http.console.sessions import SESSION_SECONDS, Sessions
from lockstitch.assistants.http.console.start_page import PAGE_SIZE
from lockstitch.assistants.store import keys, webhook_deliveries
from lockstitch.assistants.store.schema import tool_calls
from lockstitch.errors import SettingsInvalid
from lockstitch.starter.client import Starter
from lockstitch.testing.assistants_upstream import AssistantsUpstream
from lockstitch.tests.activities.test_assistants_worker import asking, assistant_on, worker_on
from lockstitch.tests.console_desk import Desk, Reader, charge_tool, console, refund_order

HOSTILE = '<script>alert(1)</script> \u202egnihton & "more"'


@pytest.fixture
async def desk(engine) -> AsyncIterator[Desk]:
    """A console on a server without keys."""
    failures = ["The gateway answered 503."]
    async with engine([charge_tool(failures)]) as lockstitch, console(lockstitch) as http:
        yield Desk(lockstitch, http, failures)


@pytest.fixture
async def locked(desk) -> AsyncIterator[Desk]:
    """A console that asks for a key; none of an operator exists yet."""
    await desk.create_key(operator=False)
    async with console(desk.lockstitch) as http:
        yield replace(desk, http=http)


# --- what is shown


async def test_the_first_page_shows_what_waits_for_a_person_and_the_newest_runs(desk, eventually):
    asked = await desk.stuck(tenant="acme")

    async def shown() -> Reader | None:
        page = await desk.see("?tenant=acme")
        return page if asked.id in str(page.links) and page.seen.count(asked.run_id) >= 2 else None

    page = await eventually(shown)
    for text in ("charge_card", "failed for good", "The gateway answered 503.", "in 4 min", "in progress", "acme"):
        assert text in page.seen
    assert f"/console/runs/{asked.run_id}#{asked.id}" in page.links


async def test_a_run_is_shown_with_its_timeline_as_a_picture_and_as_a_table(desk):
    asked = await desk.stuck()
    page = await desk.see(f"/runs/{asked.run_id}")

    assert {"svg", "table", "progress"} <= set(page.elements)
    assert page.elements.count("rect") > 6
    for text in (
        "charge_card",
        "failed, 2 attempts",
        "turn 1 succeeded",
        "attempt 2 failed: ",
        "handler_failed",
    ):
        assert text in page.seen
    assert '"order": 17' in page.seen
    assert "queued" in page.seen


async def test_a_run_that_has_ended_shows_how_and_its_messages_but_not_their_text(desk):
    asked = await desk.stuck()
    await desk.decide(asked, "answer", output="charged in secret", by="Ada")
    result = await desk.starter.result(asked.run_id)
    page = await desk.see(f"/runs/{asked.run_id}")

    assert result.status == "completed"
    for text in ("completed", "answer by Ada", result.message_ids[0], "written"):
        assert text in page.seen
    assert "charged in secret" not in page.seen
    assert [form["action"] for form in page.forms] == []


async def test_who_was_told_stands_in_the_picture_and_below_it(desk):
    asked = await desk.stuck()
    row = {
        "escalation_id": asked.id, "run_id": asked.run_id, "message_id": "msg_1", "event": "escalation.opened",
        "target": "https://pager.example/hook", "attempt": 1, "delivered": False, "status": 503, "error": None,
        "at": int(time.time()), "duration_ms": 5,
    }  # fmt: skip
    rows = [row, {**row, "attempt": 2, "delivered": True, "status": 204}]
    await desk.lockstitch.database.write(lambda connection: [webhook_deliveries.add(connection, each) for each in rows])
    page = await desk.see(f"/runs/{asked.run_id}")

    assert "https://pager.example/hook could not be told that it was opened, attempt 1: status 503" in page.seen
    assert "https://pager.example/hook was told that it was opened" in page.seen
    assert page.elements.count("circle") == 2 + 2  # two stand in the legend


async def test_what_a_handler_says_is_shown_and_never_obeyed(desk):
    desk.fails_with[0] = HOSTILE
    asked = await desk.stuck()
    for path in ("", f"/runs/{asked.run_id}"):
        text = (await desk.http.get(f"/console{path}")).text
        assert "<script" not in text
        assert "\u202e" not in text
    page = await desk.see(f"/runs/{asked.run_id}")
    assert '<script>alert(1)</script> \\u202egnihton & "more"' in page.seen


async def test_runs_are_found_by_status_thread_assistant_and_tenant(desk, eventually):
    asked = await desk.stuck(tenant="north")
    other = await desk.stuck(tenant="south")
    run = await desk.starter.snapshot(asked.run_id)

    async def shown() -> bool:
        pages = [await _listed(desk, f"tenant={tenant}") for tenant in ("north", "south")]
        return pages == [{asked.run_id}, {other.run_id}]

    await eventually(shown)
    for query in (f"thread={run.thread_id}", f"assistant={run.assistant_id}", "tenant=north&status=in_progress"):
        runs = await _listed(desk, query)
        assert runs == {asked.run_id}, query
    assert await _listed(desk, "tenant=north&status=completed") == set()
    assert await _listed(desk, "thread=it's") == set()


async def _listed(desk: Desk, query: str) -> set[str]:
    text = (await desk.http.get(f"/console?{query}")).text
    return set(re.findall(r"run_\w+", text.partition("Latest runs")[2]))


async def test_more_runs_than_a_page_holds_are_on_the_pages_that_follow(engine, eventually):
    async with engine([], workers=False) as idle, console(idle) as http:
        desk = Desk(idle, http)
        started = {await idle.starter.start(await idle.request("Hi", tenant="many")) for _ in range(PAGE_SIZE + 3)}

        async def all_are_known() -> bool:
            return len(await idle.starter.list(tenant="many", limit=100)) == len(started)

        await eventually(all_are_known)
        first = await desk.see("?tenant=many")
        [older] = [link for link in first.links if "after=" in link]
        pages = [await _listed(desk, "tenant=many"), await _listed(desk, older.partition("?")[2])]
        for run_id in started:
            await idle.temporal.get_workflow_handle(run_id).terminate()

    assert [len(page) for page in pages] == [PAGE_SIZE, 3]
    assert set.union(*pages) == started


async def test_runs_that_ended_in_another_order_than_they_began_are_each_on_one_page(engine, eventually):
    async with engine([], workers=False) as idle, console(idle) as http:
        desk = Desk(idle, http)
        started = [await idle.starter.start(await idle.request("Hi", tenant="ended")) for _ in range(PAGE_SIZE + 10)]
        for run_id in [*started[-10:], *started[:-10]]:
            await idle.temporal.get_workflow_handle(run_id).terminate()

        async def all_have_ended() -> bool:
            runs = await idle.starter.list(tenant="ended", limit=100)
            return sum(run.ended_at is not None for run in runs) == len(started)

        await eventually(all_have_ended)
        [older] = [link for link in (await desk.see("?tenant=ended")).links if "after=" in link]
        pages = [await _listed(desk, "tenant=ended"), await _listed(desk, older.partition("?")[2])]

    assert pages == [set(started[:PAGE_SIZE]), set(started[-10:])]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("?status=asleep", 400, "No run has the status 'asleep'; choose one of requires_action,"),
        ("?after=yesterday", 400, "The list of runs has no such page; begin with the first."),
        ("?after=*", 400, "The list of runs has no such page"),
        ("?after=%C3%A9", 400, "The list of runs has no such page"),
        ("?after=" + "e30" * 2000, 400, "The list of runs has no such page"),
        ("/runs/run_unknown", 404, "No run found with id 'run_unknown'."),
        ("/runs/notify-esc_1-opened", 404, "No run found with id 'notify-esc_1-opened'."),
        ("/runs/%00<b>", 404, "No run found with id '\\u0000<b>'."),
    ],
)
async def test_what_does_not_exist_or_makes_no_sense_is_said_in_a_sentence(desk, path, status, sentence):
    answer = await desk.http.get(f"/console{path}")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert sentence in unescape(answer.text)


async def test_a_page_that_loads_itself_again_has_no_form_and_the_others_do_not(desk):
    asked = await desk.stuck()
    for path in ("", f"/runs/{asked.run_id}"):
        assert "http-equiv" not in (await desk.http.get(f"/console{path}")).text
        page = await desk.see(f"{path}?refresh=5")
        assert (page.forms, page.elements.count("meta")) == ([], 4)


async def test_a_run_whose_workflow_was_terminated_says_so(desk, temporal):
    asked = await desk.stuck()
    await temporal.get_workflow_handle(asked.run_id).terminate("by mistake")
    page = await desk.see(f"/runs/{asked.run_id}")

    assert "ended without a result" in page.seen
    assert "somebody terminated the workflow" in page.seen
    assert page.forms == []


async def test_pages_ask_for_nothing_from_elsewhere_and_let_nobody_frame_them(desk):
    asked = await desk.stuck()
    for path in ("", f"/runs/{asked.run_id}", "/runs/run_unknown"):
        answer = await desk.http.get(f"/console{path}")
        assert not re.search(
            r"<(?:link|script|img|iframe|object)|\bon\w+=|\bstyle=|src=|@import|url\((?!#)", answer.text
        )
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert (answer.headers["x-frame-options"], answer.headers["cache-control"]) == ("DENY", "no-store")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_links_lead_into_the_temporal_ui_where_there_is_one(desk):
    asked = await desk.stuck()
    assert not [link for link in (await desk.see(f"/runs/{asked.run_id}")).links if "namespaces" in link]

    options = ConsoleOptions("https://temporal.example/", "prod")
    async with console(desk.lockstitch, options) as http:
        page = await replace(desk, http=http).see(f"/runs/{asked.run_id}")
    assert f"https://temporal.example/namespaces/prod/workflows/{asked.run_id}" in page.links


def test_a_temporal_ui_that_is_no_url_is_refused():
    with pytest.raises(SettingsInvalid, match="LOCKSTITCH_TEMPORAL_UI_URL"):
        ConsoleOptions("temporal.example")


async def test_arguments_that_are_too_long_are_cut_and_the_page_says_so(desk):
    asked = await desk.stuck()
    long = json.dumps({"order": "x" * 2 * LONGEST_ARGUMENTS})
    await desk.lockstitch.database.write(lambda it: it.execute(update(tool_calls).values(arguments=long)))
    page = await desk.see(f"/runs/{asked.run_id}")

    assert f"only the first {LONGEST_ARGUMENTS} bytes are shown" in page.seen
    assert "x" * LONGEST_ARGUMENTS not in page.seen


# --- what is decided


async def test_an_operator_answers_a_call_and_the_run_completes(desk):
    asked = await desk.stuck()
    page = await desk.see(f"/runs/{asked.run_id}")
    assert page.form(asked.id)["buttons"] == ["retry", "answer", "error", "cancel"]
    with capture_logs() as logs:
        answer = await desk.decide(asked, "answer", output="charged\r\n17", message=" By hand. ", by="Ada")
    result = await desk.starter.result(asked.run_id)

    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/runs/{asked.run_id}")
    [decision] = [it.decision for it in result.escalations]
    assert (result.status, decision.action, decision.by) == ("completed", "answer", "Ada")
    assert (decision.output, decision.message) == ("charged\n17", "By hand.")
    [logged] = [line for line in logs if line["event"] == "console_decided"]
    assert (logged["escalation_id"], logged["action"], logged["by"]) == (asked.id, "answer", "Ada")
    assert "charged" not in str(logs)


async def test_an_operator_lets_the_handler_be_called_again(desk):
    asked = await desk.stuck()
    desk.fails_with.clear()
    await desk.decide(asked, "retry")
    result = await desk.starter.result(asked.run_id)

    assert (result.status, result.tool_calls[0].outcome) == ("completed", "succeeded")
    assert result.escalations[0].decision.by == "somebody at the console"


async def test_an_operator_lets_the_model_read_an_error(desk):
    asked = await desk.stuck()
    await desk.decide(asked, "error", message="The gateway is down.")
    result = await desk.starter.result(asked.run_id)

    assert result.tool_calls[0].outcome == "failed"
    assert "The gateway is down." in result.last_message_text


@pytest.mark.parametrize(("action", "outcome"), [("approve", "succeeded"), ("deny", "denied")])
async def test_an_operator_decides_about_an_approval(engine, action, outcome):
    async with engine([refund_order]) as lockstitch, console(lockstitch) as http:
        desk = Desk(lockstitch, http)
        asked = await desk.stuck()
        page = await desk.see(f"/runs/{asked.run_id}")
        assert page.form(asked.id)["buttons"] == ["approve", "deny", "cancel"]
        assert "output" not in page.form(asked.id)["fields"]
        await desk.decide(asked, action)
        assert (await lockstitch.starter.result(asked.run_id)).tool_calls[0].outcome == outcome


async def test_a_run_of_another_backend_is_shown_as_those_of_our_own(engine, temporal, database, workflow_sandbox):
    script = [
        {"round": 0, "call": [{"name": "find", "arguments": {"n": 7}, "call_id": "call_a"}]},
        {"round": 1, "say": "Seven."},
    ]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(AssistantsUpstream(script))
        worker = worker_on(temporal, database, workflow_sandbox, assistants_url=upstream.base_url)
        starter = await stack.enter_async_context(worker)
        lockstitch = await stack.enter_async_context(engine([], workers=False))
        http = await stack.enter_async_context(console(lockstitch))
        run_id = await starter.start(asking(await assistant_on(upstream.base_url)))
        result = await starter.result(run_id)
        page = await Desk(lockstitch, http).see(f"/runs/{run_id}")

    assert result.status == "completed"
    for text in ("assistants", "turn 2 succeeded", "attempt 1 succeeded", result.message_ids[0], "call_a"):
        assert text in page.seen
    assert result.attempts[0].upstream_id in page.seen


async def test_an_operator_cancels_a_run(desk):
    asked = await desk.stuck()
    answer = await desk.press(f"/runs/{asked.run_id}", "/cancel")

    assert answer.status_code == 303
    assert (await desk.starter.result(asked.run_id)).status == "cancelled"
    page = await desk.see(f"/runs/{asked.run_id}")
    assert "somebody asked for the run to be cancelled" in page.seen


async def test_a_workflow_that_is_no_run_is_not_cancelled(desk, temporal):
    asked = await desk.stuck()
    form = (await desk.see(f"/runs/{asked.run_id}")).form("/cancel")
    other = f"notify-{asked.id}-opened"
    answer = await desk.http.post(f"/console/runs/{other}/cancel", data=form["fields"])

    assert (answer.status_code, f"No run found with id '{other}'." in unescape(answer.text)) == (404, True)


async def test_of_two_operators_the_second_reads_what_the_first_decided(desk):
    asked = await desk.stuck()
    form = (await desk.see(f"/runs/{asked.run_id}")).form(asked.id)
    sent = {**form["fields"], "action": "error", "by": "Ada"}
    answers = [await desk.http.post(form["action"], data={**sent, "by": by}) for by in ("Ada", "Grace")]

    assert [answer.status_code for answer in answers] in ([303, 409], [303, 410])
    if answers[1].status_code == 409:
        assert "was decided already: error by Ada" in unescape(answers[1].text)
    assert (await desk.starter.result(asked.run_id)).escalations[0].decision.by == "Ada"


async def test_a_decision_that_comes_after_the_end_of_the_run_is_told_so(desk):
    asked = await desk.stuck()
    form = (await desk.see(f"/runs/{asked.run_id}")).form(asked.id)
    await desk.starter.cancel(asked.run_id)
    await desk.starter.result(asked.run_id)
    answer = await desk.http.post(form["action"], data={**form["fields"], "action": "retry"})

    assert answer.status_code == 410
    assert f"Run {asked.run_id} has ended" in answer.text


async def test_without_a_worker_nothing_is_decided_and_the_page_says_so(engine):
    async with engine([], workers=False) as idle:
        idle.starter = Starter(idle.temporal, task_queue=idle.task_queue, decision_timeout=timedelta(milliseconds=300))
        async with console(idle) as http:
            run_id = await idle.starter.start(await idle.request("Hi"))
            form = (await Desk(idle, http).see(f"/runs/{run_id}")).form("/cancel")
            path = f"/console/runs/{run_id}/escalations/esc_1"
            answer = await http.post(path, data={**form["fields"], "action": "retry"})
            await idle.temporal.get_workflow_handle(run_id).terminate()

    assert answer.status_code == 503
    assert "start one" in answer.text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"action": "answer"}, "An answer needs the output of the call"),
        ({"action": "retry", "output": "x"}, "only Answer takes one"),
        ({"action": "explode"}, "'explode' is nothing that can be decided"),
        ({}, "Press one of the buttons"),
        ({"action": "error", "message": "x" * 70_000}, "at most 65,536 characters"),
    ],
)
async def test_a_decision_that_cannot_be_taken_is_refused_in_a_sentence(desk, fields, sentence):
    asked = await desk.stuck()
    answer = await desk.press(f"/runs/{asked.run_id}", asked.id, **fields)

    assert answer.status_code == 400
    assert sentence in unescape(answer.text)
    assert f"/console/runs/{asked.run_id}" in Reader(answer.text).links
    assert (await desk.starter.escalations(asked.run_id))[0].is_open


async def test_what_is_no_form_and_what_is_too_long_is_refused(desk):
    asked = await desk.stuck()
    path = f"/console/runs/{asked.run_id}/escalations/{asked.id}"
    answers = [await desk.http.post(path, content=body) for body in (b"\xff\xfe", b"a" * 1_100_000)]

    assert [answer.status_code for answer in answers] == [400, 413]


# --- who comes in


async def test_a_form_of_another_site_decides_nothing(desk):
    asked = await desk.stuck()
    path, form = f"/runs/{asked.run_id}", (await desk.see(f"/runs/{asked.run_id}")).form(asked.id)
    own = str(desk.http.base_url).rstrip("/")
    attempts = [
        {"headers": {"origin": "https://evil.example"}},
        {"headers": {"origin": "null"}},
        {"headers": {"origin": "http://127.0.0.1:1"}},
        {"headers": {"sec-fetch-site": "cross-site"}},
        {"headers": {"sec-fetch-site": "same-site"}},
        {"headers": {"origin": own}, "form_token": ""},
        {"headers": {"origin": own}, "form_token": "A" * 43},
        {"headers": {"cookie": "lockstitch_console_visit=" + "b" * 43}},
    ]
    for attempt in attempts:
        data = {**form["fields"], "action": "retry", **{k: v for k, v in attempt.items() if k != "headers"}}
        answer = await desk.http.post(form["action"], data=data, headers=attempt["headers"])
        assert answer.status_code == 403, attempt
    assert (await desk.starter.escalations(asked.run_id))[0].is_open

    good = await desk.press(path, asked.id, {"origin": own, "sec-fetch-site": "same-origin"}, action="error")
    assert good.status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8700", "127.0.0.1.evil.example", "10.0.0.7"])
async def test_without_keys_another_name_for_this_machine_opens_nothing(desk, host):
    answer = await desk.http.get("/console", headers={"host": host})

    assert answer.status_code == 403
    assert "LOCKSTITCH_PUBLIC_URL" in answer.text


@pytest.mark.parametrize("host", ["localhost:8700", "127.0.0.1", "[::1]:8700", "console.example:8443"])
async def test_without_keys_it_is_open_under_the_names_of_this_machine_and_the_public_one(desk, host):
    async with console(desk.lockstitch, ConsoleOptions(public_url="https://console.example:8443")) as http:
        assert (await http.get("/console", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("prefix", ["/v1", "/openai", "/openai/v1", "/openai/deployments/gpt"])
async def test_under_the_prefixes_of_the_api_there_is_no_console(locked, prefix):
    _, key = await locked.create_key(operator=True)
    await locked.sign_in(key)
    answer = await locked.http.get(f"{prefix}/console")

    assert (answer.status_code, answer.json()["error"]["message"][:11]) == (404, "Invalid URL")


async def test_where_keys_are_asked_for_nothing_is_shown_or_done_before_one_is_given(locked):
    asked = await locked.stuck()
    for path in ("", f"/runs/{asked.run_id}", "/runs/run_unknown"):
        answer = await locked.http.get(f"/console{path}")
        assert (answer.status_code, "Sign in" in answer.text, "charge_card" in answer.text) == (401, True, False)
    for path in (f"/runs/{asked.run_id}/escalations/{asked.id}", f"/runs/{asked.run_id}/cancel"):
        assert (await locked.http.post(f"/console{path}", data={"action": "retry"})).status_code == 401

    assert (await locked.starter.escalations(asked.run_id))[0].is_open


async def test_an_operator_signs_in_and_decides_under_that_name(locked):
    key_id, key = await locked.create_key(operator=True)
    asked = await locked.stuck()
    page = Reader((await locked.http.get(f"/console/runs/{asked.run_id}")).text)
    with capture_logs() as logs:
        answer = await locked.sign_in(key, "Ada", next=page.form("/sign-in")["fields"]["next"])
        assert (answer.status_code, answer.headers["location"]) == (303, f"/console/runs/{asked.run_id}")
        shown = await locked.see(f"/runs/{asked.run_id}")
        assert "Ada" in shown.seen
        assert "by" not in shown.form(asked.id)["fields"]
        await locked.decide(asked, "error", by="Grace")

    assert (await locked.starter.result(asked.run_id)).escalations[0].decision.by == "Ada"
    told = {line["event"]: line for line in logs}
    assert told["console_signed_in"]["key_id"] == told["console_decided"]["key_id"] == key_id
    assert key not in str(logs)


async def test_the_cookie_of_a_session_is_kept_from_scripts_other_sites_and_other_pages(locked):
    _, key = await locked.create_key(operator=True)
    cookie = (await locked.sign_in(key)).headers["set-cookie"]

    for part in (f"{SESSION_COOKIE}=", "HttpOnly", "Path=/console", "SameSite=strict", f"Max-Age={SESSION_SECONDS}"):
        assert part in cookie
    assert "Secure" not in cookie
    assert key not in cookie
    assert keys.hash_of(key) not in cookie


async def test_over_https_a_browser_sends_the_cookies_over_nothing_else(desk):
    _, key = await desk.create_key(operator=True)
    async with console(desk.lockstitch, ConsoleOptions(public_url="https://console.example")) as http:
        page = Reader((answer := await http.get("/console")).text)
        assert "Secure" in answer.headers["set-cookie"]
        visit = {"cookie": answer.headers["set-cookie"].partition(";")[0], "origin": "https://console.example"}
        sent = {**page.form("/sign-in")["fields"], "name": "Ada", "key": key}
        signed_in = await http.post("/console/sign-in", data=sent, headers=visit)

    assert (signed_in.status_code, "Secure" in signed_in.headers["set-cookie"]) == (303, True)


async def test_a_key_that_is_not_an_operators_does_not_open_the_console(locked):
    _, ordinary = await locked.create_key(operator=False, project="other")
    for key in (ordinary, "sk-lockstitch-nonsense", ""):
        answer = await locked.sign_in(key)
        assert answer.status_code == 403
        assert "lockstitch keys create --project NAME --operator" in unescape(answer.text)
        assert key == "" or key not in answer.text
    assert (await locked.http.get("/console")).status_code == 401


async def test_who_signs_in_says_a_name(locked):
    _, key = await locked.create_key(operator=True)

    assert [(await locked.sign_in(key, name)).status_code for name in (" ", "x" * 300)] == [400, 400]


async def test_too_many_wrong_keys_are_slowed_down_and_the_right_one_is_let_in_all_the_same(locked):
    _, key = await locked.create_key(operator=True)
    form = Reader((await locked.http.get("/console")).text).form("/sign-in")
    sent = {**form["fields"], "name": "Mallory", "key": "sk-lockstitch-guess"}
    answers = [await locked.http.post("/console/sign-in", data=sent) for _ in range(FAILURES_PER_MINUTE + 3)]

    assert [answer.status_code for answer in answers[:FAILURES_PER_MINUTE]] == [403] * FAILURES_PER_MINUTE
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await locked.sign_in(key)).status_code == 303


async def test_a_session_ends_at_once_with_its_key(locked):
    key_id, key = await locked.create_key(operator=True)
    await locked.sign_in(key)
    assert (await locked.http.get("/console")).status_code == 200
    await locked.lockstitch.database.write(lambda connection: keys.revoke(connection, key_id, 1))

    assert (await locked.http.get("/console")).status_code == 401


async def test_every_server_process_knows_a_session_and_one_with_another_secret_does_not(locked):
    _, key = await locked.create_key(operator=True)
    await locked.sign_in(key)
    cookie = {"cookie": f"{SESSION_COOKIE}={locked.http.cookies[SESSION_COOKIE]}"}
    statuses = []
    for options in (ConsoleOptions(), ConsoleOptions(secret="another secret of this installation")):
        async with console(locked.lockstitch, options) as http:
            statuses.append((await http.get("/console", headers=cookie)).status_code)

    assert statuses == [200, 401]


async def test_signing_out_takes_the_cookie_away(locked):
    _, key = await locked.create_key(operator=True)
    await locked.sign_in(key)
    answer = await locked.press("", "/sign-out")

    assert (answer.status_code, SESSION_COOKIE in locked.http.cookies) == (303, False)
    assert (await locked.http.get("/console")).status_code == 401


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/v1/files", "/console/../v1", ""])
async def test_after_signing_in_one_is_led_to_the_console_only(locked, path):
    _, key = await locked.create_key(operator=True)

    assert (await locked.sign_in(key, next=path)).headers["location"] == "/console"


async def test_who_follows_a_link_from_another_site_is_offered_the_step_that_brings_the_cookie(locked):
    answer = await locked.http.get("/console/runs/run_1", headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 401
    assert "/console/runs/run_1" in Reader(answer.text).links


async def test_a_session_cannot_be_made_up_changed_or_used_after_its_time():
    now = 1000.0
    sessions = Sessions("secret", clock=lambda: now)
    token = sessions.begin("key_1", "hash", "Ada")
    session = sessions.read(token)
    assert (session.key_id, session.name) == ("key_1", "Ada")
    assert [sessions.is_good(session, hashed) for hashed in ("hash", "another hash")] == [True, False]

    encoded, signature = token.split(".")
    for forged in (f"{encoded}.", f"{encoded}.{signature[:-2]}", f"{encoded}x.{signature}"):
        read = sessions.read(forged)
        assert read is None or not sessions.is_good(read, "hash")
    assert [sessions.read(broken) for broken in ("", "a", "a.b", "e30.x", "W10.x", "x" * 5000, "é.é")] == [None] * 7
    now += SESSION_SECONDS
    assert not sessions.is_good(session, "hash")


@pytest.mark.parametrize(
    "payload",
    [
        '{"key": "key_1", "name": "Ada", "expires_at": Infinity}',
        '{"key": "key_1", "name": "Ada", "expires_at": 1e999}',
        '{"key": "key_1", "name": "Ada", "expires_at": NaN}',
        '{"key": "key_1", "name": "Ada", "expires_at": true}',
        '{"key": "\\ud800", "name": "Ada", "expires_at": 9999999999}',
        '{"key": "key_\\u0000", "name": "Ada", "expires_at": 9999999999}',
        '{"key": ["key_1"], "name": "Ada", "expires_at": 9999999999}',
        '{"key": "key_1", "name": null, "expires_at": 9999999999}',
        "[" * 1400,
        '{"key":' * 200,
        "7",
    ],
    ids=lambda payload: payload[:70],
)
async def test_a_cookie_that_anybody_made_up_asks_for_a_key(locked, payload):
    token = f"{base64.urlsafe_b64encode(payload.encode()).decode().rstrip('=')}.signature"
    answer = await locked.http.get("/console", headers={"cookie": f"{SESSION_COOKIE}={token}"})

    assert Sessions().read(token) is None
    assert (answer.status_code, "Sign in" in answer.text) == (401, True)


async def test_a_store_that_is_away_is_said_in_a_sentence(locked):
    await locked.lockstitch.database.write(lambda it: it.exec_driver_sql("ALTER TABLE keys RENAME TO gone"))
    locked.http.cookies[SESSION_COOKIE] = Sessions().begin("key_1", "hash", "Ada")
    answer = await locked.http.get("/console")

    assert (answer.status_code, "Not now" in answer.text) == (503, True)
