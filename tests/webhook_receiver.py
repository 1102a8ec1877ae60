"""A receiver of webhooks on loopback, for the tests of several folders."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lockstitch.starter.webhook_signatures import verify_webhook
from lockstitch.testing.model_endpoint import serve

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_SECRET = "whsec_Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """Takes webhooks that are signed with `SECRET`; gives ``answers`` in their order, then 204."""

    url: str = ""
    answers: list[Response] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        verify_webhook([SECRET], request.headers, body)
        self.received.append(Received(request.url.path, dict(request.headers), body))
        answer = self.answers.pop(0) if self.answers else Response(status_code=204)
        await answer(scope, receive, send)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port of 127.0.0.1."""
    receiver = Receiver()
    async with serve(receiver) as receiver.url:
        yield receiver
