"""The limit for an HTTP server on this machine: bare Starlette routes that do nothing, on the same uvicorn.

Started as ``python -m lockstitch.benchmarks.bare_server FILE``; it writes its origin into the file once it listens.

``GET /object`` answers with as many bytes as a run has; ``POST /object`` reads a body and does the same.
``GET /streams/{name}`` sends what is given to ``POST /streams/{name}``, at once and from memory.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lockstitch.probes import listen, serving

OBJECT_BYTES = 1200
"""About the size of a run or a message as the API sends it."""

_OBJECT = b'{"object": "' + b"x" * (OBJECT_BYTES - 14) + b'"}'


def bare_app() -> Starlette:
    """Return the routes."""
    streams: dict[str, asyncio.Queue[bytes]] = {}

    async def get_object(_request: Request) -> Response:
        return Response(_OBJECT, media_type="application/json")

    async def post_object(request: Request) -> Response:
        await request.body()
        return Response(_OBJECT, media_type="application/json")

    async def stream(request: Request) -> Response:
        queue = streams[request.path_params["name"]] = asyncio.Queue()

        async def frames() -> AsyncIterator[bytes]:
            while True:
                yield await queue.get()

        return StreamingResponse(frames(), media_type="text/event-stream")

    async def post_event(request: Request) -> Response:
        streams[request.path_params["name"]].put_nowait(await request.body())
        return Response(b"{}")

    return Starlette(
        routes=[
            Route("/object", get_object, methods=["GET"]),
            Route("/object", post_object, methods=["POST"]),
            Route("/streams/{name}", stream, methods=["GET"]),
            Route("/streams/{name}", post_event, methods=["POST"]),
        ]
    )


async def main(origin_file: Path) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listener = listen("127.0.0.1", 0, purpose="the bare server", option="nothing")
    async with serving(bare_app(), listener):
        host, port = listener.getsockname()
        origin_file.write_text(f"http://{host}:{port}")  # noqa: ASYNC240 - nothing else is under way
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
