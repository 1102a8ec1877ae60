"""What model turns cost: dollars per million tokens, by model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lockstitch.metrics.name_rules import NameRules

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens; ``cached`` are those of the prompt that the endpoint had seen before."""

    prompt: float
    completion: float
    cached: float

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Return the dollars that so many tokens cost; ``prompt_tokens`` has the cached ones in it."""
        cached = min(cached_tokens, prompt_tokens)
        dollars = (prompt_tokens - cached) * self.prompt + cached * self.cached + completion_tokens * self.completion
        return dollars / _MILLION


class ModelPrices:
    """Prices by model, from rules such as ``gpt-4o=2.5/10/1.25`` and ``gpt-4o-*=0.15/0.6``; raises `ValueError`.

    The numbers are dollars per million tokens of the prompt, of the completion and of the cached part of the prompt,
    which costs as much as the rest where it is left out.
    """

    def __init__(self, rules: Sequence[str] = ()) -> None:
        self._rules = NameRules(rules, _price)

    def __repr__(self) -> str:
        return f"ModelPrices({self._rules!r})"

    def __bool__(self) -> bool:
        return bool(self._rules.values)

    @property
    def names(self) -> frozenset[str]:
        """The models that are named whole."""
        return self._rules.exact_names

    def of(self, model: str) -> Price | None:
        """Return the price of a model, ``None`` where it is not known."""
        return self._rules.find(model)


def _price(text: str) -> Price:
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(
            f"{text!r} is no price: write dollars per million tokens as prompt/completion or prompt/completion/cached."
        )
    prompt, completion, *cached = numbers
    return Price(prompt, completion, *(cached or [prompt]))
