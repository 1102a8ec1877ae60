"""The way of every request: its route, its key, its operation, and the headers and metrics of its answer.

Layers of middleware would do the same, but each of them would cost a request about what a query costs.
"""

import random
import re
import time
from collections.abc import Iterable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http import errors
from lockstitch.assistants.http.answers import encoded_headers
from lockstitch.assistants.http.azure import names_api_version
from lockstitch.assistants.http.body_pace import paced
from lockstitch.assistants.http.caller import caller_in
from lockstitch.assistants.http.key_check import KeyCheck
from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.http.request_headers import header_values
from lockstitch.assistants.http.route_table import Operation, Place, RouteTable

# Azure's clients put the project before the path, some gateways the deployment.
_PREFIX = re.compile(r"(/api/projects/[^/]+)?(/v1|/openai/v1|/openai/deployments/[^/]+|/openai)?(?=/)")
_BETA_PATHS = ("/assistants", "/threads")
_ALWAYS = ((b"openai-version", b"2020-10-01"), (b"openai-organization", b"lockstitch"))

_ids = random.Random()  # noqa: S311 - nothing is secret about the id of a request, and the system's own randomness is slow


class Api:
    """The API as an ASGI application; ``patience`` is how long it waits for a body beyond what its size takes."""

    def __init__(
        self, operations: Iterable[Operation], keys: KeyCheck, streams: OpenStreams, patience: timedelta
    ) -> None:
        self.operations = tuple(operations)
        self._table = RouteTable(self.operations)
        self._keys = keys
        self._streams = streams
        self._patience = patience.total_seconds()

    def __repr__(self) -> str:
        return f"Api({len(self.operations)} operations)"

    def route_of(self, scope: Scope) -> str:
        """Return the path of the request's operation as operations have it, without ids and tokens."""
        return self._table.find(_without_prefix(scope["path"])).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        request_id = f"req_{_ids.getrandbits(128):032x}"
        receive = paced(scope, receive, self._patience)
        path = _without_prefix(scope["path"])
        place = self._table.find(path)
        try:
            try:
                answer = await self._answer(Request(scope, receive), path, place)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
                # The path as the operations have it, for the real one may hold the token of a decision link.
                answer = errors.answer(error, request_id, place.path)
            seconds = time.perf_counter() - began
            processing = (b"openai-processing-ms", b"%d" % round(seconds * 1000))
            answer.raw_headers += ((b"x-request-id", request_id.encode()), processing, *_ALWAYS)
            if limits := self._keys.limit_headers(scope):
                answer.raw_headers += encoded_headers(limits)
            telemetry.HTTP_REQUESTS.count(scope["method"], place.path, answer.status_code, seconds)
            await answer(scope, receive, send)
            caller = caller_in(scope)
            if caller is not None and caller.key_id is not None:
                await self._keys.note_use(caller)
        finally:
            self._streams.release(scope)

    async def _answer(self, request: Request, path: str, place: Place) -> Response:
        scope = request.scope
        scope["path_params"] = place.params
        operation = _operation(scope, place)
        if operation is None or operation.needs_key:
            await self._keys.admit(scope)
        if path.startswith(_BETA_PATHS) and not _says_which_version(scope, path):
            raise refusals.beta_header_missing()
        if operation is None:
            return _no_operation(scope, place)
        return await operation.answer(request)


def _without_prefix(path: str) -> str:
    if path.startswith("/v1/"):  # as nearly all do
        return path[3:]
    found = _PREFIX.match(path)
    return path[found.end() :] if found else path


def _operation(scope: Scope, place: Place) -> Operation | None:
    method = scope["method"]
    operation = place.operations.get("GET" if method == "HEAD" else method)
    if operation is not None and operation.azure_only and not names_api_version(scope):
        return None
    return operation


def _says_which_version(scope: Scope, path: str) -> bool:
    if any("assistants=v2" in value for value in header_values(scope, b"openai-beta")):
        return True
    # Azure's clients send no such header. Event streams are our own, and browsers cannot add headers to one.
    return path.endswith("/events") or names_api_version(scope)


def _no_operation(scope: Scope, place: Place) -> Response:
    methods = {method for method, operation in place.operations.items() if not operation.azure_only}
    if "GET" in methods:
        methods.add("HEAD")
    if methods:
        return errors.method_not_allowed(scope["method"], scope["path"], sorted(methods))
    raise refusals.unknown_url(scope["method"], scope["path"])
