"""What the world understands of an assistant's and of a shopper's English."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.worlds.groceries import Groceries, sentences

READER = Groceries().reader
NEEDS = Groceries().knowledge.needs


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is your address?", "address"),
        ("Where should I deliver the groceries?", "address"),
        ("Should I deliver to 12 Oak Lane?", "address"),
        ("WHERE DO YOU LIVE?!", "address"),
        ("What\u2019s your budget?", "budget"),
        ("What's your price range", "budget"),
        ("How much would you like to spend?", "budget"),
        ("Is $40 enough?", "budget"),
        ("Are you vegan?", "diet"),
        ("Any dietary restrictions", "diet"),
        ("What do you like to eat?", "diet"),
        ("Any allergies I should know of?", "allergies"),
        ("Should everything be nut-free?", "allergies"),
        ("How many people are you shopping for?", "household"),
        ("Is it for 2 people?", "household"),
        ("Would Saturday suit you?", "time"),
        ("When should the groceries arrive", "time"),
        ("Which day works?", "time"),
        ("Sure, what's your address", "address"),
        ("Do you have a favourite brand?", "brands"),
        ("Paper bags?", "packaging"),
        ("Sure, happy to help. Great choice! Please tell me your address.", "address"),
        ("I'd love to. Let me know your budget and any allergies.", "budget allergies"),
        ("Before I place the order, what is your diet?", "diet"),
        ("I'll place the order once you give me your address.", "address"),
        ("What is your address, your budget, and your diet?", "address budget diet"),
        ("What is your address? I know a good bakery. And when is it needed?", "address time"),
        (
            "I need the following:\n- delivery address\n- budget\n\nThen I take care of packaging.",
            "address budget",
        ),
        ("A few questions:\n1. Your address\n2) Allergies\n* Diet", "address allergies diet"),
        ("My list:\n- address\n- budget", ""),
        ("Is your budget below $40.50?", "budget"),
        ("I know a nice address.", ""),
        ("Hello, how can I help you today?", ""),
        ("Would you like readdressed unbudgeted dieticians?", ""),
        ("Are you at 112 Oak Lanes?", ""),
        ("", ""),
        ("?!?...", ""),
        ("\u00bfD\u00f3nde vives?", ""),
        ("Shall I place the order?", ""),
    ],
)
def test_questions(text: str, asks: str) -> None:
    heard = READER.assistant(text)
    assert heard.asks == set(asks.split())
    assert heard.order is None


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("I'll place the order now.", {}),
        ("I\u2019ll go ahead and place your order.", {}),
        ("Great! I have placed the order.", {}),
        ("I've ordered everything you need.", {}),
        ("Placing your order with the usual things.", {}),
        ("Your order has been placed!", {}),
        ("Perfect, I'm ordering it now", {}),
        ("I will order now. Anything else?", {}),
        ("I've placed your order. If anything is missing, tell me.", {}),
        ("I've ordered vegan food to 7 Mill Road.", {"diet": "vegan", "address": "7 Mill Road"}),
        ("I've ordered for $150, gluten-free.", {"budget": "$150", "allergies": "gluten"}),
        ("I'll order vegan food, not vegetarian.", {"diet": "vegan"}),
        ("Order placed:\n- halal\n- four people\n- no plastic\n",
         {"diet": "halal", "household": "4 people", "packaging": "no plastic"}),
        ("You said vegan. I've ordered. Was organic right?", {"diet": "vegan"}),
        ("Vegan first, now vegetarian: I've ordered it.", {"diet": "vegetarian"}),
        ("I've ordered for $1500.", {}),
    ],
)  # fmt: skip
def test_orders(text: str, order: dict[str, str]) -> None:
    heard = READER.assistant(text)
    assert heard.order == order
    assert heard.asks == set()


@pytest.mark.parametrize(
    "text",
    [
        "I can't place the order yet.",
        "I won't say I'll place the order.",
        "I haven't placed your order.",
        "I'll order as soon as I know more.",
        "When you are ready, I'll place the order.",
        "Unless you object, I'll place the order.",
        "Shall I say I've ordered?",
        "I'll place you on a list.",
        "An order of magnitude.",
        "In short order, here is a recipe.",
    ],
)
def test_no_order(text: str) -> None:
    assert READER.assistant(text).order is None


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("Please deliver to 12 Oak Lane.", {"address": "12 Oak Lane"}),
        ("12 oak lane", {"address": "12 Oak Lane"}),
        ("I'm vegan and have $40.", {"diet": "vegan", "budget": "$40"}),
        ("Plant-based, for the four of us.", {"diet": "vegan", "household": "4 people"}),
        ("Can you order vegan food for me?", {"diet": "vegan"}),
        ("Do you have vegan food?", {}),
        ("I am not vegan.", {}),
        ("I'm not a vegan; I'm vegetarian.", {"diet": "vegetarian"}),
        ("I don't mind about packaging.", {"packaging": None}),
        ("Brands don't matter, but it must be halal.", {"brands": None, "diet": "halal"}),
        ("The budget is up to you. Tonight.", {"budget": None, "time": "this evening"}),
        ("I'm allergic to nuts, not to gluten.", {"allergies": "nuts"}),
        ("No plastic, no nuts.", {"packaging": "no plastic", "allergies": "nuts"}),
        ("We are vegans. Sorry, vegetarians.", {"diet": "vegetarian"}),
        ("I don't mind the brand, it must be vegan.", {"brands": None, "diet": "vegan"}),
        ("No allergies, I'm vegan.", {"allergies": None, "diet": "vegan"}),
        ("I don't mind about brands, packaging or time slot.",
         {"brands": None, "packaging": None, "time": None}),
        ("I'd rather have organic; I won't take premium.", {"brands": "organic"}),
        ("I don't eat meat.", {}),
        ("I know your address.", {}),
        (sentences.OPENING, {}),
        (sentences.NUDGE, {}),
        (sentences.GIVES_UP, {}),
        (sentences.ACCEPTS, {}),
        (sentences.rejects([]), {}),
    ],
)  # fmt: skip
def test_statements(text: str, states: dict[str, str | None]) -> None:
    assert dict(READER.shopper(text)) == states


def test_every_phrase_is_understood() -> None:
    for need in NEEDS:
        for phrase in need.asked_by:
            assert READER.assistant(f"{phrase.upper()}?").asks == {need.id}
        for value in need.values:
            for phrase in value.heard_as:
                assert READER.shopper(f"{phrase}.") == ((need.id, value.name),)


@given(st.sets(st.sampled_from(NEEDS), min_size=1))
@settings(max_examples=50, deadline=None)
def test_questions_of_the_rule_based_assistants_are_understood(needs: set) -> None:
    assert READER.assistant(sentences.asks(needs)).asks == {need.id for need in needs}


@given(st.text(alphabet="aA 1$.,:;?!'-*\n\t\u2019\u00df\u0130\u4f60", max_size=200) | st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_without_error(text: str) -> None:
    heard = READER.assistant(text)
    assert not (heard.asks and heard.order is not None)
    assert isinstance(READER.shopper(text), tuple)


@pytest.mark.parametrize(
    "unit",
    ["a", ". ", " ", "\n", "1", "$1.", "'", "a'", "-", "- ", ":\n- ", "i'll place the ", "how "],
)  # fmt: skip
def test_a_megabyte_does_not_hide_the_question_or_the_order(unit: str) -> None:
    flood = unit * (1_000_000 // len(unit))
    assert READER.assistant(f"{flood}\n\nWhat is your budget?").asks >= {"budget"}
    assert READER.assistant(f"{flood}\n\nI've ordered vegan food.").order is not None
    assert ("diet", "vegan") in READER.shopper(f"{flood}\n\nI am vegan.")


def test_huge_texts_are_not_remembered() -> None:
    reader = Groceries().reader
    before = reader._heard.cache_info().currsize
    reader.assistant("What is your budget? " * 1000)
    assert reader._heard.cache_info().currsize == before
    reader.assistant("What is your budget and your diet?")
    assert reader._heard.cache_info().currsize == before + 1
