"""Counts the tokens that models used, and what they cost where prices are known."""

from prometheus_client import CollectorRegistry, Counter

from lockstitch.metrics.labels import BoundedLabel
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.vanishing_gauges import GaugeName, VanishingGauges

MOST_MODELS = 50
"""So many models are told apart, beside those that have a price of their own: any client may name another."""

BUDGET = GaugeName("lockstitch_budget_dollars_per_day", "How many dollars models may cost in a day.")


class ModelMeter:
    """Tokens and money by model, on the page of a ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter("lockstitch_tokens", "Tokens by model and kind.", ["model", "kind"], registry=registry)
        self._cost = Counter(
            "lockstitch_model_cost_dollars", "What model turns cost, by the prices that were set.", ["model"],
            registry=registry,
        )  # fmt: skip
        self._unpriced = Counter(
            "lockstitch_unpriced_tokens", "Tokens of models that have no price, where any has one.", ["model"],
            registry=registry,
        )  # fmt: skip
        self._budget = VanishingGauges([BUDGET])
        registry.register(self._budget)
        self.set_up(ModelPrices(), 0)

    def set_up(self, prices: ModelPrices, budget_dollars_per_day: int) -> None:
        """Take prices, and the budget for a day; 0: there is none."""
        self._prices = prices
        self._label = BoundedLabel(MOST_MODELS, prices.names)
        if budget_dollars_per_day:
            self._budget.show(BUDGET, budget_dollars_per_day)
        else:
            self._budget.hide(BUDGET)

    def count(self, model: str, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> None:
        """Count one turn; ``prompt_tokens`` has the cached ones in it."""
        label = self._label.of(model)
        self._tokens.labels(label, "prompt").inc(prompt_tokens)
        self._tokens.labels(label, "completion").inc(completion_tokens)
        if (price := self._prices.of(model)) is not None:
            self._cost.labels(label).inc(price.cost(prompt_tokens, completion_tokens, cached_tokens))
        elif self._prices:
            self._unpriced.labels(label).inc(prompt_tokens + completion_tokens)
