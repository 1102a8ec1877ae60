"""The operations of the operator's page."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import get_args

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.bodies import limited_stream
from lockstitch.assistants.http.console.door import PATH, SESSION_COOKIE, VISIT_COOKIE, Door, SignInNeeded, Visitor
from lockstitch.assistants.http.console.dossier import checked_run_id, read_dossier
from lockstitch.assistants.http.console.layout import run_path, sentence_page
from lockstitch.assistants.http.console.options import ConsoleOptions
from lockstitch.assistants.http.console.questions import LONGEST_NAME
from lockstitch.assistants.http.console.run_page import run_page
from lockstitch.assistants.http.console.sign_in_page import sign_in_page
from lockstitch.assistants.http.console.start_page import (
    MOST_QUESTIONS,
    PAGE_SIZE,
    STATUSES,
    Filters,
    Overview,
    start_page,
)
from lockstitch.assistants.http.console.style import HEADERS
from lockstitch.assistants.http.decisions import STATUSES_OF_ERRORS
from lockstitch.assistants.http.form_fields import form_fields
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.route_table import Operation
from lockstitch.assistants.http.services import Services
from lockstitch.errors import ApiError, LockstitchError
from lockstitch.starter.escalations import LONGEST_TEXT, Action, Decision

MAX_FORM_BYTES = 1024 * 1024

NOBODY_IN_PARTICULAR = "somebody at the console"

_RUN = PATH + "/runs/{run_id}"
_NEXT = re.compile(rf"{PATH}(/runs/[A-Za-z0-9_-]+)?")
_TITLES = {
    400: "That cannot be taken",
    403: "Not from here",
    404: "Nothing is here",
    409: "Decided already",
    410: "Too late",
    413: "That is too much",
    503: "Not now",
}


def console_operations(services: Services, keyring: Keyring, options: ConsoleOptions) -> list[Operation]:
    """Return the operations; they ask for no key of a client, for the door has rules of its own."""
    console = Console(services, Door(services.database, keyring, options), options)
    answers = [
        ("GET", PATH, console.start),
        ("GET", PATH + "/", console.lead_home),
        ("GET", PATH + "/sign-in", console.lead_home),
        ("POST", PATH + "/sign-in", console.sign_in),
        ("POST", PATH + "/sign-out", console.sign_out),
        ("GET", _RUN, console.show_run),
        ("POST", _RUN + "/cancel", console.cancel_run),
        ("POST", _RUN + "/escalations/{escalation_id}", console.decide),
    ]
    return [Operation(method, path, _at_the_root(answer), needs_key=False) for method, path, answer in answers]


def _at_the_root(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer where no prefix comes before the path: the API's may be let through from everywhere."""

    async def at_the_root(request: Request) -> Response:
        path = request.scope["path"]
        if not path.startswith(PATH):
            raise refusals.unknown_url(request.method, path)
        return await answer(request)

    return at_the_root


