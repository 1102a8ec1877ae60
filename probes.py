"""What whoever runs a process asks it: does it live, can it work, and what does it measure."""

import asyncio
import errno
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import uvicorn
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lockstitch.errors import LockstitchError, PortInUse, SettingsInvalid
from lockstitch.telemetry import registry

Check = Callable[[], Awaitable[object]]
"""Raises a `LockstitchError` where something that the process needs is out of reach."""

Probe = Callable[[Request], Awaitable[Response]]
"""Answers ``GET`` on a path."""

CHECK_SECONDS = 2.5
"""How long one check may take: less than the three seconds for which the chart's probes wait, so that they are told
what does not answer."""

LEAST_GRACE = timedelta(seconds=3)
"""So long at least may requests take that are under way at the end: a stream that is closed says so."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than load balancers and clients keep theirs, a minute as a rule, for
whoever closes first never loses the request that the other is about to send."""


async def opening_tables() -> None:
    """Stand for the check of a database that is not open yet."""
    raise LockstitchError("its tables are being opened, and upgraded where they are older than this release")


def probes_of(checks: Mapping[str, Check]) -> Mapping[str, Probe]:
    """Return ``/healthz``, ``/readyz`` (503 with reasons unless every check passes) and ``/metrics``, by path.

    The ``checks`` may become others while a process starts.
    """

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        now = dict(checks)
        said = dict(zip(now, await asyncio.gather(*map(_try, now.values())), strict=True))
        problems = {name: problem for name, problem in said.items() if problem is not None}
        if problems:
            return JSONResponse({"status": "unavailable", "problems": problems}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def metrics(request: Request) -> Response:
        encode, content_type = _encoder(request.headers.get("accept", ""))
        # Every name here is plain; otherwise the library looks at each letter, which takes as long as all the rest.
        return Response(encode(registry, escaping=ALLOWUTF8), headers={"content-type": content_type})

    return {"/healthz": live, "/readyz": ready, "/metrics": metrics}


def _encoder(accept: str) -> tuple[Callable[..., bytes], str]:
    """Return OpenMetrics, which has exemplars, where the scraper asks for it; else the text that Prometheus made."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # the library reads no version that is not made of numbers
        return choose_encoder("")


async def _try(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except LockstitchError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    return None


def listen(host: str, port: int, *, purpose: str, option: str) -> socket.socket:
    """Take a port, so that what needs it either has it or says so before it begins.

    Raises `PortInUse`, and `SettingsInvalid` for an address that is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off; without it, small answers wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port, purpose, option) from error
        problem = f"{purpose} cannot listen on {host} port {port}: {error.strerror}."
        raise SettingsInvalid(option, problem) from error
    listener.setblocking(False)
    return listener


class QuietServer(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp,
    listener: socket.socket,
    protocol: type[asyncio.Protocol] | None = None,
    *,
    grace: timedelta = LEAST_GRACE,
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Serve ``app`` on ``listener`` while the body runs; ``protocol`` takes the place of uvicorn's own.

    Requests that are under way at the end have ``grace`` to finish; connections on which nothing happens are closed at
    once. The body gets what ends it earlier, before something that ``app`` works with is closed.
    """
    config = uvicorn.Config(
        app,
        http=protocol or "httptools",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody here asks where a request came from
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(max(grace, LEAST_GRACE).total_seconds()),
    )
    server = QuietServer(config)
    serving_task = asyncio.create_task(server.serve([listener]), name="http-server")

    async def end() -> None:
        server.should_exit = True
        await serving_task

    try:
        yield end
    finally:
        await end()


def probe_app(checks: Mapping[str, Check]) -> Starlette:
    """Return an app that serves nothing but probes."""
    return Starlette(routes=[Route(path, answer) for path, answer in probes_of(checks).items()])
