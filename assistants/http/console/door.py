"""Who comes in: anybody on a loopback server without keys, else whoever has signed in with an operator's key.

Every form is checked twice: its request comes from a page of ours (``Origin``, ``Sec-Fetch-Site``), and it carries the
token of the cookie.
"""

import hmac
import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from lockstitch import telemetry
from lockstitch.assistants.http.console.options import ConsoleOptions
from lockstitch.assistants.http.console.sessions import SESSION_SECONDS, Session, Sessions, form_token
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.rate_limits import RateLimits
from lockstitch.assistants.store import keys
from lockstitch.assistants.store.database import Database
from lockstitch.errors import ApiError

PATH = "/console"
TOKEN_FIELD = "form_token"  # noqa: S105 - the name of a field

SESSION_COOKIE = "lockstitch_console"
VISIT_COOKIE = "lockstitch_console_visit"
"""Of who has not signed in: it does nothing but tie a form to the browser that it was shown in."""

FAILURES_PER_MINUTE = 30
"""Keys that are refused with 403; beyond that, 429. A right key is let in all the same, so nobody is locked out."""


class SignInNeeded(Exception):
    """Nobody has signed in, and here somebody has to."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for a page; ``name`` is ``None`` where nobody had to sign in."""

    cookie: str
    name: str | None = None
    key_id: str | None = None
    is_new: bool = False

    @property
    def form_token(self) -> str:
        """What forms shown to this visitor send back."""
        return form_token(self.cookie)


class Door:
    """Lets operators in."""

    def __init__(self, database: Database, keyring: Keyring, options: ConsoleOptions) -> None:
        self._database = database
        self._keyring = keyring
        self._options = options
        self._sessions = Sessions(options.secret)
        self._failures = RateLimits()

    def __repr__(self) -> str:
        return f"Door({self._keyring!r})"

    async def admit(self, request: Request) -> Visitor:
        """Return who comes; raises `SignInNeeded`, and `ApiError` (403) where nobody is let in at all."""
        if not await self._keyring.asks():
            self._check_host(request)
            return self.stranger(request)
        session = await self._session(request)
        if session is None:
            raise SignInNeeded
        return Visitor(session.token, session.name, session.key_id)

    def stranger(self, request: Request) -> Visitor:
        """Return somebody who has not signed in."""
        cookie = request.cookies.get(VISIT_COOKIE, "")
        if len(cookie) < 32:
            return Visitor(secrets.token_urlsafe(32), is_new=True)
        return Visitor(cookie)

    def check_form(self, request: Request, visitor: Visitor, fields: Mapping[str, str]) -> None:
        """Raise `ApiError` (403) unless a form was sent from a page that this visitor was shown."""
        given = fields.get(TOKEN_FIELD, "")
        if not self._is_from_here(request) or not hmac.compare_digest(given.encode(), visitor.form_token.encode()):
            raise ApiError(
                "This form did not come from a page of the console that is open in this browser; load the page again "
                "and repeat what you did.",
                status=403,
            )

    async def sign_in(self, key: str, name: str) -> str:
        """Return the cookie of a new session; raises `ApiError` (403, 429) where the key does not open the console."""
        hashed = keys.hash_of(key)
        row = await self._database.read(lambda connection: keys.operator_with_hash(connection, hashed), one_query=True)
        if row is None:
            raise self._key_refused()
        key_id, now = row["id"], int(time.time())
        await self._database.write(lambda connection: keys.used(connection, key_id, now))
        telemetry.log.info("console_signed_in", key_id=row["id"], by=name)
        return self._sessions.begin(row["id"], row["secret_hash"], name)

    def _key_refused(self) -> ApiError:
        state = self._failures.count("sign-in", FAILURES_PER_MINUTE)
        telemetry.log.warning("console_sign_in_refused", too_many=bool(state.wait_seconds))
        if not state.wait_seconds:
            sentence = (
                "This key does not open the console; make one that does with "
                "`lockstitch keys create --project NAME --operator`."
            )
            return ApiError(sentence, status=403)
        wait = str(max(1, round(state.wait_seconds)))
        sentence = f"Too many keys were tried that do not open the console; try again in {wait} s."
        return ApiError(sentence, status=429, headers={"retry-after": wait})

    def set_cookie(self, answer: Response, name: str, value: str) -> None:
        """Give the browser a cookie that it sends to these pages only, and from these pages only."""
        answer.set_cookie(
            name,
            value,
            max_age=SESSION_SECONDS,
            path=PATH,
            secure=self._options.is_https,
            httponly=True,
            samesite="strict",
        )

    def sign_out(self, answer: Response) -> None:
        """Take the session's cookie away."""
        answer.delete_cookie(SESSION_COOKIE, path=PATH, secure=self._options.is_https, httponly=True, samesite="strict")

    async def _session(self, request: Request) -> Session | None:
        session = self._sessions.read(request.cookies.get(SESSION_COOKIE, ""))
        if session is None:
            return None
        key_id = session.key_id

        def find(connection: Connection) -> Mapping[str, str] | None:
            return keys.operator_with_id(connection, key_id)

        row = await self._database.read(find, one_query=True)
        return session if row is not None and self._sessions.is_good(session, row["secret_hash"]) else None

    def _check_host(self, request: Request) -> None:
        """Refuse a name that somebody else's server may have been given the address of this one under."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        own = urlsplit(self._options.public_url).hostname
        if not _is_loopback(host) and host != own:
            raise ApiError(
                "Without keys, the console is open on this machine only; ask for it as http://127.0.0.1, or set "
                "LOCKSTITCH_PUBLIC_URL to the address under which you reach it.",
                status=403,
            )

    def _is_from_here(self, request: Request) -> bool:
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        origin = request.headers.get("origin")
        if origin is None:
            return True
        own = {request.headers.get("host", ""), urlsplit(self._options.public_url).netloc}
        return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc in own


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
