"""The codec server of Temporal: its UI and its command line have payloads decoded here.

The protocol is Temporal's: a list of payloads as JSON comes in, and the same list goes out, readable. Nothing is
encoded: who starts runs does it through the API or the starter.
"""

import re
from collections.abc import Sequence

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.requests import Request
from starlette.responses import Response
from temporalio.api.common.v1 import Payload, Payloads

from lockstitch.assistants import refusals
from lockstitch.assistants.http.bodies import json_bytes
from lockstitch.assistants.http.caller import caller_of
from lockstitch.assistants.http.route_table import Operation
from lockstitch.errors import PayloadError
from lockstitch.starter.payload_reader import PayloadReader, is_reference

_HEADER_NAMES = re.compile(r"[\w\s,-]{1,1000}", re.ASCII)


def codec_operations(reader: PayloadReader, origins: Sequence[str]) -> list[Operation]:
    """Return ``/codec/decode`` and ``/codec/download``, which pages from ``origins`` may ask."""
    codec = _Codec(reader, origins)
    paths = {"/codec/decode": codec.decode, "/codec/download": codec.download}
    return [
        *(Operation("POST", path, answer) for path, answer in paths.items()),
        # Browsers ask without a key whether they may ask with one.
        *(Operation("OPTIONS", path, codec.preflight, needs_key=False) for path in paths),
    ]


class _Codec:
    def __init__(self, reader: PayloadReader, origins: Sequence[str]) -> None:
        self._reader = reader
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    async def decode(self, request: Request) -> Response:
        """Decode payloads; with ``preserveStorageRefs=true``, what is stored elsewhere is not fetched."""
        _check_operator(request)
        fetches = request.query_params.get("preserveStorageRefs", "").lower() != "true"
        return await self._answer(request, await _payloads(request), fetches)

    async def download(self, request: Request) -> Response:
        """Fetch payloads that are stored elsewhere, and decode them."""
        _check_operator(request)
        payloads = await _payloads(request)
        if not all(is_reference(payload) for payload in payloads):
            raise refusals.wrong_value("payloads", "each has to be a reference to a stored payload")
        return await self._answer(request, payloads, fetches=True)

    async def preflight(self, request: Request) -> Response:
        """Tell a browser whether a page may ask."""
        headers = self._cors_headers(request)
        wanted = request.headers.get("access-control-request-headers", "")
        if headers and _HEADER_NAMES.fullmatch(wanted):
            headers["access-control-allow-headers"] = wanted
        if headers:
            headers |= {"access-control-allow-methods": "POST", "access-control-max-age": "600"}
        return Response(status_code=204, headers=headers)

    async def _answer(self, request: Request, payloads: Sequence[Payload], fetches: bool) -> Response:
        try:
            read = await self._reader.read(payloads, fetches=fetches)
        except PayloadError as error:
            raise refusals.wrong_value("payloads", str(error).rstrip(".")) from error
        headers = {**self._cors_headers(request), "cache-control": "no-store"}
        return Response(MessageToJson(Payloads(payloads=read)), media_type="application/json", headers=headers)

    def _cors_headers(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        if origin not in self._origins:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "vary": "Origin",
        }


async def _payloads(request: Request) -> Sequence[Payload]:
    body = await json_bytes(request)
    try:
        return Parse(body, Payloads(), ignore_unknown_fields=True).payloads
    except (ParseError, UnicodeDecodeError, RecursionError):
        raise refusals.wrong_value("payloads", "it is no list of payloads as Temporal writes them") from None


def _check_operator(request: Request) -> None:
    if not caller_of(request).is_operator:
        raise refusals.operator_key_needed()
