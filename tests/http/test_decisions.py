"""Decision links: on a real server, with a real Temporal server and a real worker behind it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.app import build_app
from lockstitch.assistants.http.decision_page import LONGEST_ARGUMENTS, Question, outcome_page, question_page
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.tools import ToolContext, tool

LINKS = DecisionLinks(["a secret of this test that is long enough"], "https://lockstitch.example")
OTHER_LINKS = DecisionLinks(["another secret that is just as long as that"], "https://lockstitch.example")
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROGRAM = {"accept": "application/json"}


class Reader(HTMLParser):
    """Reads a page as a browser does: which elements there are, and what a person sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.buttons: list[tuple[str | None, ...]] = []
        self.seen = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)
        if tag == "button":
            self.buttons.append(tuple(dict(attrs).get(name) for name in ("name", "value")))

    def handle_data(self, data: str) -> None:
        if self.elements[-1] != "style":
            self.seen += f"{data}\n"


@dataclass
class Desk:
    """A run that waits for an approval, the link that decides it, and a client that has nothing but the link."""

    starter: Starter
    escalation: Escalation
    calls: list[str]
    path: str
    http: httpx2.AsyncClient

    async def open(self) -> httpx2.Response:
        return await self.http.get(self.path, headers=BROWSER)

    async def press(self, action: str, **fields: str) -> httpx2.Response:
        return await self.http.post(self.path, data={"action": action, **fields}, headers=BROWSER)

    async def result(self) -> Any:
        return await self.starter.result(self.escalation.run_id)


@asynccontextmanager
async def served(lockstitch: Any, links: DecisionLinks | None = LINKS) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an engine's database over HTTP; the client brings no key and no header of the API."""
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(EventFeed(lockstitch.database))
        delivery = CommandDelivery(lockstitch.database, lockstitch.starter)
        services = Services(lockstitch.database, feed, delivery, lockstitch.starter, links)
        listener = listen("127.0.0.1", 0, purpose="a test", option="nothing")
        await stack.enter_async_context(serving(build_app(services), listener))
        stack.callback(feed.dismiss)
        url = "http://{}:{}".format(*listener.getsockname())
        yield await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False))


def token_for(escalation: Escalation, links: DecisionLinks = LINKS, expires_at: datetime | None = None) -> str:
    until = escalation.deadline if expires_at is None else expires_at
    return links.make(escalation.id, escalation.run_id, escalation.call_id, until)


@pytest.fixture
async def desk(engine, eventually) -> AsyncIterator[Desk]:
    """A run that asks whether it may refund order 17."""
    calls: list[str] = []

    @tool(approval=True)
    async def refund_order(order: int, context: ToolContext) -> str:
        """Refund an order."""
        calls.append(context.idempotency_key)
        return f"refunded {order}"

    async with engine([refund_order]) as lockstitch, served(lockstitch) as http:
        run_id = await lockstitch.starter.start(await lockstitch.request("Refund order 17."))

        async def first() -> Escalation | None:
            return next(iter(await lockstitch.starter.escalations(run_id)), None)

        escalation = await eventually(first)
        yield Desk(lockstitch.starter, escalation, calls, f"/decisions/{token_for(escalation)}", http)


# --- what a person does


async def test_a_call_is_approved_by_link(desk):
    page = Reader((await desk.open()).text)
    recorded = Reader((await desk.press("approve", by=" Ada ")).text)
    result = await desk.result()

    for shown in ("refund_order", desk.escalation.run_id, '"order": 17', "in 4 min", "The call is denied."):
        assert shown in page.seen
    assert page.buttons[-2:] == [("action", "approve"), ("action", "deny")]
    assert "approve by Ada" in recorded.seen
    assert (result.status, result.tool_calls[0].outcome, len(desk.calls)) == ("completed", "succeeded", 1)
    assert result.escalations[0].decision.by == "Ada"


async def test_a_call_is_denied_by_link_and_the_model_reads_why(desk):
    recorded = Reader((await desk.press("deny", message="Too\r\nexpensive.")).text)
    result = await desk.result()

    assert "deny by somebody with the link" in recorded.seen
    assert (result.tool_calls[0].outcome, desk.calls) == ("denied", [])
    assert result.escalations[0].decision.message == "Too\nexpensive."
    assert "Too\nexpensive." in result.last_message_text


async def test_opening_a_link_decides_nothing(desk):
    for method in ("GET", "HEAD", "GET"):
        assert (await desk.http.request(method, desk.path, headers=BROWSER)).status_code == 200
    [still] = await desk.starter.escalations(desk.escalation.run_id)

    assert (still.is_open, desk.calls) == (True, [])
    await desk.press("deny")


