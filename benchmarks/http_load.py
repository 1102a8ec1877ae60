"""Requests and streams for a server that is measured, from sockets, so that the client is not what is measured."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it goes over the wire."""

    origin: str
    method: str
    path: str
    body: bytes = b""

    def encode(self) -> bytes:
        """Return its bytes."""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nhost: {urlsplit(self.origin).netloc}\r\n"
            f"openai-beta: assistants=v2\r\ncontent-type: application/json\r\ncontent-length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class Connection:
    """One connection that is kept; requests follow one another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, origin: str) -> Self:
        """Connect."""
        parts = urlsplit(origin)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._writer.write(request)

    async def head(self) -> bytes:
        """Read the head of the next answer; raises `RuntimeError` unless it is a success."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"The server answered {head.decode()}.")
        return head

    async def exchange(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self.send(request)
        head = (await self.head()).lower()
        at = head.find(b"content-length: ")
        if at < 0:
            return b""
        return await self.reader.readexactly(int(head[at + 16 : head.index(b"\r", at)]))

    async def aclose(self) -> None:
        """Hang up."""
        self._writer.close()


async def hammer(request: Exchange, *, connections: int, seconds: float) -> tuple[float, list[float]]:
    """Repeat a request on so many connections for so long; return requests per second, and the seconds of each."""
    encoded, taken = request.encode(), []
    opened = [await Connection.open(request.origin) for _ in range(connections)]
    until = time.perf_counter() + seconds

    async def repeat(connection: Connection) -> None:
        began = time.perf_counter()
        while began < until:
            await connection.exchange(encoded)
            ended = time.perf_counter()
            taken.append(ended - began)
            began = ended

    began = time.perf_counter()
    await asyncio.gather(*(repeat(connection) for connection in opened))
    took = time.perf_counter() - began
    for connection in opened:
        await connection.aclose()
    return len(taken) / took, taken


class Readers:
    """Open streams. Each event carries the time at which it was sent, and so tells how long it was under way."""

    MARK = b'"sent":'

    def __init__(self) -> None:
        self.delays: list[float] = []
        """The seconds that each event was under way."""
        self._connections: list[Connection] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._came = asyncio.Event()

    async def open(self, requests: Sequence[Exchange]) -> None:
        """Open one stream for each request, all of them before this returns."""
        for request in requests:
            connection = await Connection.open(request.origin)
            connection.send(request.encode())
            self._connections.append(connection)
        for connection in self._connections:
            await connection.head()
            self._tasks.append(asyncio.create_task(self._read(connection)))

    async def _read(self, connection: Connection) -> None:
        while line := await connection.reader.readline():
            at = line.find(self.MARK)
            if at >= 0:
                sent = line[at + len(self.MARK) :].split(b"}", 1)[0]
                self.delays.append(time.time() - float(sent))
                self._came.set()

    async def receive(self, events: int) -> None:
        """Wait until so many events have come."""
        while len(self.delays) < events:
            self._came.clear()
            await self._came.wait()

    async def aclose(self) -> None:
        """Hang up everywhere."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            await connection.aclose()
