"""Encrypts what goes to the Temporal server, and decrypts what comes from it."""

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from lockstitch.starter.payload_keys import PayloadKeys


class EncryptingCodec(PayloadCodec):
    """What the SDK asks to encrypt and decrypt payloads; those that were never encrypted stay readable."""

    def __init__(self, keys: PayloadKeys) -> None:
        self.keys = keys

    def __repr__(self) -> str:
        return f"EncryptingCodec({self.keys!r})"

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload."""
        return [self.keys.encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload; raises `PayloadKeyMissing` and `PayloadUnreadable`."""
        return [self.keys.decrypted(payload) for payload in payloads]
