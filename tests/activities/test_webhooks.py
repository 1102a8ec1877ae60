"""One attempt at a webhook, on real receivers: what is sent, what counts as taken, and where nothing is sent."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from starlette.responses import Response, StreamingResponse

from lockstitch.activities.webhooks import LONGEST_ANSWER, Webhook, WebhookMessage
from lockstitch.errors import SettingsInvalid, WebhookFailed, WebhookTargetRefused, WebhookUnwanted
from lockstitch.starter.webhook_signatures import verify_webhook
from lockstitch.tests.webhook_receiver import OTHER_SECRET, SECRET, Receiver, receiving

TLS = Path(__file__).parents[1] / "data" / "tls"
MESSAGE = WebhookMessage("msg_1", b'{"type":"escalation.opened"}')


@pytest.fixture
async def receiver():
    async with receiving() as opened:
        yield opened


class Names:
    """A name service that says what it is told to, one answer for each time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0)


def webhook(url: str, *secrets: str, allow_private: bool = True, **options) -> Webhook:
    return Webhook(url, secrets or [SECRET], allow_private=allow_private, **options)


def port_of(receiver: Receiver) -> int:
    return int(receiver.url.rpartition(":")[2])


async def failing(hook: Webhook, error: type = WebhookFailed):
    with pytest.raises(error) as failed:
        await hook.send(MESSAGE)
    return failed.value


async def test_a_message_is_posted_as_it_is_and_signed(receiver):
    status = await webhook(f"{receiver.url}/hook?token=t").send(MESSAGE)

    [got] = receiver.received
    assert (status, got.path, got.body) == (204, "/hook", MESSAGE.body)
    assert got.headers["webhook-id"] == "msg_1"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("lockstitch/")
    assert abs(int(got.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60


async def test_while_secrets_are_exchanged_receivers_may_have_either(receiver):
    await webhook(receiver.url, OTHER_SECRET, SECRET).send(MESSAGE)

    [got] = receiver.received
    for secret in (SECRET, OTHER_SECRET):
        verify_webhook([secret], got.headers, got.body)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_every_2xx_means_that_it_is_delivered(receiver, status):
    receiver.answers = [Response("thank you", status)]

    assert await webhook(receiver.url).send(MESSAGE) == status


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver):
    async with receiving() as inside:
        location = f"{inside.url}/admin/T0KEN?secret=hunter2"
        receiver.answers = [Response(status_code=307, headers={"location": location})]
        failure = await failing(webhook(f"{receiver.url}/hook"))

    said = f"{receiver.url}/hook answered 307 and pointed to {inside.url}/admin/***; redirects are not followed."
    assert (str(failure), failure.status) == (said, 307)
    assert inside.received == []


@pytest.mark.parametrize("location", [None, "http://a:b", ""])
async def test_a_redirect_to_nowhere_is_a_failure_too(receiver, location):
    receiver.answers = [Response(status_code=302, headers={} if location is None else {"location": location})]

    assert "pointed to nowhere" in str(await failing(webhook(receiver.url)))


async def test_410_says_that_the_receiver_wants_no_more(receiver):
    receiver.answers = [Response(status_code=410)]
    failure = await failing(webhook(receiver.url), WebhookUnwanted)

    assert failure.status == 410
    assert "wants no more" in str(failure)


async def test_a_refusal_is_told_with_the_beginning_of_its_reason_in_one_line(receiver):
    receiver.answers = [Response("It is\n\x1b[31mdown. " + "x" * 9000, 503)]
    failure = await failing(webhook(receiver.url))

    assert failure.status == 503
    assert str(failure).startswith(f"{receiver.url} answered 503: It is [31mdown. xxx")
    assert len(str(failure)) < 300


async def test_an_answer_without_end_is_not_read_to_its_end(receiver):
    release = asyncio.Event()

    async def endless():
        yield "x" * LONGEST_ANSWER
        await release.wait()

    receiver.answers = [StreamingResponse(endless(), 200), StreamingResponse(endless(), 500)]

    assert await webhook(receiver.url).send(MESSAGE) == 200
    assert (await failing(webhook(receiver.url))).status == 500
    release.set()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("17", 17), ("0", 0), ("9" * 50, 999_999_999), ("", None), ("soon", None), ("-5", None), ("1.5", None)],
)
async def test_a_receiver_may_say_when_to_come_again(receiver, text, seconds):
    receiver.answers = [Response(status_code=429, headers={"retry-after": text})]

    expected = None if seconds is None else timedelta(seconds=seconds)
    assert (await failing(webhook(receiver.url))).retry_after == expected


async def test_when_to_come_again_may_be_a_date(receiver):
    dates = [datetime.now(UTC) + timedelta(minutes=difference) for difference in (10, -10)]
    receiver.answers = [Response(status_code=503, headers={"retry-after": format_datetime(it)}) for it in dates]

    assert timedelta(minutes=9) < (await failing(webhook(receiver.url))).retry_after <= timedelta(minutes=10)
    assert (await failing(webhook(receiver.url))).retry_after == timedelta(0)


async def test_a_receiver_that_does_not_answer_in_time_is_tried_again(receiver):
    release = asyncio.Event()

    async def silent(scope, receive, send) -> None:
        await release.wait()

    receiver.answers = [silent]
    failure = await failing(webhook(receiver.url, timeout=timedelta(milliseconds=500)))
    release.set()

    assert str(failure) == f"{receiver.url} did not answer within 0.5 s."
    assert failure.status is None