class Console:
    """Shows runs to operators, and does with them what operators decide."""

    def __init__(self, services: Services, door: Door, options: ConsoleOptions) -> None:
        self._services = services
        self._starter = services.starter
        self._door = door
        self._options = options

    async def start(self, request: Request) -> Response:
        """Show the first page."""
        return await self._answered(request, self._start)

    async def show_run(self, request: Request) -> Response:
        """Show one run."""
        return await self._answered(request, self._show_run)

    async def cancel_run(self, request: Request) -> Response:
        """Ask a run to end."""
        return await self._answered(request, self._cancel_run)

    async def decide(self, request: Request) -> Response:
        """Take a decision about an escalation."""
        return await self._answered(request, self._decide)

    async def lead_home(self, _request: Request) -> Response:
        """Lead to the first page."""
        return _see(PATH)

    async def sign_in(self, request: Request) -> Response:
        """Let somebody in who has an operator's key."""
        return await self._answered(request, self._sign_in, needs_session=False)

    async def sign_out(self, request: Request) -> Response:
        """End a session in this browser."""
        return await self._answered(request, self._sign_out)

    async def _start(self, request: Request, visitor: Visitor) -> Response:
        filters = Filters.read(request.query_params)
        counts, asked, found = await asyncio.gather(
            asyncio.gather(*map(self._starter.count, STATUSES)),
            self._starter.escalations(limit=MOST_QUESTIONS + 1),
            self._starter.page(**filters.wanted, size=PAGE_SIZE),
        )
        overview = Overview(dict(zip(STATUSES, counts, strict=True)), asked, found)
        return HTMLResponse(start_page(overview, filters, visitor, datetime.now(UTC)))

    async def _show_run(self, request: Request, visitor: Visitor) -> Response:
        dossier = await read_dossier(self._services, _run_id(request))
        url = self._options.workflow_url(dossier.snapshot.run_id)
        refreshes = "refresh" in request.query_params
        # The picture of a long run takes some tenths of a second, in which other requests must not stand still.
        page = await asyncio.to_thread(run_page, dossier, visitor, datetime.now(UTC), url, refreshes=refreshes)
        return HTMLResponse(page)

    async def _cancel_run(self, request: Request, visitor: Visitor) -> Response:
        run_id = _run_id(request)
        self._door.check_form(request, visitor, await _read(request))
        await self._starter.cancel(run_id)
        telemetry.log.info("console_run_cancelled", run_id=run_id, by=visitor.name, key_id=visitor.key_id)
        return _see(run_path(run_id))

    async def _decide(self, request: Request, visitor: Visitor) -> Response:
        run_id, fields = _run_id(request), await _read(request)
        self._door.check_form(request, visitor, fields)
        decision = _decision(request.path_params["escalation_id"], fields, visitor)
        closed = await self._starter.decide(run_id, decision)
        telemetry.log.info(
            "console_decided",
            run_id=run_id,
            escalation_id=closed.id,
            action=decision.action,
            by=decision.by,
            key_id=visitor.key_id,
        )
        return _see(run_path(run_id))

    async def _sign_in(self, request: Request, visitor: Visitor) -> Response:
        fields = await _read(request)
        self._door.check_form(request, visitor, fields)
        name, key = fields.get("name", "").strip(), fields.get("key", "").strip()
        next_path = fields.get("next", "") if _NEXT.fullmatch(fields.get("next", "")) else PATH
        try:
            if not name or len(name) > LONGEST_NAME:
                raise ApiError(f"Say your name, in at most {LONGEST_NAME} characters.")
            token = await self._door.sign_in(key, name)
        except ApiError as error:
            return HTMLResponse(sign_in_page(visitor, next_path, error.message), error.status, error.headers)
        answer = _see(next_path)
        self._door.set_cookie(answer, SESSION_COOKIE, token)
        return answer

    async def _sign_out(self, request: Request, visitor: Visitor) -> Response:
        self._door.check_form(request, visitor, await _read(request))
        answer = _see(PATH)
        self._door.sign_out(answer)
        return answer

    async def _answered(
        self,
        request: Request,
        operation: Callable[[Request, Visitor], Awaitable[Response]],
        *,
        needs_session: bool = True,
    ) -> Response:
        """Answer a request with a page, whatever comes of it."""
        visitor = None
        try:
            visitor = await self._visitor(request, needs_session=needs_session)
            answer = await operation(request, visitor)
        except SignInNeeded:
            visitor = self._door.stranger(request)
            answer = _ask_for_key(request, visitor)
        except LockstitchError as error:
            answer = _refusal(request, error, visitor)
        if visitor is not None and visitor.is_new:
            self._door.set_cookie(answer, VISIT_COOKIE, visitor.cookie)
        answer.headers.update(HEADERS)
        return answer

    async def _visitor(self, request: Request, *, needs_session: bool) -> Visitor:
        try:
            return await self._door.admit(request)
        except SignInNeeded:
            if needs_session:
                raise
            return self._door.stranger(request)


def _ask_for_key(request: Request, stranger: Visitor) -> Response:
    path = request.url.path
    from_elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
    page = sign_in_page(stranger, path if _NEXT.fullmatch(path) else PATH, from_elsewhere=from_elsewhere)
    return HTMLResponse(page, 401, {"www-authenticate": "Lockstitch-Console"})


def _refusal(request: Request, error: LockstitchError, visitor: Visitor | None) -> Response:
    headers = error.headers if isinstance(error, ApiError) else {}
    status = (
        error.status
        if isinstance(error, ApiError)
        else next((status for kind, status in STATUSES_OF_ERRORS.items() if isinstance(error, kind)), 500)
    )
    run_id = request.path_params.get("run_id", "")
    path = f"{PATH}/runs/{run_id}"
    back = path if request.method == "POST" and _NEXT.fullmatch(path) else PATH
    page = sentence_page(_TITLES.get(status, "That went wrong"), str(error), visitor, back)
    return HTMLResponse(page, status, headers)


def _decision(escalation_id: str, fields: dict[str, str], visitor: Visitor) -> Decision:
    """Read a decision from a form; raises `ApiError` where something is missing or too much."""
    action, output, message = fields.get("action", ""), fields.get("output", ""), fields.get("message", "").strip()
    by = visitor.name if visitor.name is not None else fields.get("by", "").strip() or NOBODY_IN_PARTICULAR
    if action not in get_args(Action):
        raise ApiError(f"Press one of the buttons: {action!r} is nothing that can be decided.")
    if action == "answer" and not output:
        raise ApiError("An answer needs the output of the call: fill in the field Output, then press Answer.")
    if action != "answer" and output:
        raise ApiError("There is an output, and only Answer takes one: empty the field, or press Answer.")
    if len(output) > LONGEST_TEXT or len(message) > LONGEST_TEXT or len(by) > LONGEST_NAME:
        raise ApiError(f"Outputs and messages have at most {LONGEST_TEXT:,} characters, names {LONGEST_NAME}.")
    return Decision(
        escalation_id=escalation_id,
        action=action,
        by=by,
        output=output if action == "answer" else None,
        message=message or None,
    )


def _run_id(request: Request) -> str:
    return checked_run_id(request.path_params["run_id"])


async def _read(request: Request) -> dict[str, str]:
    """Read a form; raises `ApiError`."""
    body = b"".join([chunk async for chunk in limited_stream(request, MAX_FORM_BYTES)])
    try:
        return form_fields(body)
    except ValueError:
        raise ApiError("This is no form.") from None


def _see(path: str) -> Response:
    return RedirectResponse(path, 303)
