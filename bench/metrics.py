"""Measure how many scores per second each metric without a model gives, on one core.

The conversation is fixed: 20 messages, of which a prefix of 15 and a candidate are shared by all
scores and 4 are new with each, as in a group of futures. Beside it stands CollabLLM's way of
computing a metric, with the same libraries, where it has the metric: NLTK on two strings for BLEU,
tiktoken on the messages joined anew. Metrics whose work is done in a worker are measured one call
at a time, the way to the worker and back included. `pass_rate`, which is all sandbox, is left out.

    python -m bench.metrics
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tiktoken
from nltk.translate.bleu_score import sentence_bleu

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.objective import JsonValue, MetricSpec
from foresight_services.core.task import Task
from foresight_services.metrics import (
    bleu,
    bleu_word,
    exact_match,
    json_schema,
    math_equal,
    messages,
    regex,
    rouge,
    token_amount,
)
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.tokenizers import Tokenizers
from tests.fakes.subjects import built, setup_for, subject_of

RESULTS = Path(__file__).parent / "results" / "metrics.json"
_ROUNDS = 5

_SENTENCES = (
    "A good article opens with the one thing that its readers came for.",
    "Could you tell me who will read it, and how much they already know?",
    "It should be about a page, for people who cook at home but never baked bread.",
    "Then I would begin with the smell of a warm loaf, and keep the chemistry for later.",
    "Mix 500 g of flour, 350 g of water, 10 g of salt and 2 g of yeast; wait 12 hours.",
    "That's fine, but don't make it sound like a manual: I'd rather hear why it works.",
    "Gluten forms by itself when flour and water have time, so nobody has to knead.",
)


def _prose(start: int, sentences: int) -> str:
    return " ".join(_SENTENCES[(start + i) % len(_SENTENCES)] for i in range(sentences))


def _conversation() -> Conversation:
    return tuple(
        Message("assistant" if i % 2 else "user", _prose(i, 8 if i % 2 else 2)) for i in range(20)
    )


CONVERSATION = _conversation()
PREFIX, CANDIDATE, FUTURE = CONVERSATION[:15], CONVERSATION[15].content, CONVERSATION[16:]
REFERENCE = _prose(3, 8)
LAST = CONVERSATION[-1].content
ANSWER = r"So $x^2 + x = 6$ gives $x = \frac{-1 + 5}{2}$, hence \boxed{2}."
OBJECT = json.dumps({"title": "Bread", "sections": [{"name": n} for n in ("why", "how", "when")]})
SCHEMA: JsonValue = {
    "type": "object",
    "required": ["title", "sections"],
    "properties": {"sections": {"type": "array", "items": {"required": ["name"]}}},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A metric to measure."""

    definition: Definition
    parameters: dict[str, JsonValue]
    text: str = LAST
    """The last reply."""
    reference: str = REFERENCE
    collabllm: Callable[[], object] | None = None
    """The reference's way of computing it."""

    @property
    def name(self) -> str:
        """Name and parameters."""
        shown = [str(v) for v in self.parameters.values() if isinstance(v, str)]
        return " ".join([self.definition.name, *shown])


def _nltk_bleu() -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(sentence_bleu([REFERENCE], LAST))


def _encoded(encoding: tiktoken.Encoding) -> Callable[[], int]:
    def count() -> int:
        total = 0
        # It counts what was typed as well, and does not return it.
        for role in ("assistant", "user"):
            said = " ".join(m.content for m in CONVERSATION if m.role == role)
            total += len(encoding.encode(said, disallowed_special=()))
        return total

    return count


def cases(encoding: tiktoken.Encoding) -> tuple[Case, ...]:
    """Return what is measured."""
    return (
        Case(bleu.DEFINITION, {}, collabllm=_nltk_bleu),
        Case(bleu_word.DEFINITION, {}),
        Case(exact_match.DEFINITION, {}),
        Case(json_schema.DEFINITION, {"schema": SCHEMA}, OBJECT),
        Case(math_equal.DEFINITION, {}, ANSWER, "2"),
        Case(messages.DEFINITION, {}),
        Case(regex.DEFINITION, {"pattern": r"(?i)\bloaf\b.*\b12 hours"}),
        Case(rouge.DEFINITION, {"variant": "rougeL"}),
        Case(token_amount.DEFINITION, {"tokenizer": "cl100k"}, collabllm=_encoded(encoding)),
        Case(token_amount.DEFINITION, {"tokenizer": "words"}),
        Case(token_amount.DEFINITION, {"tokenizer": "whitespace"}),
    )


async def measure(case: Case, seconds: float) -> dict[str, float | str | None]:
    """Return scores per second of the metric and of the reference, each the best of its rounds."""
    spec = MetricSpec(case.definition.name, parameters=case.parameters)
    setup = setup_for(
        spec,
        task=Task(goal="an article", reference=case.reference),
        prefix=PREFIX,
        candidates=(CANDIDATE,),
    )
    metric = await built(case.definition, setup)
    future = (*FUTURE[:-1], Message("assistant", case.text))

    async def score() -> None:
        await metric.score(subject_of(setup, future))

    async def reference() -> None:
        if case.collabllm is not None:
            case.collabllm()

    ours = await _rate(score, seconds)
    theirs = None if case.collabllm is None else await _rate(reference, seconds)
    return {"metric": case.name, "scores_per_second": ours, "collabllm_per_second": theirs}


async def _rate(work: Callable[[], Awaitable[None]], seconds: float) -> float:
    await work()
    best = 0.0
    for _ in range(_ROUNDS):
        done, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / _ROUNDS:
            await work()
            done += 1
        best = max(best, done / spent)
    return best


async def _run(seconds: float) -> list[dict[str, float | str | None]]:
    # The encoding that the metric has is tiktoken's own; only where it is read from differs.
    counter = Tokenizers({}).get("cl100k")
    encoding: tiktoken.Encoding = counter._encoding  # type: ignore[attr-defined]
    return [await measure(case, seconds) for case in cases(encoding)]


def main() -> None:
    """Measure, print a table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    seconds = parser.parse_args().seconds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = asyncio.run(_run(seconds))
    print(f"{'metric':<28}{'scores/s':>12}{'CollabLLM/s':>14}{'ratio':>8}")
    for row in rows:
        ours, theirs = row["scores_per_second"], row["collabllm_per_second"]
        beside = ""
        if isinstance(ours, float) and isinstance(theirs, float):
            beside = f"{theirs:>14,.0f}{ours / theirs:>8.1f}"
        print(f"{row['metric']:<28}{ours:>12,.0f}{beside}")
    libraries = {name: version(name) for name in ("nltk", "tiktoken", "rouge-score", "math-verify")}
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"cores": 1, "messages": len(CONVERSATION), "libraries": libraries, "rows": rows}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
