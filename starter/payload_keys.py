"""The keys with which payloads are encrypted, and what an encrypted payload looks like.

AES-256-GCM. The plain text is the whole payload with its metadata; what can be read without the key is the key's id.
"""

import base64
import binascii
import os
import re
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload

from lockstitch.errors import PayloadKeyMissing, PayloadUnreadable, SettingsInvalid

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
"""The metadata in which an encrypted payload says with which key."""

PLAIN = "plain"
"""What stands in the place of the first key where payloads are read with keys, and not encrypted."""

VARIABLE = "LOCKSTITCH_PAYLOAD_KEYS"
KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D: what GCM is made for
_TAG_BYTES = 16
_KEY_ID_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class PayloadKeys:
    """Keys by their ids; the first encrypts, all decrypt."""

    def __init__(self, keys: Sequence[tuple[str, bytes]], *, encrypts: bool = True) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers: dict[str, AESGCM] = {key_id: AESGCM(key) for key_id, key in keys}
        self.first = next(iter(self._ciphers)) if encrypts else None
        """The id of the key that encrypts, ``None`` where nothing is encrypted."""

    @classmethod
    def parse(cls, entries: Sequence[str]) -> "PayloadKeys | None":
        """Read entries of the form ``id:base64``; ``None`` where there are none. Raises `SettingsInvalid`."""
        encrypts = not entries or entries[0] != PLAIN
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(entries, start=1):
            if number == 1 and not encrypts:
                continue
            key_id, key = _parse(number, entry)
            if key_id in keys:
                raise SettingsInvalid(VARIABLE, f"two keys have the id {key_id!r}.")
            keys[key_id] = key
        return cls(list(keys.items()), encrypts=encrypts) if keys else None

    def __repr__(self) -> str:
        return f"PayloadKeys({', '.join(self._ciphers)}; encrypts with {self.first})"

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._ciphers

    def encrypted(self, payload: Payload) -> Payload:
        """Return the payload as it travels."""
        if self.first is None:
            return payload
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self.first].encrypt(nonce, payload.SerializeToString(), _bound(self.first))
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self.first.encode()}, data=nonce + sealed)

    def decrypted(self, payload: Payload) -> Payload:
        """Return what was encrypted; what never was comes as it is.

        Raises `PayloadKeyMissing` and `PayloadUnreadable`.
        """
        if not is_encrypted(payload):
            return payload
        from cryptography.exceptions import InvalidTag

        key_id = key_id_of(payload)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise PayloadKeyMissing(key_id, self._ciphers)
        if len(payload.data) < _NONCE_BYTES + _TAG_BYTES:
            raise PayloadUnreadable(key_id)
        try:
            text = cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], _bound(key_id))
        except InvalidTag as error:
            raise PayloadUnreadable(key_id) from error
        return Payload.FromString(text)


def is_encrypted(payload: Payload) -> bool:
    """Tell whether a payload was encrypted by us."""
    return payload.metadata.get("encoding") == ENCODING


def key_id_of(payload: Payload) -> str:
    """Return the id of the key with which a payload was encrypted; empty where it was not."""
    return payload.metadata[KEY_ID].decode(errors="replace") if KEY_ID in payload.metadata else ""


def _bound(key_id: str) -> bytes:
    """Return what is authenticated with the text: nobody can make one key's payload pass for another's."""
    return b"lockstitch payload\0AES-256-GCM\0" + ENCODING + b"\0" + key_id.encode()


def _parse(number: int, entry: str) -> tuple[str, bytes]:
    key_id, separator, text = entry.partition(":")
    if not separator:
        raise SettingsInvalid(VARIABLE, f"key {number} is not of the form id:base64.")
    if not _KEY_ID_PATTERN.fullmatch(key_id):
        problem = "letters, digits, dots, dashes and underscores, 64 at most, are an id."
        raise SettingsInvalid(VARIABLE, f"key {number} has the id {key_id[:80]!r}; {problem}")
    if key_id == PLAIN:
        raise SettingsInvalid(VARIABLE, f"{PLAIN!r} is no id of a key; it stands alone, in the first place.")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SettingsInvalid(VARIABLE, f"the key {key_id!r} is not base64.") from None
    if len(key) != KEY_BYTES:
        problem = f"the key {key_id!r} has {len(key)} bytes and not {KEY_BYTES}; `openssl rand -base64 32` makes one."
        raise SettingsInvalid(VARIABLE, problem)
    return key_id, key
