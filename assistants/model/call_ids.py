"""Ids of function calls."""

import secrets
import string

_ALPHANUMERIC = string.ascii_letters + string.digits


def random_call_id() -> str:
    """An id for a function call, as OpenAI makes them: ``call_`` and 24 letters or digits."""
    return "call_" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(24))
