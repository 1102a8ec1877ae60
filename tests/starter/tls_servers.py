"""Servers that speak TLS: one in front of a real Temporal server, and one that refuses whoever asks."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER_NAME = "temporal.example"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in two files."""

    cert: str
    key: str


class Authority:
    """Signs certificates, and keeps them in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._cert = self._sign(name, self._key, authority=True, days=10)
        self.file = str(folder / f"{name}.pem")
        Path(self.file).write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str, *, days: int = 10, password: bytes | None = None) -> Certificate:
        """Sign a certificate for a name, which ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._sign(name, key, authority=False, days=days)
        cert_file, key_file = (self._folder / f"{self._name}-{name}{days}.{kind}" for kind in ("pem", "key"))
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        return Certificate(str(cert_file), str(key_file))

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool, days: int) -> x509.Certificate:
        now = datetime.now(UTC)
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it)]) for it in (name, self._name))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=20))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


@asynccontextmanager
async def tls_in_front_of(
    address: str, certificate: Certificate, *, clients_of: Authority | None = None
) -> AsyncIterator[str]:
    """Speak TLS and pass on what is said; with ``clients_of``, only to those with a certificate of that authority."""
    host, port = address.split(":")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    async with _listening(certificate, pass_on, clients_of) as listens:
        yield listens


@asynccontextmanager
async def refusing(certificate: Certificate, grpc_status: int) -> AsyncIterator[str]:
    """Speak TLS, HTTP/2 and gRPC, and answer each call with a status (7: permission denied, 16: unauthenticated)."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            writer.write(_frame(_SETTINGS, 0, 0))
            while True:
                length_and_kind = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(length_and_kind[:3]))
                kind, flags, stream = length_and_kind[3], length_and_kind[4], int.from_bytes(length_and_kind[5:])
                if kind == _SETTINGS and not flags:
                    writer.write(_frame(_SETTINGS, _ACKNOWLEDGED, 0))
                if kind == _HEADERS:
                    writer.write(_frame(_HEADERS, _END_OF_HEADERS_AND_STREAM, stream, _refusal(grpc_status)))
                await writer.drain()
        writer.close()

    async with _listening(certificate, refuse, None) as listens:
        yield listens


# HTTP/2 (RFC 9113) and the few header fields of an answer (RFC 7541) in as many bytes as they need.
_HEADERS, _SETTINGS = 1, 4
_ACKNOWLEDGED, _END_OF_HEADERS_AND_STREAM = 0x1, 0x5


def _frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


def _refusal(grpc_status: int) -> bytes:
    fields = {b"content-type": b"application/grpc", b"grpc-status": b"%d" % grpc_status, b"grpc-message": b"refused"}
    named = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return b"\x88" + named  # :status 200


def _text(text: bytes) -> bytes:
    return bytes([len(text)]) + text


@asynccontextmanager
async def _listening(certificate: Certificate, serve, clients_of: Authority | None) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    context.set_alpn_protocols(["h2"])
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of.file)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
