"""Connections that can be closed without an answer, which no HTTP framework offers."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Address = tuple[str, int]


class Connections:
    """The open connections of one server, by the address of the client."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Make the class by which the server speaks HTTP; it tells of each connection here."""
        transports = self._transports

        class KnownConnection(HttpToolsProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
                super().connection_made(transport)
                self._address = tuple(transport.get_extra_info("peername")[:2])
                transports[self._address] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self._address, None)
                super().connection_lost(exc)

        return KnownConnection

    def close(self, client: Address) -> None:
        """Close a client's connection; what was not sent yet never will be."""
        if transport := self._transports.get(client):
            transport.close()
