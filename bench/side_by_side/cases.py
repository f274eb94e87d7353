"""The work: prompts with eight candidates each, every candidate named by its case.

Both sides are asked for the same: 3 futures of 4 messages, accuracy and interactivity by a judge,
tokens counted; 18 calls for each MR. Imports the standard library only, for the reference's
environment has nothing else of ours.
"""

from __future__ import annotations

from typing import Final

FUTURES: Final = 3
HORIZON: Final = 4
CANDIDATES: Final = 8
"""Candidates of a prompt, a GRPO group."""

METRICS: Final = {"accuracy": 1.0, "interactivity": 1.0, "token_amount": -0.5}
"""Names and weights."""

CALLS: Final = FUTURES * (HORIZON + 2)
"""Replies that one MR takes: its messages, and two verdicts for each future. One call can draw
several of them."""

PERSONA: Final = "tired_student"
"""Who the user is in Foresight's futures, the same in all; the reference knows no personas."""

DESCRIPTION: Final = "A student works on a mathematics problem together with an assistant."
REFERENCE: Final = "x = 3; squaring also gives x = -1, where the root would be negative."

_OPENING: Final = (
    "i always lose points on equations with roots, and this one is from my last test. can you help"
    " me see where i go wrong?"
)
_GOAL: Final = (
    "Find every real number x for which sqrt({a}x + {b}) = x holds, and say why the other candidate"
    " fails. The student has squared both sides, found two numbers and does not know why one of"
    " them is not a solution."
)
_CANDIDATES: Final = (
    "Gladly. Please send me the equation and the line at which you get stuck.",
    "Isolate the root, square both sides, solve what you get and put each solution back.",
    "Which of the two numbers did your teacher mark, and what did you do with the other one?",
    "A root is never negative, so the right side cannot be either. Does that settle it?",
    "Let us begin with the domain: for which x does the root exist at all?",
    "Try both numbers in the first equation and tell me what you see.",
    "The answer is x = 3. The other number solves the squared equation only.",
    "Squaring may add solutions. What would you have to check because of that?",
)


def prompt_number(case: int) -> int:
    """Return which prompt `case` belongs to."""
    return case // CANDIDATES


def goal(prompt: int) -> str:
    """Return what the user of a prompt wants."""
    return _GOAL.format(a=2 + prompt % 7, b=3 + prompt)


def prefix(prompt: int) -> list[dict[str, str]]:
    """Return the conversation before the candidates."""
    return [{"role": "user", "content": f"{_OPENING} it is number {prompt}"}]


def candidate(case: int) -> str:
    """Return the candidate's text; it names its case, so that the model server can tell it."""
    return f"{_CANDIDATES[case % CANDIDATES]} (case {case})"
