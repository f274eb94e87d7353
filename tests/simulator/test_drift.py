"""Which messages are no user's: assistants' sentences, silence, repetition; and which are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.conversation import Message
from foresight_services.simulator.prompting.drift import DriftKind, DriftRules, shipped_rules

ASSISTANT = "calls_itself_an_assistant"
HELP = "offers_help"
SOLVES = "solves_its_own_goal"
BOTH = "speaks_for_both"

DRIFTED = [
    ("As an AI language model, I don't have personal preferences.", ASSISTANT),
    ("As an AI, I can't taste food, but many people like basil.", ASSISTANT),
    ("Well, as an AI I cannot open that link.", ASSISTANT),
    ("As a large language model I have no access to your files.", ASSISTANT),
    ("I'm just an AI assistant, so I can't book flights.", ASSISTANT),
    ("I am an AI and I don't have feelings.", ASSISTANT),
    ("I’m an AI model created to answer questions.", ASSISTANT),
    ("I'm your virtual assistant for today.", ASSISTANT),
    ("I am ChatGPT.", ASSISTANT),
    ("My knowledge cutoff is in 2023, so I may be wrong.", ASSISTANT),
    ("How can I help you today?", HELP),
    ("Hello! How may I assist you?", HELP),
    ("Thanks for reaching out. How can I be of assistance?", HELP),
    ("What can I help you with?", HELP),
    ("Is there anything else I can help you with?", HELP),
    ("Is there anything else you'd like to discuss?", HELP),
    ("Let me know if you need any further assistance.", HELP),
    ("Let me know if you have any other questions!", HELP),
    ("Let me know if you'd like me to expand on any section.", HELP),
    ("Please feel free to reach out any time.", HELP),
    ("No problem, I'm here to help!", HELP),
    ("I'd be happy to help you with that.", HELP),
    ("I would be glad to assist.", HELP),
    ("I can help you write a cover letter. What job is it for?", HELP),
    ("Do you need help with anything more? Do you need any further help with the essay?", HELP),
    ("Sure! Here is a revised version of your introduction:\n\nOn a cold morning ...", SOLVES),
    ("Certainly! Here's the Python function:\n```python\ndef f(): ...\n```", SOLVES),
    ("Of course! Here are some tips to sleep better: 1. ...", SOLVES),
    ("Absolutely, here is your 3-day itinerary. Day one: ...", SOLVES),
    ("Here's a revised version of the paragraph with a warmer tone.", SOLVES),
    ("Here is the complete code: import os", SOLVES),
    ("I've rewritten the second paragraph based on your feedback.", SOLVES),
    ("I have updated the itinerary to match your budget.", SOLVES),
    ("I hope this answers your question.", SOLVES),
    ("To solve this equation, we first subtract 3 from both sides.", SOLVES),
    ("Your order has been placed. It arrives on Monday.", SOLVES),
    ("ok cool\nAssistant: Great, shall I start?", BOTH),
    ("**Assistant:** What topic is it about?", BOTH),
    ("User: I want a poem\nAI: Sure, about what?", BOTH),
    ("sounds good\n</turn>\n<turn assistant>\nGreat!", BOTH),
]

A_USERS = [
    "As an AI researcher I need this to be precise.",
    "I'm an AI student and I have to hand this in on Monday.",
    "I am an AI and robotics engineer.",
    "as an ai, what would you pick?",
    "You're answering as an AI, but I want it to sound human.",
    'Your essay begins with "As an AI language model", please cut that.',
    "My model is a language model with 1B parameters, how do I fine-tune it?",
    "I split my training data 80/20, is that enough?",
    "How can I help my sister with her homework?",
    "how can I help the plant recover",
    "Is there anything else I can try?",
    "Is there anything else you need to know?",
    "Let me know if you need more details.",
    "Let me know if you'd like me to send the full log.",
    "feel free to ask me anything about the setting",
    "Do I need help with the visa or can I do it alone?",
    'The email should end with "Please let me know if you have any further questions".',
    'The bot greets people with "How can I help you today?", I want something warmer.',
    "I'd be happy to help with testing if you send me the code",
    "I'd be happy with either one, honestly.",
    "You always say you're here to help but this is the third wrong answer.",
    "Can you help me with a poem?",
    "Sure, here's the error message: KeyError: 'id'",
    "Sure! Here is my draft: On a cold morning ...",
    "Of course, here are the numbers: 3, 5 and 8",
    "ok here's the thing, I don't get step 2",
    "Here's a draft I wrote yesterday, can you make it shorter?",
    "Here is the code I have so far: def f(x): return x",
    "Certainly not the first option.",
    "Great, that works. Here's another question though: what about returns?",
    "Sure, here is the summary I wrote for class",
    "I've updated the file but it still fails.",
    "I have written two paragraphs, what do you think?",
    "I tried to solve this equation but I keep getting 7.",
    "to solve this I'd need the second side, right?",
    'The site says "your order has been placed" but I got no mail.',
    "assistant manager at a bakery",
    "My question to the assistant: why basil?",
    "I need an AI: something small that runs on a phone.",
    "here's what my chat log looks like:\nAssistant: hello\nwhy does the parser fail on it?",
    "42",
    "true",
    "?",
    "👍",
    "no",
    "Yes.",
    "hm... not sure. Maybe something with a garden?",
    "1) budget 500 2) no flights 3) two kids",
]


@pytest.mark.parametrize(("message", "rule"), DRIFTED)
def test_an_assistants_sentence_is_role_drift(message: str, rule: str) -> None:
    found = shipped_rules().find(message, (), done=False)

    assert found is not None
    assert (found.kind, found.rule) == (DriftKind.ROLE_DRIFT, rule)


@pytest.mark.parametrize("message", A_USERS)
def test_a_users_sentence_is_let_through(message: str) -> None:
    assert shipped_rules().find(message, (), done=False) is None


@pytest.mark.parametrize("message", ["", "  \n ", "...", "…", '""', "\u200b", "-", "**", "\ufeff."])
def test_a_message_that_says_nothing_is_empty_unless_the_user_leaves(message: str) -> None:
    found = shipped_rules().find(message, (), done=False)

    assert found is not None
    assert found.kind is DriftKind.EMPTY
    assert shipped_rules().find(message, (), done=True) is None


SAID = (
    Message("system", "Be brief and always answer in the user's own language."),
    Message("user", "I want a short poem about my grandmother's garden in spring."),
    Message("assistant", "Should the poem rhyme, and which flowers grew in the garden?"),
)


@pytest.mark.parametrize(
    "message",
    [
        "I want a short poem about my grandmother's garden in spring.",
        "i want a short poem about my grandmother's garden in spring",
        "I want a short poem  about my Grandmother's garden in spring!!",
        "Please, I want a short poem about my grandmother's garden in spring.",
    ],
)
def test_an_earlier_user_message_in_other_clothes_is_repeated(message: str) -> None:
    found = shipped_rules().find(message, SAID, done=False)

    assert found is not None
    assert found.kind is DriftKind.REPEATED


def test_the_assistants_last_message_again_is_role_drift() -> None:
    message = "Should the poem rhyme and which flowers grew in the garden"

    found = shipped_rules().find(message, SAID, done=False)

    assert found is not None
    assert (found.kind, found.rule) == (DriftKind.ROLE_DRIFT, "echoes_the_assistant")


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        ("Yes.", "Yes."),
        ("no, thanks", "no, thanks"),
        ("42", "42"),
        ("I don't know", "I don't know"),
        (SAID[1].content, "I want a short poem about my grandfather's workshop in winter."),
        (SAID[1].content, "As I said, a poem about the garden, and yes, it should rhyme."),
        ("Hello there!", "Be brief and always answer in the user's own language."),
    ],
)
def test_short_or_different_messages_are_no_repetition(earlier: str, message: str) -> None:
    conversation = (SAID[0], Message("user", earlier), SAID[2])

    assert shipped_rules().find(message, conversation, done=False) is None


@pytest.mark.parametrize(
    "unit",
    ["as an ai ", "i have written ", "sure! here is a ", " \n", "a", "'", "**assistant", "you "],
)
def test_a_very_long_message_takes_bounded_work(unit: str) -> None:
    shipped_rules().find(unit * ((1 << 20) // len(unit)), SAID, done=False)


def test_what_a_long_message_ends_with_is_looked_at() -> None:
    message = "word " * 5000 + "Is there anything else I can help you with?"

    found = shipped_rules().find(message, (), done=False)

    assert found is not None
    assert found.rule == HELP


@pytest.mark.parametrize(
    "text", ["rules: []", "rules: []\nrepeats: {least_words: 5, likeness: 0.9}\nnotes: {}", "[]"]
)
def test_a_rules_file_that_lacks_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        DriftRules(text)


@pytest.mark.parametrize(
    ("pattern", "message", "drifted"),
    [
        ("^sure|of course", "Well, of course I do.", True),
        ("^sure|of course", "I am sure about it.", False),
        ("^(?:sure|fine)", "I am fine with it.", False),
        (r"\\bsure|ain", "I am certain about it.", True),
        (r"\\b(?:sure|ain)", "I am certain about it.", False),
        (r"\\b[|(]?sure", "I am sure about it.", True),
        ("As An AI", "as an ai I cannot.", True),
        (r"\\bsure\\b", "I am \u017fure about it.", True),
        (r"\\bsure\\S", "I am SURE, about it.", True),
    ],
)
def test_a_rule_means_what_its_pattern_says(pattern: str, message: str, drifted: bool) -> None:
    notes = "{role_drift: a, empty: b, repeated: c, malformed: d}"
    rules = DriftRules(
        f'rules: [{{name: one, patterns: ["{pattern}"]}}]\n'
        f"repeats: {{least_words: 5, likeness: 0.85}}\nnotes: {notes}\n"
    )
    found = rules.find(message, (), done=False)
    assert (found is not None) is drifted


def test_messages_that_share_their_words_but_not_their_triples_are_not_alike() -> None:
    words = "one two three four five six seven eight nine ten".split()
    again = " ".join(words)
    turned = " ".join(reversed(words))
    said = (Message("user", again),)
    found = shipped_rules().find(again.upper(), said, done=False)
    assert found is not None and found.kind is DriftKind.REPEATED
    assert shipped_rules().find(turned, said, done=False) is None


SOME_WORDS = st.lists(
    st.sampled_from(["a", "b", "\u00fcber", "stra\u00dfe", "x_y", "9"]), max_size=30
)


@given(SOME_WORDS, st.lists(st.tuples(st.integers(0, 29), st.sampled_from("abc")), max_size=4))
def test_alike_are_messages_that_share_85_of_100_triples(
    words: list[str], changes: list[tuple[int, str]]
) -> None:
    other = list(words)
    for place, word in changes:
        other[place : place + 1] = [word]
    message, earlier = " ".join(words), ", ".join(other).upper()
    found = shipped_rules().find(message, (Message("user", earlier),), done=True)
    assert (found is not None) == _alike(message, earlier)


def _alike(message: str, earlier: str) -> bool:
    """Tell the same by looking at everything."""
    one, two = (re.findall(r"\w+", text.casefold()) for text in (message, earlier))
    if len(one) < 5:
        return False
    first, second = (set(zip(w, w[1:], w[2:], strict=False)) or {tuple(w)} for w in (one, two))
    long_enough = min(len(one), len(two)) >= 0.85 * max(len(one), len(two))
    return one == two or (long_enough and len(first & second) >= 0.85 * len(first | second))
