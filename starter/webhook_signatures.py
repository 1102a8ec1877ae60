"""Sign webhooks and verify them, as Standard Webhooks has it.

A receiver needs this one function::

    from lockstitch.starter.webhook_signatures import verify_webhook

    verify_webhook(["whsec_..."], request.headers, await request.body())

Standard Webhooks: what is signed is ``{webhook-id}.{webhook-timestamp}.{body}``, the signature is
``v1,<base64 of HMAC-SHA256>``, and ``webhook-signature`` lists one for each secret, separated by spaces.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from lockstitch.errors import WebhookNotAuthentic

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TOLERANCE = timedelta(minutes=5)
"""How far a webhook's timestamp may be from now, in both directions."""

_SECRET_PREFIX = "whsec_"  # noqa: S105 - which says that a secret follows
_SCHEME = "v1"
# Standard Webhooks: a secret is random, at least 24 bytes (192 bits) and at most 64 (512 bits).
_SHORTEST, _LONGEST = 24, 64
_LONGEST_TIMESTAMP = 12
"""Digits: what has more is no time."""


def secret_key(secret: str) -> bytes:
    """Return the key of a secret in the form ``whsec_<base64>``.

    Raises `ValueError` with what is wrong, which never quotes the secret.
    """
    encoded = secret.removeprefix(_SECRET_PREFIX)
    if encoded == secret:
        raise ValueError(f"a secret begins with {_SECRET_PREFIX}")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows {_SECRET_PREFIX} in a secret is base64") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"a secret has {_SHORTEST} to {_LONGEST} bytes, and one has {len(key)}")
    return key


def signed_headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of one attempt, made ``at`` this time, at delivering ``body``.

    ``message_id`` stays the same in every attempt, so that a receiver knows what it has seen. Each secret signs:
    while one replaces another, receivers may have either.
    """
    timestamp = str(int(at.timestamp()))
    signatures = [_signature(secret_key(secret), message_id, timestamp, body) for secret in secrets]
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: " ".join(signatures)}


def verify_webhook(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tolerance: timedelta = TOLERANCE,
    *,
    now: datetime | None = None,
) -> None:
    """Make sure that one of ``secrets`` signed this webhook, not longer than ``tolerance`` ago.

    ``body`` is what came, byte for byte: JSON that was read and written again is another text. The case of the
    headers' names does not matter. Raises `WebhookNotAuthentic`, and `ValueError` for a secret that is none.
    """
    keys = [secret_key(secret) for secret in secrets]
    given = {name.lower(): value for name, value in headers.items()}
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if not given.get(name):
            raise WebhookNotAuthentic(f"the header {name} is missing.")
    timestamp = given[TIMESTAMP_HEADER]
    _check_time(timestamp, now or datetime.now(UTC), tolerance)
    expected = [_signature(key, given[ID_HEADER], timestamp, body) for key in keys]
    if not any(_same(one, other) for one in given[SIGNATURE_HEADER].split() for other in expected):
        raise WebhookNotAuthentic("no signature fits its content and one of the secrets.")


def _check_time(timestamp: str, now: datetime, tolerance: timedelta) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise WebhookNotAuthentic(f"the header {TIMESTAMP_HEADER} is no whole number of seconds.")
    age = timedelta(seconds=now.timestamp() - int(timestamp))
    if abs(age) > tolerance:
        direction = "ago" if age > timedelta(0) else "in the future"
        raise WebhookNotAuthentic(
            f"it was signed {abs(age).total_seconds():.0f} s {direction}, "
            f"and {tolerance.total_seconds():.0f} s are allowed."
        )


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return f"{_SCHEME},{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def _same(one: str, other: str) -> bool:
    """Compare in a time that says nothing about where the two differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
