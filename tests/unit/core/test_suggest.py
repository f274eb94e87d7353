"""Refusals that say what would have been right."""

from __future__ import annotations

import pytest

from foresight_services.core.suggest import nearest, one_of

KNOWN = ("success", "messages", "token_amount")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("sucess", "success"), ("mesages", "messages"), ("tokens_amount", "token_amount")],
)
def test_a_slip_is_recognised(wrong: str, right: str) -> None:
    assert nearest(wrong, KNOWN) == right


@pytest.mark.parametrize("name", ["", "bleu", "x" * 1000])
def test_what_is_like_nothing_has_no_nearest(name: str) -> None:
    assert nearest(name, KNOWN) is None


def test_a_refusal_names_the_nearest_and_lists_the_known_in_order() -> None:
    assert one_of("sucess", KNOWN) == (
        "unknown 'sucess'; did you mean 'success'? (known: messages, success, token_amount)"
    )
    assert one_of("bleu", KNOWN) == "unknown 'bleu' (known: messages, success, token_amount)"


def test_a_refusal_quotes_the_start_of_a_long_name_alone() -> None:
    assert one_of("x" * 1_000_000, ["a"]) == f"unknown {'x' * 64!r} (known: a)"
