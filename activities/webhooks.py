"""Send signed webhooks to the one address of the settings, and nowhere else."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib.metadata import version

import httpx2

from lockstitch.activities.public_addresses import Resolver, is_public, resolve
from lockstitch.errors import SettingsInvalid, WebhookFailed, WebhookTargetRefused, WebhookUnwanted
from lockstitch.starter.certificates import trusted_for
from lockstitch.starter.webhook_signatures import secret_key, signed_headers

TIMEOUT = timedelta(seconds=15)
"""Of one attempt, from looking up the name to the answer's headers."""

_CONNECTING = httpx2.Timeout(None, connect=5)
"""An address that does not take the connection leaves time for the next one; `TIMEOUT` bounds the whole."""

LONGEST_ANSWER = 2048
"""Bytes of an answer's body that are read, and only where it is a refusal."""

_LONGEST_REASON = 200
_PLAIN_WORD = re.compile(r"[a-z][a-z_-]{0,19}|v\d{1,2}")


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One message: its ``message_id`` and its ``body`` are the same in every attempt."""

    message_id: str
    body: bytes


class Webhook:
    """Where notifications go, and the secrets that sign them.

    Every attempt looks the name up, refuses it when any of its addresses is not public (unless ``allow_private``),
    and connects to an address that was looked at: a name that leads elsewhere a moment later leads nowhere. Raises
    `SettingsInvalid` for a URL or secrets that cannot be used.
    """

    def __init__(
        self,
        url: str,
        secrets: Sequence[str],
        *,
        allow_private: bool = False,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._url = _checked_url(url)
        self._secrets = _checked_secrets(secrets)
        self._allow_private = allow_private
        self._resolve = resolver
        self._given_tls = tls
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Webhook({self.target!r}, secrets={len(self._secrets)})"

    @property
    def target(self) -> str:
        """Where it goes, as logs may say it: without the query, and with only the plain words of the path."""
        return shown(self._url)

    async def send(self, message: WebhookMessage) -> int:
        """Make one attempt and return the HTTP status with which the receiver took the message.

        Raises `WebhookTargetRefused` and `WebhookUnwanted`, after which no other attempt makes sense, and
        `WebhookFailed`.
        """
        headers = {
            "content-type": "application/json",
            "user-agent": f"lockstitch/{version('lockstitch')}",
            "accept-encoding": "identity",  # what is read of the answer is cut, and cannot be unpacked
            **signed_headers(self._secrets, message.message_id, datetime.now(UTC), message.body),
        }
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                addresses = await self._addresses()
                async with self._posted(addresses, headers, message.body) as answer:
                    await self._judge(answer)
                    return answer.status_code
        except TimeoutError as error:
            problem = f"{self.target} did not answer within {self._timeout.total_seconds():g} s."
            raise WebhookFailed(problem) from error
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise WebhookFailed(f"{self.target} cannot be reached: {reason}") from error

    async def _addresses(self) -> Sequence[str]:
        host = self._url.raw_host.decode("ascii").strip("[]")
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise WebhookFailed(f"The host of {self.target} is not found: {error}") from error
        if not addresses:
            raise WebhookFailed(f"The host of {self.target} has no address.")
        private = [address for address in addresses if not is_public(address)]
        if private and not self._allow_private:
            problem = f"{private[0]} is not a public address; LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE=true allows it."
            raise WebhookTargetRefused(self.target, problem)
        return addresses

    @asynccontextmanager
    async def _posted(
        self, addresses: Sequence[str], headers: dict[str, str], body: bytes
    ) -> AsyncIterator[httpx2.Response]:
        """Post to the first of the addresses that takes the connection; give the answer while it is open.

        The URL carries the address, so nothing is looked up again; the name goes into the Host header and, for the
        certificate, into the TLS handshake.
        """
        name = self._url.raw_host.decode("ascii")
        pinned = {"host": self._url.netloc.decode("ascii"), **headers}
        async with httpx2.AsyncClient(
            verify=self._tls, follow_redirects=False, trust_env=False, timeout=_CONNECTING
        ) as client:
            for position, address in enumerate(addresses, start=1):
                url = self._url.copy_with(host=address)
                request = client.build_request(
                    "POST", url, headers=pinned, content=body, extensions={"sni_hostname": name.strip("[]")}
                )
                try:
                    answer = await client.send(request, stream=True)
                    break
                except (httpx2.ConnectError, httpx2.ConnectTimeout):
                    if position == len(addresses):
                        raise
            try:
                yield answer
            finally:
                await answer.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or trusted_for(self._url)

    async def _judge(self, answer: httpx2.Response) -> None:
        """Raise unless the answer says that the message is delivered. Standard Webhooks: 2xx does, and only 2xx."""
        status = answer.status_code
        if answer.is_success:
            return
        if status == httpx2.codes.GONE:
            raise WebhookUnwanted(self.target)
        retry_after = _retry_after(answer.headers.get("retry-after", ""))
        if 300 <= status < 400:
            where = self._pointed_to(answer.headers.get("location", ""))
            problem = f"{self.target} answered {status} and pointed to {where}; redirects are not followed."
        else:
            reason = await _reason(answer)
            problem = f"{self.target} answered {status}{f': {reason}' if reason else '.'}"
        raise WebhookFailed(problem, status=status, retry_after=retry_after)

    def _pointed_to(self, location: str) -> str:
        try:
            return shown(self._url.join(location)) if location else "nowhere"
        except (httpx2.InvalidURL, ValueError):
            return "nowhere"


def shown(url: httpx2.URL) -> str:
    """Return a URL as it may be logged: a path segment that is more than a plain word may be a secret."""
    origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
    segments = [it if not it or _PLAIN_WORD.fullmatch(it) else "***" for it in url.path.split("/")]
    return origin + "/".join(segments).rstrip("/")


def _checked_url(text: str) -> httpx2.URL:
    variable = "LOCKSTITCH_WEBHOOK_URL"
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise SettingsInvalid(variable, "this is no URL.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid(variable, "webhooks are delivered to a URL that begins with http:// or https://.")
    if url.userinfo:
        raise SettingsInvalid(variable, "a user name or password in the URL is not sent; webhooks are signed instead.")
    return url.copy_with(fragment=None)


def _checked_secrets(secrets: Sequence[str]) -> Sequence[str]:
    variable = "LOCKSTITCH_WEBHOOK_SECRETS"
    if not secrets:
        raise SettingsInvalid(variable, "webhooks are signed, so LOCKSTITCH_WEBHOOK_URL needs at least one secret.")
    for secret in secrets:
        try:
            secret_key(secret)
        except ValueError as error:
            raise SettingsInvalid(variable, f"{error}.") from error
    return tuple(secrets)


def _retry_after(text: str) -> timedelta | None:
    """Read a ``retry-after``. RFC 9110: a whole number of seconds, or a date."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:9]))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC), timedelta(0))


async def _reason(answer: httpx2.Response) -> str:
    """Return the beginning of what a refusal says, in one line."""
    said = b""
    try:
        async for chunk in answer.aiter_raw():
            said += chunk
            if len(said) >= LONGEST_ANSWER:
                break
    except httpx2.TransportError:
        pass  # it said no; how it went on does not matter
    line = " ".join(said[:LONGEST_ANSWER].decode(errors="replace").split())
    return "".join(character for character in line if character.isprintable())[:_LONGEST_REASON]
