"""URLs as they may be shown."""

import re
from urllib.parse import unquote_plus

_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
_PARAMETER = re.compile(r"([?&])([^=&#\s]*)=[^&#\s]*")
_SECRET_WORDS = ("pass", "secret", "token", "key", "credential", "signature")


def without_secrets(text: str) -> str:
    """Return a text with asterisks in place of what URLs in it keep secret: passwords, and such parameters."""
    return _PARAMETER.sub(_shown, _PASSWORD.sub(r"\1***@", text))


def _shown(parameter: re.Match[str]) -> str:
    name = unquote_plus(parameter[2])
    is_secret = any(word in name.lower() for word in _SECRET_WORDS)
    return f"{parameter[1]}{parameter[2]}=***" if is_secret else parameter[0]
