"""How many tokens a model takes at once, by its name."""

from collections.abc import Mapping

# The longest prefix counts. What is not known here is set with LOCKSTITCH_MODEL_CONTEXT_TOKENS.
_WINDOWS: Mapping[str, int] = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-0125": 128_000,
    "gpt-4-1106": 128_000,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4-vision": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-4o": 128_000,
    "gpt-5": 400_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4": 200_000,
}


def context_window(model: str) -> int | None:
    """Return the window of ``model`` in tokens, prompt and answer together; ``None`` where it is not known."""
    known = [prefix for prefix in _WINDOWS if model.startswith(prefix)]
    return _WINDOWS[max(known, key=len)] if known else None
