"""What Standard Webhooks asks of a signature, and what a receiver is told of one that is not good."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from lockstitch.errors import WebhookNotAuthentic
from lockstitch.starter.webhook_signatures import secret_key, signed_headers, verify_webhook

NOW = datetime(2026, 11, 3, 20, 26, 10, 900_000, tzinfo=UTC)
KEYS = [bytes(range(32)), bytes(range(100, 124))]
SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in KEYS]
BODY = '{"type":"escalation.opened","data":{"tool":"größe"}}'.encode()


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return signed_headers(secrets or SECRETS[:1], "msg_1", NOW, body)


def verify(headers, body: bytes = BODY, secrets=SECRETS[:1], now: datetime = NOW, **options) -> None:
    verify_webhook(secrets, headers, body, now=now, **options)


def test_a_signature_is_the_hmac_of_id_timestamp_and_body():
    """Worked out by hand, as the specification words it."""
    timestamp = int(NOW.timestamp())
    digest = hmac.new(KEYS[0], b"msg_1." + str(timestamp).encode() + b"." + BODY, hashlib.sha256).digest()

    assert signed() == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_the_published_example_of_the_specification_is_verified():
    """Its libraries are tested with these values."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    verify_webhook([secret], headers, body, now=at)


def test_each_secret_signs_so_that_receivers_may_have_either():
    headers = signed(*SECRETS)

    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in SECRETS:
        verify(headers, secrets=[secret])


def test_a_receiver_may_have_several_secrets_and_signatures_of_other_schemes_are_passed_over():
    headers = signed(SECRETS[1])
    headers["webhook-signature"] = f"v1a,AAAA v2,ÄÖ {headers['webhook-signature']}"

    verify(headers, secrets=SECRETS)


def test_the_case_of_header_names_does_not_matter():
    verify({name.title(): value for name, value in signed().items()})


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,ÄÖ"},
    ],
)
def test_a_changed_header_is_not_authentic(change):
    with pytest.raises(WebhookNotAuthentic, match="no signature fits its content and one of the secrets"):
        verify(signed() | change)


def test_a_signature_of_another_scheme_does_not_count_as_ours():
    headers = signed()
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")

    with pytest.raises(WebhookNotAuthentic):
        verify(headers)


def test_a_changed_body_and_another_secret_are_not_authentic():
    with pytest.raises(WebhookNotAuthentic):
        verify(signed(), body=BODY + b" ")
    with pytest.raises(WebhookNotAuthentic):
        verify(signed(), secrets=SECRETS[1:])
    with pytest.raises(WebhookNotAuthentic):
        verify(signed(), secrets=[])


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (timedelta(seconds=301), r"signed 30\d s ago, and 300 s are allowed"),
        (timedelta(seconds=-302), r"signed 30\d s in the future, and 300 s are allowed"),
        (timedelta(days=9000), "ago"),
    ],
)
def test_a_replay_outside_the_tolerance_is_refused(later, said):
    with pytest.raises(WebhookNotAuthentic, match=said):
        verify(signed(), now=NOW + later)


def test_within_the_tolerance_it_is_taken_and_the_tolerance_can_be_chosen():
    for later in (-299, 0, 299):
        verify(signed(), now=NOW + timedelta(seconds=later))
    verify(signed(), now=NOW + timedelta(hours=1), tolerance=timedelta(hours=2))


def test_by_default_it_is_compared_with_the_time_that_it_is():
    verify_webhook(SECRETS[:1], signed_headers(SECRETS[:1], "msg_1", datetime.now(UTC), BODY), BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name):
    for headers in ({it: value for it, value in signed().items() if it != name}, signed() | {name: ""}):
        with pytest.raises(WebhookNotAuthentic, match=f"the header {name} is missing"):
            verify(headers)


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "١٢٣", "9" * 5000, " 1"])
def test_a_timestamp_that_is_no_number_is_refused(text):
    with pytest.raises(WebhookNotAuthentic, match="no whole number of seconds"):
        verify(signed() | {"webhook-timestamp": text})


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "begins with whsec_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_!?", "base64"),
        ("whsec_ä", "base64"),
        ("whsec_", "24 to 64 bytes, and one has 0"),
        (f"whsec_{base64.b64encode(bytes(23)).decode()}", "24 to 64 bytes, and one has 23"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "24 to 64 bytes, and one has 65"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_quoted(secret, problem):
    with pytest.raises(ValueError, match=problem) as refused:
        secret_key(secret)
    assert len(secret) < 8 or secret not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
