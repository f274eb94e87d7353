"""Counting tokens by scope, output, unit and tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.conversation import Message, Role
from foresight_services.core.errors import InvalidInput
from foresight_services.core.future import EvaluationSetup
from foresight_services.core.objective import JsonValue, MetricSpec, Range
from foresight_services.core.ports import Metric
from foresight_services.metrics.offload import LONG_TEXT
from foresight_services.metrics.token_amount import DEFINITION, Tally
from foresight_services.metrics.tokenizers import Tokenizers
from tests.fakes.subjects import built, setup_for, subject_of

PREFIX = (
    Message("system", "be brief please"),  # 3 words
    Message("user", "one two three four"),  # 4
    Message("assistant", "one two"),  # 2
    Message("user", "one"),  # 1
)
CANDIDATES = ("a b c d e", "a")  # 5 and 1
FUTURE = (Message("user", "a b"), Message("assistant", "a b c"))  # 2 and 3


def setup_with(**parameters: JsonValue) -> EvaluationSetup:
    return setup_for(
        MetricSpec("token_amount", parameters=parameters),
        prefix=PREFIX,
        candidates=CANDIDATES,
        horizon_messages=5,
        max_message_tokens=10,
    )


async def metric(**parameters: JsonValue) -> Metric:
    return await built(DEFINITION, setup_with(**parameters))


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        (None, {"tokens": 2 + 5 + 3, "read": 2 + 5 + 3, "typed": 4 + 1 + 2, "turns": 3}),
        ("assistant", {"tokens": 2 + 5 + 3, "read": 2 + 5 + 3, "typed": 4 + 1 + 2, "turns": 3}),
        ("future", {"tokens": 5 + 2 + 3, "read": 5 + 3, "typed": 2, "turns": 1}),
        (
            "all",
            {"tokens": 3 + 4 + 2 + 1 + 5 + 2 + 3, "read": 10, "typed": 4 + 1 + 2, "turns": 3},
        ),
    ],
)
@pytest.mark.parametrize("output", ["tokens", "read", "typed", "turns"])
@pytest.mark.parametrize("unit", ["thousand", "token"])
@pytest.mark.parametrize("tokenizer", ["words", "whitespace"])
async def test_every_output_of_every_scope(scope, parts, output, unit, tokenizer) -> None:
    given = {"output": output, "unit": unit, "tokenizer": tokenizer}
    given |= {"scope": scope} if scope else {}
    score = await (await metric(**given)).score(subject_of(setup_with(**given), FUTURE))
    assert score.parts == parts
    per_unit = 1000 if unit == "thousand" and output != "turns" else 1
    assert score.value == parts[output] / per_unit


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("assistant", "one two a b c d e a b c"),
        ("future", "a b c d e\na b\na b c"),
        ("all", "be brief please\none two three four\none two\none\na b c d e\na b\na b c"),
    ],
)
async def test_the_default_is_cl100k_of_the_joined_text_in_thousands(scope, said) -> None:
    score = await (await metric(scope=scope)).score(subject_of(setup_with(), FUTURE))
    assert score.value == Tokenizers({}).get("cl100k").count(said) / 1000


TEXTS = st.lists(
    st.sampled_from(["a", "Yes", "7", ".", "?!", "'s", " ", "  ", "\n", "\n\n", "é", "😀", "\t"]),
    min_size=1,
    max_size=10,
).map("".join)


@given(st.lists(TEXTS, min_size=3, max_size=8), st.sampled_from(["assistant", "future", "all"]))
async def test_a_conversation_counts_as_if_it_were_encoded_at_once(texts, scope) -> None:
    roles: tuple[Role, ...] = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))
    setup = setup_for(
        MetricSpec("token_amount", parameters={"scope": scope}),
        prefix=messages[:1],
        candidates=(texts[1],),
    )
    score = await (await built(DEFINITION, setup)).score(subject_of(setup, messages[2:]))
    count = Tokenizers({}).get("cl100k").count
    read, typed = " ".join(texts[1::2]), " ".join(texts[0::2])
    every = "\n".join(texts if scope == "all" else texts[1:])
    tokens = count(read if scope == "assistant" else every)
    typed = " ".join(texts[2::2]) if scope == "future" else typed
    spoken = len(texts) - (scope == "future")
    expected = {"tokens": tokens, "read": count(read), "typed": count(typed), "turns": spoken // 2}
    assert score.parts == expected


@given(st.lists(TEXTS, max_size=8), TEXTS)
def test_a_tally_never_loses_a_token(grown: list[str], more: str) -> None:
    counter = Tokenizers({}).get("cl100k")
    tally = Tally()
    for text in grown:
        tally = tally.grown(text, counter)
    assert tally.total(more, counter) == counter.count("".join(grown) + more)


async def test_a_long_future_is_counted_too() -> None:
    given = {"tokenizer": "words", "unit": "token", "scope": "future"}
    future = (Message("user", "word " * LONG_TEXT),)
    score = await (await metric(**given)).score(subject_of(setup_with(**given), future))
    assert score.value == 5 + LONG_TEXT


@pytest.mark.parametrize("tokenizer", ["words", "whitespace"])
@pytest.mark.parametrize(
    ("scope", "output", "low", "high"),
    [
        # Of five messages after a candidate the user says three, the assistant two.
        ("assistant", "tokens", 2 + 1, 2 + 5 + 2 * 10),
        ("future", "tokens", 1, 5 + 5 * 10),
        ("all", "tokens", 10 + 1, 10 + 5 + 5 * 10),
        ("future", "read", 1, 5 + 2 * 10),
        ("all", "typed", 5, 5 + 3 * 10),
        ("future", "typed", 0, 3 * 10),
    ],
)
async def test_the_range_is_reached_at_both_ends(scope, output, low, high, tokenizer) -> None:
    given = {"scope": scope, "output": output, "tokenizer": tokenizer, "unit": "token"}
    counted = await metric(**given)
    longest = tuple(
        Message(role, "word " * 10) for role in ("user", "assistant", "user", "assistant", "user")
    )
    scores = [
        (await counted.score(subject_of(setup_with(**given), future, candidate=candidate))).value
        for candidate, future in ((1, ()), (0, longest))
    ]
    assert scores == [low, high]
    assert counted.info.range == Range(low, high)


@pytest.mark.parametrize(("scope", "low", "high"), [("all", 2, 5), ("future", 0, 3)])
async def test_turns_are_bounded_whatever_the_tokenizer(scope, low, high) -> None:
    assert (await metric(scope=scope, output="turns")).info.range == Range(low, high)


async def test_words_bound_no_tokens_of_another_tokenizer() -> None:
    assert (await metric()).info.range is None


async def test_a_range_in_thousands() -> None:
    info = (await metric(tokenizer="words")).info
    assert info.range == Range(0.003, 0.027)


async def test_an_unknown_tokenizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"cl100k, whitespace, words") as caught:
        await metric(tokenizer="cl100")
    assert caught.value.violations[0].field == "metrics[0].parameters.tokenizer"