async def test_a_receiver_that_is_away_is_tried_again():
    async with receiving() as gone:
        pass

    assert f"{gone.url} cannot be reached: " in str(await failing(webhook(gone.url)))


async def test_a_name_that_is_not_found_is_tried_again():
    failure = await failing(webhook("http://nowhere.invalid/hook"))

    assert str(failure).startswith("The host of http://nowhere.invalid/hook is not found: ")


async def test_proxies_of_the_environment_are_not_asked(receiver, monkeypatch):
    """They would look the name up themselves."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert await webhook(receiver.url).send(MESSAGE) == 204


# Private addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
async def test_a_receiver_at_a_private_address_is_refused_unless_it_is_allowed(receiver, host):
    url = f"http://{host}:{port_of(receiver)}/hook"
    refusal = await failing(webhook(url, allow_private=False), WebhookTargetRefused)

    assert "is not a public address; LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE=true allows it." in str(refusal)
    assert "\n" not in str(refusal)
    assert receiver.received == []


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[fd00::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
async def test_a_private_address_in_the_url_itself_is_refused(host):
    assert await failing(webhook(f"http://{host}/hook", allow_private=False), WebhookTargetRefused)


async def test_one_private_address_among_several_is_enough_to_refuse():
    names = Names(["8.8.8.8", "2606:4700::1111", "10.0.0.1"])
    refusal = await failing(webhook("https://hooks.example", allow_private=False, resolver=names), WebhookTargetRefused)

    assert "10.0.0.1 is not a public address" in str(refusal)


async def test_a_name_that_leads_elsewhere_a_moment_later_leads_to_what_was_checked(receiver):
    """The name exists in this name service only, so a second look anywhere would find nothing, or the trap."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    url = f"http://hooks.example:{port_of(receiver)}/hook"

    assert await webhook(url, resolver=names).send(MESSAGE) == 204
    assert names.asked == [("hooks.example", port_of(receiver))]
    assert receiver.received[0].headers["host"] == f"hooks.example:{port_of(receiver)}"


async def test_every_attempt_looks_the_name_up_anew():
    names = Names(["127.0.0.1"], ["10.0.0.1"], [])
    hook = webhook("https://hooks.example", allow_private=False, resolver=names)

    assert "127.0.0.1" in str(await failing(hook, WebhookTargetRefused))
    assert "10.0.0.1" in str(await failing(hook, WebhookTargetRefused))
    assert "has no address" in str(await failing(hook))
    assert names.asked == [("hooks.example", 443)] * 3


async def test_where_the_first_address_takes_no_connection_the_next_one_is_tried(receiver):
    names = Names(["127.0.0.3", "127.0.0.1"])

    assert await webhook(f"http://hooks.example:{port_of(receiver)}", resolver=names).send(MESSAGE) == 204


@pytest.fixture
async def tls_server():
    """A server with a certificate of the name hooks.example; gives its port and the names that it was asked for."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "hooks.example.pem", TLS / "hooks.example.key")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1], asked


async def test_with_a_pinned_address_the_certificate_is_that_of_the_name(tls_server):
    port, asked = tls_server
    trust = ssl.create_default_context(cafile=TLS / "hooks.example.pem")
    hook = webhook(f"https://hooks.example:{port}", resolver=Names(["127.0.0.1"]), tls=trust)

    assert await hook.send(MESSAGE) == 200
    assert asked == ["hooks.example"]


@pytest.mark.parametrize(("name", "trusted"), [("other.example", True), ("hooks.example", False)])
async def test_a_certificate_of_another_name_or_of_nobody_known_is_no_receiver(tls_server, name, trusted):
    port, _ = tls_server
    trust = ssl.create_default_context(cafile=TLS / "hooks.example.pem") if trusted else None
    hook = webhook(f"https://{name}:{port}", resolver=Names(["127.0.0.1"]), tls=trust)

    assert "certificate verify failed" in str(await failing(hook)).lower()


# Settings


@pytest.mark.parametrize(
    "url", ["ftp://hooks.example", "hooks.example/x", "http://", "https:///x", "http://a:b", "file:///etc/passwd"]
)
def test_a_url_to_which_nothing_can_be_posted_is_refused_at_once(url):
    with pytest.raises(SettingsInvalid, match="LOCKSTITCH_WEBHOOK_URL: "):
        webhook(url)


def test_a_url_with_credentials_is_refused_and_does_not_say_them():
    with pytest.raises(SettingsInvalid, match="user name or password") as refused:
        webhook("https://me:hunter2@hooks.example/x")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("secrets", [[], ["hunter2"], [SECRET, "whsec_aHVudGVyMg=="]])
def test_secrets_that_cannot_sign_are_refused_at_once_and_not_quoted(secrets):
    with pytest.raises(SettingsInvalid, match="LOCKSTITCH_WEBHOOK_SECRETS: ") as refused:
        Webhook("https://hooks.example", secrets)
    assert all(secret not in str(refused.value) for secret in secrets)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example", "https://hooks.example"),
        ("https://hooks.example/?token=hunter2", "https://hooks.example"),
        ("https://hooks.example:8443/hook/v1#part", "https://hooks.example:8443/hook/v1"),
        ("https://hooks.example/services/T0001/B0002/aBcDeF?a=b", "https://hooks.example/services/***/***/***"),
        ("https://hooks.example/on-call/0d5c1a3e", "https://hooks.example/on-call/***"),
    ],
)
def test_what_may_be_secret_in_a_url_is_not_shown(url, target):
    assert webhook(url).target == target
    assert repr(webhook(url)) == f"Webhook('{target}', secrets=1)"
