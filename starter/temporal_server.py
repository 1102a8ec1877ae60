"""Which Temporal server is meant, how it is spoken to, and what is wrong where it cannot be reached."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.service import TLSConfig

from lockstitch.errors import LockstitchError, SettingsInvalid, TemporalRefused, TemporalUnreachable
from lockstitch.starter.payloads import PayloadSettings

DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_NAMESPACE = "default"

_CA = "LOCKSTITCH_TEMPORAL_TLS_CA"
_CERT = "LOCKSTITCH_TEMPORAL_TLS_CERT"
_KEY = "LOCKSTITCH_TEMPORAL_TLS_KEY"


@dataclass(frozen=True, slots=True)
class TemporalServer:
    """A Temporal server with a namespace on it, and how messages travel there. Files are named by their paths."""

    address: str = DEFAULT_ADDRESS
    namespace: str = DEFAULT_NAMESPACE
    tls: bool = False
    """Whether to speak TLS; an API key and a client certificate turn it on."""
    tls_ca: str = ""
    """The certificates that the server's is checked against; empty: those of the system."""
    tls_cert: str = ""
    """The client certificate, where the server wants one; ``tls_key`` belongs to it."""
    tls_key: str = ""
    tls_server_name: str = ""
    """The name in the server's certificate, where it is not that of the address."""
    api_key: str = field(default="", repr=False)
    payloads: PayloadSettings = PayloadSettings()

    @property
    def uses_tls(self) -> bool:
        """Whether TLS is spoken: an API key never goes over the network in the clear."""
        return self.tls or bool(self.api_key or self.tls_cert or self.tls_key)

    def tls_config(self) -> TLSConfig | None:
        """Read the files, and return what the SDK wants; ``None`` without TLS.

        Raises `SettingsInvalid` where a file cannot be used.
        """
        if not self.uses_tls:
            if self.tls_ca or self.tls_server_name:
                variable = _CA if self.tls_ca else "LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME"
                raise SettingsInvalid(variable, "it means nothing without TLS; set LOCKSTITCH_TEMPORAL_TLS to true.")
            return None
        if bool(self.tls_cert) != bool(self.tls_key):
            given, missing = (_CERT, _KEY) if self.tls_cert else (_KEY, _CERT)
            raise SettingsInvalid(given, f"a client certificate and its key belong together; set {missing} too.")
        ca, cert, key = _read(_CA, self.tls_ca), _read(_CERT, self.tls_cert), _read(_KEY, self.tls_key)
        self._check_files()
        return TLSConfig(
            server_root_ca_cert=ca, client_cert=cert, client_private_key=key, domain=self.tls_server_name or None
        )

    def _check_files(self) -> None:
        """Have OpenSSL look at the files; what the SDK says of a file is hard to understand."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.tls_ca:
            try:
                context.load_verify_locations(cafile=self.tls_ca)
            except ssl.SSLError as error:
                raise SettingsInvalid(_CA, f"{self.tls_ca} has no certificate in PEM.") from error
        if self.tls_cert:
            try:
                context.load_cert_chain(self.tls_cert, self.tls_key, password=_no_password)
            except (ssl.SSLError, ValueError) as error:
                raise SettingsInvalid(_CERT, self._pair_problem(error)) from error

    def _pair_problem(self, error: ssl.SSLError | ValueError) -> str:
        if "KEY_VALUES_MISMATCH" in str(error):
            return f"{self.tls_cert} and {self.tls_key} do not belong together."
        return f"{self.tls_cert} and {self.tls_key} are no certificate and private key in PEM, without a password."

    def refusal(self, said: str) -> LockstitchError:
        """Make what the SDK said, when it could not connect, one sentence that says what to do."""
        if "call error after connection" in said and re.search(r"code: (Unauthenticated|PermissionDenied)", said):
            return TemporalRefused(self.address, self._key_problem())
        for pattern, problem in _TLS_PROBLEMS:
            if re.search(pattern, said):
                return TemporalRefused(self.address, problem)
        if "call error after connection" in said and re.search(r"hyper::Error\((Io|Canceled)", said):
            return TemporalRefused(self.address, self._hang_up_problem())
        return TemporalUnreachable(self.address, _reason(said))

    def _key_problem(self) -> str:
        if self.api_key:
            return "it refuses the key of LOCKSTITCH_TEMPORAL_API_KEY; see that it is not expired, and may use it."
        return "it wants to know who asks; set LOCKSTITCH_TEMPORAL_API_KEY, or a client certificate."

    def _hang_up_problem(self) -> str:
        if not self.uses_tls:
            return "it hangs up, as one does that speaks TLS; set LOCKSTITCH_TEMPORAL_TLS to true."
        if self.tls_cert:
            return f"it hangs up, as one does that does not trust the client certificate {self.tls_cert}."
        return f"it hangs up, as one does that wants a client certificate; set {_CERT} and {_KEY}."


_TLS_PROBLEMS = (
    (
        "InvalidMessage|InvalidContentType",
        "it does not speak TLS; LOCKSTITCH_TEMPORAL_TLS, an API key or a client certificate made us speak it.",
    ),
    (
        "NotValidForName",
        "its certificate has another name; set LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME to one that it has.",
    ),
    (
        "UnknownIssuer|CaUsedAsEndEntity",
        f"nobody whom we trust has signed its certificate; name a file with the certificate of who did with {_CA}.",
    ),
    ("InvalidCertificate\\(Expired", "its certificate has expired; it needs a new one."),
    ("InvalidCertificate\\(", "its certificate cannot be used; it needs another one."),
    ("AlertReceived", f"it does not take our client certificate; see {_CERT}."),
)


def _read(variable: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsInvalid(variable, f"{path} cannot be read: {error.strerror or error}.") from error


def _no_password() -> str:
    """Have OpenSSL refuse a key with a password instead of asking for it on the terminal."""
    raise ValueError("the key has a password")


def _reason(said: str) -> str:
    """Return what the operating system said, which the SDK wraps in its own layers."""
    innermost = re.search(r'message: "([^"]+)"', said)
    return innermost[1].lower() if innermost else said[:200]
