"""Signed links with which a person decides about an approval.

A link is ``{public_url}/decisions/{token}``, and a token is ``{payload}.{signature}``, both base64url. It needs no
table: the signature says that we made it, and the run that waits takes exactly one decision.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lockstitch.errors import DecisionLinkExpired, DecisionLinkForged, DecisionLinkInvalid, SettingsInvalid

SHORTEST_SECRET = 32
"""Bytes; HMAC-SHA256 is as strong as its key up to this length."""

LONGEST_TOKEN = 4096
"""Characters; what is longer is not looked at."""

# Signed together with the payload, so that a signature made for anything else is of no use here.
_DOMAIN = b"lockstitch-decision-v1"
_NAMES = frozenset({"escalation_id", "run_id", "call_id", "expires_at", "nonce"})


@dataclass(frozen=True, slots=True)
class DecisionToken:
    """What a decision link stands for: the approval of one call of one run."""

    escalation_id: str
    run_id: str
    call_id: str | None
    expires_at: datetime
    nonce: str
    """Tells two links to the same decision apart."""


class DecisionLinks:
    """Makes decision links and reads them.

    The newest of ``secrets`` comes first and signs; links that an older one has signed are read for as long as it
    is in the list. Raises `SettingsInvalid` for a secret that is too short.
    """

    def __init__(self, secrets: Sequence[str], public_url: str) -> None:
        self._keys = [secret.encode() for secret in secrets]
        self._public_url = public_url.rstrip("/")
        if not self._keys or any(len(key) < SHORTEST_SECRET for key in self._keys):
            problem = f"links are signed with secrets of at least {SHORTEST_SECRET} bytes each."
            raise SettingsInvalid("LOCKSTITCH_LINK_SECRETS", problem)
        if not self._public_url.startswith(("http://", "https://")):
            raise SettingsInvalid("LOCKSTITCH_PUBLIC_URL", "this is no URL that begins with http:// or https://.")

    def __repr__(self) -> str:
        return f"DecisionLinks({self._public_url!r}, secrets={len(self._keys)})"

    def url(self, token: str) -> str:
        """Return the link that carries ``token``."""
        return f"{self._public_url}/decisions/{token}"

    def make(
        self,
        escalation_id: str,
        run_id: str,
        call_id: str | None,
        expires_at: datetime,
        *,
        nonce: str | None = None,
    ) -> str:
        """Return the token of a new link; with a ``nonce`` of the caller's own, always the same one.

        ``expires_at`` is aware and counts in whole seconds.
        """
        payload = {
            "escalation_id": escalation_id,
            "run_id": run_id,
            "call_id": call_id,
            "expires_at": int(expires_at.timestamp()),
            "nonce": random.token_urlsafe(12) if nonce is None else nonce,
        }
        encoded = _encode(json.dumps(payload, separators=(",", ":")).encode())
        return f"{encoded}.{_encode(_signature(self._keys[0], encoded))}"

    def read(self, token: str, now: datetime) -> DecisionToken:
        """Return what a token stands for.

        Raises `DecisionLinkInvalid` for one that is broken, `DecisionLinkForged` for one that we have not signed, and
        `DecisionLinkExpired` for one that was good until it expired.
        """
        encoded, dot, signature = token.partition(".")
        if not dot or len(token) > LONGEST_TOKEN or not token.isascii():
            raise DecisionLinkInvalid("it was not copied whole.")
        given = _decode(signature)
        if not any([hmac.compare_digest(given, _signature(key, encoded)) for key in self._keys]):  # noqa: C419 - all
            raise DecisionLinkForged
        read = _token(_decode(encoded))
        if now >= read.expires_at:
            raise DecisionLinkExpired(read.expires_at)
        return read


def _signature(key: bytes, encoded: str) -> bytes:
    return hmac.digest(key, _DOMAIN + b"." + encoded.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return what `_encode` was given; refuse every other way to write the same bytes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise DecisionLinkInvalid("it was not copied whole.") from None
    if _encode(data) != text:
        raise DecisionLinkInvalid("it was not copied whole.")
    return data


def _token(payload: bytes) -> DecisionToken:
    """Return the content of a token whose signature was good; one of another version may still be strange."""
    try:
        content: dict[str, Any] = json.loads(payload)
        values = {name: content[name] for name in _NAMES}
        values["expires_at"] = datetime.fromtimestamp(content["expires_at"], UTC)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        raise DecisionLinkInvalid("it is of a version that is not known here.") from None
    return DecisionToken(**values)