async def test_a_link_that_was_used_says_who_decided_what(desk):
    await desk.press("approve", by="Ada")
    while_it_runs = await desk.press("deny", by="Grace")
    result = await desk.result()
    after_it = await desk.press("deny", by="Grace")
    opened = await desk.open()

    for page in (while_it_runs, after_it):
        assert page.status_code == 409
        assert "approve by Ada" in Reader(page.text).seen
        assert f"{result.escalations[0].closed_at:%Y-%m-%d %H:%M:%S}" in page.text
    assert opened.status_code == 200
    assert Reader(opened.text).buttons == []


async def test_of_two_who_press_at_the_same_time_one_decides_and_the_other_reads_what(desk):
    pages = await asyncio.gather(desk.press("approve", by="Ada"), desk.press("deny", by="Grace"))
    [decision] = [it.decision for it in (await desk.result()).escalations]

    assert sorted(page.status_code for page in pages) == [200, 409]
    assert all(f"{decision.action} by {decision.by}" in page.text for page in pages)


async def test_a_run_that_has_ended_has_nothing_to_decide(desk):
    await desk.starter.cancel(desk.escalation.run_id)
    await desk.result()
    page = await desk.press("approve")

    assert page.status_code == 410
    assert "was closed at" in Reader(page.text).seen
    assert desk.calls == []


async def test_a_run_that_was_terminated_has_nothing_to_decide(desk, temporal):
    await temporal.get_workflow_handle(desk.escalation.run_id).terminate()

    assert [(await desk.open()).status_code, (await desk.press("approve")).status_code] == [410, 410]


async def test_without_a_worker_nothing_is_decided_and_the_page_says_so(engine):
    async with engine([], workers=False) as idle:
        idle.starter = Starter(idle.temporal, task_queue=idle.task_queue, decision_timeout=timedelta(milliseconds=300))
        await decide_without_a_worker(idle)


async def decide_without_a_worker(idle: Any) -> None:
    async with served(idle) as http:
        run_id = await idle.starter.start(await idle.request("Refund order 17."))
        path = f"/decisions/{token_for(ASKED.model_copy(update={'run_id': run_id}))}"
        page = await http.post(path, data={"action": "approve"}, headers=BROWSER)
        await idle.temporal.get_workflow_handle(run_id).terminate()

    assert page.status_code == 503
    assert "No worker of run" in Reader(page.text).seen


# --- what a program does


async def test_a_program_reads_and_decides_in_json(desk):
    asked = await desk.http.get(desk.path, headers=PROGRAM)
    decision = {"action": "deny", "by": "ada", "message": "No."}
    decided = await desk.http.post(desk.path, json=decision, headers=PROGRAM)
    again = await desk.http.post(desk.path, json=decision, headers=PROGRAM)

    assert (asked.json()["id"], asked.json()["on_deadline"]) == (desk.escalation.id, "deny")
    assert re.sub(r"\s", "", asked.json()["arguments"]) == '{"order":17}'
    assert Escalation.model_validate(decided.json()).decision.by == "ada"
    assert (again.status_code, again.json()["error"]["code"]) == (409, "decided_already")
    assert again.json()["escalation"] == decided.json()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"json": {"action": "cancel"}}, "action"),
        ({"json": {"action": "answer", "output": "x"}}, "action"),
        ({"json": {}}, "action"),
        ({"json": {"action": "deny", "by": "x" * 257}}, "by"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "the body"),
        ({"data": {"by": "ada"}}, "action"),
        ({"content": b"action=%ff"}, "this is no form"),
        ({"content": b"\xff\xfe"}, "this is no form"),
    ],
    ids=str,
)
async def test_what_is_no_decision_is_refused_and_changes_nothing(desk, sent, said):
    refused = await desk.http.post(desk.path, **{**sent, "headers": {**PROGRAM, **sent.get("headers", {})}})
    [still] = await desk.starter.escalations(desk.escalation.run_id)
    await desk.starter.cancel(desk.escalation.run_id)

    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
    assert still.is_open


# --- links that are none


ASKED = Escalation(
    id="esc_1",
    run_id="run_unknown",
    call_id="call_1",
    tool="refund_order",
    reason="approval",
    detail="A call of 'refund_order' waits for approval.",
    opened_at=datetime.now(UTC),
    deadline=datetime.now(UTC) + timedelta(days=1),
    on_deadline="deny",
)
GOOD = token_for(ASKED)


