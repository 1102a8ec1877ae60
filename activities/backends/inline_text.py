"""How much of a text travels through Temporal."""

INLINE_TEXT_BYTES = 32 * 1024
"""How much of the last message a run's result carries; the whole is in the store."""


def clip(text: str) -> str:
    """Return as much of a text as a result carries, and no half of a character."""
    return text.encode()[:INLINE_TEXT_BYTES].decode(errors="ignore")
