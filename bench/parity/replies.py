"""What the models say: a function of the role, the prompt and how often it was asked before.

How often counts for the simulated users of a request whose description says that they differ
(`cases.VARIED`), and for nothing else: the reference asks for the samples of one candidate with one
prompt and no seed, in any order, so that samples can only be told apart by what was answered.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from typing import Final, Literal

from bench.parity import texts
from bench.parity.cases import VARIED, Said, ticket_document
from bench.parity.problems import PROBLEMS

ModelName = Literal["user", "policy", "judge"]
"""The models of the server; `judge` also extracts."""

SIGNAL: Final = "[[TERMINATE CHAT]]"
"""Text by which a simulated user ends a conversation."""

_TICKET: Final = re.compile(r"\(ticket (\d{4})\)")


def reply(model: str, messages: Sequence[Said], asked_before: int) -> str:
    """Return what `model` answers to `messages`; ValueError where it has no part to play."""
    prompt = messages[-1].content
    varied = model == "user" and VARIED in prompt
    rng = _random(model, messages, asked_before if varied else 0)
    match model:
        case "policy":
            return _policy(rng)
        case "user" if '"current_answer"' in prompt:
            return _user(rng)
        case "judge" if '"final_completion"' in prompt:
            return _extraction(rng, prompt)
        case "judge" if '"accuracy"' in prompt:
            return _verdict(rng, "accuracy", (0, 1, 0.0, 1.0, "0", "1"))
        case "judge" if '"interactivity"' in prompt:
            score = rng.choice((0, 1, 0.5, round(rng.random(), 3)))
            return _verdict(rng, "interactivity", (score, str(score)))
    raise ValueError(f"the model {model!r} knows no such prompt")


def _random(model: str, messages: Sequence[Said], asked_before: int) -> random.Random:
    parts = [model, str(asked_before), *(p for m in messages for p in (m.role, m.content))]
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode())
    return random.Random(digest.digest())


def _policy(rng: random.Random) -> str:
    said = texts.edges(rng, texts.message(rng, 6))
    return f"{said} {SIGNAL}" if rng.random() < 0.05 else said


def _user(rng: random.Random) -> str:
    said = texts.message(rng, 3)
    if rng.random() < 0.2:
        said = rng.choice((SIGNAL, f"{said} {SIGNAL}", f"{SIGNAL}\n{said}"))
    members: dict[str, str | int | float] = {
        "current_answer": texts.message(rng, 1),
        "thought": texts.message(rng, 2),
        "response": texts.edges(rng, said),
    }
    return texts.shaped(rng, members)


def _extraction(rng: random.Random, prompt: str) -> str:
    found = _TICKET.search(prompt)
    if found is None:
        raise ValueError("the conversation names no ticket")
    ticket = int(found[1])
    match ticket // 1000:
        case 2:
            text = texts.edited(rng, ticket_document(ticket), rng.choice((0.0, 0.1, 0.2, 0.5)))
        case 3:
            text = rng.choice(PROBLEMS[ticket % len(PROBLEMS)].solutions)
        case _:
            text = texts.edges(rng, rng.choice(("x = 3", "so {2, 3}", texts.message(rng, 2))))
    return texts.shaped(rng, {"thought": texts.message(rng, 2), "final_completion": text})


def _verdict(rng: random.Random, key: str, scores: Sequence[str | int | float]) -> str:
    return texts.shaped(rng, {"thought": texts.message(rng, 2), key: rng.choice(scores)})