@pytest.fixture(scope="session")
async def linked(server) -> AsyncIterator[httpx2.AsyncClient]:
    """The server of all tests, with links."""
    async with served(server.services) as http:
        yield http


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", [BROWSER, PROGRAM], ids=["page", "json"])
@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        (token_for(ASKED, OTHER_LINKS), 403, "its signature is not one of ours."),
        (GOOD[:20], 404, "it was not copied whole."),
        ("%3Cscript%3E", 404, "it was not copied whole."),
        (token_for(ASKED, expires_at=datetime(2026, 11, 3, tzinfo=UTC)), 410, "it expired at 2026-11-03 00:00:00 UTC."),
        (GOOD, 404, "No run found with id 'run_unknown'."),
    ],
    ids=["forged", "cut", "hostile", "expired", "unknown"],
)
async def test_a_link_that_cannot_be_used_is_refused_with_one_sentence(linked, method, headers, token, status, said):
    sent = {"data": {"action": "approve"}} if method == "POST" else {}
    refused = await linked.request(method, f"/decisions/{token}", headers=headers, **sent)

    assert refused.status_code == status
    told = refused.json()["error"]["message"] if headers is PROGRAM else Reader(refused.text).seen
    assert said in told
    assert token not in refused.text


async def test_a_server_without_secrets_has_no_decision_links(http):
    refused = await http.get(f"/decisions/{GOOD}", headers=BROWSER)

    assert refused.status_code == 404
    assert "LOCKSTITCH_LINK_SECRETS is not set" in refused.text


# --- what a link and a page give away


@pytest.mark.parametrize("token", [GOOD, GOOD[:20], token_for(ASKED, OTHER_LINKS)], ids=["unknown", "cut", "forged"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_answer_is_kept_framed_or_told_to_others(linked, method, token):
    answer = await linked.request(method, f"/decisions/{token}", headers=BROWSER)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


async def test_the_token_is_in_no_log_line_and_no_metric(linked):
    with capture_logs() as lines:
        await linked.get(f"/decisions/{GOOD}", headers=BROWSER)
        await linked.put(f"/decisions/{GOOD}")
        metrics = (await linked.get("/metrics")).text

    assert 'route="/decisions/{token}"' in metrics
    assert GOOD not in metrics
    assert GOOD not in str(lines)


async def test_a_fault_is_logged_with_the_route_and_not_with_the_token(server):
    class Broken(DecisionLinks):
        def read(self, token: str, now: datetime) -> Any:
            raise RuntimeError("something that nobody thought of")

    async with served(server.services, Broken(["x" * 32], "https://lockstitch.example")) as http:
        with capture_logs() as lines:
            answer = await http.get(f"/decisions/{GOOD}", headers=BROWSER)

    assert answer.status_code == 500
    assert [(line["event"], line["route"]) for line in lines] == [("request_failed", "/decisions/{token}")]
    assert GOOD not in str(lines)


HOSTILE = "</pre><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;\u202e\x1b[2J\ud800"


def test_nothing_that_a_model_wrote_is_more_than_text_on_the_page():
    hostile = ASKED.model_copy(update={"tool": HOSTILE, "detail": HOSTILE})
    page = question_page(Question(hostile, HOSTILE), datetime.now(UTC))
    plain = Reader(question_page(Question(ASKED, "{}"), datetime.now(UTC)))
    read = Reader(page)

    assert read.elements == plain.elements
    assert "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;\\u202e\\u001b[2J\\ud800" in read.seen
    page.encode()


def test_nothing_that_a_person_wrote_is_more_than_text_on_the_page():
    said = HOSTILE.removesuffix("\ud800")  # no request brings half of a character
    decision = Decision(escalation_id="esc_1", action="deny", by=said, message=said)
    closed = ASKED.model_copy(update={"closed_at": datetime.now(UTC), "closed_by": "decision", "decision": decision})
    read = Reader(outcome_page(closed, "Recorded", "Thank you."))

    assert not {"script", "img"} & set(read.elements)
    assert read.seen.count("<script>alert(1)</script>") == 2


def test_long_arguments_are_cut_and_the_page_says_so():
    question = Question(ASKED, '{"note": "' + "ä" * 5000 + '"}')
    shown, is_cut = question.shown_arguments
    page = Reader(question_page(question, datetime.now(UTC)))

    assert is_cut
    assert LONGEST_ARGUMENTS - 1 <= len(shown.encode()) <= LONGEST_ARGUMENTS
    assert shown in page.seen
    assert "only the first 4 KiB are shown" in page.seen


def test_a_page_asks_for_nothing_from_elsewhere():
    page = question_page(Question(ASKED, '{"url": "https://elsewhere.example/"}'), datetime.now(UTC))

    assert not re.search(r"<(?:link|script|img|iframe)|(?:src|href|action)=|@import|url\(", page)
