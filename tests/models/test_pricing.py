"""The price table: what models charge, how they are found, what the operator sets instead."""

from __future__ import annotations

import pytest

from foresight_services.core.ports import ChatReply
from foresight_services.core.usage import ModelUsage
from foresight_services.models.pricing import Price, load_prices

MINI = Price(0.15, 0.6, 0.075)


def test_a_price_counts_cached_tokens_apart() -> None:
    assert MINI.dollars(2_000_000, 1_000_000) == pytest.approx(0.9)
    assert MINI.of(ChatReply("x", 2_000_000, 1_000_000, 2_000_000)) == pytest.approx(0.75)
    assert MINI.of(ModelUsage(1, 1_000_000, 0, 400_000)) == pytest.approx(0.12)


def test_cached_tokens_cost_as_much_as_others_where_no_price_is_known() -> None:
    assert Price(2.0, 4.0).dollars(1_000_000, 0, 1_000_000) == pytest.approx(2.0)
    assert Price(2.0, 4.0, 0.0).dollars(1_000_000, 0, 1_000_000) == 0.0


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-4o-mini", MINI),
        ("gpt-4o-mini-2024-07-18", MINI),
        ("openai/gpt-4o-mini", MINI),
        ("gpt-4o", Price(2.5, 10, 1.25)),
        ("gpt-4o-2024-08-06", Price(2.5, 10, 1.25)),
        ("gpt-4o-2024-05-13", Price(5, 15)),
        ("anthropic/claude-3-5-sonnet-20241022", Price(3, 15, 0.3)),
        ("claude-sonnet-4-5", Price(3, 15, 0.3)),
        ("gemini/gemini-2.5-flash-lite", Price(0.1, 0.4, 0.01)),
        # Longer beginnings count before shorter ones.
        ("gemini-2.0-flash-lite-001", Price(0.075, 0.3)),
        ("gemini-2.0-flash-001", Price(0.1, 0.4, 0.025)),
        # A model of another kind whose name only begins alike.
        ("gpt-4o-realtime-preview", None),
        ("gpt-5-codex-max", None),
        # Somebody's own server.
        ("hosted_vllm/gpt-4o-mini", None),
        ("my-policy", None),
        ("", None),
    ],
)
def test_models_are_found_by_name(model: str, price: Price | None) -> None:
    assert load_prices().find(model) == price


def test_the_operators_prices_count_before_the_tables() -> None:
    own = {
        "gpt-4o-mini": Price(1, 1),
        "claude-*": Price(2, 2),
        "claude-haiku-4-5": Price(3, 3),
        "hosted_vllm/*": Price(0.01, 0.01),
    }
    table = load_prices().overridden(own)
    assert table.find("gpt-4o-mini") == Price(1, 1)
    assert table.find("gpt-4o-mini-2024-07-18") == MINI
    assert table.find("claude-opus-4-1-20250805") == Price(2, 2)
    assert table.find("claude-haiku-4-5") == Price(3, 3)
    assert table.find("hosted_vllm/anything") == Price(0.01, 0.01)


def test_the_table_makes_sense() -> None:
    table = load_prices()
    prices = [*table.exact.values(), *table.prefixes.values()]
    assert len(prices) > 30
    for price in prices:
        assert 0 < price.input <= price.output <= 200
        assert price.cached is None or 0 < price.cached < price.input
    assert table.noted.year >= 2026
