"""Decision links: whoever has one sees what an approval is about, and decides it.

The signed token in the path is the key, so these routes ask for no other; it is in no log line and no metric. Reading
never decides, for mail scanners and chat programs open the links that they see.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lockstitch.assistants.http.answers import JsonAnswer, error_answer
from lockstitch.assistants.http.bodies import limited_stream
from lockstitch.assistants.http.decision_page import (
    CONTENT_SECURITY_POLICY,
    LONGEST_MESSAGE,
    LONGEST_NAME,
    Question,
    outcome_page,
    question_page,
    sentence_page,
)
from lockstitch.assistants.http.form_fields import form_fields
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import tool_calls
from lockstitch.errors import (
    ApiError,
    DecisionLinkExpired,
    DecisionLinkForged,
    DecisionLinkInvalid,
    DecisionRefused,
    EscalationNotFound,
    LockstitchError,
    NoWorker,
    PageUnknown,
    RunFinished,
    RunNotFound,
    StoreUnavailable,
    TemporalUnreachable,
)
from lockstitch.starter.decision_links import DecisionToken
from lockstitch.starter.escalations import Decision, Escalation

MAX_BODY_BYTES = 64 * 1024

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}

_SOMEBODY = "somebody with the link"

STATUSES_OF_ERRORS: dict[type[LockstitchError], int] = {
    DecisionLinkForged: 403,
    DecisionLinkExpired: 410,
    DecisionLinkInvalid: 404,
    EscalationNotFound: 404,
    PageUnknown: 400,
    RunNotFound: 404,
    DecisionRefused: 409,
    RunFinished: 410,
    NoWorker: 503,
    TemporalUnreachable: 503,
    StoreUnavailable: 503,
}
"""How each error is answered; the first that fits counts."""

_TITLES = {
    400: "That cannot be taken",
    409: "Decided already",
    410: "Too late",
    413: "That is too much",
    503: "Not now",
}


class LinkDecision(BaseModel):
    """What the holder of a link sends: a link approves or denies, and does nothing else."""

    action: Literal["approve", "deny"]
    by: Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_NAME)] = ""
    message: Annotated[str, StringConstraints(strip_whitespace=True), Field(max_length=LONGEST_MESSAGE)] | None = None


class _Settled(Exception):
    """A decision came too late; carries what became of the escalation."""

    def __init__(self, escalation: Escalation) -> None:
        super().__init__(escalation.id)
        self.escalation = escalation


class Decisions:
    """The operations of decision links."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def show(self, request: Request) -> Response:
        """Show what is to be decided, or what became of it."""
        return await _answered(request, self._show)

    async def decide(self, request: Request) -> Response:
        """Take a decision and show what was recorded."""
        return await _answered(request, self._decide)

    async def _show(self, request: Request) -> Response:
        question = await self._question(self._token(request))
        if _wants_json(request):
            arguments, is_cut = question.shown_arguments
            told = {"arguments": arguments if question.arguments is not None else None, "arguments_truncated": is_cut}
            return JsonAnswer({**_object(question.escalation), **told})
        return HTMLResponse(question_page(question, datetime.now(UTC)))

    async def _decide(self, request: Request) -> Response:
        token = self._token(request)
        given = await _read(request)
        decision = Decision(
            escalation_id=token.escalation_id,
            action=given.action,
            by=given.by or _SOMEBODY,
            message=given.message or None,
        )
        try:
            closed = await self._services.starter.decide(token.run_id, decision)
        except (DecisionRefused, RunFinished) as error:
            settled = await self._escalation(token)
            if settled.is_open:
                raise
            raise _Settled(settled) from error
        if _wants_json(request):
            return JsonAnswer(_object(closed))
        return HTMLResponse(outcome_page(closed, "Recorded", "The run goes on; you may close this page."))

    def _token(self, request: Request) -> DecisionToken:
        if self._services.links is None:
            raise ApiError("This server has no decision links: LOCKSTITCH_LINK_SECRETS is not set.", status=404)
        return self._services.links.read(request.path_params["token"], datetime.now(UTC))

    async def _question(self, token: DecisionToken) -> Question:
        escalation = await self._escalation(token)
        if not escalation.is_open:
            return Question(escalation, None)
        run_id, call_id = escalation.run_id, escalation.call_id
        call = await self._services.database.read(lambda connection: tool_calls.get(connection, run_id, call_id))
        return Question(escalation, None if call is None else call["arguments"])

    async def _escalation(self, token: DecisionToken) -> Escalation:
        """Return what a token is about; raises `RunFinished` where nobody will ever close it."""
        snapshot = await self._services.starter.snapshot(token.run_id)
        found = next((it for it in snapshot.escalations if it.id == token.escalation_id), None)
        if found is None:
            raise EscalationNotFound(token.escalation_id)
        if found.is_open and snapshot.ended_at is not None:
            raise RunFinished(token.run_id, snapshot.status)
        return found


async def _answered(request: Request, operation: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request in the form that it asks for, whatever comes of it."""
    try:
        answer = await operation(request)
    except _Settled as settled:
        answer = _too_late(request, settled.escalation)
    except ApiError as error:
        answer = _refusal(request, error.status, error.message)
    except LockstitchError as error:
        status = next((status for kind, status in STATUSES_OF_ERRORS.items() if isinstance(error, kind)), 500)
        answer = _refusal(request, status, str(error))
    answer.headers.update(HEADERS)
    return answer


def _too_late(request: Request, settled: Escalation) -> Response:
    """Say who decided what and when; where nobody did, that it is over."""
    if settled.decision is None:
        sentence = settled.refusal(Decision(escalation_id=settled.id, action="approve")) or ""
        return _refusal(request, 410, sentence)
    if _wants_json(request):
        sentence = settled.refusal(settled.decision) or ""
        return JsonAnswer({**ApiError(sentence, code="decided_already").body(), "escalation": _object(settled)}, 409)
    return HTMLResponse(
        outcome_page(settled, _TITLES[409], "The first decision counts; this one changed nothing."), 409
    )


def _refusal(request: Request, status: int, sentence: str) -> Response:
    if _wants_json(request):
        return error_answer(ApiError(sentence, status=status))
    return HTMLResponse(sentence_page(_TITLES.get(status, "This link leads nowhere"), sentence), status)


def _wants_json(request: Request) -> bool:
    """Tell whether a program asks: browsers always ask for HTML."""
    accept = request.headers.get("accept", "")
    return "text/html" not in accept and ("application/json" in accept or _is_json(request))


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def _read(request: Request) -> LinkDecision:
    """Read a decision, from a form or as JSON; raises `ApiError` for anything else."""
    body = b"".join([chunk async for chunk in limited_stream(request, MAX_BODY_BYTES)])
    try:
        if _is_json(request):
            return LinkDecision.model_validate_json(body)
        return LinkDecision.model_validate(_fields(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise ApiError(f"The decision cannot be read: {where}: {first['msg']}.") from None


def _fields(body: bytes) -> dict[str, str]:
    try:
        return form_fields(body)
    except ValueError:
        raise ApiError("The decision cannot be read: this is no form.") from None


def _object(escalation: Escalation) -> dict[str, Any]:
    return escalation.model_dump(mode="json")
