"""A console on an engine, and a browser without scripts that a test presses buttons with; for several folders."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import httpx2

from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.app import build_app
from lockstitch.assistants.http.console.options import ConsoleOptions
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import keys, projects
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.assistants.store.keys import NewKey
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter
from lockstitch.starter.escalations import Escalation
from lockstitch.tools import tool


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, its forms, and what a person sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.links: list[str] = []
        self.seen = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append(tag)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "form":
            self.forms.append({"action": given["action"], "fields": {}, "buttons": []})
        if tag in ("input", "textarea") and given.get("type") != "password":
            self.forms[-1]["fields"][given["name"]] = given.get("value", "")
        if tag == "button" and "value" in given:
            self.forms[-1]["buttons"].append(given["value"])

    def handle_data(self, data: str) -> None:
        if self.elements[-1] != "style":
            self.seen += f"{data}\n"

    def form(self, action: str) -> dict[str, Any]:
        [found] = [form for form in self.forms if form["action"].endswith(action)]
        return found


@dataclass
class Desk:
    """A server with a console on an engine, and a browser without scripts."""

    lockstitch: Any
    http: httpx2.AsyncClient
    fails_with: list[str] = field(default_factory=lambda: ["The gateway answered 503."])

    @property
    def starter(self) -> Starter:
        return self.lockstitch.starter

    async def see(self, path: str = "", **options: Any) -> Reader:
        answer = await self.http.get(f"/console{path}", **options)
        assert answer.status_code == 200, answer.text
        return Reader(answer.text)

    async def press(self, path: str, form: str, headers: dict[str, str] | None = None, **fields: str) -> Any:
        """Fill in a form of a page and send it."""
        page = Reader((await self.http.get(f"/console{path}")).text)
        found = page.form(form)
        return await self.http.post(found["action"], data={**found["fields"], **fields}, headers=headers)

    async def decide(self, asked: Escalation, action: str, **fields: str) -> Any:
        return await self.press(f"/runs/{asked.run_id}", asked.id, action=action, **fields)

    async def create_key(self, *, operator: bool, project: str = "acme") -> tuple[str, str]:
        def unit(connection):
            projects.create(connection, project, 0)
            return keys.create(connection, NewKey(project, operator=operator), int(time.time()))

        row, secret = await self.lockstitch.database.write(unit)
        return row["id"], secret

    async def sign_in(self, key: str, name: str = "Ada", **fields: str) -> Any:
        return await self.press("", "/sign-in", key=key, name=name, **fields)

    async def stuck(self, **parameters: Any) -> Escalation:
        """Start a run whose call fails for good, and wait until a person is asked."""
        request = await self.lockstitch.request("Charge order 17.", **parameters)
        run_id = await self.starter.start(request)
        async with asyncio.timeout(30):
            while not (found := await self.starter.escalations(run_id)):
                await asyncio.sleep(0.01)
        return found[0]


@asynccontextmanager
async def console(lockstitch: Any, options: ConsoleOptions | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(EventFeed(lockstitch.database))
        delivery = CommandDelivery(lockstitch.database, lockstitch.starter)
        services = Services(lockstitch.database, feed, delivery, lockstitch.starter)
        listener = listen("127.0.0.1", 0, purpose="a test", option="nothing")
        await stack.enter_async_context(serving(build_app(services, console=options), listener))
        stack.callback(feed.dismiss)
        url = "http://{}:{}".format(*listener.getsockname())
        yield await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False))


def charge_tool(failures: list[str]) -> Any:
    @tool(on_failure="escalate", max_attempts=2, initial_interval=timedelta(milliseconds=1))
    async def charge_card(order: int) -> str:
        """Charge the card of an order."""
        if failures:
            raise ConnectionError(failures[0])
        return f"charged {order}"

    return charge_card


@tool(approval=True)
async def refund_order(order: int) -> str:
    """Refund an order."""
    return f"refunded {order}"
