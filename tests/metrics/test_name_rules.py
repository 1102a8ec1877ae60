"""The classes of tenants and the prices of models: which rule fits, and what is said of rules that cannot be read."""

import pytest

from lockstitch.metrics.labels import LONGEST, OTHER, BoundedLabel
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.tenant_classes import TenantClasses


@pytest.mark.parametrize(
    ("tenant", "its_class"),
    [("acme", "gold"), ("free-7", "trial"), ("free-", "trial"), ("acme-2", "default"), ("ACME", "default")],
)
def test_a_tenant_has_the_class_of_the_first_rule_that_fits(tenant, its_class):
    assert TenantClasses(["acme=gold", "free-*=trial", "free-7=gold"]).of(tenant) == its_class


def test_there_are_no_other_classes_than_those_of_the_rules():
    assert TenantClasses(["acme=gold", "free-*=trial"]).names == {"default", "gold", "trial"}
    assert TenantClasses().names == {"default"}


def test_a_turn_costs_what_its_tokens_cost():
    price = ModelPrices(["gpt-4o=2.5/10/1.25"]).of("gpt-4o")

    assert price.cost(1_000_000, 0) == 2.5
    assert price.cost(0, 1_000_000) == 10
    assert price.cost(1_000_000, 100_000, 400_000) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 1)


def test_cached_tokens_cost_as_much_as_others_where_no_price_of_them_is_set():
    assert ModelPrices(["m=3/4"]).of("m").cost(1000, 0, 900) == pytest.approx(0.003)


def test_a_model_whose_name_has_an_equals_sign_has_a_price_too():
    assert ModelPrices(["ft:a=b=1/2"]).of("ft:a=b").prompt == 1


def test_the_first_rule_that_fits_a_model_counts():
    prices = ModelPrices(["gpt-4o=2/8", "gpt-*=1/4"])

    assert (prices.of("gpt-4o").prompt, prices.of("gpt-5").prompt, prices.of("llama")) == (2, 1, None)
    assert prices.names == {"gpt-4o"}


@pytest.mark.parametrize(
    ("make", "rule", "problem"),
    [
        (TenantClasses, "acme", "is no rule"),
        (TenantClasses, "=gold", "is no rule"),
        (TenantClasses, "acme=", "is no rule"),
        (TenantClasses, "a*b=gold", "not at the end"),
        (TenantClasses, "acme=very good", "no name of a class"),
        (ModelPrices, "m=1", "no price"),
        (ModelPrices, "m=1/2/3/4", "no price"),
        (ModelPrices, "m=-1/2", "no price"),
        (ModelPrices, "m=nan/2", "no price"),
        (ModelPrices, "m=cheap/2", "no price"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_in_a_sentence(make, rule, problem):
    with pytest.raises(ValueError, match=problem):
        make([rule])


def test_a_label_takes_so_many_values_and_calls_the_rest_other():
    label = BoundedLabel(2, reserved={"priced"})

    assert [label.of(name) for name in ("a", "b", "c", "a", "priced")] == ["a", "b", OTHER, "a", "priced"]
    assert len(BoundedLabel(1).of("x" * 10_000)) == LONGEST
