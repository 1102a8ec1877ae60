"""Ids as the Assistants API makes them: a prefix and 24 letters and digits."""

import hashlib
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 24


def new_id(prefix: str) -> str:
    """Make a random id, such as ``run_4fJ...``."""
    return f"{prefix}_{_random_text(_LENGTH)}"


def new_file_id() -> str:
    """Make a random file id; files have a dash and 22 characters."""
    return f"file-{_random_text(22)}"


def new_hex_id(prefix: str) -> str:
    """Make a random id with 32 hexadecimal digits, as vector stores (``vs``) and their batches (``vsfb``) have."""
    return f"{prefix}_{secrets.token_hex(16)}"


def id_for_key(prefix: str, *key: str) -> str:
    """Make the one id that belongs to a caller's key, so that asking twice means asking for the same thing."""
    digest = int.from_bytes(hashlib.sha256("\0".join(key).encode()).digest())
    letters = []
    for _ in range(_LENGTH):
        digest, position = divmod(digest, len(_ALPHABET))
        letters.append(_ALPHABET[position])
    return f"{prefix}_{''.join(letters)}"


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
