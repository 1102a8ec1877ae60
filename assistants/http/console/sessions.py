"""Sessions of operators, without a table: a signed cookie that any server process can check.

A session is signed with what is stored of the key that began it, so it ends when the key is revoked. The key itself is
not in it. Forms carry a token that is made from the cookie, which pages of other sites cannot read.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

SESSION_SECONDS = 8 * 60 * 60
"""How long a session lasts: a working day."""

LONGEST_TOKEN = 2048
"""Characters; what is longer is not looked at."""

# Signed together with the rest, so that what was made for one purpose is of no use for another.
_SESSION = b"lockstitch-console-session-v1."
_FORM = b"lockstitch-console-form-v1."
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """Who has signed in: with which key, and under what name; not yet checked until `Sessions.is_good` says so."""

    token: str
    key_id: str
    name: str
    expires_at: int


class Sessions:
    """Makes sessions and checks them; ``secret`` is as in `ConsoleOptions`, ``clock`` tells seconds since 1970."""

    def __init__(self, secret: str = "", clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def __repr__(self) -> str:
        return f"Sessions(has_secret={bool(self._secret)})"

    def begin(self, key_id: str, secret_hash: str, name: str) -> str:
        """Return the token of a new session."""
        expires_at = int(self._clock()) + SESSION_SECONDS
        payload = {"key": key_id, "name": name, "expires_at": expires_at, "nonce": secrets.token_urlsafe(16)}
        encoded = _encode(json.dumps(payload, separators=(",", ":")).encode())
        return f"{encoded}.{_encode(self._signature(encoded, secret_hash))}"

    def read(self, token: str) -> Session | None:
        """Return the session that a token says it is, so that its key can be looked up; ``None`` for what is none."""
        encoded, dot, _ = token.partition(".")
        if not dot or len(token) > LONGEST_TOKEN:
            return None
        try:
            payload = json.loads(_decode(encoded))
            key_id, name, expires_at = payload["key"], payload["name"], payload["expires_at"]
        except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
            return None
        # Whose signature it has to be is known only when its key has been looked up, so up to there it is anybody's.
        if type(expires_at) is not int or not isinstance(name, str) or not isinstance(key_id, str):
            return None
        return Session(token, key_id, name, expires_at) if _KEY_ID.fullmatch(key_id) else None

    def is_good(self, session: Session, secret_hash: str) -> bool:
        """Tell whether we have signed the session with this key, and whether it lasts still."""
        encoded, _, signature = session.token.partition(".")
        expected = _encode(self._signature(encoded, secret_hash))
        return hmac.compare_digest(signature.encode(), expected.encode()) and self._clock() < session.expires_at

    def _signature(self, encoded: str, secret_hash: str) -> bytes:
        key = hmac.digest(secret_hash.encode(), self._secret, hashlib.sha256)
        return hmac.digest(key, _SESSION + encoded.encode(), hashlib.sha256)


def form_token(cookie: str) -> str:
    """Return what every form has to send back that is shown to whom this cookie belongs."""
    return _encode(hmac.digest(cookie.encode(), _FORM, hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
